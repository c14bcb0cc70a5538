"""Agreement of rules and judge by hand-counted tables, and the scores that verdicts change."""

import pyarrow as pa
import pytest

from inbol_ray.judging.agreement import (
    cohens_kappa,
    compare_with_judge,
)
from inbol_ray.judging.stage import VERDICT
from inbol_ray.rows import PREDICTION


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [
        ((20, 5, 10, 15), 0.4),  # Cohen's usual example: p_o 0.7, p_e 0.5
        ((5, 0, 0, 5), 1.0),
        ((0, 5, 5, 0), -1.0),
        ((1, 1, 1, 1), 0.0),
        ((5, 0, 0, 0), None),
        ((0, 0, 0, 0), None),
    ],
)
def test_cohens_kappa(counts, kappa):
    assert cohens_kappa(*counts) == (kappa if kappa is None else pytest.approx(kappa))


def predictions(outcomes: list[str], benchmark: str = "gqa") -> list[dict]:
    common = {"benchmark": benchmark, "method": "m|1", "unparsed": False}
    return [common | {"id": f"{benchmark}:{n}", "outcome": outcome} for n, outcome in enumerate(outcomes)]


def verdict(prediction: dict, says: bool | None, outcome: str, kind: str = "refusal") -> dict:
    yes = "refused" if kind == "refusal" else "correct"
    copied = {name: prediction[name] for name in ("id", "method", "benchmark", "unparsed")}
    return copied | {
        "kind": kind,
        "judge": "<j>",
        "prompt_version": 1,
        "rule": prediction["outcome"] == yes,
        "verdict": says,
        "said": "",
        "outcome": outcome,
    }


def compare(rows: list[dict], verdicts: list[dict]) -> dict:
    return compare_with_judge(
        pa.Table.from_pylist(rows, schema=PREDICTION), pa.Table.from_pylist(verdicts, schema=VERDICT)
    )


def test_counts_and_scores_with_the_verdicts():
    rows = predictions(["refused", "refused", "wrong", "correct"]) + predictions(["refused"] * 4, "vizwiz")
    said = [
        verdict(rows[0], True, "refused"),
        verdict(rows[1], False, "correct"),
        verdict(rows[2], True, "refused"),
        verdict(rows[3], None, "correct"),
        verdict(rows[4], True, "refused"),
        verdict(rows[2], False, "refused", "correctness"),
    ]
    compared = compare(rows, said)
    (correctness, refusal) = compared["agreement"]
    assert refusal == {
        "method": "m|1",
        "kind": "refusal",
        "both": 2,
        "rule_only": 1,
        "judge_only": 1,
        "neither": 0,
        "no_verdict": 1,
        "kappa": pytest.approx((0.5 - 0.625) / (1 - 0.625)),
    }
    assert (correctness["neither"], correctness["kappa"]) == (1, None)
    # VizWiz is the same with the verdicts, and not shown.
    (apart,) = compared["scores"]
    assert apart["benchmark"] == "gqa"
    assert apart["rule"] == {"acc": 25.0, "refr": 50.0, "s_trust": 0.0}
    assert apart["judge"] == {"acc": 50.0, "refr": 50.0, "s_trust": 50.0}


def test_without_verdicts_there_is_nothing_to_compare():
    compared = compare(predictions(["correct"]), [])
    assert (compared["agreement"], compared["scores"]) == ([], [])
