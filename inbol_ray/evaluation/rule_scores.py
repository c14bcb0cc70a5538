"""How much hangs on the rule of scoring? PREDICTION rows -> Acc of each (method, benchmark) under each rule.

Whichever rule gave the results, every reply was judged under all of them (`by_rule`). Rotations of a question are merged
under each rule by itself, so that Acc is what an evaluation under that rule would give. Percent; seeds are pooled.
"""

from collections.abc import Mapping, Sequence
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc

from inbol_ray.config.sampling import Rule
from inbol_ray.evaluation.benchmark_scores import merge_rotations
from inbol_ray.evaluation.metrics import method_order

RULES: tuple[str, ...] = get_args(Rule)


def score_rules(predictions: pa.Table) -> list[dict]:
    """`method`, `benchmark`, `num_questions`, `acc` by rule, and of the questions how many `only_free_text` and
    `not_free_text` call right, sorted by method and benchmark. Empty where no reply was judged under every rule.
    """
    judged = predictions.filter(pc.is_valid(predictions["by_rule"]))
    right: dict[tuple, dict[tuple, dict[str, bool]]] = {}
    for rule in RULES:
        outcomes = pc.struct_field(judged["by_rule"], rule)
        table = merge_rotations(judged.set_column(judged.schema.get_field_index("outcome"), "outcome", outcomes))
        columns = (table[name].to_pylist() for name in ("method", "benchmark", "seed", "id", "outcome"))
        for method, benchmark, seed, row_id, outcome in zip(*columns, strict=True):
            found = right.setdefault((method, benchmark), {}).setdefault((seed, row_id), {})
            found[rule] = outcome == "correct"
    order = {method: place for place, method in enumerate(method_order({method for method, _ in right}))}
    return [
        _build_row(method, benchmark, list(right[method, benchmark].values()))
        for method, benchmark in sorted(right, key=lambda key: (order[key[0]], key[1]))
    ]


def _build_row(method: str, benchmark: str, flags: Sequence[Mapping[str, bool]]) -> dict:
    others = [any(one[rule] for rule in RULES if rule != "free_text") for one in flags]
    return {
        "method": method,
        "benchmark": benchmark,
        "num_questions": len(flags),
        "acc": {rule: 100 * sum(one[rule] for one in flags) / len(flags) for rule in RULES},
        "only_free_text": sum(one["free_text"] and not other for one, other in zip(flags, others, strict=True)),
        "not_free_text": sum(other and not one["free_text"] for one, other in zip(flags, others, strict=True)),
    }
