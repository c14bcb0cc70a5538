"""Stage: SIGNAL rows -> a calibration file a method, and the risk-coverage figures of the report."""

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from inbol_ray.calibration.calibration_file import FORMAT, Calibration, calibrate_signal, write_calibration
from inbol_ray.calibration.conditions import QuestionKind, current_conditions
from inbol_ray.method.risk_coverage import summarise
from inbol_ray.store.artifacts import StageContext

RISK_COVERAGE = "risk_coverage.json"


def calibrate(context: StageContext) -> dict[str, int]:
    """Reads `signals`; writes `{method}.json` for the methods of `calibration`, and RISK_COVERAGE for all methods."""
    config = context.config.calibration
    rows = pq.read_table(context.inputs["signals"] / "signals.parquet").to_pylist()
    for method in config.methods:
        asked = [row for row in rows if row["part"] == "calibration" and row["method"] == method]
        wrong_N = np.array([row["wrong"] for row in asked], bool)
        confidence_N = np.array([row["confidence"] for row in asked])
        agreement_N = np.array([row["agreement"] for row in asked])
        calibration = Calibration(
            format=FORMAT,
            method=method,
            checkpoint_digest=asked[0]["checkpoint_digest"],
            delta=config.delta,
            num_questions=len(asked),
            kinds=question_kinds(asked),
            # Those of the signals: a stage that they would change has another artifact.
            conditions=current_conditions(context.config.prompts, context.config.engine),
            max_tokens=context.config.evaluation.max_tokens,
            signals={
                "first_token": calibrate_signal(confidence_N, wrong_N, config.delta),
                "agreement": calibrate_signal(agreement_N, wrong_N, config.delta, config.num_samples),
            },
        )
        write_calibration(calibration, context.folder / f"{method}.json")
    summary = summarise([row for row in rows if row["part"] == "test"])
    (context.folder / RISK_COVERAGE).write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")
    return {"calibrated": len(config.methods), "curves": len(summary)}


def question_kinds(signals: Sequence[dict]) -> list[QuestionKind]:
    """The kinds of question in SIGNAL rows, the most frequent first."""
    counts = Counter((row["dataset"], row["answer_kind"], row["num_images"]) for row in signals)
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [
        QuestionKind(dataset=dataset, answer_kind=answer_kind, num_images=num_images, num_questions=count)
        for (dataset, answer_kind, num_images), count in ordered
    ]
