"""The paper's tables from scores that equal its own figures, and from others."""

import pytest

from inbol_ray.config.evaluation import EvaluationConfig, OutsideModel
from inbol_ray.evaluation.paper_tables import (
    IN_DOMAIN,
    OUT_OF_DOMAIN,
    PUBLISHED_EXTRINSIC,
    PUBLISHED_IN_DOMAIN,
    PUBLISHED_OUT_OF_DOMAIN,
    build_tables,
)

EVALUATION = EvaluationConfig(benchmarks=[], methods=["original", "ca_dpo"], size="7b")


def scored(method, benchmark, acc, refr, num_questions=1145, seed=0) -> dict:
    scores = {"num_questions": num_questions, "acc": acc, "refr": refr, "s_trust": 2 * acc + refr - 100}
    return {"method": method, "benchmark": benchmark, "seed": seed, "unanswerable": scores} | scores


def test_published_figures_are_complete_and_consistent():
    assert len(PUBLISHED_IN_DOMAIN) == len(PUBLISHED_OUT_OF_DOMAIN) == 10 and len(PUBLISHED_EXTRINSIC) == 6
    assert PUBLISHED_IN_DOMAIN["13b", "ca_dpo"] == {
        "average": (49.0, 34.0, 32.0),
        "test": (49.0, 34.0, 32.0),
        "test, unanswerable": (None, 93.0, None),
    }
    assert PUBLISHED_EXTRINSIC["7b", "idk_it"] == {"vizwiz": (None, 76.01, None), "vqav2_idk": (None, 81.42, None)}
    for figures in PUBLISHED_OUT_OF_DOMAIN.values():
        assert tuple(figures) == OUT_OF_DOMAIN
        for benchmark, (acc, refr, s_trust) in figures.items():
            if benchmark != "beyondvisqa":
                assert 2 * acc + refr - 100 == pytest.approx(s_trust, abs=0.0201)


def test_out_of_domain_beside_the_paper():
    tables = build_tables([scored("ca_dpo", "aokvqa", 73.0, 17.64), scored("ca_dpo", "mmmu", 20.0, 50.0)], EVALUATION)
    in_domain, out_of_domain, extrinsic = tables
    assert in_domain["rows"] == extrinsic["rows"] == []
    (row,) = out_of_domain["rows"]
    assert row["published_as"] == ["7b", "ca_dpo"] and set(row["cells"]) == {"aokvqa", "mmmu"}
    cell = row["cells"]["aokvqa"]
    assert cell["published"] == {"acc": 72.23, "refr": 17.64, "s_trust": 62.10}
    assert cell["difference"] == pytest.approx({"acc": 0.77, "refr": 0.0, "s_trust": 1.54})


def test_in_domain_average_counts_every_benchmark_the_same():
    scores = [
        scored("original", name, acc, 10.0, n)
        for name, acc, n in zip(IN_DOMAIN, (60, 30, 45), (9, 99, 999), strict=True)
    ]
    (row,) = build_tables(scores, EVALUATION)[0]["rows"]
    cell = row["cells"]["average"]
    assert cell["ours"] == pytest.approx({"acc": 45.0, "refr": 10.0, "s_trust": 0.0}) and cell["num_questions"] == 1107
    assert cell["difference"] == pytest.approx({"acc": -1.10, "refr": None, "s_trust": 6.50})
    # Without one of the three it is another average than the paper's.
    (row,) = build_tables(scores[:2], EVALUATION)[0]["rows"]
    assert row["cells"]["average"]["published"] == {"acc": None, "refr": None, "s_trust": None}


def test_extrinsic_table_holds_refusal_rates_of_unanswerable_questions():
    mixed = scored("original", "vizwiz", 50.0, 20.0) | {"unanswerable": {"num_questions": 40, "refr": 70.0}}
    (row,) = build_tables([mixed], EVALUATION)[2]["rows"]
    assert row["cells"]["vizwiz"]["ours"] == {"acc": None, "refr": 70.0, "s_trust": None}
    assert row["cells"]["vizwiz"]["difference"]["refr"] == pytest.approx(61.0)
    filtered = [scored("original", name, 0.0, 5.0) for name in ("vqav2_idk", "vqav2_idk_filtered")]
    (row,) = build_tables(filtered, EVALUATION)[2]["rows"]
    assert [cell["difference"]["refr"] for cell in row["cells"].values()] == [pytest.approx(2.2)] * 2
    (row,) = build_tables([scored("original", "beyondvisqa", 0.0, 30.0)], EVALUATION)[1]["rows"]
    assert row["cells"]["beyondvisqa"]["difference"] == {"acc": None, "refr": pytest.approx(4.5), "s_trust": None}


def test_only_models_that_are_the_papers_are_compared():
    toy = EvaluationConfig(benchmarks=[], models={"mine": OutsideModel(checkpoint="x", size="13b", method="idk_it")})
    scores = [scored(name, "gqa", 50.0, 20.0) for name in ("original", "mine", "other")]
    rows = {row["method"]: row for row in build_tables(scores, toy)[1]["rows"]}
    assert rows["original"]["published_as"] is rows["other"]["published_as"] is None
    assert rows["mine"]["cells"]["gqa"]["published"]["acc"] == 52.27


def test_seeds_are_averaged():
    scores = [scored("original", "gqa", acc, 0.0, seed=seed) for seed, acc in enumerate((40.0, 60.0))]
    (row,) = build_tables(scores, EVALUATION)[1]["rows"]
    assert row["cells"]["gqa"]["ours"]["acc"] == 50.0
