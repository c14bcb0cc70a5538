"""The graph of stages that a configuration describes. What each of them is stands beside its function."""

from inbol_ray.calibration.signals import signals_stage
from inbol_ray.calibration.stage import calibrate_stage
from inbol_ray.confidence.estimate import benchmark_confidence_stage, confidence_stage
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.training import PRETRAINING_STEPS
from inbol_ray.corpora.stage import benchmarks_stage, leakage_stage, questions_stage
from inbol_ray.datagen.build import data_stage
from inbol_ray.evaluation.predict import evaluate_stage
from inbol_ray.judging.stage import judge_stage
from inbol_ray.runtime.stage import Stage
from inbol_ray.toyworld.stages import corpora_stage, instruct_stage, vision_stage
from inbol_ray.training.stage import train_stage
from inbol_ray.unanswerable.build import unanswerable_stage


def build_stages(config: PipelineConfig) -> dict[str, Stage]:
    """Every stage by name, each after the stages it reads. Raises ConfigError for a dataset
    without a reader, DataError for a file of replies that is not there."""
    toyworld = corpora_stage(config) if config.toyworld else None
    making = _base_model_stages(config) if config.base_model.kind == "toyworld" else []
    original = making[-1] if making else None  # None: a checkpoint from outside

    benchmarks = benchmarks_stage(config, toyworld)
    questions = questions_stage(config, toyworld, benchmarks)
    leakage = leakage_stage(config, questions, benchmarks)
    unanswerable = unanswerable_stage(config, questions, original, leakage)
    confidence = confidence_stage(config, questions, unanswerable, original, leakage)
    data = data_stage(config, confidence)
    methods = _method_stages(config, original, data)

    sampled = config.evaluation.sample_confidence
    test_confidence = benchmark_confidence_stage(config, benchmarks, original) if sampled else None
    evaluated = {name: methods[name] for name in config.evaluation.methods if name in methods}
    evaluate = evaluate_stage(config, benchmarks, test_confidence, original, evaluated, leakage)
    judge = judge_stage(config, evaluate, benchmarks) if config.scoring.judge else None
    signals = calibrate = None
    if config.calibration:
        asked = evaluated | {name: methods[name] for name in config.calibration.methods if name in methods}
        signals = signals_stage(config, benchmarks, toyworld, original, asked)
        calibrate = calibrate_stage(config, signals)

    stages = [toyworld, *making, benchmarks, questions, leakage, unanswerable, confidence, data, *methods.values()]
    stages += [test_confidence, evaluate, judge, signals, calibrate]
    return {stage.name: stage for stage in stages if stage is not None}


def _base_model_stages(config: PipelineConfig) -> list[Stage]:
    """The toy world's base model, last, and what it is made of."""
    instruct, vision = instruct_stage(config), vision_stage(config)
    align = train_stage(config, "align", "align language and vision", vision, instruct)
    return [instruct, vision, align, train_stage(config, "base", "train the base LLaVA", align, instruct)]


def _method_stages(config: PipelineConfig, original: Stage | None, data: Stage) -> dict[str, Stage]:
    """The training of each method by its name, each after the one that it starts from."""
    stages: dict[str, Stage] = {}

    def add(name: str) -> Stage | None:
        if name == "original":
            return original
        if name not in stages:
            init = add(config.training[name].init_from)
            stages[name] = train_stage(config, name, f"train {name}", init, data)
        return stages[name]

    for name in config.training:
        if name not in PRETRAINING_STEPS:
            add(name)
    return stages


def with_ancestors(stages: dict[str, Stage], targets: list[str] | None) -> list[str]:
    """Names of the target stages (None: all) and of all that they read from or wait for, in the order of `stages`."""
    if targets is None:
        return list(stages)
    wanted: set[str] = set()
    waiting = [stages[name] for name in targets]
    while waiting:
        stage = waiting.pop()
        wanted.add(stage.name)
        waiting += [*stage.inputs.values(), *stage.after]
    return [name for name in stages if name in wanted]
