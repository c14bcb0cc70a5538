"""Rows of files of replies: what is read, and each kind of row that is rejected."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import DataError
from inbol_ray.evaluation.reply_file import FileReply, Questions, read_replies
from inbol_ray.rows import Question, Rejected


def _benchmark(row_id: str, **fields) -> dict:
    dataset, split, _ = row_id.split(":")
    question = Question(row_id, dataset, split, [], "What is it?", "open", gold_answers=["cup"])
    return question.to_row() | {"benchmark": dataset, "domain": "in_domain"} | fields


QUESTIONS = Questions([_benchmark("vqav2:val:1"), _benchmark("vqav2:val:2"), _benchmark("gqa:testdev:2")])
OWN = {"question": "What is it?", "answers": ["cup"], "reply": "cup"}
CHOICE = {"question": "Which?", "choices": ["cat", "bus"], "gold": "B", "reply": "B"}


def _read(tmp_path, *rows, **options) -> list[FileReply | Rejected]:
    path = tmp_path / "replies.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return list(read_replies(str(path), QUESTIONS, StorageConfig(), **options))


def test_rows_that_name_a_question(tmp_path):
    rows = _read(
        tmp_path,
        {"id": "vqav2:val:1", "reply": "cup", "model": "m", "seed": "3", "confidence": 1},
        {"id": 1, "reply": " "},
        {"id": "2", "reply": "cup", "benchmark": "gqa", "domain": "in_domain", "confidence": float("nan")},
    )
    assert [row.question["id"] for row in rows] == ["vqav2:val:1", "vqav2:val:1", "gqa:testdev:2"]
    assert [(row.model, row.seed, row.confidence, row.reply) for row in rows] == [
        ("m", 3, 1.0, "cup"),
        (None, None, None, ""),
        (None, None, None, "cup"),
    ]
    assert not any(row.is_own for row in rows)


def test_rows_that_bring_their_question(tmp_path):
    first, second, third, fourth, fifth = _read(
        tmp_path,
        OWN | {"answers": "cup", "image": "a.png"},
        CHOICE | {"benchmark": "mine", "id": 7, "domain": "in_domain"},
        {"question": "What did he say?", "answerable": False, "reply": "?"},
        OWN | {"images": ["a.png", "b.png"]},
        OWN | {"answers": "cup", "image": "a.png", "model": "other"},
    )
    assert first.question["gold_answers"] == ["cup"] and first.question["images"] == ["a.png"]
    assert (second.question["id"], second.question["benchmark"], second.question["domain"]) == (
        "mine:file:7",
        "mine",
        "in_domain",
    )
    assert (second.question["answer_kind"], second.question["gold_index"]) == ("mc", 1)
    assert third.question["answerable"] is False and third.question["gold_answers"] == []
    # Two models' replies to one question meet; another picture makes another question.
    assert first.question["id"] == fifth.question["id"] != fourth.question["id"]
    assert first.is_own and first.question["domain"] == "out_of_domain" and first.question["benchmark"] == "own"


@pytest.mark.parametrize(("gold", "index"), [(1, 1), ("B", 1), ("bus", 1), ("0", 0), ("cat", 0)])
def test_the_right_option_by_index_letter_or_text(tmp_path, gold, index):
    assert _read(tmp_path, CHOICE | {"gold": gold})[0].question["gold_index"] == index


@pytest.mark.parametrize(
    ("row", "reason", "words"),
    [
        ("{", "malformed_row", "line 1"),
        ("[1]", "wrong_type", "expected an object"),
        ({"id": "vqav2:val:1"}, "missing_reply", "no such field among id"),
        ({"id": "vqav2:val:1", "reply": None}, "missing_reply", "found null"),
        ({"id": "vqav2:val:1", "reply": 3}, "wrong_type", "field 'reply': found int 3"),
        ({"id": "vqav2:val:1", "reply": "\ud800"}, "bad_text", "valid Unicode"),
        ({"reply": "cup"}, "missing_field", "or `question` with `answers`"),
        ({"id": "vqav2:val:9", "reply": "cup"}, "unknown_id", "such as 'vqav2:val:1'"),
        ({"id": "1", "reply": "cup", "benchmark": "gqa"}, "unknown_id", "a question of benchmark 'gqa'"),
        ({"id": "2", "reply": "cup"}, "ambiguous_id", "one of vqav2:val:2, gqa:testdev:2"),
        ({"id": True, "reply": "cup"}, "wrong_type", "field 'id'"),
        ({"id": "1", "reply": "a", "domain": "out_of_domain"}, "other_domain", "'in_domain', as the benchmark 'vqav2'"),
        (OWN | {"domain": "elsewhere"}, "other_domain", "'in_domain' or 'out_of_domain'"),
        (OWN | {"domain": ["in_domain"]}, "other_domain", "found list"),
        (OWN | {"answers": None}, "missing_answers", "`answerable: false`"),
        (OWN | {"answers": []}, "no_answers", "field 'answers'"),
        (OWN | {"answers": [1]}, "wrong_type", "text in every answer"),
        (OWN | {"question": "  "}, "empty_question", "field 'question'"),
        (OWN | {"answerable": "yes"}, "wrong_type", "true, false or null"),
        (OWN | {"answer_kind": "essay"}, "wrong_type", "one of vqa10, mc"),
        (OWN | {"answer_kind": ["mc"]}, "wrong_type", "one of vqa10, mc"),
        (OWN | {"answer_kind": "mc"}, "bad_choices", "0 choices"),
        (OWN | {"images": [3]}, "wrong_type", "a list of texts"),
        (CHOICE | {"choices": ["cat"]}, "bad_choices", "1 choices"),
        (CHOICE | {"gold": 2}, "gold_out_of_range", "an index from 0 to 1"),
        (CHOICE | {"gold": "truck"}, "wrong_type", "the index of the right choice"),
        (CHOICE | {"gold": None}, "missing_field", "the right option"),
        (OWN | {"confidence": 87}, "bad_confidence", "Divide percentages by 100"),
        (OWN | {"confidence": True}, "bad_confidence", "a number from 0 to 1"),
        (OWN | {"confidence": "0.5"}, "bad_confidence", "a number from 0 to 1"),
        (OWN | {"seed": -1}, "wrong_type", "0 to 2147483647"),
        (OWN | {"seed": 2**31}, "wrong_type", "0 to 2147483647"),
        (OWN | {"model": 5}, "wrong_type", "field 'model'"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path, row, reason, words):
    (rejected,) = _read(tmp_path, row)
    assert (type(rejected), rejected.reason) == (Rejected, reason)
    assert words in rejected.detail and rejected.detail.startswith(f"{tmp_path}/replies.jsonl, line 1")
    assert "line 1" in rejected.id


def test_without_own_questions_only_ids_count(tmp_path):
    (rejected,) = _read(tmp_path, OWN, own_questions=False)
    assert rejected.reason == "missing_field" and "answers" not in rejected.detail


def test_parquet_says_the_same_as_json_lines(tmp_path):
    rows = [OWN | {"confidence": 0.5, "model": None}, OWN | {"reply": None, "confidence": None, "model": "m"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "replies.parquet")
    found = list(read_replies(str(tmp_path / "replies.parquet"), QUESTIONS, StorageConfig()))
    expected = _read(tmp_path, *rows)
    assert found[0].question == expected[0].question and found[0].confidence == 0.5 and found[0].model is None
    assert (found[1].reason, expected[1].reason) == ("missing_reply", "missing_reply")


def test_fields_that_nothing_reads_are_named(tmp_path):
    ignored = set()
    _read(tmp_path, OWN | {"prompt": "p"}, OWN | {"latency": 1}, ignored=ignored)
    assert ignored == {"prompt", "latency"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"id,reply", "ends in .jsonl or .parquet"),
        ("a.jsonl", None, "no such file"),
        ("a.parquet", b"not parquet", "not a readable Parquet file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(read_replies(str(tmp_path / name), QUESTIONS, StorageConfig()))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("aB1. \ud800", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "bytes"]), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)
@given(row=st.dictionaries(st.sampled_from([*OWN, *CHOICE, "id", "confidence", "seed", "images"]), VALUES))
def test_any_row_is_read_or_rejected(row, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "replies.jsonl"
    path.write_text(json.dumps(row))
    (found,) = read_replies(str(path), QUESTIONS, StorageConfig())
    assert isinstance(found, FileReply) or (found.reason and str(path) in found.detail)
