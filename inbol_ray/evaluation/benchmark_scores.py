"""Scores a (model, benchmark) pair: whole, by answerability, by what the base model knew, and by the benchmark's classes.

PREDICTION rows -> a list of JSON objects; every rate and interval is in percent

MMBench is scored circularly, as the paper's figures are: the rotations of a question count as one, which is wrong if any
rotation is (an error counts as wrong), else refused if any is, else correct. How refusals merge is ours: the benchmark
only says that one wrong rotation loses the question. `vanilla` beside it scores the unrotated questions. MM-UPD's
rotations are merged likewise. What benchmarks of refusal count beside Acc and RefR is in `right_replies`.
"""

import json
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inbol_ray.config.sampling import ClassConfig, ScoringRules
from inbol_ray.evaluation.own_scores import score_own
from inbol_ray.evaluation.right_replies import is_right, right_rate, score_pairs
from inbol_ray.method.classes import classify
from inbol_ray.method.scores import outcome_codes, trust_scores_of_codes
from inbol_ray.method.truthful import score_truthful
from inbol_ray.rows import OUTCOMES
from inbol_ray.scoring.answer_match import OURS

_BADNESS = {"correct": 0, "refused": 1, "wrong": 2, "error": 3}


def merge_rotations(predictions: pa.Table) -> pa.Table:
    """One row for all rows of a `group`: the worst, under the group's id."""
    groups = predictions["group"].to_pylist()
    if predictions["group"].null_count == len(groups):
        return predictions
    names = ("seed", "method", "benchmark", "group")
    keys = zip(*(predictions[name].to_pylist() for name in names), strict=True)
    worst: dict[tuple, int] = {}
    outcomes = predictions["outcome"].to_pylist()
    for number, key in enumerate(keys):
        if key[-1] is None:
            worst[number,] = number
        elif key not in worst or _BADNESS[outcomes[number]] > _BADNESS[outcomes[worst[key]]]:
            worst[key] = number
    merged = predictions.take(pa.array(sorted(worst.values()), pa.int64()))
    ids = pc.coalesce(merged["group"], merged["id"])
    return merged.set_column(merged.schema.get_field_index("id"), "id", ids)


def score_benchmarks(predictions: pa.Table, classes: ClassConfig, scoring: ScoringRules = OURS) -> list[dict]:
    """Scores of every method on every benchmark it answered, sorted by seed, method and benchmark.

    `score` is the mean of the benchmark's own graded score (VQA accuracy for VQAv2), refusals scoring 0. `knowledge` has
    the paper's classes by the base model's confidence, where that was sampled, and `truthful` the quadrants of
    knowledge with the Truthful Rate. `refusal_f1` takes refusing as the prediction that a question is unanswerable,
    where a benchmark has both kinds; `answerability_acc` is how many were answered or refused as they should be,
    whatever the answer. `harmonic_acc` is OVEN's mean of Acc on seen and unseen entities, which its own code rounds to
    two decimals first (`rules: official`), `own` what else a benchmark alone has. Every group of scores has its
    `right_rate`, and `pairs` that of questions that count together.

    Source: InBoL (arXiv 2412.11196) Sec. 4; VizWiz's answerability metric; oven_eval.py (harmonic mean).
    """
    merged = merge_rotations(predictions)
    rows = []
    for (seed, method, benchmark), table in _split(merged, ("seed", "method", "benchmark")):
        codes, unparsed, answerable = _columns(table)
        by_class = _score_classes(table, codes, unparsed, answerable)
        row = {"seed": seed, "method": method, "benchmark": benchmark, "domain": table["domain"][0].as_py()}
        row |= _score(codes, unparsed, answerable) | {
            "score": 100 * float(np.mean(table["score"].to_numpy())),
            "answerable": _score(codes, unparsed, answerable, answerable),
            "unanswerable": _score(codes, unparsed, answerable, ~answerable),
            "refusal_f1": _refusal_f1(codes, answerable),
            "answerability_acc": _answerability_acc(codes, answerable),
            "truthful": score_truthful(
                codes, table["base_confidence"].to_numpy(zero_copy_only=False).astype(np.float64), answerable, classes
            ),
            "knowledge": _score_knowledge(table, codes, unparsed, answerable, classes),
            "classes": by_class,
            "harmonic_acc": _harmonic_acc(by_class.get("entities", {}), scoring.rules == "official"),
            "vanilla": None,
            "own": score_own(benchmark, table),
            "pairs": score_pairs(table["pair"].to_pylist(), is_right(codes, answerable), _read_classes(table)),
        }
        if table["group"].null_count < table.num_rows:
            row["vanilla"] = _score_unrotated(predictions, seed, method, benchmark)
        rows.append(row)
    return rows


def _split(table: pa.Table, names: tuple[str, ...]) -> Iterator[tuple[tuple, pa.Table]]:
    keys = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    numbers: dict[tuple, list[int]] = {}
    for number, key in enumerate(keys):
        numbers.setdefault(key, []).append(number)
    for key in sorted(numbers):
        yield key, table.take(pa.array(numbers[key], pa.int64()))


def _columns(table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes as indices into OUTCOMES, and the flags of unparsed replies and of answerable questions, (n,) each."""
    outcomes = table["outcome"].to_numpy(zero_copy_only=False)
    unparsed, answerable = (
        table[name].to_numpy(zero_copy_only=False).astype(bool) for name in ("unparsed", "answerable")
    )
    return outcome_codes(outcomes), unparsed, answerable


def _score(
    codes: np.ndarray, unparsed: np.ndarray, answerable: np.ndarray, mask: np.ndarray | slice = slice(None)
) -> dict:
    right = is_right(codes[mask], answerable[mask])
    return trust_scores_of_codes(codes[mask], unparsed[mask]).to_dict() | right_rate(right)


def _read_classes(table: pa.Table) -> list[dict[str, str]]:
    return [json.loads(text or "{}") for text in table["classes"].to_pylist()]


def _score_classes(
    table: pa.Table, codes: np.ndarray, unparsed: np.ndarray, answerable: np.ndarray
) -> dict[str, dict[str, dict]]:
    """Class -> value -> scores."""
    members: dict[str, dict[str, list[int]]] = {}
    for number, found in enumerate(_read_classes(table)):
        for name, value in found.items():
            members.setdefault(name, {}).setdefault(value, []).append(number)
    return {
        name: {value: _score(codes, unparsed, answerable, np.array(values[value])) for value in sorted(values)}
        for name, values in sorted(members.items())
    }


def _score_knowledge(
    table: pa.Table, codes: np.ndarray, unparsed: np.ndarray, answerable: np.ndarray, classes: ClassConfig
) -> dict[str, dict]:
    """Scores by Known, Mixed and Unknown of the questions whose confidence was sampled."""
    found = np.array(
        [
            "" if confidence is None else classify(confidence, bool(can), classes)
            for confidence, can in zip(table["base_confidence"].to_pylist(), answerable, strict=True)
        ],
        dtype=object,
    )
    return {
        name: _score(codes, unparsed, answerable, found == name)
        for name in ("known", "mixed", "unknown")
        if name in found
    }


def _refusal_f1(codes: np.ndarray, answerable: np.ndarray) -> float | None:
    if answerable.all() or not answerable.any():
        return None
    refused = codes == OUTCOMES.index("refused")
    num_right = int((refused & ~answerable).sum())
    return 200 * num_right / (int(refused.sum()) + int((~answerable).sum()))


def _answerability_acc(codes: np.ndarray, answerable: np.ndarray) -> float | None:
    if answerable.all() or not answerable.any():
        return None
    decided = np.where(answerable, codes <= OUTCOMES.index("wrong"), codes == OUTCOMES.index("refused"))
    return 100 * float(decided.mean())


def _harmonic_acc(by_entities: Mapping[str, dict], round_halves: bool) -> float | None:
    """Harmonic mean in percent; a half of 0 counts as 1e-12. Source: edchengg/oven_eval, oven_eval.py."""
    if set(by_entities) != {"seen", "unseen"}:
        return None
    halves = [by_entities[name]["acc"] for name in ("seen", "unseen")]
    if round_halves:
        halves = [round(half, 2) for half in halves]
    return 2 / sum(1 / (half or 1e-12) for half in halves)


def _score_unrotated(predictions: pa.Table, seed: int, method: str, benchmark: str) -> dict:
    mask = pc.equal(predictions["id"], predictions["group"])
    for name, value in (("seed", seed), ("method", method), ("benchmark", benchmark)):
        mask = pc.and_(mask, pc.equal(predictions[name], value))
    return _score(*_columns(predictions.filter(pc.fill_null(mask, False))))
