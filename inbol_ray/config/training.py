"""How methods are trained and what is logged of it."""

import re
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from inbol_ray.config.section import Device, Fraction, RunOnly, Section, compute_device

PRETRAINING_STEPS = {"align": "vision", "base": "align"}
"""Entries of `training` that make the toy base model, and what each starts from (LLaVA's own two steps)."""
CHECKPOINTS_KEPT = 2
"""Resumable checkpoints that a training keeps; an older one goes once the next is complete."""


class LoraSettings(Section):
    """Low-rank adapters on the language model; null in the parent means full fine-tuning."""

    rank: PositiveInt = 128
    alpha: PositiveFloat = 256
    dropout: Fraction = 0.0
    target_modules: str = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
    """Regular expression over module names, matched in full."""

    @field_validator("target_modules")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern


class TrainingConfig(Section):
    """Settings that supervised training and CA-DPO share."""

    init_from: str
    """Method whose checkpoint training starts from: `original` or the name of another entry of `training`."""
    learning_rate: PositiveFloat
    num_epochs: PositiveInt = 1
    global_batch_size: PositiveInt = 32
    """Samples an optimiser step, over all workers."""
    micro_batch_tokens: RunOnly[PositiveInt | None] = None
    """Tokens that a worker runs forward at once, padding included: the samples of a step are sorted by length, cut by
    this budget, and their gradients accumulated. Changes no result; null means all of a worker's share at once."""
    num_workers: RunOnly[PositiveInt] = 2
    """Training workers, one FSDP shard each."""
    min_workers: RunOnly[PositiveInt | None] = None
    """When workers are lost, go on with as few as this and grow again when nodes come back; null waits for all. Steps
    stay the same (each is one global batch), they only take longer."""
    min_parameters_per_shard: RunOnly[Annotated[int, Field(ge=0)]] = 1_000_000
    """A layer with fewer parameters is not gathered by itself but with the rest of the model: exchanges so small take
    longer than the memory that they spare is worth. LLaVA's layers have 12 million (CLIP) and 202 million (7B)."""
    num_gpus_per_worker: RunOnly[Annotated[float, Field(ge=0)]] = 0
    device: RunOnly[Device] = "auto"
    """What workers compute on: the GPU that they reserve (`auto`), or the CPU all the same (`cpu`, with gloo)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute type of FSDP's mixed precision, and of frozen weights; what trains and the optimiser stay float32."""
    warmup_steps: Annotated[int, Field(ge=0)] = 10
    schedule: Literal["cosine", "linear"] = "linear"
    stable_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps that run at the peak before the learning rate decays."""
    min_lr_ratio: Fraction = 0.1
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
    gradient_checkpointing: RunOnly[bool] = False
    checkpoint_every_steps: RunOnly[PositiveInt] = 200
    """A resumable checkpoint is reported to Ray Train this often."""
    max_length: PositiveInt = 256
    """Longest sample in tokens, image tokens included; a longer one is dropped and counted, never cut."""
    sample: PositiveInt | None = None
    """Train on this many rows of the data: a subset drawn by a hash of the id and `seed`, in which corpora and classes
    keep their shares; null trains on all. Ours."""
    max_failures: RunOnly[Annotated[int, Field(ge=0)]] = 2
    """Worker failures after which Ray Train gives up; each resumes from the last checkpoint."""
    divergence_factor: Annotated[float, Field(gt=1)] | None = 3.0
    """Training stops when the moving average of the loss is above its start and above this many times its lowest; null
    never stops it. A loss or gradient that is not finite always does."""

    @property
    def compute_device(self) -> Literal["cpu", "cuda"]:
        """`device`, decided."""
        return compute_device(self.device, self.num_gpus_per_worker)

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
    wandb_project: str | None = None
    """Weights & Biases project; needs the extra `wandb` of this package on every node, and `WANDB_API_KEY` there or
    `WANDB_MODE=offline`, which keeps the run in the artifact's `logs/wandb` for `wandb sync`. null: no Weights & Biases."""
    wandb_entity: str | None = None
    """User or team that the project belongs to; null: the default of the API key."""
