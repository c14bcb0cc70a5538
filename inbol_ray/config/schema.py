"""A run's configuration as pydantic models, a module a group of sections. Imports no ML library, so `--help` and config
errors are instant.

The text under a field is its documentation and its `--help`. *Ours* marks a value that the paper does not state.
"""

from pydantic import model_validator

from inbol_ray.config.corpora import TOYWORLD_PREFIX, CorpusConfig, LeakageConfig, ToyWorldConfig
from inbol_ray.config.evaluation import UNTRAINED_METHODS, CalibrationConfig, EvaluationConfig
from inbol_ray.config.machines import EngineConfig, RayConfig, StorageConfig
from inbol_ray.config.model import BaseModelConfig, PromptConfig
from inbol_ray.config.plan import PlanConfig
from inbol_ray.config.sampling import BalanceConfig, ClassConfig, SamplingConfig, ScoringConfig, UnanswerableConfig
from inbol_ray.config.section import Section
from inbol_ray.config.serving import ServingConfig
from inbol_ray.config.training import PRETRAINING_STEPS, MethodConfig, TrackingConfig


class PipelineConfig(Section):
    """A whole experiment: `jobs/*.py` each run one part of it, `jobs/pipeline.py` runs all."""

    name: str
    seed: int = 0
    seeds: list[int] = []
    """Seeds that `jobs/seeds.py` runs the pipeline with, instead of `seed`."""
    output_dir: str = "build"
    """Artifacts go to `{output_dir}/artifacts`, the report to `{output_dir}`."""
    ray: RayConfig = RayConfig()
    storage: StorageConfig = StorageConfig()
    toyworld: ToyWorldConfig | None = None
    """Render the toy world first; null when all corpora are real."""
    base_model: BaseModelConfig
    corpora: list[CorpusConfig] = []
    """Training corpora; none where checkpoints are only evaluated."""
    leakage: LeakageConfig = LeakageConfig()
    prompts: PromptConfig = PromptConfig()
    engine: EngineConfig = EngineConfig()
    sampling: SamplingConfig = SamplingConfig()
    scoring: ScoringConfig = ScoringConfig()
    unanswerable: UnanswerableConfig = UnanswerableConfig()
    classes: ClassConfig = ClassConfig()
    balance: BalanceConfig = BalanceConfig()
    training: dict[str, MethodConfig] = {}
    """Methods to train, by name; `align` and `base` are the toy base model's own pretraining."""
    tracking: TrackingConfig = TrackingConfig()
    evaluation: EvaluationConfig
    calibration: CalibrationConfig | None = None
    serving: ServingConfig | None = None
    plan: PlanConfig = PlanConfig()

    @model_validator(mode="after")
    def _consistent(self) -> "PipelineConfig":
        reserved = set(UNTRAINED_METHODS)
        if clash := reserved & self.training.keys():
            raise ValueError(f"training: {sorted(clash)} name untrained methods; choose other names")
        pretraining = set(PRETRAINING_STEPS)
        methods = self.training.keys() - pretraining | {"original"}
        for name, method in self.training.items():
            allowed = {PRETRAINING_STEPS[name]} if name in pretraining else methods - {name}
            if method.init_from not in allowed:
                raise ValueError(
                    f"training.{name}.init_from is {method.init_from!r}; expected one of {sorted(allowed)}"
                )
            _check_chain(name, self.training)
        if unknown := set(self.evaluation.methods) - (reserved | self.training.keys() - pretraining):
            raise ValueError(f"evaluation.methods: {sorted(unknown)} are neither trained nor built in")
        _check_evaluation(self.evaluation)
        served = self.serving.models if self.serving else {}
        wanted = [(f"serving.models.{name}.method", model.method) for name, model in served.items() if model.method]
        wanted += [("calibration.methods", name) for name in (self.calibration.methods if self.calibration else [])]
        for where, method in wanted:
            if method not in methods:
                raise ValueError(f"{where}: {method!r} is not a checkpoint; expected one of {sorted(methods)}")
        toy = self.base_model.kind == "toyworld"
        if toy and (self.toyworld is None or not pretraining <= self.training.keys()):
            raise ValueError(
                "base_model.kind 'toyworld' needs the section `toyworld` and the entries `training.align` and `.base`"
            )
        if toy and self.evaluation.size:
            raise ValueError("evaluation.size: the toy world's model is no LLaVA-1.5; leave it out")
        if not toy and (extra := pretraining & self.training.keys()):
            raise ValueError(f"training.{sorted(extra)} only apply to base_model.kind 'toyworld'; remove them")
        for section, corpora in (("corpora", self.corpora), ("evaluation.benchmarks", self.evaluation.benchmarks)):
            names = [f"{corpus.dataset}:{corpus.split}" for corpus in corpora]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{section}: {twice} are listed twice, so two questions would share one id")
        if self.toyworld is None:
            calibration = self.calibration.benchmarks if self.calibration else []
            for corpus in [*self.corpora, *self.evaluation.benchmarks, *calibration]:
                if corpus.root.startswith(TOYWORLD_PREFIX):
                    raise ValueError(f"{corpus.root!r} needs the section `toyworld`")
        return self


def _check_evaluation(evaluation: EvaluationConfig) -> None:
    """Raise ValueError for names that stand for two things, or for nothing."""
    if twice := set(evaluation.methods) & evaluation.models.keys():
        raise ValueError(f"evaluation.models: {sorted(twice)} are names of methods; choose other names")
    names = {*evaluation.methods, *evaluation.models}
    if evaluation.in_domain_test and not any(one.domain == "in_domain" for one in evaluation.benchmarks):
        raise ValueError("evaluation.in_domain_test: no benchmark has `domain: in_domain`; add one or remove the test")
    datasets = {benchmark.dataset for benchmark in evaluation.benchmarks}
    for name, dataset in evaluation.pairs or ():
        if name not in names:
            raise ValueError(f"evaluation.pairs: {name!r} is no method or model; expected one of {sorted(names)}")
        if dataset not in datasets:
            raise ValueError(f"evaluation.pairs: no benchmark is {dataset!r}; expected one of {sorted(datasets)}")


def _check_chain(name: str, training: dict[str, MethodConfig]) -> None:
    """Raise ValueError when following `init_from` from `name` comes back to it."""
    seen = [name]
    while (parent := training[seen[-1]].init_from) in training:
        if parent in seen:
            raise ValueError(f"training: init_from goes round in a circle: {' -> '.join([*seen, parent])}")
        seen.append(parent)
