"""Scores against numbers worked out by hand, on tables with refusals and errors."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inbol_ray.errors import DataError, RowCountError
from inbol_ray.evaluation.metrics import build_results
from inbol_ray.evaluation.seeds import summarise_seeds
from inbol_ray.method.intervals import t_interval, t_quantile
from inbol_ray.rows import PREDICTION


def _row(number: int, outcome: str, **columns) -> dict:
    return {
        "id": f"vqav2:val:{number}",
        "benchmark": "vqav2",
        "domain": "in_domain",
        "method": "original",
        "seed": 0,
        "checkpoint": "base",
        "images": ["a.png"],
        "question": "What is it?",
        "gold_answers": ["red"],
        "answerable": True,
        "response": "red",
        "outcome": outcome,
        "unparsed": False,
        "score": 1.0 if outcome == "correct" else 0.0,
        "base_confidence": None,
    } | columns


def _table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=PREDICTION)


@pytest.mark.parametrize(("df", "expected"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622)])
def test_t_quantile_matches_published_tables(df, expected):
    assert t_quantile(df) == pytest.approx(expected, abs=5e-5)


def test_results_split_by_answerable_and_benchmark():
    rows = [
        _row(1, "correct"),
        _row(2, "wrong", benchmark="oven"),
        _row(3, "refused", answerable=False),
        _row(4, "wrong", answerable=False),
        _row(5, "correct", answerable=None),
        _row(6, "wrong", domain="out_of_domain", benchmark="vizwiz"),
    ]
    results = build_results(_table(rows), [{"stage": "sample", "wall_s": 1.5}], name="tiny")
    inside, outside = results["results"]
    assert (inside["domain"], outside["domain"]) == ("in_domain", "out_of_domain")
    assert (inside["num_questions"], inside["acc"], inside["refr"]) == (5, 40.0, 20.0)
    assert inside["answerable"]["num_questions"] == 2 and inside["answerable"]["acc"] == 50.0
    assert inside["unanswerable"]["num_questions"] == 2 and inside["unanswerable"]["refr"] == 50.0
    assert list(inside["benchmarks"]) == ["oven", "vqav2"]
    assert inside["benchmarks"]["oven"]["s_trust"] == -100.0
    assert results["stages"] == [{"stage": "sample", "wall_s": 1.5}]
    assert results["confidence_bins"] == []  # no base_confidence was sampled
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_methods_come_in_the_papers_order():
    methods = ["ca_dpo", "zeta", "idk_it_matched", "original", "idk_it", "ablation", "sft", "refusal_prompt"]
    results = build_results(_table([_row(1, "wrong", method=method) for method in methods]), [])
    assert [row["method"] for row in results["results"]] == [
        "original", "refusal_prompt", "sft", "idk_it", "idk_it_matched", "ca_dpo", "ablation", "zeta",
    ]  # fmt: skip


def test_confidence_bins_round_to_tenths():
    rows = [
        _row(1, "correct", base_confidence=0.0),
        _row(2, "refused", base_confidence=0.3),
        _row(3, "wrong", base_confidence=0.3),
        _row(4, "refused", base_confidence=0.35),  # half goes up
        _row(5, "correct", base_confidence=1.0),
        _row(6, "refused", base_confidence=1.0, answerable=False),  # unanswerable: left out
        _row(7, "correct", base_confidence=1.0, answerable=None),
        _row(8, "correct"),
    ]
    bins = build_results(_table(rows), [])["confidence_bins"]
    assert [(b["confidence"], b["num_questions"], b["refr"], b["answered_acc"]) for b in bins] == [
        (0.0, 1, 0.0, 100.0),
        (0.3, 2, 50.0, 0.0),
        (0.4, 1, 100.0, None),
        (1.0, 2, 0.0, 100.0),
    ]
    assert [(b["bin_low"], b["bin_high"]) for b in bins] == [(0.0, 0.05), (0.25, 0.35), (0.35, 0.45), (0.95, 1.0)]


def test_comparison_is_paired_over_questions():
    # v of CA-DPO minus v of IDK-IT: +1, 0, +2 and, for an error, -2. Rows of one method come shuffled.
    idk_it = [_row(i, o, method="idk_it") for i, o in enumerate(["refused", "wrong", "wrong", "correct"])]
    ca_dpo = [_row(i, o, method="ca_dpo") for i, o in enumerate(["correct", "wrong", "correct", "error"])]
    comparisons = build_results(_table(idk_it + ca_dpo[::-1]), [])["comparisons"]
    s_trust, acc = comparisons
    assert (s_trust["method"], s_trust["baseline"], s_trust["num_questions"]) == ("ca_dpo", "idk_it", 4)
    assert s_trust["difference"] == pytest.approx(25.0)
    low, high = s_trust["interval"]
    assert -200 <= low < 25 < high <= 200
    assert acc["difference"] == pytest.approx(25.0)


def test_lost_and_doubled_rows_are_errors():
    with pytest.raises(RowCountError, match="more than once"):
        build_results(_table([_row(1, "correct"), _row(1, "wrong")]), [])
    with pytest.raises(RowCountError, match="vqav2:val:2"):
        build_results(_table([_row(1, "correct"), _row(2, "wrong"), _row(1, "wrong", method="sft")]), [])


@pytest.mark.parametrize(
    ("change", "match"),
    [({"domain": "near_domain"}, "near_domain"), ({"method": None}, "without 'method'"), ({"outcome": "yes"}, "'yes'")],
)
def test_bad_rows_are_named(change, match):
    with pytest.raises(DataError, match=match):
        build_results(_table([_row(1, "correct") | change]), [])


def test_missing_column_is_named():
    with pytest.raises(DataError, match="outcome"):
        build_results(_table([_row(1, "correct")]).drop_columns(["outcome"]), [])


def _seed_results(seed: int, idk_it: float, ca_dpo: float | None) -> dict:
    values = {"idk_it": idk_it, "ca_dpo": ca_dpo}
    return {
        "name": "run",
        "results": [
            {"method": method, "domain": "in_domain", "seed": seed, "acc": value, "refr": 1.0, "s_trust": value}
            for method, value in values.items()
            if value is not None
        ],
    }


def test_seeds_by_hand():
    summary = summarise_seeds(
        [_seed_results(2, 21.0, 24.0), _seed_results(1, 20.0, 21.0), _seed_results(3, 25.0, 30.0)]
    )
    assert summary["seeds"] == [1, 2, 3]
    ca_dpo = summary["methods"][1]
    assert ca_dpo["s_trust"]["values"] == [21.0, 24.0, 30.0] and ca_dpo["s_trust"]["mean"] == 25.0
    # Sample sd sqrt(21) = 4.5826; half width 4.30265 * 4.5826 / sqrt(3).
    assert ca_dpo["s_trust"]["interval"] == pytest.approx([25 - 11.3839, 25 + 11.3839], abs=1e-3)
    assert ca_dpo["answered_acc"] == {"values": [None] * 3, "mean": None, "interval": None}
    difference = summary["differences"][0]
    assert (difference["method"], difference["baseline"], difference["metric"]) == ("ca_dpo", "idk_it", "s_trust")
    # Differences 1, 3, 5: mean 3, sd 2, half width 4.30265 * 2 / sqrt(3).
    assert difference["values"] == [1.0, 3.0, 5.0]
    assert difference["interval"] == pytest.approx([3 - 4.96828, 3 + 4.96828], abs=1e-4)
    assert len(summary["differences"]) == 2


def test_seeds_single_missing_and_doubled():
    single = summarise_seeds([_seed_results(1, 20.0, 21.0)])
    assert single["methods"][0]["s_trust"] == {"values": [20.0], "mean": 20.0, "interval": None}
    assert single["differences"][0]["interval"] is None
    gap = summarise_seeds([_seed_results(1, 20.0, 21.0), _seed_results(2, 20.0, None)])
    assert gap["differences"][0]["values"] == [1.0, None]
    assert summarise_seeds([_seed_results(1, 20.0, None)])["differences"] == []
    with pytest.raises(DataError, match="each seed once"):
        summarise_seeds([_seed_results(1, 20.0, 21.0)] * 2)


def test_one_table_may_hold_several_seeds():
    rows = [_row(1, "correct", seed=seed, method=m) for seed in (3, 1) for m in ("original", "sft")]
    results = build_results(_table(rows), [])
    assert [row["seed"] for row in results["results"]] == [1, 1, 3, 3]
    assert summarise_seeds([results])["seeds"] == [1, 3]


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=8))
def test_t_interval_contains_the_mean(values):
    low, high = t_interval(values)
    assert low - 1e-9 <= np.mean(values) <= high + 1e-9
