"""Scores under another price of a wrong reply: Acc, RefR -> S(lambda), its curve, and where two methods change places.

S(lambda) = Acc - lambda * Wrong, Wrong = 100 - Acc - RefR (errors count as wrong, as in S_trust). S_trust is S(1):
2 Acc + RefR - 100 = Acc - Wrong. At lambda = 0 only right answers count. A reply with the chance p of being right is
worth giving where p > lambda / (1 + lambda), so that lambda = 1 asks for more than one half and lambda = 4 for four
fifths. Everything but lambda is in percent.

Source: InBoL (arXiv 2412.11196) Sec. 4 for lambda = 1; for a free cost of a wrong answer, effective reliability of
Whitehead et al., ECCV 2022 (arXiv 2204.13631), whose formula was not at hand.
"""

from collections.abc import Mapping, Sequence

MAX_PENALTY = 4.0
PENALTIES = tuple(round(0.1 * k, 1) for k in range(41))
"""lambda of the curve's points: 0, 0.1, ..., `MAX_PENALTY`."""


def penalised_score(acc: float, refr: float, penalty: float = 1.0) -> float:
    """S(lambda) in percent, from -100 lambda to 100. `acc` and `refr` in percent, `penalty` = lambda >= 0."""
    return acc - penalty * (100 - acc - refr)


def order_change(one: tuple[float, float], other: tuple[float, float]) -> float | None:
    """The lambda in (0, MAX_PENALTY) at which two methods, each as (Acc, RefR) in percent, change places.

    S is a straight line in lambda, so there is at most one. None where one method is ahead over the whole range, or
    both are equal throughout.
    """
    acc_gap = one[0] - other[0]
    wrong_gap = (100 - sum(one)) - (100 - sum(other))
    if acc_gap * wrong_gap <= 0:
        return None
    penalty = acc_gap / wrong_gap
    return penalty if penalty < MAX_PENALTY else None


def penalty_curves(results: Sequence[Mapping]) -> list[dict]:
    """A curve for each row of `results` (of `results.json`): `method`, `domain`, `seed`, `points` as [lambda, S]."""
    return [
        {key: row[key] for key in ("method", "domain", "seed")}
        | {"points": [[penalty, penalised_score(row["acc"], row["refr"], penalty)] for penalty in PENALTIES]}
        for row in results
        if row["acc"] is not None
    ]


def order_changes(scores: Mapping[str, Mapping[str, float]]) -> list[dict]:
    """Every pair of methods that changes places: `penalty`, and which is `ahead_below` and `ahead_above` it.

    `scores`: method -> `acc` and `refr` in percent. Sorted by penalty.
    """
    found = []
    methods = list(scores)
    for place, one in enumerate(methods):
        for other in methods[place + 1 :]:
            pair = [(scores[name]["acc"], scores[name]["refr"]) for name in (one, other)]
            penalty = order_change(*pair)
            if penalty is not None:
                below, above = (one, other) if pair[0][0] > pair[1][0] else (other, one)
                found.append({"penalty": penalty, "ahead_below": below, "ahead_above": above})
    return sorted(found, key=lambda row: row["penalty"])


def changes_by_domain(results: Sequence[Mapping]) -> list[dict]:
    """`order_changes` of the rows of `results` (of `results.json`), for each `domain` and `seed`."""
    groups: dict[tuple[str, int], dict[str, Mapping]] = {}
    for row in results:
        if row["acc"] is not None:
            groups.setdefault((row["domain"], row["seed"]), {})[row["method"]] = row
    return [
        {"domain": domain, "seed": seed} | change
        for (domain, seed), scores in groups.items()
        for change in order_changes(scores)
    ]
