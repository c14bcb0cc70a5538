"""How much work each stage is: configuration (and the counts of finished stages) -> questions, samples, tokens, bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from inbol_ray.config.corpora import TOYWORLD_PREFIX, CorpusConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.corpora.breakdown import HUMBLEBENCH
from inbol_ray.plan.shapes import shape_of
from inbol_ray.runtime.stage import Stage
from inbol_ray.runtime.work import Sizes, Work

CORPUS_SIZES = {
    ("vqav2", "train2014"): 443_757,
    ("vqav2", "val2014"): 214_354,
    ("scienceqa", "train"): 6_218,
    ("scienceqa", "val"): 2_097,
    ("scienceqa", "test"): 2_017,
    ("scienceqa_full", "train"): 12_726,
    ("scienceqa_full", "val"): 4_241,
    ("scienceqa_full", "test"): 4_241,
    ("oven", "entity_train"): 4_958_569,
    ("oven", "entity_val"): 129_490,
    ("oven", "entity_test"): 729_259,
    ("vqav2_idk", "train"): 13_807,
    ("vqav2_idk", "val"): 6_624,
    ("vizwiz", "train"): 20_523,
    ("vizwiz", "val"): 4_319,
    ("aokvqa", "val"): 1_145,
    ("gqa", "testdev_balanced"): 12_578,
    ("mmmu", "validation"): 900,
    ("mmbench", "dev_en"): 4_329,
    ("beyondvisqa", "BeyondVisQA"): 400,
    **{(name, "train"): 22_831 for name in HUMBLEBENCH},
    ("mohobench", "test"): 12_158,
    ("kie_hvqa", "test"): 400,
    ("tubench_ugeoqa", "test"): 974,
    ("tubench_utabmwp", "test"): 400,
}
"""Questions of the official splits, for corpora that have not been read yet."""
UNKNOWN_CORPUS_SIZE = 10_000
DRIVER_BYTES_PER_ROW = 6_000
"""Memory of a row that the driver holds as Python objects. Replies stay in their parts and pass through one by one."""


def build_work(stages: Mapping[str, Stage], config: PipelineConfig, manifests: Mapping[str, dict]) -> dict[str, Work]:
    """Work by stage name. `manifests` of finished stages replace assumptions by counts."""
    sizes, source = expected_sizes(config, manifests)
    return {
        name: replace(
            stage.work(stage.settings, sizes) if stage.work else Work("", 0),
            stage=name,
            needs=stage.needs,
            streams=stage.streams,
            source=source,
        )
        for name, stage in stages.items()
    }


def expected_sizes(config: PipelineConfig, manifests: Mapping[str, dict]) -> tuple[Sizes, str]:
    """What a run handles, and where the number of training questions comes from, for a person."""
    num_train, source = _corpus_size(config, config.corpora, manifests.get("questions"), "train")
    num_test, _ = _corpus_size(config, config.evaluation.benchmarks, manifests.get("benchmarks"), "test")
    calibration = config.calibration.benchmarks if config.calibration else []
    num_validation, _ = _corpus_size(config, calibration, None, "test")
    shape, toyworld = shape_of(config), config.toyworld
    conversations = toyworld.num_pretrain_images if toyworld else 0
    sizes = Sizes(
        train=num_train,
        test=num_test,
        validation=num_validation,
        unanswerable=manifests.get("unanswerable", {}).get("counts", {}).get("kept", config.unanswerable.num_kept),
        conversations=conversations,
        captions=min(conversations, toyworld.num_captioned_images) if toyworld else 0,
        prompt_tokens=shape.image_tokens + config.plan.question_tokens,
        response_tokens=config.plan.response_tokens,
        parameters=shape.parameters,
        finished={name: manifest["counts"] for name, manifest in manifests.items()},
    )
    return sizes, source


def driver_bytes(work: Work, config: PipelineConfig) -> int:
    """Memory that a stage takes in the driver, which holds most stages' questions and a training's rows."""
    if work.streams:
        return 0
    if work.needs == "workers":
        method = config.training[work.stage]
        return work.num_units * method.global_batch_size // method.num_epochs * DRIVER_BYTES_PER_ROW
    return work.num_units * DRIVER_BYTES_PER_ROW


def _corpus_size(
    config: PipelineConfig, corpora: Sequence[CorpusConfig], manifest: dict | None, key: str
) -> tuple[int, str]:
    if manifest is not None:
        return manifest["counts"][key], "counted"
    toy = [corpus for corpus in corpora if corpus.root.startswith(TOYWORLD_PREFIX)]
    total, unknown = 0, []
    if toy:  # its sizes are those of all its corpora together; a test split has as many questions in each domain
        total = config.toyworld.num_train_questions if key == "train" else 2 * config.toyworld.num_test_questions
        total = round(sum(min(total / len(toy), corpus.sample or total) for corpus in toy))
    for corpus in corpora:
        if corpus in toy:
            continue
        size = CORPUS_SIZES.get((corpus.dataset, corpus.split))
        if size is None:
            unknown.append(f"{corpus.dataset}:{corpus.split}")
            size = UNKNOWN_CORPUS_SIZE
        total += min(size, corpus.sample or size)
    return total, f"assumed ({', '.join(unknown)} unknown)" if unknown else "configured or official sizes"
