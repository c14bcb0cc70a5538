"""A subset of a corpus: the same questions whatever the order, classes in proportion, nothing rejected is lost."""

import base64
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from corpus_writers import png, write
from refusal_benchmark_files import mmupd_table

from inbol_ray.config.corpora import CorpusConfig
from inbol_ray.config.load import load_config
from inbol_ray.config.machines import StorageConfig
from inbol_ray.corpora.breakdown import question_pair
from inbol_ray.corpora.sample import StratifiedSample
from inbol_ray.corpora.source import CorpusSource, NotDrawn, read_rows
from inbol_ray.pipeline import build_stages
from inbol_ray.rows import Question, Rejected

ANSWER_TYPES = {"yes/no": 75, "number": 24, "other": 101}


def read(root: Path, dataset: str, split: str, sample: int | None, seed: int = 0) -> tuple[list, list, int]:
    """Questions, rejected rows, and the number that was not drawn."""
    corpus = CorpusConfig(dataset=dataset, split=split, root=str(root), sample=sample)
    rows = list(read_rows(CorpusSource(corpus, str(root), StorageConfig(), f"{root}/images-of-tests", seed)))
    ends = [row.num_questions for row in rows if isinstance(row, NotDrawn)]
    assert len(ends) == (sample is not None)
    kinds = ([row for row in rows if isinstance(row, kind)] for kind in (Question, Rejected))
    return *kinds, sum(ends)


def vqav2_rows() -> list[tuple[dict, dict]]:
    types = [name for name, count in ANSWER_TYPES.items() for _ in range(count)]
    return [
        (
            {"question_id": k, "image_id": 1 if k % 10 else 2, "question": f"What is {k}?"},
            {"question_id": k, "answer_type": answer_type, "answers": [{"answer": "red"}] * 10},
        )
        for k, answer_type in enumerate(types)
    ]


def write_vqav2(root: Path, rows: list[tuple[dict, dict]]) -> Path:
    """Rows of image 2 have no image: every tenth is rejected."""
    questions, annotations = zip(*rows, strict=True)
    write(root / "v2_OpenEnded_mscoco_train2014_questions.json", {"questions": questions})
    write(root / "v2_mscoco_train2014_annotations.json", {"annotations": annotations})
    write(root / "train2014" / "COCO_train2014_000000000001.jpg", png())
    return root


def test_a_subset_keeps_the_answer_types_and_every_rejected_row(tmp_path):
    root = write_vqav2(tmp_path, vqav2_rows())
    everything, rejected, _ = read(root, "vqav2", "train2014", None)
    assert len(everything) == 180 and len(rejected) == 20
    drawn, rejected_too, num_not_drawn = read(root, "vqav2", "train2014", 50)
    assert rejected_too == rejected and (len(drawn), num_not_drawn) == (50, 130)
    kept = iter(everything)
    assert all(question in kept for question in drawn)  # the same questions, in file order
    sizes, shares = (Counter(json.loads(row.meta)["answer_type"] for row in rows) for rows in (everything, drawn))
    for name, size in sizes.items():
        assert abs(shares[name] - 50 * size / 180) < 1


def test_a_subset_does_not_depend_on_the_order_of_the_file(tmp_path):
    rows = vqav2_rows()
    drawn, _, _ = read(write_vqav2(tmp_path / "a", rows), "vqav2", "train2014", 50)
    again, _, _ = read(tmp_path / "a", "vqav2", "train2014", 50)
    assert again == drawn
    mixed, _, _ = read(write_vqav2(tmp_path / "b", random.Random(0).sample(rows, 200)), "vqav2", "train2014", 50)
    assert {row.id for row in mixed} == {row.id for row in drawn}
    other, _, _ = read(tmp_path / "a", "vqav2", "train2014", 50, seed=1)
    assert {row.id for row in other} != {row.id for row in drawn}
    # The first rows of the file are not what is drawn.
    assert {row.id for row in drawn} != {f"vqav2:train2014:{k}" for k in range(1, 56) if k % 10}


def test_a_subset_of_more_than_there_are_is_everything(tmp_path):
    drawn, rejected, num_not_drawn = read(write_vqav2(tmp_path, vqav2_rows()), "vqav2", "train2014", 10_000)
    assert (len(drawn), len(rejected), num_not_drawn) == (180, 20, 0)


def test_own_data_and_vizwiz_keep_answerability_and_duplicates_are_rejected_once(tmp_path):
    write(tmp_path / "a.png", png())
    rows = [
        {"id": k, "question": "What?", "image": "a.png", "answerable": k % 4 != 0}
        | ({"answers": ["x"]} if k % 4 else {})
        for k in range(80)
    ]
    write(tmp_path / "train.jsonl", [*rows, *rows])
    drawn, rejected, num_not_drawn = read(tmp_path, "own", "train", 20)
    assert Counter(row.answerable for row in drawn) == {True: 15, False: 5} and num_not_drawn == 60
    assert Counter(row.reason for row in rejected) == {"duplicate_id": 80}
    vizwiz = [
        {"image": f"{k}.jpg", "question": "What?", "answers": [{"answer": "x"}], "answerable": int(k % 5 > 0)}
        for k in range(50)
    ]
    write(tmp_path / "val.json", vizwiz)
    for row in vizwiz:
        write(tmp_path / "val" / row["image"], png())
    drawn, _, _ = read(tmp_path, "vizwiz", "val", 10)
    assert Counter(row.answerable for row in drawn) == {True: 8, False: 2}


def test_rotations_of_a_question_are_drawn_together(tmp_path):
    head = ["index", "question", "hint", "A", "B", "answer", "category", "image", "source", "l2-category"]
    picture = base64.b64encode(png()).decode()
    rows = [
        # Some rotations say another category than the question itself, which parts them from it no more.
        [str(rotation * 1_000_000 + k), f"Which {k}?", "", "x", "y", "A", f"{k % (3 + rotation)}", picture, "", ""]
        for rotation in (1, 0)
        for k in range(30)
    ]
    write(tmp_path / "MMBench_DEV_EN.tsv", "\n".join("\t".join(row) for row in [head, *rows]) + "\n")
    drawn, _, num_not_drawn = read(tmp_path, "mmbench", "dev_en", 7)
    groups = Counter(json.loads(row.meta)["group"] for row in drawn)
    assert {row.id for row in read(tmp_path, "mmbench", "dev_en", 7)[0]} == {row.id for row in drawn}
    assert len(groups) == 7 and set(groups.values()) == {2} and num_not_drawn == 60 - 14


def test_pairs_that_only_count_together_are_drawn_together(tmp_path):
    twins = [{"index": k, "question": f"Which {k}?"} for k in range(20)]
    unsolvable = [twin | {"type": "upd", "answer": "F"} for twin in twins]
    write(tmp_path / "mmivqd_20240303_base.tsv", mmupd_table(*twins, *unsolvable))
    drawn, _, num_not_drawn = read(tmp_path, "mmivqd_base", "test", 6)
    pairs = Counter(question_pair(row) for row in drawn)
    assert len(pairs) == 6 and set(pairs.values()) == {2} and num_not_drawn == 40 - 12


def test_only_images_of_drawn_questions_are_written(tmp_path):
    rows = [
        {"id": k, "question": "What?", "image": {"bytes": png(k), "path": None}, "answers": ["x"]} for k in range(40)
    ]
    write(tmp_path / "train.parquet", rows)
    drawn, _, _ = read(tmp_path, "own", "train", 5)
    written = {str(path) for path in (tmp_path / "images-of-tests").rglob("*") if path.is_file()}
    assert written == {row.images[0] for row in drawn} and len(written) == 5


def test_memory_holds_no_more_ranks_than_are_wanted(tmp_path):
    with StratifiedSample(10, 0) as sample:
        for k in range(2_000):
            sample.add(Question(f"oven:entity_train:{k}", "oven", "entity_train", [], "What?", "entity"))
        assert [len(heap) for heap in sample._heaps.values()] == [10]
        assert len(list(sample.drawn())) == 10


def stage_ids(*options: str) -> dict[str, str]:
    stages = build_stages(load_config(["--config", "jobs/configs/paper_llava15_7b.yaml", *options]))
    return {name: stage.artifact_id for name, stage in stages.items()}


def test_a_seed_makes_corpora_stale_only_where_it_draws(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    whole = "[{dataset: own, split: a, root: b}]"
    drawn = "[{dataset: own, split: a, root: b, sample: 5}]"
    one, other = (stage_ids("--corpora", whole, "--leakage.on_leak", "error", "--seed", seed) for seed in "12")
    assert one["questions"] == other["questions"] and one["benchmarks"] != other["benchmarks"]
    one, other = (stage_ids("--corpora", drawn, "--leakage.on_leak", "error", "--seed", seed) for seed in "12")
    assert one["questions"] != other["questions"]
    smaller = stage_ids("--corpora", drawn.replace("5", "4"), "--leakage.on_leak", "error", "--seed", "1")
    assert smaller["questions"] != one["questions"] and smaller["benchmarks"] == one["benchmarks"]


@pytest.mark.parametrize(
    ("field", "stage"),
    [("balance.classes", "data"), ("training.sft.sample", "sft"), ("unanswerable.num_kept", "unanswerable")],
)
def test_a_cut_makes_the_stage_that_makes_it_stale(monkeypatch, field, stage):
    monkeypatch.chdir(Path(__file__).parents[2])
    value = "{known: 0.5, mixed: 0.2, unknown: 0.3}" if field == "balance.classes" else "7"
    before, after = stage_ids(), stage_ids(f"--{field}", value)
    changed = {name for name in before if before[name] != after[name]}
    assert stage in changed and not changed & {"benchmarks", "questions"}
