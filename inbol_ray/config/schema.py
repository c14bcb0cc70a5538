"""What a run is made of, as pydantic models. Imports no ML library, so `--help` and config errors are instant.

The text under a field is its documentation and its `--help`. *Ours* marks a value that the paper does not state.
"""

import importlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
OpenFraction = Annotated[float, Field(gt=0.0, lt=1.0)]
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
    """One corpus or benchmark, in its official format or as the hub's Parquet copy."""

    dataset: str
    """A name in `inbol_ray.corpora.registry`: `vqav2`, `scienceqa`, `oven`, `own` (your data) and others."""
    split: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    """Split as the corpus names it, for example `train2014` (VQAv2), `train` (ScienceQA), `entity_train` (OVEN)."""
    root: str
    """Folder with the corpus's files, or `s3://bucket/prefix`; `toyworld:NAME` is a folder that the toy world wrote."""
    limit: PositiveInt | None = None
    """Read at most this many questions: the first ones of the file."""

    @field_validator("dataset")
    @classmethod
    def _has_a_reader(cls, dataset: str) -> str:
        # By name: an import would make every reader part of the code of every stage that has a configuration.
        readers = importlib.import_module("inbol_ray.corpora.registry").READERS
        if dataset not in readers:
            raise ValueError(f"no reader for this dataset; expected one of {', '.join(readers)}")
        return dataset


class BenchmarkConfig(CorpusConfig):
    """A corpus to evaluate on."""

    domain: Domain
    """`in_domain` (shares its corpus with the training data) or `out_of_domain`."""


class LeakageConfig(Section):
    """Training questions that show or ask what the evaluation uses."""

    on_leak: Literal["error", "drop", "allow"] = "error"
    """`error` stops before any training; `drop` rejects the training questions; `allow` trains on them all the same.
    The choice and what it met are in the manifest of the stage `questions`."""
    compare_content: bool = True
    """Compare images by the SHA-256 of their files, which reads every image once; false leaves COCO's numbers."""


class PromptConfig(Section):
    """Wording of the prompts; the templates are in `inbol_ray.prompts`."""

    answer_suffix: bool = True
    """Append LLaVA-1.5's answer instruction (single word or phrase / option's letter). It discourages refusal."""
    vizwiz_invitation: bool = True
    """Append LLaVA-1.5's VizWiz line too, which asks for 'Unanswerable' where the information is insufficient."""
    refusal_instruction: str = "If you cannot answer the question, reply: Sorry, I can't answer that."
    """Sentence added before the question in the refusal-prompt baseline. Wording: ours."""


class EngineConfig(Section):
    """The pool of vLLM engines that sampling, generation and evaluation share."""

    num_engines: PositiveInt = 1
    """Engines in the pool at most; each is one Ray actor with a copy of the model."""
    min_engines: PositiveInt | None = None
    """Engines that must be up before work starts; the pool grows from here to `num_engines` while there is work for
    more. null: all of them."""
    tensor_parallel_size: PositiveInt = 1
    """Devices that one engine is spread over."""
    num_gpus_per_engine: Annotated[float, Field(ge=0)] | None = None
    """GPUs that each engine reserves. null: `tensor_parallel_size` where the cluster has GPUs when work starts, else 0,
    which is vLLM's CPU build."""
    num_cpus_per_engine: PositiveFloat = 1
    start_timeout_s: PositiveInt = 1800
    """Longest wait for `min_engines` engines, in seconds; then the job fails and says what the cluster lacks."""
    max_restarts: Annotated[int, Field(ge=0)] = 3
    """Deaths of one engine after which the job fails; before that it is started again and its requests are retried."""
    stall_timeout_s: PositiveInt = 600
    """An engine that has work and makes no step for so many seconds counts as dead."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    max_model_len: PositiveInt = 256
    """Longest prompt plus response, in tokens; a longer prompt is a rejected row."""
    max_num_seqs: PositiveInt = 256
    """Sequences an engine decodes at once."""
    kv_cache_bytes: PositiveInt | None = 256 << 20
    """Key-value cache of a CPU engine, in bytes; null leaves it to vLLM (GPUs)."""
    enforce_eager: bool = True
    """No graph capture: right for the tiny model on CPU; set false on GPUs."""
    batch_size: PositiveInt = 128
    """Questions in a block: what an engine is handed at once, and what a kill can cost."""
    batches_in_flight: PositiveInt = 3
    """Blocks that an engine works on at a time, so that it never waits at the end of one."""
    renderers_per_engine: PositiveInt = 1
    """Processes that decode images and tokenize for one engine, at most; each takes a CPU."""

    @model_validator(mode="after")
    def _pool(self) -> "EngineConfig":
        if self.min_engines is not None and self.min_engines > self.num_engines:
            raise ValueError(f"min_engines ({self.min_engines}) must not exceed num_engines ({self.num_engines})")
        if self.num_gpus_per_engine and self.tensor_parallel_size > max(1, self.num_gpus_per_engine):
            raise ValueError(
                f"tensor_parallel_size ({self.tensor_parallel_size}) needs as many GPUs an engine: raise "
                f"num_gpus_per_engine ({self.num_gpus_per_engine:g}) or leave it null"
            )
        return self


class AdaptiveConfig(Section):
    """Stop sampling a question once its class is decided (`inbol_ray.confidence.stopping` has the test)."""

    error_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Among questions that stop early, the accepted share whose class all `num_samples` would have made another. Ours."""
    num_undoubted: PositiveInt = 2
    """Samples of a question that its corpus marks as unanswerable: it is Unknown whatever the model says."""


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
    adaptive: AdaptiveConfig | None = None
    """Draw fewer than N samples where fewer decide the class (`{}` for the defaults); null draws N, as in the paper."""
    publish_uri: str | None = None
    """Folder or `s3://` prefix that the sampled dataset is also written to, its manifest last."""
    reuse_uri: str | None = None
    """Take the answers from the dataset that another run published here, instead of sampling."""
    allow_other_checkpoint: bool = False
    """Accept a `reuse_uri` that was sampled from another model. What one model knows says little about another."""

    @model_validator(mode="after")
    def _adaptive_at_temperature_1(self) -> "SamplingConfig":
        if self.adaptive is not None and self.temperature != 1:
            raise ValueError(
                f"adaptive sampling needs temperature 1, found {self.temperature:g}: its test takes the model's "
                "log-probabilities for those of the samples. Set temperature to 1, or adaptive to null"
            )
        return self


class ScoringConfig(Section):
    """Which rule decides whether an answer is right; `scoring.answer_match` has the table."""

    rules: Literal["ours", "official"] = "ours"
    """`ours` normalises both sides of VQA accuracy always and reads an option in any usual form; `official` is each
    benchmark's own code to the digit, quirks included. Results name the rule they used."""
    entity_match: Literal["contains", "exact"] = "contains"
    """Whether an entity's name must be the whole first sentence of the reply, or be in it."""


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
    micro_batch_tokens: PositiveInt | None = None
    """Tokens that a worker runs forward at once, padding included: the samples of a step are sorted by length, cut by
    this budget, and their gradients accumulated. Changes no result; null means all of a worker's share at once."""
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
    projector_learning_rate: Annotated[float, Field(ge=0)] | None = None
    """Peak learning rate of the multimodal projector; 0 freezes it. null: `learning_rate` in full fine-tuning, frozen
    beside an adapter."""
    train_vision_tower: bool = False
    """Train the vision tower too, at `learning_rate`; full fine-tuning only."""
    gradient_checkpointing: bool = False
    checkpoint_every_steps: PositiveInt = 200
    """A resumable checkpoint is reported to Ray Train this often."""
    max_length: PositiveInt = 256
    """Longest sample in tokens, image tokens included; a longer one is dropped and counted, never cut."""
    max_failures: Annotated[int, Field(ge=0)] = 2
    """Worker failures after which Ray Train gives up; each resumes from the last checkpoint."""
    divergence_factor: Annotated[float, Field(gt=1)] | None = 3.0
    """Training stops when the moving average of the loss is above its start and above this many times its lowest; null
    never stops it. A loss or gradient that is not finite always does."""

    @model_validator(mode="after")
    def _divisible(self) -> "TrainingConfig":
        if self.global_batch_size % self.num_workers:
            raise ValueError(
                f"global_batch_size ({self.global_batch_size}) must be a multiple of num_workers ({self.num_workers})"
            )
        if self.lora is not None and self.train_vision_tower:
            raise ValueError("train_vision_tower needs full fine-tuning; remove lora or train_vision_tower")
        if self.min_workers and self.min_workers > self.num_workers:
            raise ValueError(f"min_workers ({self.min_workers}) must not exceed num_workers ({self.num_workers})")
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
    reference: Literal["live", "precomputed"] = "live"
    """Reference log-probabilities: in every step (adapter off, or a frozen second model), or once before training as a
    column of the data. Same loss; `precomputed` spares memory in full fine-tuning, and time over several epochs."""


MethodConfig = Annotated[SupervisedConfig | CaDpoConfig, Field(discriminator="kind")]


class TrackingConfig(Section):
    """Where training metrics go, besides Ray Train: always `metrics.jsonl` and TensorBoard files in the artifact."""

    report_every_steps: PositiveInt = 20
    """Optimiser steps between two reports; each reports averages over the steps since the last."""
    mlflow_tracking_uri: str | None = None
    """MLflow server, for example `http://mlflow:5000`; needs the extra `mlflow` of this package on every node. null: no
    MLflow."""
    mlflow_experiment: str = "inbol_ray"


PaperMethod = Literal["original", "refusal_prompt", "sft", "idk_it", "ca_dpo"]


class OutsideModel(Section):
    """A checkpoint that this run does not train."""

    checkpoint: str
    """Local folder or hub name in the hub's llava-hf layout."""
    refusal_instruction: bool = False
    """Ask with the refusal prompt."""
    size: Literal["7b", "13b"] | None = None
    """Size of LLaVA-1.5; null means that the paper has no figure to compare with."""
    method: PaperMethod = "original"
    """Row of the paper's tables to compare with, where `size` is given."""


class EvaluationConfig(Section):
    """What is compared, and on what."""

    benchmarks: list[BenchmarkConfig]
    methods: list[str] = ["original", "refusal_prompt", "sft", "idk_it", "ca_dpo"]
    """Rows of the table: `original`, `refusal_prompt`, and names of `training` entries."""
    models: dict[str, OutsideModel] = {}
    """More rows: checkpoints from outside, by the name that results give them."""
    pairs: list[tuple[str, str]] | None = None
    """(method or model, dataset) pairs to evaluate; null means every one on every benchmark."""
    size: Literal["7b", "13b"] | None = None
    """Size of the LLaVA-1.5 that `base_model` is: the methods are then compared with the paper's figures for it."""
    max_tokens: PositiveInt = 16
    sample_confidence: bool = True
    """Sample the original model on the test questions too, as `sampling` says, for figure 4; false leaves it out."""


class ServedModel(Section):
    """One model that the server offers under its name."""

    method: str | None = None
    """The checkpoint that the pipeline made: `original` or an entry of `training`."""
    path: str | None = None
    """A llava-hf folder or hub name instead of a method."""
    lora: str | None = None
    """Folder of a LoRA adapter to serve on that checkpoint."""
    calibration: str | None = None
    """Calibration file of `jobs/calibrate.py`; null takes the pipeline's own for `method` where it has been made."""
    target_risk: OpenFraction | None = None
    """Largest error rate among answered questions, for requests that name none; needs a calibration."""
    threshold: Fraction | None = None
    """Least confidence for an answer, in place of `target_risk`; both null leave the decision to the model."""

    @model_validator(mode="after")
    def _one_source(self) -> "ServedModel":
        if (self.method is None) == (self.path is None):
            raise ValueError("give one of `method` and `path`")
        if self.target_risk is not None and self.threshold is not None:
            raise ValueError("give `target_risk` or `threshold`, not both")
        if self.lora is not None and (self.calibration is not None or self.target_risk is not None):
            raise ValueError("a calibration belongs to a checkpoint: merge the adapter and calibrate the result")
        return self


class ServingConfig(Section):
    """The OpenAI-compatible server (`make serve`)."""

    models: Annotated[dict[str, ServedModel], Field(min_length=1)]
    """Models by the name that clients give; the first one answers requests that name none."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than this machine's own needs API keys."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    api_keys_file: str | None = None
    """File with one API key a line; further keys come from the variable INBOL_API_KEYS, separated by commas."""
    image_origins: list[Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]*[a-z](:[0-9]+)?$")]] = []
    """Where `image_url` may point besides data URIs, for example `https://images.example.com`; public addresses only."""
    max_body_bytes: PositiveInt = 12 << 20
    max_image_pixels: PositiveInt = 16_000_000
    """Largest image, as the pixels of the square that it is padded to."""
    max_tokens: PositiveInt = 16
    """Longest reply where a request does not say. Under a target risk it is that of the calibration."""
    max_samples: Annotated[int, Field(ge=2, le=64)] = 16
    """Most samples that a request for `agreement` may ask for."""
    max_ongoing: PositiveInt = 32
    """Requests that one engine works on at once."""
    max_queued: PositiveInt = 64
    """Requests that wait for an engine; one more gets 429."""
    request_timeout_s: PositiveFloat = 60.0
    drain_timeout_s: PositiveFloat = 30.0
    """How long requests in flight may take when a replica is stopped."""
    num_gateways: PositiveInt = 1
    min_replicas: PositiveInt = 1
    """Engines a model, at least."""
    max_replicas: PositiveInt = 1
    target_ongoing: PositiveFloat = 16
    """Ongoing requests an engine that autoscaling aims at."""

    @model_validator(mode="after")
    def _consistent(self) -> "ServingConfig":
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas ({self.min_replicas}) must not exceed max_replicas ({self.max_replicas})")
        return self


class CalibrationConfig(Section):
    """Thresholds for a target risk (`jobs/calibrate.py`)."""

    benchmarks: list[BenchmarkConfig]
    """Validation questions: of the kind that will be asked, and not the ones that a model was trained or chosen on."""
    methods: list[str] = ["ca_dpo"]
    """`original` and entries of `training`."""
    delta: OpenFraction = 0.1
    """Chance that a threshold misses its target risk, over the draw of the validation questions."""
    num_samples: Annotated[int, Field(ge=2)] = 8
    """Samples a question for `agreement`."""


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
    rendered_image_bytes: PositiveInt = 1_354_752
    """An image as an engine takes it; LLaVA-1.5's 3 x 336 x 336 numbers in float32."""
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
    corpora: list[CorpusConfig] = []
    """Training corpora; none where checkpoints are only evaluated."""
    leakage: LeakageConfig = LeakageConfig()
    prompts: PromptConfig = PromptConfig()
    engine: EngineConfig = EngineConfig()
    sampling: SamplingConfig = SamplingConfig()
    scoring: ScoringConfig = ScoringConfig()
    unanswerable: UnanswerableConfig = UnanswerableConfig()
    classes: ClassConfig = ClassConfig()
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
        if unknown := set(self.evaluation.methods) - (reserved | self.training.keys()):
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
                raise ValueError(f"{section}: {twice} stand there twice, which would give two questions one id")
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
