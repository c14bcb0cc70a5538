"""What a run is made of, as pydantic models. Imports no ML library, so `--help` and config errors are instant.

The text under a field is its documentation and its `--help`. *Ours* marks a value that the paper does not state.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Domain = Literal["in_domain", "out_of_domain"]
TOYWORLD_PREFIX = "toyworld:"
UNTRAINED_METHODS = ("original", "refusal_prompt")
"""Methods that need no training: the model as it is, without and with the refusal instruction."""
PRETRAINING_STEPS = {"align": "vision", "base": "align"}
"""Entries of `training` that make the toy base model, and what each starts from (LLaVA's own two steps)."""


class Section(BaseModel):
    """A group of settings: unknown keys are errors, values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


class RayConfig(Section):
    """Where Ray runs."""

    address: str | None = None
    """Address of a running cluster ("auto" inside a job); null starts Ray on this machine for the run."""
    num_cpus: PositiveInt = 6
    """Logical CPUs of a Ray started here. May exceed the cores: Ray Data needs CPUs beside the training workers."""
    object_store_memory_bytes: PositiveInt = 400_000_000
    """Object store of a Ray started here, in bytes."""
    nodes_may_join: bool = False
    """Wait for nodes instead of refusing a stage that fits neither the nodes that are up nor the declared growth."""


class StorageConfig(Section):
    """The S3-compatible store behind `s3://` paths; credentials come from the usual boto3 chain."""

    endpoint_url: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")] | None = None
    """For example `http://minio:9000`; null means AWS."""
    region: str | None = None
    """null leaves it to boto3's configuration."""


class ToyWorldConfig(Section):
    """The rendered world that stands in for downloaded corpora and for LLaVA's pretraining."""

    num_pretrain_images: PositiveInt = 32_000
    """Scenes in the visual instruction corpus that the base model is trained on."""
    num_train_questions: PositiveInt = 6_000
    """Answerable questions in the training corpora (VQAv2, ScienceQA and OVEN formats together)."""
    num_validation_questions: PositiveInt = 1_000
    """Questions a domain in the validation split, on which every choice is made."""
    num_test_questions: PositiveInt = 1_000
    """Questions a domain in the test split."""
    unanswerable_test_rate: Fraction = 0.25
    """Share of test and validation questions that their image cannot answer."""


class ToyBaseModel(Section):
    """Train a tiny LLaVA from scratch on the toy world."""

    kind: Literal["toyworld"] = "toyworld"
    vision_steps: PositiveInt = 900
    """Optimiser steps of the vision tower's own pretraining, which stands in for CLIP's."""
    vision_batch_size: PositiveInt = 64
    vision_learning_rate: PositiveFloat = 3e-3
    hidden_size: PositiveInt = 96
    num_layers: PositiveInt = 3
    vision_hidden_size: PositiveInt = 64
    vision_num_layers: PositiveInt = 3


class CheckpointBaseModel(Section):
    """Start from an existing LLaVA checkpoint in the hub's llava-hf layout."""

    kind: Literal["checkpoint"] = "checkpoint"
    path: str
    """Local folder, or a hub name such as `llava-hf/llava-1.5-7b-hf`. Only safetensors weights are read."""


BaseModelConfig = Annotated[ToyBaseModel | CheckpointBaseModel, Field(discriminator="kind")]


class CorpusConfig(Section):
    """One corpus or benchmark on disk, in its official format."""

    dataset: Literal["vqav2", "scienceqa", "oven", "vizwiz", "vqav2_idk"]
    split: str
    """Split as the corpus names it, for example `train2014` (VQAv2), `train` (ScienceQA), `entity_train` (OVEN)."""
    root: str
    """Folder with the official files; `toyworld:NAME` means a folder that the toy world wrote."""
    limit: PositiveInt | None = None
    """Read at most this many questions (the first ones by id order of the file)."""


class BenchmarkConfig(CorpusConfig):
    """A corpus to evaluate on."""

    domain: Domain
    """`in_domain` (shares its corpus with the training data) or `out_of_domain`."""


class PromptConfig(Section):
    """Wording of the prompts; the templates are in `inbol_ray.prompts`."""

    answer_suffix: bool = True
    """Append LLaVA-1.5's answer instruction (single word or phrase / option's letter). It discourages refusal."""
    refusal_instruction: str = "If you cannot answer the question, reply: Sorry, I can't answer that."
    """Sentence added before the question in the refusal-prompt baseline. Wording: ours."""


class EngineConfig(Section):
    """The pool of vLLM engines that sampling, generation and evaluation share."""

    num_engines: PositiveInt = 1
    """Engines in the pool; each is one Ray actor."""
    num_gpus_per_engine: Annotated[float, Field(ge=0)] = 0
    """GPUs that each engine reserves; 0 runs vLLM's CPU build."""
    num_cpus_per_engine: PositiveFloat = 1
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    max_model_len: PositiveInt = 256
    """Longest prompt plus response, in tokens; a longer prompt is a rejected row."""
    max_num_seqs: PositiveInt = 256
    """Sequences an engine decodes at once."""
    kv_cache_bytes: PositiveInt | None = 256 << 20
    """Key-value cache of a CPU engine, in bytes; null leaves it to vLLM (GPUs)."""
    enforce_eager: bool = True
    """No graph capture: right for the tiny model on CPU; set false on GPUs."""
    batch_size: PositiveInt = 256
    """Questions in one call of an engine."""


class SamplingConfig(Section):
    """How the model's knowledge is sampled (paper section 2, confidence estimation)."""

    num_samples: PositiveInt = 10
    """Responses a question, N. Ours: the paper's text at hand does not state it."""
    temperature: PositiveFloat = 1.0
    """Ours."""
    max_tokens: PositiveInt = 16
    """Longest response, in tokens."""
    correct_threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A response with at least this score (VQA accuracy is graded) counts as correct. Ours."""


class UnanswerableConfig(Section):
    """Questions outside the extrinsic boundary: built two ways, then filtered (paper figure 2)."""

    num_mismatch: PositiveInt = 2_000
    """Candidates made by pairing an image with a question written for another image."""
    num_generated: PositiveInt = 1_000
    """Candidates that the model writes about an image, asked for one the image cannot answer."""
    generation_temperature: PositiveFloat = 1.0
    max_question_tokens: PositiveInt = 24
    filter_threshold: Fraction = 0.5
    """A candidate is dropped when the judge's probability that the image answers it reaches this. Ours."""
    num_kept: PositiveInt = 2_000
    """At most this many questions survive, half from each way where both have enough."""


class ClassConfig(Section):
    """Thresholds between Known, Mixed and Unknown (paper section 2; values ours)."""

    delta_known: Fraction = 0.7
    """delta_k: Known if confidence >= this."""
    delta_unknown: Fraction = 0.3
    """delta_uk: Unknown if confidence <= this."""

    @model_validator(mode="after")
    def _ordered(self) -> "ClassConfig":
        if self.delta_unknown >= self.delta_known:
            raise ValueError(
                f"delta_unknown ({self.delta_unknown}) must be below delta_known ({self.delta_known}): "
                "lower delta_unknown or raise delta_known"
            )
        return self


class LoraSettings(Section):
    """Low-rank adapters on the language model; null in the parent means full fine-tuning."""

    rank: PositiveInt = 128
    alpha: PositiveFloat = 256
    dropout: Fraction = 0.0
    target_modules: str = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
    """Regular expression over module names."""


class TrainingConfig(Section):
    """Settings that supervised training and CA-DPO share."""

    init_from: str
    """Method whose checkpoint training starts from: `original` or the name of another entry of `training`."""
    learning_rate: PositiveFloat
    num_epochs: PositiveInt = 1
    global_batch_size: PositiveInt = 32
    """Samples an optimiser step, over all workers."""
    micro_batch_size: PositiveInt | None = None
    """Samples a worker runs forward at once; null means all of its share (no gradient accumulation)."""
    num_workers: PositiveInt = 2
    """Training workers, one FSDP shard each."""
    min_workers: PositiveInt | None = None
    """When workers are lost, go on with as few as this and grow again when nodes come back; null waits for all. Steps
    stay the same (each is one global batch), they only take longer."""
    num_gpus_per_worker: Annotated[float, Field(ge=0)] = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute type of FSDP's mixed precision; parameters and optimiser stay float32."""
    warmup_steps: Annotated[int, Field(ge=0)] = 10
    schedule: Literal["cosine", "linear"] = "linear"
    hold_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps that run at the peak before the learning rate decays."""
    final_learning_rate_rate: Fraction = 0.1
    """Learning rate at the last step, as a share of `learning_rate`."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    adam_beta2: Annotated[float, Field(gt=0, lt=1)] = 0.999
    max_grad_norm: PositiveFloat = 1.0
    lora: LoraSettings | None = None
    train_vision_tower: bool = False
    gradient_checkpointing: bool = False
    checkpoint_every_steps: PositiveInt = 200
    """A resumable checkpoint is reported to Ray Train this often."""
    max_length: PositiveInt = 256
    """Longest sample in tokens, image tokens included; a longer one is dropped and counted, never cut."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """Worker failures after which Ray Train gives up; each resumes from the last checkpoint."""

    @model_validator(mode="after")
    def _divisible(self) -> "TrainingConfig":
        if self.global_batch_size % self.num_workers:
            raise ValueError(
                f"global_batch_size ({self.global_batch_size}) must be a multiple of num_workers ({self.num_workers})"
            )
        if self.min_workers and self.min_workers > self.num_workers:
            raise ValueError(f"min_workers ({self.min_workers}) must not exceed num_workers ({self.num_workers})")
        share = self.global_batch_size // self.num_workers
        if self.micro_batch_size and share % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size ({self.micro_batch_size}) must divide a worker's share of the batch ({share})"
            )
        return self


class SupervisedConfig(TrainingConfig):
    """Supervised fine-tuning, loss on response tokens only: visual instruction, SFT baseline and IDK-IT."""

    kind: Literal["supervised"] = "supervised"
    data: Literal["captions", "conversations", "sft", "idk"]
    """`idk`: Known -> answer, Unknown -> refusal. `sft`: every corpus answer, refusals for type 3 only.
    `captions`, `conversations`: the toy world's own corpora, for the base model."""
    max_rows: PositiveInt | None = None
    """Use at most this many rows (the first by id)."""


class CaDpoConfig(TrainingConfig):
    """Confidence-aware DPO (paper section 3)."""

    kind: Literal["ca_dpo"] = "ca_dpo"
    beta: PositiveFloat = 0.1
    """beta of f(x, p). Ours."""
    mixed_pairs: Literal["confidence", "refusal_incorrect", "correct_incorrect", "unweighted"] = "confidence"
    """Pairs of Mixed samples: CA-DPO's confidence weights, or one of the paper's ablations (1), (2), (3)."""
    nll_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of a confidence-weighted NLL term on the preferred responses. Ours; 0 is the paper's loss."""


MethodConfig = Annotated[SupervisedConfig | CaDpoConfig, Field(discriminator="kind")]


class EvaluationConfig(Section):
    """What is compared, and on what."""

    benchmarks: list[BenchmarkConfig]
    methods: list[str] = ["original", "refusal_prompt", "sft", "idk_it", "ca_dpo"]
    """Rows of the table: `original`, `refusal_prompt`, and names of `training` entries."""
    max_tokens: PositiveInt = 16
    sample_confidence: bool = True
    """Sample the original model on the test questions too, as `sampling` says, for figure 4; false leaves it out."""


class PlanConfig(Section):
    """What `jobs/plan.py` assumes where no earlier run has measured it. All values are ours."""

    nodes: list[PositiveInt] = [1, 2, 4, 8, 16, 32, 64, 125]
    """Nodes of the what-if table."""
    gpus_per_node: PositiveInt = 8
    """GPUs of a node; for a CPU run the engines and training workers that it holds."""
    model_parameters: PositiveFloat = 7.06e9
    """Parameters of the model; LLaVA-1.5-7B."""
    gpu_flops: PositiveFloat = 312e12
    """Peak bfloat16 operations a second of a GPU; an A100's."""
    utilisation: Fraction = 0.4
    """Share of the peak that prompts and training reach."""
    decode_tokens_per_s: PositiveFloat = 2_500
    """Tokens a second that one engine writes, over all sequences it decodes at once."""
    engine_start_s: PositiveFloat = 120
    """From the request for an engine to its first batch: weights from the store, memory profile, graph capture."""
    image_tokens: PositiveInt = 576
    """Tokens of an image; LLaVA-1.5's."""
    question_tokens: PositiveInt = 40
    response_tokens: PositiveInt = 6
    """Mean length of a response: the corpora ask for a word or a phrase."""
    driver_rows_per_s: PositiveFloat = 10_000
    """Questions a second that the driver judges and writes when the engines are done; 12,000 with ten replies each were
    measured on one core."""
    driver_memory_bytes: PositiveInt = 32_000_000_000
    object_store_bytes_per_node: PositiveInt = 60_000_000_000
    image_bytes: PositiveInt = 160_000
    """An encoded image; a COCO JPEG's."""
    store_reads_per_s: PositiveInt = 5_500
    """GET requests a second that S3 serves from one prefix."""
    dispatches_per_s: PositiveFloat = 500
    """Blocks a second that Ray Data's one scheduling thread hands to engines."""


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
    corpora: list[CorpusConfig]
    """Training corpora."""
    prompts: PromptConfig = PromptConfig()
    engine: EngineConfig = EngineConfig()
    sampling: SamplingConfig = SamplingConfig()
    unanswerable: UnanswerableConfig = UnanswerableConfig()
    classes: ClassConfig = ClassConfig()
    training: dict[str, MethodConfig]
    """Methods to train, by name; `align` and `base` are the toy base model's own pretraining."""
    evaluation: EvaluationConfig
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
        if unknown := set(self.evaluation.methods) - (reserved | self.training.keys()):
            raise ValueError(f"evaluation.methods: {sorted(unknown)} are neither trained nor built in")
        toy = self.base_model.kind == "toyworld"
        if toy and (self.toyworld is None or not pretraining <= self.training.keys()):
            raise ValueError(
                "base_model.kind 'toyworld' needs the section `toyworld` and the entries `training.align` and `.base`"
            )
        if not toy and (extra := pretraining & self.training.keys()):
            raise ValueError(f"training.{sorted(extra)} only apply to base_model.kind 'toyworld'; remove them")
        if self.toyworld is None:
            for corpus in [*self.corpora, *self.evaluation.benchmarks]:
                if corpus.root.startswith(TOYWORLD_PREFIX):
                    raise ValueError(f"{corpus.root!r} needs the section `toyworld`")
        return self


def _check_chain(name: str, training: dict[str, MethodConfig]) -> None:
    """Raise ValueError when following `init_from` from `name` comes back to it."""
    seen = [name]
    while (parent := training[seen[-1]].init_from) in training:
        if parent in seen:
            raise ValueError(f"training: init_from goes round in a circle: {' -> '.join([*seen, parent])}")
        seen.append(parent)
