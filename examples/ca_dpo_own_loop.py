"""CA-DPO in a training loop of your own: plain PyTorch, a tiny language model, three questions.

usage: python examples/ca_dpo_own_loop.py

confidence and answerability -> class -> pair weights; prompt and responses -> packed rows -> log-probabilities -> loss
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from inbol_ray import ca_dpo_loss, classify, pack_responses, packed_attention_mask, packed_logps, pair_weights

BETA = 0.5
NUM_STEPS = 30
WORDS = ["<pad>", "<end>", "what", "where", "who", "?", "red", "blue", "here", "there", "anna", "bert", "unsure"]

SAMPLES = [  # prompt, (correct, incorrect, refusal), confidence, answerable; "" is a response that no pair of it needs
    ("what ?", ("red", "", "unsure"), 0.9, True),
    ("where ?", ("here", "there", "unsure"), 0.4, True),
    ("who ?", ("", "bert", "unsure"), 0.0, False),
]


class TinyLanguageModel(nn.Module):
    """One block of attention. `positions` [B, S] and `mask` [B, 1, S, S] are those of the packed rows."""

    def __init__(self, num_words: int, width: int = 32) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(num_words, width), nn.Embedding(16, width)
        self.query_key_value, self.output = nn.Linear(width, 3 * width), nn.Linear(width, num_words)

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.words(input_ids) + self.places(positions)
        query, key, value = self.query_key_value(hidden)[:, None].chunk(3, dim=-1)
        return self.output(hidden + F.scaled_dot_product_attention(query, key, value, attn_mask=mask)[:, 0])


def tokenize(text: str, *, end: bool = False) -> list[int]:
    return [WORDS.index(word) for word in text.split()] + ([WORDS.index("<end>")] if end else [])


def response_logps(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """[B, 3] log-probability of each response: one forward for all responses to a prompt."""
    logits = model(batch["input_ids"], batch["position_ids"], packed_attention_mask(batch["segments"]))
    width = batch["predictors"].shape[1]
    return packed_logps(logits[:, -1 - width :], batch, num_responses=3)


def main() -> list[float]:
    """Train, print the loss, and return it for every step."""
    torch.manual_seed(0)
    batch = pack_responses(
        [tokenize(prompt) for prompt, *_ in SAMPLES],
        [[tokenize(text, end=True) if text else [] for text in responses] for _, responses, *_ in SAMPLES],
        pad_id=WORDS.index("<pad>"),
    )
    weights = torch.tensor(
        [
            list(pair_weights(classify(confidence, answerable), confidence).values())
            for *_, confidence, answerable in SAMPLES
        ]
    )
    policy = TinyLanguageModel(len(WORDS))
    reference = copy.deepcopy(policy)
    with torch.no_grad():
        reference_logps = response_logps(reference, batch)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    losses = []
    for step in range(NUM_STEPS):
        loss = ca_dpo_loss(response_logps(policy, batch), reference_logps, weights, BETA).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if step % 10 == 0 or step == NUM_STEPS - 1:
            print(f"step {step:2d}  loss {losses[-1]:.4f}")
    return losses


if __name__ == "__main__":
    main()
