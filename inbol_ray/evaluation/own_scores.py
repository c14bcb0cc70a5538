"""Figures that one benchmark alone has, from its PREDICTION rows: benchmark -> {name: percent}.

A benchmark without an entry has none. Errors count as replies that say nothing.
"""

from collections.abc import Callable

import pyarrow as pa

from inbol_ray.scoring.ocr_parts import KEYS, read_parts, score_parts


def score_own(benchmark: str, table: pa.Table) -> dict[str, float] | None:
    """The benchmark's own figures over a method's replies, or None."""
    scorer = _SCORERS.get(benchmark)
    return scorer(table) if scorer and table.num_rows else None


def _score_ocr(table: pa.Table) -> dict[str, float]:
    """Mean character accuracy and similarity of the three texts. Source: KIE-HVQA eval.py."""
    totals = dict.fromkeys([f"{part}_{name}" for part in KEYS for name in ("accuracy", "similarity")], 0.0)
    columns = (table[name].to_pylist() for name in ("response", "outcome", "gold_answers"))
    for response, outcome, gold_answers in zip(*columns, strict=True):
        truth = read_parts(gold_answers[0])
        assert truth is not None, gold_answers  # the reader lets no other through
        for part, scores in score_parts("" if outcome == "error" else response, truth).items():
            for name, value in zip(("accuracy", "similarity"), scores, strict=True):
                totals[f"{part}_{name}"] += 100 * value / table.num_rows
    return totals


_SCORERS: dict[str, Callable[[pa.Table], dict[str, float]]] = {"kie_hvqa": _score_ocr}
