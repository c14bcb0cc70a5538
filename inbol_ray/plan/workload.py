"""How much work each stage is: configuration (and the counts of finished stages) -> questions, samples, tokens, bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inbol_ray.config.corpora import TOYWORLD_PREFIX, CorpusConfig
from inbol_ray.config.schema import PipelineConfig
from inbol_ray.config.training import CHECKPOINTS_KEPT, TrainingConfig
from inbol_ray.corpora.breakdown import HUMBLEBENCH
from inbol_ray.plan.shapes import shape_of
from inbol_ray.store.artifacts import Stage

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
ROW_BYTES = 700
"""A row of answers without its responses, compressed: id, question, references, gold answers."""
RESPONSE_BYTES = 40
"""A response, its outcome and score."""
DRIVER_BYTES_PER_ROW = 6_000
"""Memory of a row that the driver holds as Python objects. Replies stay in their parts and pass through one by one."""
LORA_SHARE_PER_RANK = 3.5e-4
"""Parameters that an adapter on the language model's linear layers adds for each rank, as a share of the model's;
LLaVA-1.5-7B's (13B: 2.9e-4)."""
TRAINED_WEIGHT_BYTES = 4
"""What trains is float32, and so are Adam's two moments of it."""
STREAMING_STAGES = ("benchmarks", "questions", "confidence", "test_confidence")
"""Stages whose rows pass through the driver in pieces."""


@dataclass(frozen=True)
class Work:
    """One stage's work. `unit` names what `num_units` counts, as progress and manifests do."""

    stage: str
    unit: str
    num_units: int
    samples: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0
    training_tokens: int = 0
    passes: float = 0.0
    """Forward passes that a trained token costs, a backward pass counting as two."""
    bytes_written: int = 0
    source: str = ""
    """Where the number of units comes from, for a person."""

    @property
    def flops_per_parameter(self) -> float:
        """Floating point operations for each parameter of the model: two a token and forward pass."""
        return 2 * (self.prompt_tokens + self.training_tokens * self.passes)


def build_work(stages: Mapping[str, Stage], config: PipelineConfig, manifests: Mapping[str, dict]) -> dict[str, Work]:
    """Work by stage name. `manifests` of finished stages replace assumptions by counts."""
    num_train, source = _corpus_size(config, config.corpora, manifests.get("questions"), "train")
    num_test, _ = _corpus_size(config, config.evaluation.benchmarks, manifests.get("benchmarks"), "test")
    kept = manifests.get("unanswerable", {}).get("counts", {}).get("kept", config.unanswerable.num_kept)
    candidates = config.unanswerable.num_mismatch + config.unanswerable.num_generated
    num_data = num_train + kept
    sampling, plan = config.sampling, config.plan
    shape = shape_of(config)
    prompt = shape.image_tokens + plan.question_tokens
    response = min(plan.response_tokens, sampling.max_tokens)
    replies = num_test * len(config.evaluation.methods)
    works = {
        "benchmarks": Work("benchmarks", "questions", num_test, bytes_written=ROW_BYTES * num_test),
        "questions": Work("questions", "questions", num_train, bytes_written=ROW_BYTES * num_train),
        "unanswerable": Work(
            "unanswerable",
            "replies",
            candidates + config.unanswerable.num_generated,
            samples=candidates + config.unanswerable.num_generated,
            prompt_tokens=prompt * (candidates + config.unanswerable.num_generated),
            response_tokens=config.unanswerable.num_generated * config.unanswerable.max_question_tokens + candidates,
            bytes_written=ROW_BYTES * candidates,
        ),
        **{
            stage: Work(
                stage,
                "questions",
                num_sampled,
                samples=num_sampled * sampling.num_samples,
                # The prompt is computed once for all samples of a question.
                prompt_tokens=num_sampled * prompt,
                response_tokens=num_sampled * sampling.num_samples * response,
                bytes_written=num_sampled * (ROW_BYTES + RESPONSE_BYTES * sampling.num_samples),
            )
            for stage, num_sampled in (("confidence", num_data), ("test_confidence", num_test))
            if stage in stages
        },
        "data": Work("data", "questions", num_data, bytes_written=3 * num_data * (ROW_BYTES + 3 * RESPONSE_BYTES)),
        "evaluate": Work(
            "evaluate",
            "replies",
            replies,
            samples=replies,
            prompt_tokens=replies * prompt,
            response_tokens=replies * min(plan.response_tokens, config.evaluation.max_tokens),
            bytes_written=replies * (ROW_BYTES + RESPONSE_BYTES),
        ),
    }
    if config.calibration is not None:
        num_validation, _ = _corpus_size(config, config.calibration.benchmarks, None, "test")
        calibrated = num_validation * len(config.calibration.methods)
        answers = calibrated + num_test * len(config.evaluation.methods)
        samples = answers + calibrated * config.calibration.num_samples
        works["signals"] = Work(
            "signals",
            "answers",
            answers,
            samples=samples,
            prompt_tokens=answers * prompt,
            response_tokens=samples * min(plan.response_tokens, config.evaluation.max_tokens),
            bytes_written=answers * ROW_BYTES,
        )
    for name, method in config.training.items():
        if name not in stages:
            continue
        rows = manifests.get(name, {}).get("counts", {}).get("rows") or _num_rows(method, config, num_data)
        rows -= rows % method.global_batch_size
        is_preference = method.kind == "ca_dpo"
        tokens = prompt + response * (3 if is_preference else 1)
        works[name] = Work(
            name,
            "steps",
            rows // method.global_batch_size * method.num_epochs,
            training_tokens=rows * tokens * method.num_epochs,
            passes=_passes(method),
            bytes_written=training_bytes(method, shape.parameters)[0],
        )
    return {name: Work(**vars(works.get(name) or Work(name, "", 0)) | {"source": source}) for name in stages}


def training_bytes(
    method: TrainingConfig, num_parameters: float, num_trained: float | None = None, weight_bytes: int = 2
) -> tuple[int, int]:
    """(bytes that a training leaves, bytes that it needs besides until it ends).

    It leaves the merged model in the weights' own type and the adapter of a LoRA run. Until then there are resumable
    checkpoints of what trains and of its optimiser: those that are kept, and one that is being written. `num_trained`
    parameters train; where that is not known it is what the method suggests.
    """
    if num_trained is None:
        num_trained = num_parameters * (LORA_SHARE_PER_RANK * method.lora.rank if method.lora else 1)
    left = num_parameters * weight_bytes + (num_trained * TRAINED_WEIGHT_BYTES if method.lora else 0)
    return int(left), int((CHECKPOINTS_KEPT + 1) * 3 * TRAINED_WEIGHT_BYTES * num_trained)


def _passes(method: TrainingConfig) -> float:
    """Forward passes that a step costs: forward; backward through the activations, and in full fine-tuning as much again
    for the weights' gradients; the reference's forward in preference learning; and the forward that checkpointing
    repeats."""
    backward = 1.0 if method.lora is not None else 2.0
    return 1.0 + backward + (method.kind == "ca_dpo") + method.gradient_checkpointing


def driver_bytes(work: Work, config: PipelineConfig) -> int:
    """Memory that a stage takes in the driver, which holds most stages' questions and a training's rows."""
    if work.stage in STREAMING_STAGES:
        return 0
    if work.stage in config.training:
        method = config.training[work.stage]
        return work.num_units * method.global_batch_size // method.num_epochs * DRIVER_BYTES_PER_ROW
    return work.num_units * DRIVER_BYTES_PER_ROW


def _num_rows(method: TrainingConfig, config: PipelineConfig, num_data: int) -> int:
    """Training rows of a method that has not been trained yet."""
    rows = num_data
    if (data := getattr(method, "data", None)) in ("captions", "conversations"):
        rows = config.toyworld.num_pretrain_images
        rows = min(rows, config.toyworld.num_captioned_images) if data == "captions" else rows
    return min(rows, method.sample or rows)


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
