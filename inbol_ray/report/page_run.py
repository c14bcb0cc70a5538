"""The page's sections on the run itself: how long its stages took, and what its figures came from."""

import json
from collections.abc import Mapping, Sequence

import pyarrow as pa

from inbol_ray.evaluation.metrics import method_order
from inbol_ray.report.wording import duration, escape, seeds_of


def render_stages(stages: Sequence[Mapping]) -> str:
    if not stages:
        return ""
    total = sum(stage["wall_s"] for stage in stages)
    longest = max(stage["wall_s"] for stage in stages) or 1.0
    rows = "".join(
        f'<tr><th scope="row">{escape(stage["stage"])}</th><td class="track-cell"><span class="fill" '
        f'style="width:{100 * stage["wall_s"] / longest:.2f}%"></span></td><td>{duration(stage["wall_s"])}</td></tr>'
        for stage in stages
    )
    return (
        "<section><h2>Time by stage</h2><table class='times'><thead class='hidden'><tr><th scope='col'>Stage</th>"
        f"<th scope='col'>Drawn</th><th scope='col'>Wall time</th></tr></thead><tbody>{rows}</tbody><tfoot><tr>"
        f'<th scope="row">Total</th><td></td><td>{duration(total)}</td></tr></tfoot></table></section>'
    )


def render_provenance(results: Mapping, predictions: pa.Table) -> str:
    checkpoints: dict[str, list[str]] = {}
    for pair in (
        predictions.select(["method", "checkpoint"]).group_by(["method", "checkpoint"]).aggregate([]).to_pylist()
    ):
        checkpoints.setdefault(pair["method"], []).append(str(pair["checkpoint"]))
    record = {
        "checkpoints": {method: sorted(checkpoints[method]) for method in method_order(checkpoints)},
        "seeds": seeds_of(results),
        "stages": results["stages"],
        **results.get("provenance", {}),
    }
    text = json.dumps(record, indent=2, ensure_ascii=False, default=str)
    return (
        f"<section><h2>Provenance</h2><details><summary>Configuration, checkpoints, versions</summary><pre>{escape(text)}"
        "</pre></details><footer><p>Method: \u201cDrawing the Line: Enhancing Trustworthiness of MLLMs Through the Power "
        "of Refusal\u201d (arXiv 2412.11196). Numbers: results.json. Every reply: predictions.parquet.</p></footer>"
        "</section>"
    )
