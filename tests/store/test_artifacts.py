import json

import pytest
from plain_stages import plain_stage

from inbol_ray.errors import MissingInputError, RowCountError
from inbol_ray.rows import Rejected
from inbol_ray.runtime.compute import compute
from inbol_ray.runtime.stage import Stage
from inbol_ray.store.artifacts import Store

HERE = "tests_stage_functions"


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """A module of stage functions that log their calls."""
    (tmp_path / f"{HERE}.py").write_text(
        "from pathlib import Path\nfrom inbol_ray.rows import Rejected\n"
        "calls = []\n"
        "def write(context):\n"
        "    calls.append('write'); (context.folder / 'data.txt').write_text('done'); return {'rows': 2}\n"
        "def fail(context):\n"
        "    calls.append('fail'); (context.folder / 'half.txt').write_text('x')\n"
        "    (Path(context.resume) / 'kept.txt').write_text('x'); raise RuntimeError('boom')\n"
        "def reject(context):\n"
        "    context.reject([Rejected('a', 's', 'empty', 'row a is empty')]); context.check_rows(3, 2)\n"
        "def lose(context):\n"
        "    context.check_rows(3, 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import importlib

    module = importlib.import_module(HERE)
    module.calls.clear()
    yield module
    import sys

    del sys.modules[HERE]


def stage(function: str, settings: dict | None = None, **inputs) -> Stage:
    return plain_stage(function, f"{HERE}:{function}", settings, **inputs)


def test_finished_stages_are_not_computed_again(functions, tmp_path):
    store = Store(tmp_path / "store")
    first = compute(stage("write"), store)
    again = compute(stage("write"), store)
    assert first == again and functions.calls == ["write"] and first["counts"] == {"rows": 2}


def test_settings_and_inputs_change_the_fingerprint():
    one, two = stage("write", {"a": 1}), stage("write", {"a": 2})
    assert one.fingerprint == stage("write", {"a": 1}).fingerprint != two.fingerprint
    assert stage("fail", read=one).fingerprint != stage("fail", read=two).fingerprint


def test_an_unfinished_stage_starts_over_and_keeps_what_it_can_resume(functions, tmp_path):
    store = Store(tmp_path / "store")
    failing = stage("fail")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="boom"):
            compute(failing, store)
        assert store.manifest(failing) is None
        assert (store.folder(failing) / "resume" / "kept.txt").exists()
    assert functions.calls == ["fail", "fail"]


def test_missing_input_names_both_stages(functions, tmp_path):
    with pytest.raises(MissingInputError, match="'fail' reads 'data' from stage 'write'"):
        compute(stage("fail", data=stage("write")), Store(tmp_path))


def test_rejected_rows_are_kept_and_counted(functions, tmp_path):
    import pyarrow.parquet as pq

    store = Store(tmp_path)
    manifest = compute(stage("reject"), store)
    assert manifest["rejected"] == {"empty": 1}
    rows = pq.read_table(store.folder(stage("reject")) / "rejected.parquet").to_pylist()
    assert rows == [Rejected("a", "s", "empty", "row a is empty").to_row()]
    assert json.loads((store.folder(stage("reject")) / "manifest.json").read_text()) == manifest


def test_a_lost_row_is_an_error(functions, tmp_path):
    with pytest.raises(RowCountError, match="3 rows in, but 2 out and 0 rejected"):
        compute(stage("lose"), Store(tmp_path))
