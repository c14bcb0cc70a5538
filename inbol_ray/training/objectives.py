"""What is minimised: each objective turns rows into a batch, and a batch into a summed loss and its metrics."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
import transformers
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from inbol_ray.config.training import CaDpoConfig, SupervisedConfig
from inbol_ray.errors import ConfigError
from inbol_ray.images import load_image, pad_colour, pixel_rule
from inbol_ray.method.losses import ca_dpo_loss, preferred_nll, response_token_nll, reward_margins
from inbol_ray.method.packing import (
    PAD_SEGMENT,
    PREFIX_SEGMENT,
    pack_responses,
    packed_attention_mask,
    packed_logps,
)
from inbol_ray.models import ModelFamily
from inbol_ray.models.parts import base_of, parts_of
from inbol_ray.rows import PAIRS, RESPONSES
from inbol_ray.training.encode import IGNORED, TextEncoder, pad_conversations
from inbol_ray.training.utilisation import BatchSize

Batch = dict[str, torch.Tensor | list | int]
"""Tensors by name, the rows' `ids` and `knowledge` as lists, and `num_logits` of a supervised batch."""
ImageFeatures = list[torch.Tensor]
"""One [image tokens, hidden] tensor an image, as the projector puts them out."""
Metrics = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""(sum, count) by name, as scalars on the model's device: reading them there would make the device wait."""
Reference = Callable[[Batch, ImageFeatures | None], torch.Tensor]
"""Batch -> [B, K] log-probabilities of the responses under the reference model."""
WEIGHT_COLUMNS = tuple(f"weight_{preferred}_{rejected}" for preferred, rejected in PAIRS)
REFERENCE_COLUMNS = tuple(f"reference_logp_{response}" for response in RESPONSES)
"""Columns that hold reference log-probabilities where these were computed before training."""


class Objective(ABC):
    """Base: shares the processor between the two objectives.

    `normaliser` counts the units that a loss is averaged over, across all workers and micro-batches, so that the
    gradient does not depend on how a batch is split.
    """

    def __init__(self, processor, family: ModelFamily, system: str | None) -> None:
        self.processor = processor
        self.encoder = TextEncoder(processor.tokenizer, family.image_tokens(processor), family.chat, system)
        self.pad_id = processor.tokenizer.pad_token_id

    @abstractmethod
    def row_length(self, row: dict) -> int:
        """Tokens of a row, image tokens included."""

    @abstractmethod
    def max_row_length(self, row: dict) -> int:
        """An upper bound of `row_length` that needs no tokeniser: a token covers at least one byte."""

    @abstractmethod
    def collate(self, rows: list[dict]) -> Batch: ...

    @abstractmethod
    def size(self, batch: Batch) -> BatchSize: ...

    @abstractmethod
    def normaliser(self, batch: Batch) -> float: ...

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, reference: Reference | None) -> tuple[torch.Tensor, Metrics]:
        """(summed loss, metrics); the metrics have the same names for every batch."""

    def _images_and_labels(self, rows: list[dict]) -> Batch:
        colour = pad_colour(self.processor.image_processor)
        images = [load_image(reference, colour, pixel_rule(row["id"])) for row in rows for reference in row["images"]]
        return {
            "pixel_values": self.processor.image_processor(images=images, return_tensors="pt")["pixel_values"],
            "ids": [row["id"] for row in rows],
            "knowledge": [row["knowledge"] for row in rows],
        }


class Supervised(Objective):
    """Cross-entropy on response tokens (paper section 3, IDK-IT; also the SFT baseline and instruction tuning)."""

    def __init__(self, processor, config: SupervisedConfig, family: ModelFamily, system: str | None) -> None:
        super().__init__(processor, family, system)

    def row_length(self, row: dict) -> int:
        return len(self.encoder.encode_conversation(row["turns"], len(row["images"]))[0])

    def max_row_length(self, row: dict) -> int:
        return self.encoder.max_length([text for turn in row["turns"] for text in turn.values()], len(row["images"]))

    def collate(self, rows: list[dict]) -> Batch:
        encoded = [self.encoder.encode_conversation(row["turns"], len(row["images"])) for row in rows]
        batch = pad_conversations(encoded, self.pad_id) | self._images_and_labels(rows)
        # Nothing before the batch's first labelled token is predicted; in front of it lie the image's tokens.
        first_label = int((batch["labels"] != IGNORED).any(0).nonzero()[0])
        batch["num_logits"] = batch["labels"].shape[1] - first_label + 1
        return batch

    def size(self, batch: Batch) -> BatchSize:
        lengths = batch["attention_mask"].sum(1)
        num_attended = int((lengths * (lengths + 1)).sum()) // 2
        num_predictors = int((batch["labels"] != IGNORED).sum())
        return BatchSize(
            int(lengths.sum()), batch["input_ids"].numel(), num_attended, num_predictors, len(batch["pixel_values"])
        )

    def normaliser(self, batch: Batch) -> float:
        return float((batch["labels"] != IGNORED).sum())

    def loss(self, model: nn.Module, batch: Batch, reference: Reference | None = None) -> tuple[torch.Tensor, Metrics]:
        num_logits = batch["num_logits"]
        logits = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=batch["pixel_values"],
            logits_to_keep=num_logits,
            use_cache=False,
        ).logits
        return response_token_nll(logits, batch["labels"][:, -num_logits:], IGNORED), {}


class CaDpo(Objective):
    """Confidence-aware DPO on packed rows (paper section 3)."""

    def __init__(self, processor, config: CaDpoConfig, family: ModelFamily, system: str | None) -> None:
        super().__init__(processor, family, system)
        self.beta = config.beta
        self.nll_weight = config.nll_weight

    def row_length(self, row: dict) -> int:
        prefix, responses = self.encode(row)
        return len(prefix) + sum(map(len, responses))

    def max_row_length(self, row: dict) -> int:
        texts = [row["user"], *(row[name] or "" for name in RESPONSES)]
        return self.encoder.max_length(texts, len(row["images"]))

    def encode(self, row: dict) -> tuple[list[int], list[list[int]]]:
        """(prefix, responses); a response that none of the sample's pairs weighs is empty."""
        num_images = len(row["images"])
        used = {name for pair, column in zip(PAIRS, WEIGHT_COLUMNS, strict=True) if row[column] > 0 for name in pair}
        responses = [
            self.encoder.encode_response(row["user"], row[name], num_images) if name in used else []
            for name in RESPONSES
        ]
        return self.encoder.encode_prompt(row["user"], num_images), responses

    def collate(self, rows: list[dict]) -> Batch:
        prefixes, responses = zip(*map(self.encode, rows), strict=True)
        batch = pack_responses(prefixes, responses, self.pad_id) | self._images_and_labels(rows)
        batch["weights"] = _float_columns(rows, WEIGHT_COLUMNS)
        if REFERENCE_COLUMNS[0] in rows[0]:
            batch["reference_logps"] = _float_columns(rows, REFERENCE_COLUMNS)
        return batch

    def size(self, batch: Batch) -> BatchSize:
        segments = batch["segments"]
        prefixes = (segments == PREFIX_SEGMENT).sum(1)
        responses = torch.stack([(segments == PREFIX_SEGMENT + 1 + index).sum(1) for index in range(len(RESPONSES))], 1)
        num_attended = prefixes * (prefixes + 1) // 2
        num_attended += (responses * prefixes[:, None] + responses * (responses + 1) // 2).sum(1)
        # A response's tokens but its last predict the next one; the prefix's last predicts the first of each.
        num_predictors = len(segments) + int((responses - 1).clamp(min=0).sum())
        num_tokens = int((segments != PAD_SEGMENT).sum())
        return BatchSize(
            num_tokens, segments.numel(), int(num_attended.sum()), num_predictors, len(batch["pixel_values"])
        )

    def normaliser(self, batch: Batch) -> float:
        return float(len(batch["input_ids"]))

    def loss(self, model: nn.Module, batch: Batch, reference: Reference | None) -> tuple[torch.Tensor, Metrics]:
        features = frozen_image_features(model, batch["pixel_values"])
        # The policy goes first: FSDP2 fixes its mixed-precision types in the first forward, which must see the adapter.
        logps = response_logps(model, batch, features)
        with torch.no_grad():
            reference_logps = reference(batch, features)
        weights = batch["weights"]
        loss = ca_dpo_loss(logps, reference_logps, weights, self.beta).sum()
        if self.nll_weight:
            loss = loss + self.nll_weight * preferred_nll(logps, weights).sum()
        margins = reward_margins(logps.detach(), reference_logps, self.beta)
        used = weights > 0
        sums = {"margin": (margins * used).sum(0), "accuracy": ((margins > 0) & used).sum(0)}
        counts = used.sum(0)
        return loss, {
            f"{kind}_{preferred}_{rejected}": (sums[kind][column], counts[column])
            for kind in sums
            for column, (preferred, rejected) in enumerate(PAIRS)
        }


def response_logps(model: nn.Module, batch: Batch, features: ImageFeatures | None = None) -> torch.Tensor:
    """[B, 3] summed log-probability of (correct, incorrect, refusal); 0 for one that no pair uses.

    `features` spare the vision tower where they are known already. Logits are computed for response positions only: with
    LLaVA's vocabulary on the model of `make bench-training`, forward and backward take half the time of all logits.
    """
    if features is None:
        images = {"pixel_values": batch["pixel_values"]}
    else:
        images = {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=features)}}
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=packed_attention_mask(batch["segments"]),
        position_ids=batch["position_ids"],
        logits_to_keep=1 + batch["predictors"].shape[1],
        use_cache=False,
        **images,
    ).logits
    return packed_logps(logits, batch, len(RESPONSES))


def frozen_image_features(model: nn.Module, pixel_values: torch.Tensor) -> ImageFeatures | None:
    """Image features that policy and reference share, without gradient; None where vision tower or projector train.

    Raises ConfigError for a transformers whose models take no image features: they would ignore them without a word.
    They are computed anew in each epoch: the tower is 1.1 to 1.5% of a step's operations in LLaVA-1.5-7B (with and
    without activation checkpointing), 3% in `make bench-training`, and its output is 1.2 MB an image, a JPEG 0.1 MB.
    """
    parts = parts_of(model)
    for module in (parts.vision_tower, parts.projector):
        if any(parameter.requires_grad for parameter in module.parameters()):
            return None
    if "mm_encoder_outputs" not in inspect.signature(type(base_of(model)).forward).parameters:
        raise ConfigError(
            f"transformers {transformers.__version__} is too old: its {type(base_of(model)).__name__} takes no "
            "mm_encoder_outputs and would train without its pictures; install at least 5.19"
        )
    with torch.no_grad():
        return model.get_image_features(pixel_values=pixel_values, return_dict=True).pooler_output


def move_to(batch: Batch, device: torch.device | str) -> Batch:
    """The batch with its tensors on `device`."""
    return {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


def _float_columns(rows: list[dict], columns: tuple[str, ...]) -> torch.Tensor:
    return torch.tensor(np.asarray([[row[column] for column in columns] for row in rows], dtype=np.float32))


def build_objective(
    config: SupervisedConfig | CaDpoConfig, processor, family: ModelFamily, system: str | None = None
) -> Objective:
    """`system` is the text before the first turn of every row (`prompts.system`)."""
    return (CaDpo if config.kind == "ca_dpo" else Supervised)(processor, config, family, system)
