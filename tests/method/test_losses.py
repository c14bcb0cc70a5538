import math

import pytest
import torch

from inbol_ray.method import losses
from inbol_ray.method.losses import ca_dpo_loss, in_chunks, preferred_nll, response_token_nll, reward_margins
from inbol_ray.method.packing import packed_logps
from inbol_ray.method.preference_pairs import pair_weights

LOGPS = torch.tensor([[-2.0, -3.0, -5.0]])
REFERENCE = torch.tensor([[-2.5, -2.0, -4.0]])


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def weights(knowledge: str, confidence: float, mixed_pairs: str = "confidence") -> torch.Tensor:
    return torch.tensor([list(pair_weights(knowledge, confidence, mixed_pairs).values())])


def test_reward_margins_by_hand():
    # rewards beta * (logp - ref): correct 0.05, incorrect -0.1, refusal -0.1
    assert reward_margins(LOGPS, REFERENCE, 0.1)[0].tolist() == pytest.approx([0.15, 0.15, 0.0])


@pytest.mark.parametrize(
    ("knowledge", "confidence", "expected"),
    [
        ("known", 0.9, -log_sigmoid(0.15)),
        ("unknown", 0.1, -log_sigmoid(0.0)),
        ("mixed", 0.4, -(0.4 * log_sigmoid(0.15) + 0.6 * log_sigmoid(0.0))),
    ],
)
def test_ca_dpo_by_hand(knowledge, confidence, expected):
    loss = ca_dpo_loss(LOGPS, REFERENCE, weights(knowledge, confidence), 0.1)
    assert loss.tolist() == pytest.approx([expected])


def test_full_confidence_is_plain_dpo_on_p1():
    margin = 0.1 * ((LOGPS - REFERENCE)[0, 0] - (LOGPS - REFERENCE)[0, 1])
    dpo = -torch.nn.functional.logsigmoid(margin)
    assert ca_dpo_loss(LOGPS, REFERENCE, weights("mixed", 1.0), 0.1).item() == pytest.approx(dpo.item())


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("refusal_incorrect", -log_sigmoid(0.0)),
        ("correct_incorrect", -log_sigmoid(0.15)),
        ("unweighted", -0.5 * (log_sigmoid(0.0) + log_sigmoid(0.15))),
    ],
)
def test_ablations_ignore_confidence(mode, expected):
    for confidence in (0.4, 0.6):
        loss = ca_dpo_loss(LOGPS, REFERENCE, weights("mixed", confidence, mode), 0.1)
        assert loss.item() == pytest.approx(expected)


def test_a_missing_response_has_no_gradient():
    logps = LOGPS.clone().requires_grad_()
    ca_dpo_loss(logps, REFERENCE, weights("known", 1.0), 0.1).sum().backward()
    assert logps.grad[0, 1] == 0 and logps.grad[0, 0] < 0 < logps.grad[0, 2]


def test_preferred_nll_weighs_by_confidence():
    assert preferred_nll(LOGPS, weights("mixed", 0.25)).item() == pytest.approx(0.25 * 2.0 + 0.75 * 5.0)


def test_response_token_nll_is_shifted_and_masked():
    logits = torch.randn(2, 4, 7)
    labels = torch.tensor([[-100, -100, 3, 5], [-100, 1, -100, -100]])
    logps = logits.log_softmax(-1)
    expected = -(logps[0, 1, 3] + logps[0, 2, 5] + logps[1, 0, 1])
    assert response_token_nll(logits, labels, -100).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("num_rows_a_chunk", [1, 2, 100])
def test_chunks_change_neither_loss_nor_gradient(num_rows_a_chunk, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, 11, generator=generator, dtype=torch.bfloat16)
    labels = torch.randint(11, (5, 7), generator=generator)
    segments = torch.tensor([1, 1, 2, 3, 3, 3]).expand(5, -1)
    batch = {
        "input_ids": labels[:, 1:],
        "segments": segments,
        "predictors": torch.tensor([0, 1, 0, 0, 4, 5]).expand(5, -1),
    }

    def both(chunk_bytes: int) -> list[torch.Tensor]:
        monkeypatch.setattr(losses, "CHUNK_BYTES", chunk_bytes)
        found = []
        for loss_of in (
            lambda leaf: packed_logps(leaf, batch, 3).square().sum(),
            lambda leaf: response_token_nll(leaf, labels, -100),
        ):
            leaf = logits.clone().requires_grad_()
            loss = loss_of(leaf)
            loss.backward()
            found += [loss.detach(), leaf.grad]
        return found

    for chunked, whole in zip(both(4 * 7 * 11 * num_rows_a_chunk), both(1 << 40), strict=True):
        torch.testing.assert_close(chunked, whole)


def test_a_chunk_is_computed_again_in_the_backward_pass(monkeypatch):
    monkeypatch.setattr(losses, "CHUNK_BYTES", 4 * 11)
    calls = []

    def count(logits: torch.Tensor) -> torch.Tensor:
        calls.append(len(logits))
        return logits.exp().sum()

    sum(in_chunks(count, torch.randn(3, 11, requires_grad=True))).backward()
    assert calls == [1] * 6
