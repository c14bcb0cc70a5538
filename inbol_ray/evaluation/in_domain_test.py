"""Scores on an in-domain test of the paper's size, drawn from what has been answered: nothing is asked again.

PREDICTION rows -> the drawn questions of every method -> a list of JSON objects; every rate and interval is in percent
"""

from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from inbol_ray.config.evaluation import InDomainTest
from inbol_ray.evaluation.benchmark_scores import merge_rotations
from inbol_ray.evaluation.metrics import method_order
from inbol_ray.method.scores import trust_scores
from inbol_ray.subsets import draw, equal_shares


def score_in_domain_test(predictions: pa.Table, test: InDomainTest, seed: int) -> list[dict]:
    """Scores of each method that answered all drawn questions: whole, `answerable` and `unanswerable`, with the number of
    questions of each benchmark in `answerable_benchmarks` and `unanswerable_benchmarks`.

    Fewer questions are drawn than `test` asks for where the in-domain benchmarks have no more.
    """
    merged = merge_rotations(predictions)
    merged = merged.filter(pc.equal(merged["domain"], "in_domain"))
    columns = (merged[name].to_pylist() for name in ("id", "benchmark", "answerable"))
    questions = {id: (benchmark, answerable) for id, benchmark, answerable in zip(*columns, strict=True)}
    answerable = _draw(questions, True, test.questions - test.unanswerable, seed)
    unanswerable = _draw(questions, False, test.unanswerable, seed)
    rows = []
    for method in method_order(merged["method"].to_pylist()):
        of_method = merged.filter(pc.equal(merged["method"], method))
        parts = [
            of_method.filter(pc.is_in(of_method["id"], pa.array(ids, pa.string())))
            for ids in (answerable, unanswerable)
        ]
        if [part.num_rows for part in parts] != [len(answerable), len(unanswerable)]:
            continue  # it was asked some benchmarks only
        rows.append(
            {"method": method, "seed": seed, **_score(pa.concat_tables(parts))}
            | {"answerable": _score(parts[0]), "unanswerable": _score(parts[1])}
            | {"answerable_benchmarks": _count(parts[0]), "unanswerable_benchmarks": _count(parts[1])}
        )
    return rows


def _draw(questions: Mapping[str, tuple[str, bool]], answerable: bool, wanted: int, seed: int) -> list[str]:
    ids = sorted(id for id, (_, can) in questions.items() if can == answerable)
    return [ids[place] for place in draw(ids, [questions[id][0] for id in ids], wanted, seed, equal_shares)]


def _score(table: pa.Table) -> dict:
    return trust_scores(table["outcome"].to_pylist(), table["unparsed"].to_pylist()).to_dict()


def _count(table: pa.Table) -> dict[str, int]:
    return dict(sorted(Counter(table["benchmark"].to_pylist()).items()))
