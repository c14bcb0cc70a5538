"""Text -> token ids, for both objectives; and the padded batch of supervised training.

Conversation -> (ids, labels) -> right-padded batch
PreferenceSet -> prefix and responses, which `packing` puts into one row
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from inbol_ray.errors import DataError
from inbol_ray.models import ChatLayout

IGNORED = -100


@dataclass(frozen=True)
class TextEncoder:
    """Tokenises prompts and responses the way that generation will see them."""

    tokenizer: object
    num_image_tokens: int
    chat: ChatLayout
    system: str | None = None
    """System text before the first turn (`prompts.system`)."""

    def encode_conversation(self, turns: Sequence[dict], num_images: int) -> tuple[list[int], list[int]]:
        """(ids, labels): every turn's response and its end token are labelled, the rest is IGNORED.

        Source: LLaVA-1.5 instruction tuning; the hub template lacks the end token, so it is added here.
        """
        text, spans = "", []
        for index, turn in enumerate(turns):
            text += (
                self._prompt(turn["user"], num_images) if index == 0 else self.chat.prompt(turn["user"], num_images=0)
            )
            start = len(text)
            text += self.chat.reply(turn["assistant"])
            spans.append((start, len(text)))
        # Offsets are those of the unexpanded text; each image token is widened afterwards.
        encoding = self.tokenizer(text, return_offsets_mapping=True)
        image_id = self.tokenizer.convert_tokens_to_ids(self.chat.image_token)
        ids, labels = [], []
        span = 0
        for token, (begin, end) in zip(encoding.input_ids, encoding.offset_mapping, strict=True):
            if token == image_id:
                ids += [token] * self.num_image_tokens
                labels += [IGNORED] * self.num_image_tokens
                continue
            while span < len(spans) and begin >= spans[span][1]:
                span += 1
            is_response = span < len(spans) and begin >= spans[span][0] and end > begin
            ids.append(token)
            labels.append(token if is_response else IGNORED)
        return ids, labels

    def max_length(self, texts: Sequence[str], num_images: int) -> int:
        """Tokens that these user texts and responses cannot exceed: a byte each, and the chat template around them."""
        template = len(self._prompt("", num_images).encode()) + len(self.chat.reply("").encode())
        return sum(len(text.encode()) + template for text in texts) + num_images * self.num_image_tokens

    def encode_prompt(self, user: str, num_images: int) -> list[int]:
        return self._widen(self.tokenizer(self._prompt(user, num_images)).input_ids)

    def encode_response(self, user: str, response: str | None, num_images: int) -> list[int]:
        """Tokens that follow the prompt, end token included; empty for a missing response."""
        if response is None:
            return []
        prompt = self.encode_prompt(user, num_images)
        text = self._prompt(user, num_images) + self.chat.reply(response)
        whole = self._widen(self.tokenizer(text).input_ids)
        if whole[: len(prompt)] != prompt:
            raise DataError(
                f"the tokenizer merges the end of the prompt into the response {response!r}; "
                "responses must start on a token boundary"
            )
        return whole[len(prompt) :]

    def _prompt(self, user: str, num_images: int) -> str:
        return self.chat.prompt(user, num_images=num_images, system=self.system)

    def _widen(self, ids: Sequence[int]) -> list[int]:
        image_id = self.tokenizer.convert_tokens_to_ids(self.chat.image_token)
        return [out for token in ids for out in ([token] * self.num_image_tokens if token == image_id else [token])]


def pad_conversations(encoded: Sequence[tuple[list[int], list[int]]], pad_id: int) -> dict[str, torch.Tensor]:
    """Right-padded `input_ids`, `attention_mask`, `labels`, each [B, T] int64."""
    width = max(len(ids) for ids, _ in encoded)
    input_ids = torch.full((len(encoded), width), pad_id)
    labels = torch.full((len(encoded), width), IGNORED)
    attention_mask = torch.zeros((len(encoded), width), dtype=torch.long)
    for row, (ids, label) in enumerate(encoded):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        labels[row, : len(ids)] = torch.tensor(label)
        attention_mask[row, : len(ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
