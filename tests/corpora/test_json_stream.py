"""The walk through large JSON files against the standard library, whatever the file and wherever a chunk ends."""

import json
import tracemalloc

import pytest
from corpus_writers import write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inbol_ray.config.machines import StorageConfig
from inbol_ray.corpora import json_stream
from inbol_ray.corpora.corpus_files import CorpusFiles
from inbol_ray.corpora.json_stream import stream_list, stream_object
from inbol_ray.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)


def files_in(folder) -> CorpusFiles:
    return CorpusFiles(str(folder), StorageConfig())


@same_folder
@given(
    items=st.lists(VALUES, max_size=6),
    before=st.dictionaries(st.text(max_size=5).filter(lambda key: key != "rows"), VALUES, max_size=3),
    chunk=st.integers(1, 30),
    indent=st.sampled_from([None, 1]),
    as_ascii=st.booleans(),
)
def test_every_chunking_gives_what_json_load_gives(tmp_path, items, before, chunk, indent, as_ascii):
    document = before | {"rows": items} | {f"{key}'": value for key, value in before.items()}
    path = tmp_path / "a.json"
    with pytest.MonkeyPatch.context() as patch, files_in(tmp_path) as files:
        patch.setattr(json_stream, "CHUNK_BYTES", chunk)
        path.write_text(json.dumps(document, indent=indent, ensure_ascii=as_ascii), encoding="utf-8")
        assert list(stream_list(files, "a.json", "rows", key="rows")) == items
        assert list(stream_object(files, "a.json", "rows")) == list(document.items())
        path.write_text(json.dumps(items, indent=indent, ensure_ascii=as_ascii), encoding="utf-8")
        assert list(stream_list(files, "a.json", "rows")) == items


@pytest.mark.parametrize(
    "text",
    ["", " ", "[", "[1", "[1,", "[1 2]", "[1,]", '["a', '[{"a": }]', '[{"a" 1}]', "]", "[" * 200_000, "nul", "{}"],
)
def test_a_broken_list_is_an_error_that_names_the_file(tmp_path, text):
    path = write(tmp_path / "a.json", text)
    with files_in(tmp_path) as files, pytest.raises(DataError, match="expected some rows") as caught:
        list(stream_list(files, "a.json", "some rows"))
    assert path in str(caught.value)


@pytest.mark.parametrize(
    "text", ["{", '{"a"', '{"a": 1', '{"a": 1 "b": 2}', '{"rows": {}}', '{"a": []}', "[]", "{1: 2}"]
)
def test_a_broken_object_is_an_error(tmp_path, text):
    write(tmp_path / "a.json", text)
    with files_in(tmp_path) as files, pytest.raises(DataError, match="expected some rows"):
        list(stream_list(files, "a.json", "some rows", key="rows"))


def test_a_number_too_long_for_python_does_not_take_the_file_down(tmp_path):
    write(tmp_path / "a.json", f'[{{"a": 1}}, {{"a": {"9" * 5000}}}, {{"a": 3}}]')
    with files_in(tmp_path) as files:
        found = [row["a"] for row in stream_list(files, "a.json", "rows")]
    assert found == [1, "9" * 5000, 3]


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for size in (6_000, 48_000):
        write(tmp_path / "a.json", {"rows": [{"id": k, "text": "x" * 500} for k in range(size)]})
        tracemalloc.start()
        with files_in(tmp_path) as files:
            assert sum(1 for _ in stream_list(files, "a.json", "rows", key="rows")) == size
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]  # the file is eight times as large
