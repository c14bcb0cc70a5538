"""An in-domain test of the paper's size, drawn from the replies that are there, and its columns in table 1."""

import random

import pyarrow as pa
import pytest

from inbol_ray.config.evaluation import EvaluationConfig, InDomainTest
from inbol_ray.config.sampling import ClassConfig
from inbol_ray.evaluation.benchmark_scores import score_benchmarks
from inbol_ray.evaluation.in_domain_test import score_in_domain_test
from inbol_ray.evaluation.paper_tables import build_tables
from inbol_ray.report.benchmark_tables import render_tables
from inbol_ray.rows import PREDICTION

SIZES = {"vqav2": 500, "scienceqa": 60, "oven": 400, "vqav2_idk": 90, "vizwiz": 50}
TEST = InDomainTest(questions=200, unanswerable=20)


def predictions(*methods: str, sizes: dict[str, int] = SIZES) -> pa.Table:
    rows = [
        {
            "id": f"{benchmark}:val:{k}",
            "benchmark": benchmark,
            "domain": "out_of_domain" if benchmark == "vizwiz" else "in_domain",
            "classes": "{}",
            "method": method,
            "seed": 0,
            "answerable": benchmark not in ("vqav2_idk", "vizwiz"),
            "outcome": "refused" if benchmark == "vqav2_idk" else ("correct", "wrong")[k % 2],
            "unparsed": False,
            "score": 0.0,
        }
        for method in methods
        for benchmark, size in sizes.items()
        for k in range(size)
    ]
    random.Random(0).shuffle(rows)
    return pa.Table.from_pylist(rows, schema=PREDICTION)


def test_corpora_have_equal_parts_and_a_tenth_is_unanswerable():
    (row,) = score_in_domain_test(predictions("original"), TEST, 0)
    assert row["num_questions"] == 200 and row["answerable"]["num_questions"] == 180
    assert row["answerable_benchmarks"] == {"oven": 60, "scienceqa": 60, "vqav2": 60}
    assert row["unanswerable_benchmarks"] == {"vqav2_idk": 20} and row["unanswerable"]["refr"] == 100
    assert row["refr"] == pytest.approx(10) and row["s_trust"] == pytest.approx(2 * row["acc"] + row["refr"] - 100)


def test_every_method_has_the_same_questions_and_a_seed_draws_others():
    both = score_in_domain_test(predictions("original", "sft"), TEST, 0)
    assert [row["method"] for row in both] == ["original", "sft"]
    assert both[0] | {"method": ""} == both[1] | {"method": ""}
    assert score_in_domain_test(predictions("original"), TEST, 0) == both[:1]
    accuracies = {score_in_domain_test(predictions("original"), TEST, seed)[0]["acc"] for seed in range(5)}
    assert len(accuracies) > 1


def test_a_method_that_was_not_asked_everything_is_left_out():
    some = predictions("sft", sizes={"vqav2": 500})
    rows = score_in_domain_test(pa.concat_tables([predictions("original"), some]), TEST, 0)
    assert [row["method"] for row in rows] == ["original"]


def test_fewer_questions_than_asked_for_are_counted_as_they_are():
    (row,) = score_in_domain_test(predictions("original", sizes={"vqav2": 30, "vqav2_idk": 5}), TEST, 0)
    assert row["num_questions"] == 35 and row["unanswerable"]["num_questions"] == 5


def table_1(**fields) -> tuple[dict, str]:
    evaluation = EvaluationConfig(benchmarks=[], size="7b", **fields)
    found = predictions("original", "ca_dpo")
    rows = score_in_domain_test(found, evaluation.in_domain_test, 0) if evaluation.in_domain_test else []
    tables = build_tables(score_benchmarks(found, ClassConfig()), evaluation, rows)
    return tables[0], render_tables(tables)


def test_the_paper_stands_beside_it():
    table, text = table_1(in_domain_test={"questions": 200, "unanswerable": 20})
    cells = {row["method"]: row["cells"] for row in table["rows"]}
    assert list(cells["ca_dpo"]) == ["average", "test", "test, unanswerable"]
    assert cells["ca_dpo"]["test"]["published"] == {"acc": 49.10, "refr": 30.30, "s_trust": 28.50}
    assert cells["original"]["test, unanswerable"]["published"]["refr"] == 12
    assert cells["original"]["test, unanswerable"]["difference"]["refr"] == pytest.approx(88)
    assert (
        "test: 200 in-domain questions drawn by a hash of their ids: 180 answerable (oven 60, scienceqa 60, vqav2 60) "
        "and 20 unanswerable (vqav2_idk 20)." in text
    )


def test_it_is_off_by_default():
    table, text = table_1()
    assert list(table["rows"][0]["cells"]) == ["average"] and "drawn by a hash" not in text
