"""What the results of several seeds say together: contents of `results.json` -> the content of `seeds.json`.

Every score, difference and interval is in percent.
"""

from collections.abc import Mapping, Sequence

from inbol_ray.errors import DataError
from inbol_ray.evaluation.metrics import DIFFERENCES, DOMAINS, SCHEMA_VERSION, SCORES, method_order
from inbol_ray.method.intervals import t_interval


def summarise_seeds(results_per_seed: Sequence[Mapping]) -> dict:
    """Content of `seeds.json`: what the results of several seeds (`build_results`, each of one or more) say together.

    `methods`: mean and 95% t-interval over seeds of every score. `differences`: `s_trust` and `acc` of one method
    minus another at the same seed. `values` stand in the order of `seeds`, None where a seed lacks the score;
    an interval needs two seeds.

    Raises: DataError when two results share method, domain and seed.
    """
    rows: dict[tuple[str, str, int], Mapping] = {}
    for row in (row for results in results_per_seed for row in results["results"]):
        key = (row["method"], row["domain"], row["seed"])
        if key in rows:
            raise DataError(f"two results for method, domain, seed {key}: give each seed once")
        rows[key] = row
    seeds = sorted({seed for _, _, seed in rows})
    names = {results.get("name", "") for results in results_per_seed}
    present = method_order(method for method, _, _ in rows)
    return {
        "schema_version": SCHEMA_VERSION,
        "name": names.pop() if len(names) == 1 else "",
        "seeds": seeds,
        "methods": [
            {"method": method, "domain": domain}
            | {score: _summarise([_get(rows, method, domain, seed, score) for seed in seeds]) for score in SCORES}
            for domain in DOMAINS
            for method in present
            if any((method, domain, seed) in rows for seed in seeds)
        ],
        "differences": [
            row
            for domain in DOMAINS
            for method, baseline in DIFFERENCES
            for metric in ("s_trust", "acc")
            for row in _seed_differences(rows, seeds, method, baseline, domain, metric)
        ],
    }


def _get(rows: Mapping, method: str, domain: str, seed: int, score: str) -> float | None:
    return rows.get((method, domain, seed), {}).get(score)


def _seed_differences(
    rows: Mapping, seeds: Sequence[int], method: str, baseline: str, domain: str, metric: str
) -> list[dict]:
    """The one row of a paired difference, or none where no seed has both methods."""
    pairs = [(_get(rows, method, domain, seed, metric), _get(rows, baseline, domain, seed, metric)) for seed in seeds]
    values = [None if one is None or other is None else one - other for one, other in pairs]
    if all(value is None for value in values):
        return []
    return [{"method": method, "baseline": baseline, "domain": domain, "metric": metric, **_summarise(values)}]


def _summarise(values: Sequence[float | None]) -> dict:
    present = [value for value in values if value is not None]
    interval = t_interval(present)
    return {
        "values": list(values),
        "mean": sum(present) / len(present) if present else None,
        "interval": list(interval) if interval else None,
    }
