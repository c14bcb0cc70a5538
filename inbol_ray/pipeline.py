"""The graph of stages that a configuration describes, and running it."""

import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from inbol_ray.config.corpora import TOYWORLD_PREFIX, CorpusConfig
from inbol_ray.config.evaluation import UNTRAINED_METHODS
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.training import PRETRAINING_STEPS
from inbol_ray.errors import ConfigError, InbolError
from inbol_ray.evaluation.reply_file import file_digest
from inbol_ray.images import IMAGES_VERSION
from inbol_ray.judging.prompt import JUDGE_PROMPT_VERSION
from inbol_ray.method.prompts import PROMPTS_VERSION
from inbol_ray.preflight.check import check_run
from inbol_ray.runtime.progress_sinks import start_board, submission_id, watched
from inbol_ray.runtime.ray_session import started_ray
from inbol_ray.runtime.resources import check_asks, growth_limits, nodes_up, place_engines, stage_asks, waiting_for
from inbol_ray.store.artifacts import Stage, open_store
from inbol_ray.store.storage import is_remote

SURVIVAL_SETTINGS = ("min_workers", "max_failures", "checkpoint_every_steps")
"""Settings of a training method that decide how it survives, and not what comes out."""


def build_stages(config: PipelineConfig) -> dict[str, Stage]:
    """Every stage by name, each after the stages it reads."""
    dump = config.model_dump(mode="json")
    seed = {"seed": config.seed}
    scoring = config.scoring.rule_settings()
    prompts = {"prompts": dump["prompts"], "prompts_version": PROMPTS_VERSION}
    # The rest of the section says where and how fast engines run: changing it must not make finished work stale.
    engine = {"engine": config.engine.reply_settings()}
    stages: dict[str, Stage] = {}

    def method_settings(name: str) -> dict:
        return {key: value for key, value in dump["training"][name].items() if key not in SURVIVAL_SETTINGS}

    def add(
        name: str, title: str, function: str, settings: dict, after: tuple[Stage, ...] = (), **inputs: Stage | None
    ) -> Stage:
        present = {key: stage for key, stage in inputs.items() if stage is not None}
        stages[name] = Stage(name, title, f"inbol_ray.{function}", settings, present, after)
        return stages[name]

    toyworld = original = None
    if config.toyworld is not None:
        toyworld = add(
            "toyworld",
            "render the toy world's corpora",
            "toyworld.stages:build_corpora",
            {"toyworld": dump["toyworld"]} | seed,
        )
    if config.base_model.kind == "toyworld":
        instruct = add(
            "instruct",
            "write the instruction corpus",
            "toyworld.stages:build_instruct",
            {key: dump["toyworld"][key] for key in ("num_pretrain_images", "num_captioned_images")} | prompts | seed,
        )
        vision = add(
            "vision",
            "pretrain the vision tower",
            "toyworld.stages:build_vision_model",
            {"base_model": dump["base_model"]} | prompts | seed,
        )
        original = vision
        for name, title in (("align", "align language and vision"), ("base", "train the base LLaVA")):
            settings = {"method": name, "training": method_settings(name)} | seed
            original = add(name, title, "training.stage:train", settings, init=original, data=instruct)
    # Every stage that shows pictures to a model has these settings.
    base = {"base_model": dump["base_model"], "images_version": IMAGES_VERSION}

    def toyworld_of(corpora: Sequence[CorpusConfig]) -> Stage | None:
        return toyworld if any(corpus.root.startswith(TOYWORLD_PREFIX) for corpus in corpora) else None

    def settings_of(corpora: Sequence[CorpusConfig]) -> dict:
        # A corpus in a store is another one where its endpoint is another; where artifacts are kept changes nothing.
        storage = {"storage": dump["storage"]} if any(is_remote(corpus.root) for corpus in corpora) else {}
        drawn = seed if any(corpus.sample for corpus in corpora) else {}
        return {"corpora": [corpus.model_dump(mode="json") for corpus in corpora]} | storage | drawn

    keys = {"compare_content": config.leakage.compare_content}

    benchmarks = add(
        "benchmarks",
        "read the benchmarks",
        "corpora.stage:build_benchmarks",
        settings_of(config.evaluation.benchmarks) | keys,
        toyworld=toyworld_of(config.evaluation.benchmarks),
    )
    questions = add(
        "questions",
        "read the training corpora",
        "corpora.stage:build_questions",
        settings_of(config.corpora) | keys,
        toyworld=toyworld_of(config.corpora),
        # Only so do benchmarks change what is trained on: one more leaves samples and checkpoints as they are.
        benchmarks=benchmarks if config.leakage.on_leak == "drop" else None,
    )
    leakage = add(
        "leakage",
        "compare training and evaluation",
        "corpora.stage:check_leakage",
        {"on_leak": config.leakage.on_leak},
        questions=questions,
        benchmarks=benchmarks,
    )
    unanswerable = add(
        "unanswerable",
        "build unanswerable questions",
        "unanswerable.build:build_unanswerable",
        {"unanswerable": dump["unanswerable"]} | base | prompts | engine | seed,
        after=(leakage,),
        questions=questions,
        checkpoint=original,
    )
    drawn = (
        {"scoring": scoring}
        | ({"classes": dump["classes"]} if config.sampling.adaptive else {})
        | base
        | prompts
        | engine
        | seed
    )
    sampling = {key: value for key, value in dump["sampling"].items() if key != "publish_uri"}
    confidence = add(
        "confidence",
        "sample what the model knows",
        "confidence.estimate:estimate_confidence",
        {"sampling": sampling} | drawn,
        after=(leakage,),
        questions=questions,
        unanswerable=unanswerable,
        checkpoint=original,
    )
    data = add(
        "data",
        "build IDK and preference data",
        "datagen.build:build_data",
        {"classes": dump["classes"], "balance": dump["balance"]} | prompts | seed,
        confidence=confidence,
    )

    def add_method(name: str) -> Stage | None:
        """The stage of a method's checkpoint; its parent comes first. None is a checkpoint from outside."""
        if name == "original":
            return original
        if name in stages:
            return stages[name]
        method = config.training[name]
        return add(
            name,
            f"train {name}",
            "training.stage:train",
            {"method": name, "training": method_settings(name)} | base | seed,
            init=add_method(method.init_from),
            data=data,
        )

    trained = [name for name in config.evaluation.methods if name not in UNTRAINED_METHODS]
    methods = {name: add_method(name) for name in config.training if name not in PRETRAINING_STEPS}
    test_confidence = None
    if config.evaluation.sample_confidence:
        fresh = {key: value for key, value in sampling.items() if key not in ("reuse_uri", "allow_other_checkpoint")}
        test_confidence = add(
            "test_confidence",
            "sample the benchmarks",
            "confidence.estimate:estimate_test_confidence",
            {"sampling": fresh} | drawn,
            benchmarks=benchmarks,
            checkpoint=original,
        )
    add(
        "evaluate",
        "answer the benchmarks",
        "evaluation.predict:predict",
        {key: dump["evaluation"][key] for key in ("methods", "pairs", "max_tokens", "sample_confidence")}
        | {"models": {name: model.result_settings() for name, model in config.evaluation.models.items()}}
        | _reply_digests(config)
        | {"scoring": scoring, "threshold": config.sampling.correct_threshold}
        | (base if config.evaluation.methods else {"images_version": IMAGES_VERSION})
        | prompts
        | engine
        | seed,
        after=(leakage,),
        benchmarks=benchmarks,
        test_confidence=test_confidence,
        original=original,
        **{name: methods[name] for name in trained},
    )
    if config.scoring.judge is not None:
        by_checkpoint = config.scoring.judge.checkpoint is not None
        add(
            "judge",
            "ask a judge about the replies",
            "judging.stage:judge_predictions",
            {"judge": config.scoring.judge.result_settings(), "judge_prompt_version": JUDGE_PROMPT_VERSION}
            | {"scoring": scoring, "threshold": config.sampling.correct_threshold}
            | (engine | seed if by_checkpoint else {}),
            evaluate=stages["evaluate"],
            benchmarks=benchmarks,
        )
    if config.calibration is not None:
        asked = [*trained, *(name for name in config.calibration.methods if name not in (*trained, "original"))]
        measured = {"num_samples": config.calibration.num_samples, "methods": config.calibration.methods} | {
            "test_methods": config.evaluation.methods,
            "max_tokens": config.evaluation.max_tokens,
            "threshold": config.sampling.correct_threshold,
            "scoring": scoring,
        }
        signals = add(
            "signals",
            "measure how sure each method is",
            "calibration.signals:read_all_signals",
            settings_of(config.calibration.benchmarks) | measured | base | prompts | engine | seed,
            benchmarks=benchmarks,
            toyworld=toyworld_of(config.calibration.benchmarks),
            original=original,
            **{name: methods[name] for name in asked},
        )
        add(
            "calibrate",
            "fit thresholds for target risks",
            "calibration.stage:calibrate",
            {"delta": config.calibration.delta, "methods": config.calibration.methods},
            signals=signals,
        )
    return stages


def _reply_digests(config: PipelineConfig) -> dict:
    """What files of replies hold, as settings: another content is another evaluation. Raises DataError without a
    file."""
    files = {name: model.replies for name, model in config.evaluation.models.items() if model.replies is not None}
    return {"replies": {name: file_digest(path, config.storage) for name, path in files.items()}} if files else {}


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


def run_stages(config: PipelineConfig, targets: list[str] | None = None) -> dict[str, dict]:
    """Compute the target stages (None: all) and what they read; returns manifests by name. Prints one line a stage."""
    stages = build_stages(config)
    store = open_store(config)
    wanted = with_ancestors(stages, targets)
    missing = [name for name in wanted if store.manifest(stages[name]) is None]
    _check_output_dir(config)
    manifests = {}
    with started_ray(config) if missing else nullcontext():
        board = None
        if missing:
            check_run(config, [stages[name] for name in missing], store)
            placed = config.model_copy(update={"engine": place_engines(config.engine)})
            asks = {name: stage_asks(stages[name], placed) for name in missing}
            if not config.ray.nodes_may_join:
                check_asks(asks, nodes_up(), growth_limits())
            board = start_board()
        for number, name in enumerate(wanted, start=1):
            stage = stages[name]
            label = f"[{number:>2}/{len(wanted)}] {stage.title:<32}"
            cached = store.manifest(stage)
            if cached is None:
                with watched(stage, label, board, lambda name=name: waiting_for(asks[name], nodes_up())):
                    manifests[name] = store.compute(stage, config)
                board.finish.remote(manifests[name])
            else:
                manifests[name] = cached
            print(label, _describe(manifests[name], cached is not None), flush=True)
    return manifests


def _check_output_dir(config: PipelineConfig) -> None:
    """Raise ConfigError in a submitted job whose results would vanish with its copy of the working folder."""
    if submission_id() and "://" not in config.output_dir and not Path(config.output_dir).is_absolute():
        raise ConfigError(
            f"output_dir is {config.output_dir!r}: a submitted job runs in a copy of the working folder that is thrown "
            "away; pass --output_dir with an absolute path that every node reaches"
        )


def _describe(manifest: dict, cached: bool) -> str:
    counts = "  ".join(f"{value:,} {key.replace('_', ' ')}" for key, value in manifest["counts"].items())
    rejected = sum(manifest["rejected"].values())
    if rejected:
        counts += (
            f"  {rejected:,} rejected ({', '.join(f'{n} {reason}' for reason, n in manifest['rejected'].items())})"
        )
    took = "finished before" if cached else f"{manifest['wall_s']:.1f} s"
    return f"{took:>15}  {counts}"


def run_job(work: Callable[[], object]) -> None:
    """What every `jobs/*.py` wraps around its work: exit 1 with one line on a known error, 130 or 143 when stopped."""

    def stop(signum, _frame) -> None:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, stop)
    try:
        work()
    except (KeyboardInterrupt, SystemExit) as stopped:
        print("stopped; run the same command again to go on from the last finished stage", file=sys.stderr)
        raise SystemExit(getattr(stopped, "code", 130)) from None
    except InbolError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
