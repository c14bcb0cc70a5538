"""Scores of predictions: Acc, RefR, S_trust, accuracy when answered, and paired differences.

PREDICTION rows (`inbol_ray.rows`, any number of methods, benchmarks and seeds) -> the content of `results.json`.
Every rate, score, difference and interval is in percent.

Source: InBoL (arXiv 2412.11196) Sec. 4; `scores` has the formulas.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from inbol_ray.config.sampling import ClassConfig
from inbol_ray.errors import DataError, RowCountError
from inbol_ray.method.penalty import changes_by_domain, penalty_curves
from inbol_ray.method.scores import VALUE, Metrics, difference_interval, outcome_codes, trust_scores_of_codes
from inbol_ray.method.truthful import score_truthful
from inbol_ray.rows import PREDICTION

SCHEMA_VERSION = 1
METHODS = ("original", "refusal_prompt", "sft", "idk_it", "idk_it_matched", "ca_dpo")
"""Order of the table's rows; `idk_it_matched` is IDK-IT given as much compute as CA-DPO (ours)."""
DOMAINS = ("in_domain", "out_of_domain")
SCORES = ("acc", "refr", "s_trust", "answered_acc")
DIFFERENCES = (
    ("sft", "original"),
    ("idk_it", "original"),
    ("idk_it", "sft"),
    ("ca_dpo", "idk_it"),
    ("ca_dpo", "idk_it_matched"),
    ("ca_dpo", "sft"),
)
"""(method, baseline) of every paired difference."""
_DEFAULT_CLASSES = ClassConfig()
_UNUSED = ("images", "gold_answers", "question", "response", "confidence", "by_rule")
_COLUMNS = tuple(name for name in PREDICTION.names if name not in _UNUSED)


def method_order(methods: Iterable[str]) -> list[str]:
    """The distinct methods in the table's order; names the paper does not have follow by alphabet."""
    present = set(methods)
    return [name for name in METHODS if name in present] + sorted(present - set(METHODS))


def build_results(
    predictions: pa.Table,
    stages: Sequence[Mapping],
    *,
    name: str = "",
    provenance: Mapping | None = None,
    classes: ClassConfig = _DEFAULT_CLASSES,
) -> dict:
    """Content of `results.json` from PREDICTION rows and the pipeline's stage records (`stage`, `wall_s`, ...).

    `answerable` and `unanswerable` score the questions whose corpus says so; where it does not say, a question is in
    neither. `confidence_bins` (figure 4) holds the questions with a `base_confidence` that are not known to be
    unanswerable, in bins of width 0.1 centred on 0, 0.1, ..., 1. `comparisons` are paired over questions: the same
    question, two methods. `penalty_curves` and `order_changes` say what another price of a wrong reply than S_trust's
    would change (`penalty`), `truthful` of a row what `truthful` counts, by the thresholds of `classes`.

    Raises: DataError for missing columns or unknown outcomes; RowCountError where a question is there twice, or for
    one method and not for another, because then the methods cannot be compared.
    """
    table = _read_columns(predictions)
    _check_same_questions(table)
    rows = [_score_cell(cell, *key, classes) for key, cell in _cells(table)]
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "results": rows,
        "comparisons": _compare(table),
        "penalty_curves": penalty_curves(rows),
        "order_changes": changes_by_domain(rows),
        "confidence_bins": [row for key, cell in _cells(table) for row in _score_bins(cell, *key)],
        "stages": [dict(stage) for stage in stages],
        "provenance": dict(provenance or {}),
    }


def shared_questions(predictions: pa.Table) -> pa.Table:
    """The rows of questions that every method of their seed has: only on those can methods be compared."""
    names = ("seed", "method", "benchmark", "id")
    keys = list(zip(*(predictions[name].to_pylist() for name in names), strict=True))
    questions: dict[int, dict[str, set]] = {}
    for seed, method, *question in keys:
        questions.setdefault(seed, {}).setdefault(method, set()).add(tuple(question))
    shared = {seed: set.intersection(*of_method.values()) for seed, of_method in questions.items()}
    return predictions.filter(pa.array([tuple(question) in shared[seed] for seed, _, *question in keys], pa.bool_()))


def _read_columns(predictions: pa.Table) -> dict[str, np.ndarray]:
    """The columns that scores need as arrays (n,); `answerable` becomes 1, 0 or -1 (not said)."""
    if missing := [name for name in _COLUMNS if name not in predictions.column_names]:
        raise DataError(f"predictions lack the columns {missing}; expected the schema rows.PREDICTION")
    for name in ("id", "benchmark", "domain", "method", "seed", "outcome"):
        if num_nulls := predictions[name].null_count:
            raise DataError(f"predictions have {num_nulls} rows without {name!r}; every row needs one")
    if unknown := set(predictions["domain"].unique().to_pylist()) - set(DOMAINS):
        raise DataError(f"unknown domains {sorted(unknown)}; expected {list(DOMAINS)}")
    table = {name: predictions[name].to_numpy(zero_copy_only=False) for name in _COLUMNS}
    said = predictions["answerable"].cast(pa.int8()).fill_null(-1)
    return table | {
        "outcome": outcome_codes(table["outcome"]),
        "answerable": said.to_numpy(zero_copy_only=False),
        "unparsed": predictions["unparsed"].fill_null(False).to_numpy(zero_copy_only=False).astype(bool),
        "base_confidence": table["base_confidence"].astype(np.float64),
    }


def _take(table: Mapping[str, np.ndarray], mask: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[mask] for name, values in table.items()}


def _score(table: Mapping[str, np.ndarray]) -> Metrics:
    return trust_scores_of_codes(table["outcome"], table["unparsed"])


def _cells(table: Mapping[str, np.ndarray]) -> Iterable[tuple[tuple[str, str, int], dict[str, np.ndarray]]]:
    """Every (method, domain, seed) that has rows, in the table's order, with its rows."""
    for seed in sorted(set(table["seed"].tolist())):
        for method in method_order(table["method"].tolist()):
            for domain in DOMAINS:
                mask = (table["seed"] == seed) & (table["method"] == method) & (table["domain"] == domain)
                if mask.any():
                    yield (method, domain, seed), _take(table, mask)


def _score_cell(cell: Mapping[str, np.ndarray], method: str, domain: str, seed: int, classes: ClassConfig) -> dict:
    return {
        "method": method,
        "domain": domain,
        "seed": seed,
        **_score(cell).to_dict(),
        "truthful": score_truthful(cell["outcome"], cell["base_confidence"], cell["answerable"] != 0, classes),
        "answerable": _score(_take(cell, cell["answerable"] == 1)).to_dict(),
        "unanswerable": _score(_take(cell, cell["answerable"] == 0)).to_dict(),
        "benchmarks": {
            name: _score(_take(cell, cell["benchmark"] == name)).to_dict()
            for name in sorted(set(cell["benchmark"].tolist()))
        },
    }


def _score_bins(cell: Mapping[str, np.ndarray], method: str, domain: str, seed: int) -> list[dict]:
    """Figure 4: refusal rate and accuracy when answered, by the base model's confidence."""
    cell = _take(cell, ~np.isnan(cell["base_confidence"]) & (cell["answerable"] != 0))
    # Halves go up; the small term undoes float32, where 0.35 lies just below 0.35.
    tenths = np.floor(cell["base_confidence"] * 10 + 0.5 + 1e-6).astype(int)
    bins = []
    for tenth in sorted(set(tenths.tolist())):
        scores = _score(_take(cell, tenths == tenth)).to_dict()
        edges = {"bin_low": max(0.0, (tenth - 0.5) / 10), "bin_high": min(1.0, (tenth + 0.5) / 10)}
        bins.append(
            {"method": method, "domain": domain, "seed": seed, "confidence": tenth / 10, **edges}
            | {key: scores[key] for key in ("num_questions", "refr", "refr_interval")}
            | {key: scores[key] for key in ("answered_acc", "answered_acc_interval")}
        )
    return bins


def _question_keys(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """(n,) integers, equal where domain, benchmark and id are."""
    keys = list(zip(table["domain"].tolist(), table["benchmark"].tolist(), table["id"].tolist(), strict=True))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64)


def _check_same_questions(table: Mapping[str, np.ndarray]) -> None:
    keys = _question_keys(table)
    for seed in sorted(set(table["seed"].tolist())):
        expected, first = None, ""
        for method in method_order(table["method"][table["seed"] == seed].tolist()):
            mask = (table["seed"] == seed) & (table["method"] == method)
            questions, counts = np.unique(keys[mask], return_counts=True)
            if (counts > 1).any():
                twice = table["id"][mask][keys[mask] == questions[counts > 1][0]][0]
                raise RowCountError(f"method {method!r}, seed {seed}: question {twice!r} was predicted more than once")
            if expected is not None and not np.array_equal(questions, expected):
                odd = table["id"][np.isin(keys, np.setxor1d(questions, expected))][0]
                raise RowCountError(
                    f"seed {seed}: {method!r} has {len(questions)} questions and {first!r} {len(expected)}, "
                    f"not the same ones (for example {odd!r}); predict every question with every method"
                )
            expected, first = questions, first or method


def _compare(table: Mapping[str, np.ndarray]) -> list[dict]:
    """Differences of `DIFFERENCES` within each seed and domain, paired over questions."""
    keys = _question_keys(table)
    cells = dict(_cells(table | {"key": keys}))
    rows = []
    for (method, domain, seed), cell in cells.items():
        for baseline in [baseline for name, baseline in DIFFERENCES if name == method]:
            if (other := cells.get((baseline, domain, seed))) is None:
                continue
            ours, theirs = (one["outcome"][np.argsort(one["key"])] for one in (cell, other))
            values = {
                "s_trust": VALUE[ours] - VALUE[theirs],
                "acc": (ours == 0).astype(np.int8) - (theirs == 0).astype(np.int8),
            }
            for metric, difference in values.items():
                mean, interval = difference_interval(difference)
                rows.append(
                    {"method": method, "baseline": baseline, "domain": domain, "seed": seed, "metric": metric}
                    | {"num_questions": len(difference), "difference": mean}
                    | {"interval": list(interval) if interval else None}
                )
    return rows
