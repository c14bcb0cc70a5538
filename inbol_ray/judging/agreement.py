"""How far the rules and a judge agree, and what that changes: PREDICTION and VERDICT rows -> a JSON object.

Agreement is over the replies that the judge was asked about and gave a verdict on; where those are the unsure ones, it
says nothing of the others. Cohen's kappa is agreement beyond chance: (p_o - p_e) / (1 - p_e), with p_o the share of
equal verdicts and p_e the share that two raters with these rates of yes would have by chance; None where p_e is 1.

Source: Cohen, A coefficient of agreement for nominal scales, 1960.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from inbol_ray.method.scores import trust_scores

POINTS_APART = 1.0
"""Scores that differ by more than this are shown."""
_SCORES = ("acc", "refr", "s_trust")


def compare_with_judge(predictions: pa.Table, verdicts: pa.Table) -> dict:
    """`judge`, `prompt_version`, `agreement` (one row per method and kind) and `scores` (one row per method and benchmark whose
    Acc, RefR or S_trust, in percent, differs by more than POINTS_APART).

    Rows of `predictions` count one by one: MMBench's rotations are not merged.
    """
    rows = verdicts.to_pylist()
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["kind"]), []).append(row)
    agreement = [{"method": method, "kind": kind} | _agree(found) for (method, kind), found in sorted(groups.items())]
    return {
        "judge": rows[0]["judge"] if rows else None,
        "prompt_version": rows[0]["prompt_version"] if rows else None,
        "agreement": agreement,
        "scores": _scores_apart(predictions, rows),
    }


def _agree(rows: Sequence[Mapping]) -> dict:
    pairs = [(row["rule"], row["verdict"]) for row in rows if row["verdict"] is not None]
    counts = {
        "both": pairs.count((True, True)),
        "rule_only": pairs.count((True, False)),
        "judge_only": pairs.count((False, True)),
        "neither": pairs.count((False, False)),
    }
    return counts | {"no_verdict": len(rows) - len(pairs), "kappa": cohens_kappa(*counts.values())}


def cohens_kappa(both: int, first_only: int, second_only: int, neither: int) -> float | None:
    """Cohen's kappa of two raters' yes and no, in [-1, 1]; None where it is not defined."""
    total = both + first_only + second_only + neither
    if total == 0:
        return None
    first, second = (both + first_only) / total, (both + second_only) / total
    chance = first * second + (1 - first) * (1 - second)
    return None if chance == 1 else ((both + neither) / total - chance) / (1 - chance)


def _scores_apart(predictions: pa.Table, verdicts: Sequence[Mapping]) -> list[dict]:
    judged = {(row["method"], row["id"]): row for row in verdicts}
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for row in predictions.select(["method", "benchmark", "id", "outcome", "unparsed"]).to_pylist():
        groups.setdefault((row["method"], row["benchmark"]), []).append(row)
    apart = []
    for (method, benchmark), rows in sorted(groups.items()):
        if not any((method, row["id"]) in judged for row in rows):
            continue
        by_rule, by_judge = _scores(rows), _scores([judged.get((method, row["id"]), row) for row in rows])
        if any(abs(by_rule[name] - by_judge[name]) > POINTS_APART for name in _SCORES):
            apart.append({"method": method, "benchmark": benchmark, "rule": by_rule, "judge": by_judge})
    return apart


def _scores(rows: Sequence[Mapping]) -> dict[str, float]:
    scored = trust_scores([row["outcome"] for row in rows], [row["unparsed"] for row in rows])
    return {name: getattr(scored, name) for name in _SCORES}
