"""Prefix sharing: all responses to one prompt in one row, so that the image and the question are computed once.

prefix, responses -> [padding | prefix | r1 | r2 | r3 | padding] -> logits -> log-probability of each response

Each response attends to the prefix and to itself only, and its positions continue from the prefix's end: every number
equals that of a separate forward. A response that no pair of a sample uses takes no columns.

One sample a row: several would spare the padding between samples, 2% of the columns at LLaVA-1.5's 576 image tokens (15
to 30% at the demo's 9), but with a dense mask each token is compared with the whole row. The demo's language model took
1.7 times as long for 16 samples in one row as for 16 rows.

Shape letters: B rows, S columns, T response columns (the last T of S), V vocabulary, K responses a sample can have.
"""

from collections.abc import Sequence

import torch

from inbol_ray.method.losses import in_chunks

PAD_SEGMENT, PREFIX_SEGMENT = -1, 0


def pack_responses(
    prefixes: Sequence[list[int]], responses: Sequence[Sequence[list[int]]], pad_id: int
) -> dict[str, torch.Tensor]:
    """Pack B prefixes with up to K responses each; an empty response is absent.

    Returns `input_ids`, `segments` (-1 padding, 0 prefix, k + 1 response k) and `position_ids`, each [B, S] int64, and
    `predictors` [B, T] int64: which of the last 1 + T columns predicts each response column. Prefixes end in the same
    column, so that the model need compute logits only for those 1 + T.
    """
    prefix_width = max(map(len, prefixes))
    response_width = max(1, *(sum(map(len, row)) for row in responses))
    shape = (len(prefixes), prefix_width + response_width)
    input_ids = torch.full(shape, pad_id)
    segments = torch.full(shape, PAD_SEGMENT)
    position_ids = torch.zeros(shape, dtype=torch.long)
    # Logit column j stands for column prefix_width - 1 + j, so its predecessor has the response column's own number.
    predictors = torch.arange(response_width).repeat(len(prefixes), 1)
    for row, (prefix, slots) in enumerate(zip(prefixes, responses, strict=True)):
        length = len(prefix)
        where = slice(prefix_width - length, prefix_width)
        input_ids[row, where] = torch.tensor(prefix)
        segments[row, where] = PREFIX_SEGMENT
        position_ids[row, where] = torch.arange(length)
        start = prefix_width
        for index, response in enumerate(slots):
            if not response:
                continue
            where = slice(start, start + len(response))
            input_ids[row, where] = torch.tensor(response)
            segments[row, where] = index + 1
            position_ids[row, where] = length + torch.arange(len(response))
            predictors[row, start - prefix_width] = 0  # the prefix's last column predicts every first token
            start += len(response)
    return {"input_ids": input_ids, "segments": segments, "position_ids": position_ids, "predictors": predictors}


def packed_attention_mask(segments_BS: torch.Tensor) -> torch.Tensor:
    """[B, 1, S, S] bool, True = attend: causal, to the prefix and to the token's own response only.

    Padding attends to itself, so that no softmax row is empty. Always pass this mask with restarting positions:
    without it transformers takes them for packed sequences and computes something else.
    """
    size = segments_BS.shape[1]
    order = torch.arange(size, device=segments_BS.device)
    query, key = segments_BS[:, :, None], segments_BS[:, None, :]
    visible = (order[:, None] >= order[None, :]) & (key >= 0) & (query >= 0) & ((key == 0) | (key == query))
    return (visible | torch.eye(size, dtype=torch.bool, device=segments_BS.device))[:, None]


def packed_logps(logits_BTV: torch.Tensor, batch: dict[str, torch.Tensor], num_responses: int) -> torch.Tensor:
    """[B, K] summed log-probability of each response, from the last 1 + T logit columns; absent ones sum to 0.

    At least float32, whatever the type of the logits.
    """
    width = batch["predictors"].shape[1]
    targets_BT, segments_BT = batch["input_ids"][:, -width:], batch["segments"][:, -width:]
    token_logps_BT = torch.cat(in_chunks(_token_logps, logits_BTV, batch["predictors"], targets_BT))
    responses_K = torch.arange(1, num_responses + 1, device=segments_BT.device)
    return (token_logps_BT[..., None] * (segments_BT[..., None] == responses_K)).sum(1)


def _token_logps(logits_BTV: torch.Tensor, predictors_BT: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
    rows = torch.arange(len(predictors_BT), device=predictors_BT.device)[:, None]
    precise_BTV = logits_BTV.to(torch.promote_types(logits_BTV.dtype, torch.float32))
    return precise_BTV.log_softmax(-1)[rows, predictors_BT, targets_BT]
