"""Ways to attend in packed rows: seconds and memory of forward and backward, and gradients against the dense mask's."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from gpu_model import Bench, Record, Size, memory, timed


def measure_attention(size: Size, folder: Path, record: Record) -> None:
    """Forward and backward of the policy in each way, at one micro-batch, in a model of fewer layers.

    Gradients are compared in float32, where the ways differ by rounding alone.
    """
    import torch

    shape = replace(size.shape, num_layers=size.num_layers)
    ways: dict[str, Callable] = {"dense": dense_logps, "dense_one_row": partial(one_row_logps, flex=False)}
    if size.device == "cuda":  # flex_attention has no backward on CPU
        ways |= {"dense_cudnn": cudnn_logps, "flex": flex_logps, "flex_one_row": partial(one_row_logps, flex=True)}
    for dtype in dict.fromkeys((size.shape.dtype, "float32")):
        bench = Bench(size, folder, shape=replace(shape, dtype=dtype), gradient_checkpointing=False, dtype=dtype)
        (batch, *_) = bench.batches(size.budgets[0 if dtype == "float32" else 1])
        batch = {key: value.to(size.device) if hasattr(value, "to") else value for key, value in batch.items()}
        with torch.no_grad():
            for name, parameter in bench.model.named_parameters():
                if "lora_B" in name:  # an adapter that starts at zero has no gradient in its other half
                    parameter.normal_(std=0.01)
        expected = None
        for name, logps_of in ways.items():
            record_way(bench, batch, logps_of, f"{name}_{dtype}", expected, record)
            if expected is None:
                expected = gradients(bench, batch, logps_of)
        del bench


def record_way(bench: Bench, batch: dict, logps_of: Callable, name: str, expected: dict | None, record: Record) -> None:
    import torch

    def work() -> None:
        logps_of(bench, batch).sum().backward()
        bench.step.optimizer.zero_grad(set_to_none=True)

    try:
        work()
        if bench.size.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = statistics.median(timed(work, bench.size.device) for _ in range(5))
        figures = {"seconds": seconds, "peak_memory_gb": memory(bench.size.device)}
        if expected is not None:
            figures |= compare(gradients(bench, batch, logps_of), expected)
    except Exception as error:  # one way that does not run here must not hide the others
        figures = {"failed": f"{type(error).__name__}: {error}"[:500]}
    record(name, figures)


def gradients(bench: Bench, batch: dict, logps_of: Callable) -> dict:
    bench.step.optimizer.zero_grad(set_to_none=True)
    logps_of(bench, batch).sum().backward()
    found = {
        name: parameter.grad.full_tensor().clone()
        for name, parameter in bench.model.named_parameters()
        if parameter.grad is not None
    }
    bench.step.optimizer.zero_grad(set_to_none=True)
    return found


def compare(found: dict, expected: dict) -> dict[str, float]:
    """Distance of the gradients relative to their size, over all weights and for the worst of them."""
    distances = {name: float((found[name] - gradient).norm() / gradient.norm()) for name, gradient in expected.items()}
    squares = sum(float((found[name] - gradient).norm()) ** 2 for name, gradient in expected.items())
    total = sum(float(gradient.norm()) ** 2 for gradient in expected.values())
    return {"gradient_distance": (squares / total) ** 0.5, "worst_gradient_distance": max(distances.values())}


def dense_logps(bench: Bench, batch: dict):
    from inbol_ray.training.objectives import frozen_image_features, response_logps

    bench.base.model.language_model.set_attn_implementation("sdpa")
    return response_logps(bench.model, batch, frozen_image_features(bench.model, batch["pixel_values"]))


def cudnn_logps(bench: Bench, batch: dict):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return dense_logps(bench, batch)


def flex_logps(bench: Bench, batch: dict):
    """`response_logps` with a block mask; attention that is compiled."""
    from torch.nn.attention.flex_attention import create_block_mask
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    from inbol_ray.method.packing import packed_logps
    from inbol_ray.training.objectives import frozen_image_features

    bench.base.model.language_model.set_attn_implementation("flex_attention")
    features = frozen_image_features(bench.model, batch["pixel_values"])
    segments = batch["segments"]

    def visible(row, _head, query, key):
        q, k = segments[row, query], segments[row, key]
        return ((query >= key) & (k >= 0) & (q >= 0) & ((k == 0) | (k == q))) | (query == key)

    num_rows, size = segments.shape
    logits = bench.model(
        input_ids=batch["input_ids"],
        attention_mask=create_block_mask(visible, num_rows, None, size, size, device=segments.device, _compile=True),
        position_ids=batch["position_ids"],
        logits_to_keep=1 + batch["predictors"].shape[1],
        mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=features)},
        use_cache=False,
    ).logits
    return packed_logps(logits, batch, 3)


def one_row_logps(bench: Bench, batch: dict, *, flex: bool):
    """[B, 3] as `response_logps`, with all samples behind one another in one row and no padding."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    from inbol_ray.training.objectives import frozen_image_features

    bench.base.model.language_model.set_attn_implementation("flex_attention" if flex else "sdpa")
    features = frozen_image_features(bench.model, batch["pixel_values"])
    segments, width = batch["segments"], batch["predictors"].shape[1]
    used = segments >= 0
    sample = torch.arange(len(segments), device=segments.device)[:, None].expand_as(segments)[used]
    segment, place = segments[used], used.flatten().cumsum(0).view_as(used) - 1
    size = len(sample)

    def visible(_row, _head, query, key):
        same = (sample[query] == sample[key]) & ((segment[key] == 0) | (segment[key] == segment[query]))
        return same & (query >= key)

    if flex:
        mask = create_block_mask(visible, None, None, size, size, device=segments.device, _compile=True)
    else:
        order = torch.arange(size, device=segments.device)
        mask = visible(None, None, order[:, None], order[None, :])[None, None]
    responses = used[:, -width:]
    columns = segments.shape[1] - width - 1 + batch["predictors"]
    predictors = place.gather(1, columns)[responses]
    logits = bench.model(
        input_ids=batch["input_ids"][used][None],
        attention_mask=mask,
        position_ids=batch["position_ids"][used][None],
        logits_to_keep=predictors,
        mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=features)},
        use_cache=False,
    ).logits[0]
    targets = batch["input_ids"][:, -width:][responses]
    token_logps = logits.float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
    rows = sample.new_zeros(segments.shape[0], 3, dtype=torch.float32).flatten()
    slots = (torch.arange(len(segments), device=segments.device)[:, None] * 3 + segments[:, -width:] - 1)[responses]
    return rows.index_add(0, slots, token_logps).view(-1, 3)
