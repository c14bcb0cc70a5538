"""Predictions on every benchmark with a scripted engine or server: who is asked what, how it is judged, what a kill
leaves.

The engine is scripted because the test needs exact replies and a death on demand; `tests/ray_local/test_evaluation.py`
runs the same through vLLM. Files, readers, parts and judging are real.
"""

import base64
import json
import math
import string
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmark_files import REFUSAL, SPLITS, write_benchmarks
from chat_server import chat_server, completion, question_of
from refusal_benchmark_files import REFUSAL_SPLITS
from stage_context import stage_context

from inbol_ray.config.corpora import BenchmarkConfig
from inbol_ray.config.sampling import ClassConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.corpora.registry import READERS
from inbol_ray.corpora.source import CorpusSource, read_rows
from inbol_ray.corpora.stage import BENCHMARK_QUESTION
from inbol_ray.errors import DataError, EngineError
from inbol_ray.evaluation import replies
from inbol_ray.evaluation.benchmark_scores import score_benchmarks
from inbol_ray.evaluation.predict import predict
from inbol_ray.images import read_image_bytes
from inbol_ray.method.prompts import SHORT_ANSWER_SUFFIX
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.rows import PREDICTION, Question
from inbol_ray.sampling.in_hand import reply_table
from inbol_ray.sampling.parts import open_parts
from inbol_ray.sampling.vllm_engine import Reply

GOLD = {
    "vqav2": "Red.",
    "scienceqa": "A",
    "scienceqa_full": "A. rock",
    "oven": "It is a Cessna 172.",
    "aokvqa": "The answer is B",
    "aokvqa_direct": "taxi",
    "gqa": "No.",
    "mmbench": "bus",
    "vizwiz": "red",
}
"""A right reply for each benchmark whose questions all have the same; those that cannot be answered are refused."""


def right_reply(question: Question) -> str:
    if question.answerable is False:
        return f"B. {REFUSAL}" if question.dataset == "beyondvisqa" else "I don't know."
    if question.dataset == "kie_hvqa":
        return f"```json\n{question.gold_answers[0]}\n```"
    if question.dataset in ("tubench_ucr", "tubench_uvqa"):
        return f"{question.gold_answers[0]}. It says so."
    if question.dataset == "mmmu":
        return "B" if question.choices else "So it is 5.0"
    if question.dataset in REFUSAL_SPLITS and question.choices:
        return string.ascii_uppercase[question.gold_index]
    if question.dataset == "own":
        return "B" if question.choices else "Lamp"
    return GOLD[question.dataset]


class Engine:
    """Stands in for `generate`: keeps what it was asked, and dies after `blocks_left` blocks where that is given."""

    def __init__(self, reply_to, blocks_left: int | None = None) -> None:
        self.reply_to, self.blocks_left = reply_to, blocks_left
        self.calls: list[pa.Table] = []

    def __call__(self, requests, checkpoints, pool, decoding, *, folder, unit, progress=None):
        self.calls.append(pa.concat_tables(requests))
        assert set(self.calls[-1]["checkpoint"].to_pylist()) == set(checkpoints)
        parts = open_parts(folder, pool.storage, requests, {"decoding": repr(decoding)}, block_size=4)
        for block in sorted(set(range(parts.num_blocks)) - parts.finished()):
            if self.blocks_left == 0:
                raise EngineError("the power went out")
            if self.blocks_left is not None:
                self.blocks_left -= 1
            rows = parts.read_requests(block).to_pylist()
            answers = [self.reply_to(row) for row in rows]
            given = [one if isinstance(one, Reply) else Reply(texts=[one]) for one in answers]
            parts.write(block, [row["id"] for row in rows], reply_table(given))
        return parts

    @property
    def asked(self) -> list[str]:
        return [id for call in self.calls for id in call["id"].to_pylist()]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """(benchmarks of the configuration, their questions by id)"""
    benchmarks = write_benchmarks(tmp_path_factory.mktemp("corpora"))
    questions = {}
    for benchmark in benchmarks:
        corpus = BenchmarkConfig(**benchmark)
        images = str(Path(benchmark["root"]) / "embedded")
        found = [
            row
            for row in read_rows(CorpusSource(corpus, corpus.root, image_folder=images))
            if isinstance(row, Question)
        ]
        assert found, benchmark["dataset"]
        questions |= {question.id: question for question in found}
    return benchmarks, questions


@pytest.fixture
def model_folder(tmp_path):
    def make(name: str, layers: int = 2) -> str:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"layers": layers}))
        for file in ("tokenizer_config.json", "processor_config.json"):
            (folder / file).write_text("{}")
        (folder / "model.safetensors").write_bytes(name.encode())
        return str(folder)

    return make


@pytest.fixture
def run(corpora, tmp_path, model_folder, monkeypatch):
    """Runs the stage with an engine; evaluation settings as keyword arguments. Returns predictions by (method, id)."""
    benchmarks, questions = corpora
    base = model_folder("base")
    numbers = iter(range(100))

    def predictions(
        engine: Engine, datasets=tuple(SPLITS), prompts: dict | None = None, **evaluation
    ) -> dict[tuple[str, str], dict]:
        monkeypatch.setattr(replies, "generate", engine)
        config = PipelineConfig.model_validate(
            {
                "name": "test",
                "output_dir": str(tmp_path / "out"),
                "base_model": {"kind": "checkpoint", "path": base},
                "prompts": prompts or {},
                "evaluation": {"methods": ["original"], "benchmarks": benchmarks, "sample_confidence": False}
                | evaluation,
            }
        )
        folder = tmp_path / f"stage{next(numbers)}"
        (folder / "benchmarks").mkdir(parents=True)
        rows = [
            question.to_row() | {"benchmark": question.dataset, "domain": "in_domain"}
            for question in questions.values()
            if question.dataset in datasets
        ]
        table = pa.Table.from_pylist(rows, schema=BENCHMARK_QUESTION)
        pq.write_table(table, folder / "benchmarks" / "benchmarks.parquet")
        context = stage_context(folder, config, "evaluate", benchmarks=folder / "benchmarks")
        counts = predict(context)
        context.close()
        found = pq.read_table(folder / "predictions.parquet").to_pylist()
        assert counts["predictions"] == len(found)
        return {(row["method"], row["id"]): row for row in found}

    return predictions


def test_every_corpus_has_a_small_copy():
    assert SPLITS.keys() == READERS.keys()


def test_right_replies_are_right_on_every_benchmark(run, corpora):
    questions = corpora[1]
    found = run(Engine(lambda row: right_reply(questions[row["id"]])))
    assert len(found) == len(questions)
    for (_, id), row in found.items():
        expected = "refused" if questions[id].answerable is False else "correct"
        assert (id, row["response"], row["outcome"]) == (id, right_reply(questions[id]), expected)
        assert not row["unparsed"] and row["score"] == (0.0 if expected == "refused" else 1.0)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("I don't know.", "refused"),
        ("zebra crossing", "wrong"),
        ("  ", "error"),
        (Reply(reason="unreadable_image", detail="no such file"), "error"),
    ],
)
def test_refusals_wrong_and_missing_replies_on_every_benchmark(run, corpora, reply, outcome):
    for (_, id), row in run(Engine(lambda _row: reply)).items():
        assert (id, row["outcome"]) == (id, outcome)
        assert row["unparsed"] is (outcome == "wrong" and bool(corpora[1][id].choices))


def test_the_refusal_prompt_and_outside_models_are_asked_for_themselves(run, model_folder):
    engine = Engine(lambda row: "I don't know." if "If you cannot answer" in row["prompt"] else row["checkpoint"][-4:])
    models = {"mine": {"checkpoint": model_folder("mine")}}
    found = run(engine, ("gqa",), methods=["original", "refusal_prompt"], models=models)
    replies_of = {method: row["response"] for (method, _), row in found.items()}
    assert replies_of == {"original": "base", "refusal_prompt": "I don't know.", "mine": "mine"}
    # One architecture: one pool of engines serves all three, weights side by side.
    (call,) = engine.calls
    checkpoints = call["checkpoint"].to_pylist()
    assert checkpoints == sorted(checkpoints, key=checkpoints.index) and len(set(checkpoints)) == 2


def test_another_architecture_has_engines_of_its_own(run, model_folder):
    engine = Engine(lambda row: "no")
    run(engine, ("gqa", "vqav2"), models={"large": {"checkpoint": model_folder("large", layers=9)}})
    assert [len(set(call["checkpoint"].to_pylist())) for call in engine.calls] == [1, 1]


def test_the_same_weights_under_two_names_are_asked_once(run, model_folder):
    engine = Engine(lambda row: "no")
    twin = Path(model_folder("twin"))
    (twin / "model.safetensors").write_bytes(b"base")
    found = run(engine, ("gqa",), models={"twin": {"checkpoint": str(twin)}})
    assert len(found) == 4 and len(engine.asked) == 2


def test_only_the_configured_pairs_are_asked(run, model_folder):
    pairs = [("original", "gqa"), ("mine", "vqav2")]
    found = run(Engine(lambda row: "no"), models={"mine": {"checkpoint": model_folder("mine")}}, pairs=pairs)
    assert {(method, row["benchmark"]) for (method, _), row in found.items()} == set(pairs)


def test_a_killed_evaluation_goes_on_with_the_examples_it_lacks(run):
    dying = Engine(lambda row: "no", blocks_left=3)
    with pytest.raises(EngineError, match="the power went out"):
        run(dying)
    second = Engine(lambda row: "no")
    found = run(second)
    assert len(second.asked) == len(dying.asked) - 3 * 4
    assert set(second.asked) < set(dying.asked)
    third = Engine(lambda row: pytest.fail("asked again"))
    assert run(third) == found and not third.calls


def test_a_benchmark_or_a_model_more_asks_only_what_is_new(run, model_folder):
    run(Engine(lambda row: "no"), ("gqa",))
    more = Engine(lambda row: "no")
    run(more, ("gqa", "vizwiz"))
    assert all(id.startswith("vizwiz:") for id in more.asked) and len(more.asked) == 2
    other = Engine(lambda row: "yes")
    found = run(other, ("gqa", "vizwiz"), models={"mine": {"checkpoint": model_folder("mine")}})
    assert len(other.asked) == 4 and set(other.calls[0]["checkpoint"].to_pylist()) == {
        row["checkpoint"] for (method, _), row in found.items() if method == "mine"
    }


def test_other_settings_that_change_replies_ask_again(run):
    run(Engine(lambda row: "no"), ("gqa",), max_tokens=16)
    again = Engine(lambda row: "yes")
    found = run(again, ("gqa",), max_tokens=32)
    assert len(again.asked) == 2 and {row["response"] for row in found.values()} == {"yes"}


def test_a_new_benchmark_is_a_reader_and_a_line(run, corpora, tmp_path, monkeypatch):
    def read_riddles(files, split):
        yield Question(f"riddles:{split}:1", "riddles", split, [], "What has teeth?", "open", gold_answers=["a comb"])

    monkeypatch.setitem(READERS, "riddles", read_riddles)
    benchmark = {"dataset": "riddles", "split": "test", "root": str(tmp_path), "domain": "out_of_domain"}
    (question,) = read_rows(CorpusSource(BenchmarkConfig(**benchmark), str(tmp_path)))
    monkeypatch.setitem(corpora[1], question.id, question)
    engine = Engine(lambda row: "Comb.")
    found = run(engine, ("riddles",), benchmarks=[benchmark])
    assert engine.calls[0]["prompt"].to_pylist() == [
        DEFAULT_FAMILY.chat.prompt("What has teeth?\n" + SHORT_ANSWER_SUFFIX, num_images=0)
    ]
    assert [row["outcome"] for row in found.values()] == ["correct"]
    (scored,) = score_benchmarks(pa.Table.from_pylist(list(found.values()), schema=PREDICTION), ClassConfig())
    assert (scored["benchmark"], scored["acc"]) == ("riddles", 100.0)


def test_rotations_and_classes_come_with_the_predictions(run):
    found = run(Engine(lambda row: "B"), ("mmbench", "gqa"))
    groups = {id: row["group"] for (_, id), row in found.items()}
    assert groups["mmbench:dev_en:1000007"] == groups["mmbench:dev_en:7"] == "mmbench:dev_en:7"
    assert groups["gqa:testdev_balanced:00"] is None
    assert json.loads(found["original", "gqa:testdev_balanced:01"]["classes"])["form"] == "open"


def test_a_file_of_replies_stands_beside_checkpoints_and_nothing_is_asked_for_it(run, tmp_path):
    file = tmp_path / "theirs.jsonl"
    rows = [
        {"id": "gqa:testdev_balanced:00", "reply": "No.", "model": "theirs", "confidence": 0.75},
        {"id": "gqa:testdev_balanced:00", "reply": "Yes.", "model": "another"},
        {"id": "nowhere", "reply": "Yes."},
        {"id": "gqa:testdev_balanced:01", "reply": "Yes.", "seed": 7},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    engine = Engine(lambda row: "no")
    found = run(engine, ("gqa", "vqav2"), models={"theirs": {"replies": str(file)}})
    assert {checkpoint for call in engine.calls for checkpoint in call["checkpoint"].to_pylist()} == {
        row["checkpoint"] for (method, _), row in found.items() if method == "original"
    }
    theirs = {id: row for (method, id), row in found.items() if method == "theirs"}
    assert {id: row["outcome"] for id, row in theirs.items()} == {
        "gqa:testdev_balanced:00": "correct",
        "gqa:testdev_balanced:01": "error",  # vqav2, to which it has no reply at all, is not missing
    }
    first = theirs["gqa:testdev_balanced:00"]
    assert (first["confidence"], first["checkpoint"]) == (0.75, f"replies:{file}")
    assert found["original", "gqa:testdev_balanced:00"]["confidence"] is None
    rejected = pq.read_table(next(tmp_path.glob("stage*")) / "rejected.parquet")["reason"].to_pylist()
    assert sorted(rejected) == ["other_model", "other_model", "unknown_id"]


def test_a_useless_file_of_replies_is_told_before_engines_start(run, tmp_path):
    file = tmp_path / "theirs.jsonl"
    file.write_text('{"id": "gqa:testdev_balanced:00", "reply": "No.", "model": "another"}')
    engine = Engine(lambda row: "no")
    with pytest.raises(DataError, match="found 'another' and 0, expected 'theirs' and 0"):
        run(engine, ("gqa",), models={"theirs": {"replies": str(file)}})
    assert not engine.calls


@pytest.mark.parametrize("system", [None, "vicuna_v1"])
def test_an_endpoint_gets_the_words_and_images_that_a_checkpoint_gets(run, corpora, system):
    engine = Engine(lambda row: "no")
    with chat_server(lambda *_: (200, completion("no"))) as server:
        endpoint = {"url": server.url, "model": "m"}
        models = {"far": {"endpoint": endpoint}, "far_prompt": {"endpoint": endpoint, "refusal_instruction": True}}
        run(engine, methods=["original", "refusal_prompt"], models=models, prompts={"system": system})
    sent = []
    for body in server.bodies:
        user, content = question_of(body), body["messages"][-1]["content"]
        images = [] if isinstance(content, str) else [part["image_url"]["url"] for part in content[:-1]]
        told = body["messages"][0]["content"] if len(body["messages"]) > 1 else None
        data = [base64.b64decode(image.partition(",")[2]) for image in images]
        sent.append((DEFAULT_FAMILY.chat.prompt(user, num_images=len(images), system=told), data))
        assert (body["max_tokens"], body["temperature"]) == (16, 0)
    (call,) = engine.calls
    asked = [(row["prompt"], [read_image_bytes(one) for one in row["images"]]) for row in call.to_pylist()]
    assert sorted(sent) == sorted(asked) and len(sent) > len(corpora[1])


def test_what_a_server_says_of_its_reply_is_judged_and_counted(run, tmp_path):
    def behave(_number, body):
        if "the image" in question_of(body).lower():
            return 400, {"error": {"message": "no such thing"}}
        refusal = "Red." if "What" in question_of(body) else None
        logprobs = {"content": [{"logprob": math.log(0.25)}, {"logprob": 0.0}]}
        return 200, completion("Red.", refusal=refusal, finish="length", logprobs=logprobs)

    prices = {"price_per_million_input_tokens": 1000.0, "price_per_million_output_tokens": 10_000.0}
    with chat_server(behave) as server:
        models = {"far": {"endpoint": {"url": server.url, "model": "m"} | prices}}
        found = run(Engine(pytest.fail), ("vqav2", "vizwiz"), methods=[], models=models)
    by_outcome = {}
    for row in found.values():
        by_outcome.setdefault(row["outcome"], []).append(row)
        assert row["confidence"] == (pytest.approx(0.5) if row["outcome"] in ("correct", "wrong") else None)
        assert row["checkpoint"] == f"m at {server.url}"
    (usage,) = json.loads((tmp_path / "stage0" / "usage.json").read_text())
    answered = len(found) - usage["rejected"]
    assert len(by_outcome.get("error", ())) == usage["rejected"]
    assert usage["told_refusals"] == len(by_outcome["refused"]) > 0
    assert usage["cut_off"] == answered - usage["told_refusals"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["untold"]) == (10 * answered, 2 * answered, 0)
    assert usage["cost"] == pytest.approx(answered * (0.01 + 0.02))


def test_a_second_evaluation_asks_an_endpoint_only_what_is_new(run):
    engine = Engine(pytest.fail)
    with chat_server(lambda *_: (200, completion("no"))) as server:
        models = {"far": {"endpoint": {"url": server.url, "model": "m"}}}
        found = run(engine, ("gqa",), methods=[], models=models)
        assert len(server.bodies) == len(found) == 2
        # How fast and under which name it is asked changes no reply.
        slower = {"endpoint": {"url": server.url, "model": "m", "max_concurrency": 1, "timeout_s": 5}}
        run(engine, ("gqa", "vizwiz"), methods=[], models={"other": slower})
        assert len(server.bodies) == 4
        run(engine, ("gqa",), methods=[], models=models, max_tokens=17)
        assert len(server.bodies) == 6
        run(engine, ("gqa",), methods=[], models=models, prompts={"system": "Be short."})
        assert len(server.bodies) == 8
