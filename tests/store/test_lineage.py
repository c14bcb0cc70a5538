"""Lineage and garbage of a store, local and on a real S3 server."""

import sys

import pytest
from plain_stages import plain_stage

from inbol_ray.errors import MissingInputError
from inbol_ray.runtime.compute import compute
from inbol_ray.runtime.stage import Stage
from inbol_ray.store.artifacts import Store
from inbol_ray.store.leases import file_lock
from inbol_ray.store.lineage import find_artifact, find_garbage, list_artifacts, walk_lineage

HERE = "tests_lineage_functions"


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path, monkeypatch):
    (tmp_path / f"{HERE}.py").write_text(
        "def write(context):\n    (context.folder / 'data').write_text('12345')\n"
        "def fail(context):\n    (context.folder / 'half').write_text('x'); raise RuntimeError('boom')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    if request.param == "local":
        yield Store(tmp_path / "store")
    else:
        bucket = request.getfixturevalue("s3_bucket")
        yield Store(f"{bucket.uri}/run", bucket.storage)
    sys.modules.pop(HERE, None)


def stage(name: str, function: str = "write", **inputs) -> Stage:
    return plain_stage(name, f"{HERE}:{function}", **inputs)


A = stage("a")
B = stage("b", a=A)
C = stage("c", a=A, b=B)
OLD = stage("old", a=A)
BROKEN = stage("broken", "fail")


def fill(store: Store) -> None:
    for one in (A, B, C, OLD):
        compute(one, store)
    with pytest.raises(RuntimeError):
        compute(BROKEN, store)
    if store.is_remote:  # a job that was killed half-way
        for where in (f"{BROKEN.artifact_id}/0123456789ab", f"{A.artifact_id}/0123456789ab"):
            with store.filesystem.open_output_stream(f"{store._path}/{where}/half") as file:
                file.write(b"abc")


def test_lineage_names_every_input_once(store):
    fill(store)
    lines = [(depth, key, name) for depth, key, name, _ in walk_lineage(store, C.artifact_id)]
    assert lines == [
        (0, "", C.artifact_id),
        (1, "a", A.artifact_id),
        (1, "b", B.artifact_id),
        (2, "a", A.artifact_id),
    ]
    entries = {entry.artifact_id: entry for entry in list_artifacts(store)}
    assert entries.keys() == {one.artifact_id for one in (A, B, C, OLD, BROKEN)}
    assert entries[BROKEN.artifact_id].state == "unfinished" and entries[A.artifact_id].manifest["bytes"] == 5
    assert find_artifact(store, "b-").artifact_id == B.artifact_id
    for name in ("b", "nothing"):  # `b` begins `broken` too
        with pytest.raises(MissingInputError, match="artifacts of"):
            find_artifact(store, name)


def test_garbage_is_what_the_wanted_do_not_refer_to(store):
    fill(store)
    garbage = find_garbage(store, [C.artifact_id])
    dead = {(A.artifact_id, "0123456789ab")} if store.is_remote else set()
    assert {(item.artifact_id, item.attempt) for item in garbage} == {
        (OLD.artifact_id, ""),
        (BROKEN.artifact_id, ""),
    } | dead
    for item in garbage:
        store.delete(item.artifact_id, item.attempt)
    assert find_garbage(store, [C.artifact_id]) == []
    assert store.names() == sorted(one.artifact_id for one in (A, B, C))
    for one in (A, B, C):
        assert (store.folder(one) / "data").read_text() == "12345"


def test_what_is_being_computed_stays(store):
    fill(store)
    if store.is_remote:
        bucket, _, key = f"{store._path}/.leases/{OLD.artifact_id}".partition("/")
        from inbol_ray.store.storage import open_s3_client

        open_s3_client(store.storage).put_object(Bucket=bucket, Key=key, Body=b"someone")
        names = {item.artifact_id for item in find_garbage(store, [C.artifact_id])}
    else:
        from pathlib import Path

        with file_lock(Path(store.root) / f".{OLD.artifact_id}.lock"):
            names = {item.artifact_id for item in find_garbage(store, [C.artifact_id])}
    assert OLD.artifact_id not in names and BROKEN.artifact_id in names
