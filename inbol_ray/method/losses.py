"""The losses, as plain functions of log-probabilities.

Shape letters: B samples, K = 3 responses in the order (correct, incorrect, refusal), P = 3 pairs in the order of PAIRS.
"""

from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from inbol_ray.rows import PAIRS, RESPONSES

_PREFERRED = [RESPONSES.index(preferred) for preferred, _ in PAIRS]
_REJECTED = [RESPONSES.index(rejected) for _, rejected in PAIRS]
CHUNK_BYTES = 512 << 20
"""Most float32 logits that a loss works on at once."""


def reward_margins(logps_BK: torch.Tensor, ref_logps_BK: torch.Tensor, beta: float) -> torch.Tensor:
    """[B, P] float32: beta * log(pi(y_w)/pi_ref(y_w)) - beta * log(pi(y_l)/pi_ref(y_l)) of every pair.

    Source: InBoL (arXiv 2412.11196) section 3, the argument of the sigmoid in f(x, p).
    """
    rewards_BK = beta * (logps_BK - ref_logps_BK)
    return rewards_BK[:, _PREFERRED] - rewards_BK[:, _REJECTED]


def ca_dpo_loss(
    logps_BK: torch.Tensor, ref_logps_BK: torch.Tensor, weights_BP: torch.Tensor, beta: float
) -> torch.Tensor:
    """[B] confidence-aware DPO loss of each sample.

        L = - E_(x,p1,p2) [ f(x,p1) * conf_x + f(x,p2) * (1 - conf_x) ]
        f(x,p) = log sigmoid( beta * log(pi(y_w|x)/pi_ref(y_w|x)) - beta * log(pi(y_l|x)/pi_ref(y_l|x)) )

    `weights_BP` holds the factor of each pair (zero for a pair that a sample does not have): Known (1, 0, 0), Mixed
    (0, conf, 1 - conf), Unknown (0, 0, 1). With one pair of weight 1 this is DPO. A response that a sample lacks may
    have any log-probability as long as its pairs weigh 0, except infinity or NaN.

    Source: InBoL (arXiv 2412.11196) section 3, CA-DPO.
    """
    return -(weights_BP * F.logsigmoid(reward_margins(logps_BK, ref_logps_BK, beta))).sum(1)


def preferred_nll(logps_BK: torch.Tensor, weights_BP: torch.Tensor) -> torch.Tensor:
    """[B] negative log-probability of the preferred responses, weighted like their pairs.

    Ours, not the paper's: DPO may lower the likelihood of both responses of a pair; this term anchors the preferred
    one (cf. the SFT term of RPO, arXiv 2404.19733).
    """
    return -(weights_BP * logps_BK[:, _PREFERRED]).sum(1)


def response_token_nll(logits_BTV: torch.Tensor, labels_BT: torch.Tensor, ignored: int) -> torch.Tensor:
    """Scalar: summed negative log-likelihood of the labelled tokens; position t predicts label t + 1."""

    def nll(logits_NV: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits_NV.float(), labels_N, ignore_index=ignored, reduction="sum")

    sums = in_chunks(nll, logits_BTV[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten())
    return reduce(torch.add, sums)


def in_chunks(function: Callable[..., torch.Tensor], logits: torch.Tensor, *others: torch.Tensor) -> list[torch.Tensor]:
    """Results of `function` on slices of its arguments along their first dimension, logits [N, ..., V] first.

    A slice has at most CHUNK_BYTES as float32, and what it computes is computed again in the backward pass: of all its
    float32 logits, probabilities and gradients a large vocabulary (Qwen's 152,000) has one slice in memory at a time.
    """
    bytes_a_row = 4 * logits[0].numel()
    size = max(1, CHUNK_BYTES // bytes_a_row)
    if len(logits) <= size:
        return [function(logits, *others)]
    pieces = zip(*(tensor.split(size) for tensor in (logits, *others)), strict=True)
    return [checkpoint(function, *piece, use_reentrant=False) for piece in pieces]
