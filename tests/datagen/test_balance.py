"""Balance of training data: shares of classes and corpora, and what was left out is counted."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stage_context import stage_context

from inbol_ray.config.load import load_config
from inbol_ray.config.sampling import BalanceConfig
from inbol_ray.datagen.balance import balanced
from inbol_ray.datagen.build import build_data
from inbol_ray.errors import DataError
from inbol_ray.rows import SAMPLED_ANSWERS

SIZES = {
    ("known", "vqav2"): 600,
    ("known", "oven"): 90,
    ("known", "scienceqa"): 30,
    ("mixed", "vqav2"): 100,
    ("mixed", "oven"): 100,
    ("unknown", "oven"): 400,
    ("unknown", "mismatch"): 100,
}
STRATA = [stratum for stratum, count in SIZES.items() for _ in range(count)]
IDS = [f"{corpus}:train:{k}" for k, (_, corpus) in enumerate(STRATA)]
SHARES = {"known": 0.3, "mixed": 0.2, "unknown": 0.5}


def kept_of(seed: int = 0, order: list[int] | None = None, **settings) -> list[str]:
    order = order or list(range(len(IDS)))
    classes, corpora = zip(*(STRATA[place] for place in order), strict=True)
    ids = [IDS[place] for place in order]
    places = balanced(ids, classes, corpora, BalanceConfig(**settings), seed)
    assert places == sorted(places)
    return [ids[place] for place in places]


def count(ids: list[str]) -> Counter:
    return Counter(STRATA[IDS.index(id)] for id in ids)


def test_nothing_is_cut_by_default():
    assert kept_of() == IDS


def test_classes_have_their_shares_and_keep_what_they_can():
    sizes = count(kept_of(classes=SHARES))
    by_class = Counter()
    for (knowledge, _), number in sizes.items():
        by_class[knowledge] += number
    assert by_class == {"known": 300, "mixed": 200, "unknown": 500}  # all of Mixed and of Unknown
    # Known, which is cut, keeps its corpora's shares to within a question.
    for corpus in ("vqav2", "oven", "scienceqa"):
        assert abs(sizes["known", corpus] - 300 * SIZES["known", corpus] / 720) < 1


def test_a_class_that_is_cut_can_keep_as_many_of_each_corpus():
    sizes = count(kept_of(classes=SHARES, corpora="equal"))
    assert [sizes["known", corpus] for corpus in ("scienceqa", "oven", "vqav2")] == [30, 90, 180]


def test_a_share_of_zero_leaves_a_class_out():
    sizes = count(kept_of(classes={"known": 0.5, "mixed": 0, "unknown": 0.5}))
    assert {knowledge for knowledge, _ in sizes} == {"known", "unknown"} and sum(sizes.values()) == 1_000


def test_what_stays_depends_on_ids_and_seed_alone():
    kept = kept_of(classes=SHARES)
    assert set(kept_of(classes=SHARES, order=list(reversed(range(len(IDS)))))) == set(kept)
    assert set(kept_of(classes=SHARES, seed=1)) != set(kept)


def test_a_class_without_a_question_cannot_have_a_share():
    with pytest.raises(DataError, match=r"mixed is to be 20% of the training data, found no question .* among 1"):
        balanced(["a"], ["known"], ["own"], BalanceConfig(classes={"known": 0.8, "mixed": 0.2, "unknown": 0}), 0)


@pytest.fixture
def answers(tmp_path) -> Path:
    """20 Known, 10 Mixed and 30 Unknown questions."""
    rows = [
        {
            "id": f"own:train:{k}",
            "dataset": "own",
            "split": "train",
            "images": ["a.png"],
            "question": f"What is {k}?",
            "answer_kind": "open",
            "gold_answers": ["it"],
            "choices": [],
            "meta": "{}",
            "responses": ["it", "no"],
            "outcomes": ["correct", "wrong"],
            "confidence": 1.0 if k < 20 else 0.5 if k < 30 else 0.0,
        }
        for k in range(60)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=SAMPLED_ANSWERS), tmp_path / "answers.parquet")
    return tmp_path


def build(folder: Path, answers: Path, *options: str) -> tuple[dict, dict[str, list]]:
    folder.mkdir()
    root = Path(__file__).parents[2]
    config = load_config(["--config", str(root / "jobs" / "configs" / "demo.yaml"), *options])
    counts = build_data(stage_context(folder, config, "data", confidence=answers))
    return counts, {
        name: pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("sft", "idk", "preferences")
    }


def test_the_stage_cuts_all_three_files_alike_and_counts_what_it_left_out(tmp_path, answers):
    counts, rows = build(tmp_path / "balanced", answers, "--balance.classes", "{known: 0.4, mixed: 0.2, unknown: 0.4}")
    assert {name: counts[name] for name in ("known", "mixed", "unknown")} == {"known": 20, "mixed": 10, "unknown": 20}
    assert [counts[f"{name}_left_out"] for name in ("known", "mixed", "unknown")] == [0, 0, 10]
    assert Counter(row["knowledge"] for row in rows["idk"]) == {"known": 20, "unknown": 20}
    assert {row["id"] for row in rows["sft"]} == {row["id"] for row in rows["preferences"]}
    plain, all_rows = build(tmp_path / "plain", answers)
    assert plain == {"known": 20, "mixed": 10, "unknown": 30, "sft": 60, "idk": 50, "preferences": 60}
    assert [row["id"] for row in all_rows["sft"]] == [f"own:train:{k}" for k in range(60)]
