"""Stage: SIGNAL rows -> a calibration file a method, and the risk-coverage figures of the report."""

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from inbol_ray.calibration.calibration_file import FORMAT, Calibration, calibrate_signal, write_calibration
from inbol_ray.calibration.conditions import QuestionKind, current_conditions
from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.model import PromptConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.section import Section
from inbol_ray.method.prompts import REFUSALS_VERSION
from inbol_ray.method.risk_coverage import summarise
from inbol_ray.runtime.stage import Stage, StageContext

RISK_COVERAGE = "risk_coverage.json"


class CalibrateSettings(Section):
    methods: list[str]
    delta: float
    num_samples: int
    max_tokens: int
    refusals_version: int = REFUSALS_VERSION
    prompts: PromptConfig
    engine: EngineConfig


def calibrate_stage(config: PipelineConfig, signals: Stage) -> Stage[CalibrateSettings]:
    """For a configuration with `calibration`."""
    return Stage(
        "calibrate",
        "fit thresholds for target risks",
        calibrate,
        version=1,
        settings=CalibrateSettings(
            methods=config.calibration.methods,
            delta=config.calibration.delta,
            num_samples=config.calibration.num_samples,
            max_tokens=config.evaluation.max_tokens,
            prompts=config.prompts,
            engine=config.engine,
        ),
        inputs={"signals": signals},
    )


def calibrate(context: StageContext[CalibrateSettings]) -> dict[str, int]:
    """Reads `signals`; writes `{method}.json` for the methods of `calibration`, and RISK_COVERAGE for all methods."""
    settings = context.settings
    rows = pq.read_table(context.inputs["signals"] / "signals.parquet").to_pylist()
    for method in settings.methods:
        asked = [row for row in rows if row["part"] == "calibration" and row["method"] == method]
        wrong_N = np.array([row["wrong"] for row in asked], bool)
        confidence_N = np.array([row["confidence"] for row in asked])
        agreement_N = np.array([row["agreement"] for row in asked])
        calibration = Calibration(
            format=FORMAT,
            method=method,
            checkpoint_digest=asked[0]["checkpoint_digest"],
            delta=settings.delta,
            num_questions=len(asked),
            kinds=question_kinds(asked),
            conditions=current_conditions(settings.prompts, settings.engine),
            max_tokens=settings.max_tokens,
            signals={
                "first_token": calibrate_signal(confidence_N, wrong_N, settings.delta),
                "agreement": calibrate_signal(agreement_N, wrong_N, settings.delta, settings.num_samples),
            },
        )
        write_calibration(calibration, context.folder / f"{method}.json")
    summary = summarise([row for row in rows if row["part"] == "test"])
    (context.folder / RISK_COVERAGE).write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")
    return {"calibrated": len(settings.methods), "curves": len(summary)}


def question_kinds(signals: Sequence[dict]) -> list[QuestionKind]:
    """The kinds of question in SIGNAL rows, the most frequent first."""
    counts = Counter((row["dataset"], row["answer_kind"], row["num_images"]) for row in signals)
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [
        QuestionKind(dataset=dataset, answer_kind=answer_kind, num_images=num_images, num_questions=count)
        for (dataset, answer_kind, num_images), count in ordered
    ]
