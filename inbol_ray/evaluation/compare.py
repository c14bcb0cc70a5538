"""Two methods' predictions of the same questions -> what differs, how surely, and examples of it.

PREDICTION rows of a and b -> Comparison. Only questions that both have, in the same words and with the same reference,
are compared; what is left out is counted. MMBench's rotations count as one question, as in every score.

Questions that share an image are one cluster; across benchmarks they are taken to be independent.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from inbol_ray.errors import DataError, RowCountError
from inbol_ray.evaluation.benchmark_scores import merge_rotations
from inbol_ray.evaluation.paired import Difference, PairedOutcomes, compare_paired
from inbol_ray.method.scores import VALUE, outcome_codes
from inbol_ray.subsets import rank

COLUMNS = (
    *("id", "group", "benchmark", "method", "seed", "images", "question", "gold_answers", "response", "outcome"),
)
Key = tuple[int, str, str]
"""(seed, benchmark, id)"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Side `a` minus side `b`. Counts are of questions, by benchmark; an example has `id`, `benchmark`, `question`,
    `gold_answers`, and for each side its reply and outcome."""

    a: str
    b: str
    differences: list[Difference]
    critical_value: float | None
    num_comparisons: int
    num_only_a: dict[str, int]
    num_only_b: dict[str, int]
    num_changed: dict[str, int]
    num_a_better: int
    num_b_better: int
    a_better: list[dict]
    b_better: list[dict]

    def to_dict(self) -> dict:
        """Plain JSON types."""
        return asdict(self)


def compare_predictions(a: pa.Table, b: pa.Table, names: tuple[str, str], num_examples: int = 10) -> Comparison:
    """Compare two tables of PREDICTION rows, each of one method. `names` of the sides are for the reader.

    With one seed each, its number does not matter; with several, equal seeds meet, and the seeds of a question are one
    cluster. Examples are the first by a hash of their id, whatever the replies are.

    Raises DataError for missing columns, several methods on a side, or no question that both have; RowCountError where
    a side has a question twice.
    """
    sides = [_check(table, name) for table, name in zip((a, b), names, strict=True)]
    if all(len(side["seed"].unique()) <= 1 for side in sides):
        sides = [_without_seed(side) for side in sides]
    places = [_places(side, name) for side, name in zip(sides, names, strict=True)]
    shared = sorted(places[0].keys() & places[1].keys())
    rows = [
        side.take(pa.array([place[key] for key in shared], pa.int64()))
        for side, place in zip(sides, places, strict=True)
    ]
    same = _equal_questions(*rows)
    changed = Counter(key[1] for key, is_same in zip(shared, same, strict=True) if not is_same)
    if not any(same):
        raise DataError(_nothing_shared(places, shared, names))
    merged = [merge_rotations(side.filter(pa.array(same))) for side in rows]
    codes = [outcome_codes(side["outcome"].to_numpy(zero_copy_only=False)) for side in merged]
    benchmark_N = np.array(merged[0]["benchmark"].to_pylist(), dtype=object)
    clusters_N = _clusters(merged[0])
    differences, critical = compare_paired(
        {
            name: PairedOutcomes(*(side[benchmark_N == name] for side in codes), clusters_N[benchmark_N == name])
            for name in sorted(set(benchmark_N))
        }
    )
    gain_N = VALUE[codes[0]].astype(int) - VALUE[codes[1]]
    return Comparison(
        *names,
        differences,
        critical,
        sum(one.difference is not None for one in differences),
        _count(places[0].keys() - places[1].keys()),
        _count(places[1].keys() - places[0].keys()),
        dict(sorted(changed.items())),
        int((gain_N > 0).sum()),
        int((gain_N < 0).sum()),
        _examples(merged, np.flatnonzero(gain_N > 0), num_examples),
        _examples(merged, np.flatnonzero(gain_N < 0), num_examples),
    )


def _check(table: pa.Table, name: str) -> pa.Table:
    if missing := [column for column in COLUMNS if column not in table.column_names]:
        raise DataError(
            f"{name}: found no columns {missing}, expected the schema rows.PREDICTION; score the replies anew"
        )
    methods = table["method"].unique().to_pylist()
    if len(methods) > 1:
        raise DataError(
            f"{name}: found the methods {', '.join(sorted(methods))}, expected one; name it, as in {name}:{methods[0]}"
        )
    return table.select(COLUMNS)


def _without_seed(side: pa.Table) -> pa.Table:
    zeros = pa.array(np.zeros(side.num_rows, np.int32))
    return side.set_column(side.schema.get_field_index("seed"), "seed", zeros)


def _places(side: pa.Table, name: str) -> dict[Key, int]:
    places: dict[Key, int] = {}
    for place, key in enumerate(
        zip(*(side[column].to_pylist() for column in ("seed", "benchmark", "id")), strict=True)
    ):
        if key in places:
            raise RowCountError(f"{name}: question {key[2]!r} of {key[1]}, seed {key[0]}, was predicted more than once")
        places[key] = place
    return places


def _equal_questions(a: pa.Table, b: pa.Table) -> list[bool]:
    """Whether wording and reference are the same: otherwise the replies answer two questions."""
    columns = [
        list(zip(side["question"].to_pylist(), side["gold_answers"].to_pylist(), strict=True)) for side in (a, b)
    ]
    return [one == other for one, other in zip(*columns, strict=True)]


def _clusters(rows: pa.Table) -> np.ndarray:
    """A number for each row, the same where rows of a benchmark are of one question or share an image, also over a
    third."""
    parent: dict[tuple, tuple] = {}

    def root(node: tuple) -> tuple:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    nodes = []
    for benchmark, row_id, images in zip(
        *(rows[name].to_pylist() for name in ("benchmark", "id", "images")), strict=True
    ):
        node = (benchmark, "question", row_id)
        for image in images or ():
            parent[root((benchmark, "image", image))] = root(node)
        nodes.append(node)
    numbers: dict[tuple, int] = {}
    return np.array([numbers.setdefault(root(node), len(numbers)) for node in nodes], dtype=np.int64)


def _count(keys: set[Key]) -> dict[str, int]:
    return dict(sorted(Counter(benchmark for _, benchmark, _ in keys).items()))


def _examples(sides: Sequence[pa.Table], places_N: np.ndarray, number: int) -> list[dict]:
    ids = sides[0]["id"]
    first = sorted(places_N.tolist(), key=lambda place: rank(ids[place].as_py(), 0))[:number]
    a, b = (side.take(pa.array(first, pa.int64())).to_pylist() for side in sides)
    return [
        {name: one[name] for name in ("id", "benchmark", "question", "gold_answers")}
        | {"a_reply": one["response"], "a_outcome": one["outcome"]}
        | {"b_reply": other["response"], "b_outcome": other["outcome"]}
        for one, other in zip(a, b, strict=True)
    ]


def _nothing_shared(places: Sequence[dict[Key, int]], shared: Sequence[Key], names: tuple[str, str]) -> str:
    if shared:
        return (
            f"{names[0]} and {names[1]}: all {len(shared):,} questions that both have differ in wording or reference, expected the "
            f"same questions (for example {shared[0][2]!r}). Score both with the same benchmarks."
        )
    examples = [next(iter(place), (0, "", "nothing"))[2] for place in places]
    return (
        f"{names[0]} has {len(places[0]):,} questions (such as {examples[0]!r}) and {names[1]} {len(places[1]):,} (such as "
        f"{examples[1]!r}), none in common, expected the same questions and, where there are several seeds, the same seeds."
    )
