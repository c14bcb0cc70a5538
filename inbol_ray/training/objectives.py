"""What is minimised: each objective turns rows into a batch, and a batch into a summed loss and its metrics."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch

from inbol_ray.config.schema import CaDpoConfig, SupervisedConfig
from inbol_ray.images import load_image
from inbol_ray.training.encode import (
    IGNORED,
    TextEncoder,
    count_image_tokens,
    pack_responses,
    packed_attention_mask,
    packed_logps,
    pad_conversations,
)
from inbol_ray.training.losses import PAIRS, RESPONSES, ca_dpo_loss, preferred_nll, response_token_nll, reward_margins

Batch = dict[str, torch.Tensor]


class Objective(ABC):
    """Base: shares the processor between the two objectives.

    `normaliser` counts the units that a loss is averaged over, across all workers and micro-batches, so that the
    gradient does not depend on how a batch is split.
    """

    needs_reference = False

    def __init__(self, processor) -> None:
        self.processor = processor
        self.encoder = TextEncoder(processor.tokenizer, count_image_tokens(processor))
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
    def normaliser(self, batch: Batch) -> float: ...

    @abstractmethod
    def loss(self, model, batch: Batch, reference: Callable[[Batch], torch.Tensor] | None) -> tuple[torch.Tensor, dict]:
        """(summed loss, {metric: (sum, count)})."""

    def _pixels(self, rows: list[dict]) -> torch.Tensor:
        images = [load_image(reference) for row in rows for reference in row["images"]]
        return self.processor.image_processor(images=images, return_tensors="pt")["pixel_values"]


class Supervised(Objective):
    """Cross-entropy on response tokens (paper section 3, IDK-IT; also the SFT baseline and instruction tuning)."""

    def __init__(self, processor, config: SupervisedConfig) -> None:
        super().__init__(processor)

    def row_length(self, row: dict) -> int:
        return len(self.encoder.encode_conversation(row["turns"], len(row["images"]))[0])

    def max_row_length(self, row: dict) -> int:
        return self.encoder.max_length([text for turn in row["turns"] for text in turn.values()], len(row["images"]))

    def collate(self, rows: list[dict]) -> Batch:
        encoded = [self.encoder.encode_conversation(row["turns"], len(row["images"])) for row in rows]
        return pad_conversations(encoded, self.pad_id) | {"pixel_values": self._pixels(rows)}

    def normaliser(self, batch: Batch) -> float:
        return float((batch["labels"] != IGNORED).sum())

    def loss(self, model, batch: Batch, reference=None) -> tuple[torch.Tensor, dict]:
        logits = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=batch["pixel_values"],
            use_cache=False,
        ).logits
        return response_token_nll(logits, batch["labels"], IGNORED), {}


class CaDpo(Objective):
    """Confidence-aware DPO on packed rows (paper section 3)."""

    needs_reference = True

    def __init__(self, processor, config: CaDpoConfig) -> None:
        super().__init__(processor)
        self.beta = config.beta
        self.nll_weight = config.nll_weight

    def row_length(self, row: dict) -> int:
        num_images = len(row["images"])
        responses = [self.encoder.encode_response(row["user"], row[name], num_images) for name in RESPONSES]
        return len(self.encoder.encode_prompt(row["user"], num_images)) + sum(map(len, responses))

    def max_row_length(self, row: dict) -> int:
        texts = [row["user"], *(row[name] or "" for name in RESPONSES)]
        return self.encoder.max_length(texts, len(row["images"]))

    def collate(self, rows: list[dict]) -> Batch:
        prefixes, responses = [], []
        for row in rows:
            num_images = len(row["images"])
            prefixes.append(self.encoder.encode_prompt(row["user"], num_images))
            responses.append([self.encoder.encode_response(row["user"], row[name], num_images) for name in RESPONSES])
        weights = [[row[f"weight_{preferred}_{rejected}"] for preferred, rejected in PAIRS] for row in rows]
        return pack_responses(prefixes, responses, self.pad_id) | {
            "weights": torch.tensor(np.asarray(weights, dtype=np.float32)),
            "pixel_values": self._pixels(rows),
        }

    def normaliser(self, batch: Batch) -> float:
        return float(len(batch["input_ids"]))

    def logps(self, model, batch: Batch) -> torch.Tensor:
        """[B, 3] summed log-probability of (correct, incorrect, refusal)."""
        logits = model(
            input_ids=batch["input_ids"],
            attention_mask=packed_attention_mask(batch["segments"]),
            position_ids=batch["position_ids"],
            pixel_values=batch["pixel_values"],
            logits_to_keep=1 + int(batch["slot_widths"].sum()),
            use_cache=False,
        ).logits
        return packed_logps(logits, batch)

    def loss(self, model, batch: Batch, reference: Callable[[Batch], torch.Tensor] | None) -> tuple[torch.Tensor, dict]:
        # The policy goes first: FSDP2 fixes its mixed-precision types in the first forward, which must see the adapter.
        logps = self.logps(model, batch)
        with torch.no_grad():
            reference_logps = reference(batch)
        weights = batch["weights"]
        loss = ca_dpo_loss(logps, reference_logps, weights, self.beta).sum()
        if self.nll_weight:
            loss = loss + self.nll_weight * preferred_nll(logps, weights).sum()
        margins = reward_margins(logps.detach(), reference_logps, self.beta)
        metrics = {}
        for column, (preferred, rejected) in enumerate(PAIRS):
            used = weights[:, column] > 0
            count = float(used.sum())
            metrics[f"margin_{preferred}_{rejected}"] = (float(margins[used, column].sum()), count)
            metrics[f"accuracy_{preferred}_{rejected}"] = (float((margins[used, column] > 0).sum()), count)
        return loss, metrics


def build_objective(config: SupervisedConfig | CaDpoConfig, processor) -> Objective:
    return (CaDpo if config.kind == "ca_dpo" else Supervised)(processor, config)
