"""What one GPU does with our training step, and what it would do with others; `build/bench/gpu.json`.

LLaVA-1.5-7B's shape with random weights in bfloat16, LoRA as in the recipe, the product's own batch planning, FSDP2
wrapping (NCCL, one device) and optimiser step, without Ray, vLLM or a checkpoint. Each section is a process of its own,
ends within its limit, and writes each figure as soon as it is there:

- peak: what the device reaches in a matrix product and in a copy
- steps: CA-DPO by micro-batch budget, with and without activation checkpointing; IDK-IT; compiled layers
- trl: the same Mixed samples through TRL's DPOTrainer
- attention: dense mask, flex_attention, several samples a row; gradients of each against the dense mask's
- precision: log-probabilities, packed and one response a row, in bfloat16 and float32 on the same weights
- logits: the loss over a large vocabulary in chunks
- full: full fine-tuning of fewer layers with a frozen second model as reference

`utilisation` is the product's own: model FLOPs (no padding, no recomputation, no gradients of frozen weights) over the
measured bfloat16 peak. Without a GPU all sections run in small on the CPU, which shows that they work and nothing else.
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from training_samples import SHAPES, Shape, build_model, build_processor, training_config, write_samples

OUTPUT = Path("build/bench/gpu.json")
PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl")
NUM_TIMED = 3

Record = Callable[[str, Any], None]
"""Takes a figure's name and value."""


@dataclass(frozen=True)
class Size:
    """What is run where: the paper's shape on a GPU, a tiny one on a CPU."""

    shape: Shape
    device: str
    budgets: tuple[int, ...]
    """Tokens a micro-batch."""
    step_tokens: int
    """A step has about so many, or one micro-batch."""
    num_layers: int
    """Of models with fewer layers, where a whole one does not fit or is not needed."""
    vocab_size: int
    """A large one."""
    trl_rows: int


GPU = Size(SHAPES["llava-1.5-7b"], "cuda", (4096, 8192, 16384, 32768), 16384, 8, 152_000, 8)
CPU = Size(
    Shape(
        hidden_size=128,
        intermediate_size=256,
        num_layers=2,
        head_size=64,
        vision_hidden_size=64,
        vision_num_layers=2,
        rows_per_step=2,
        image_px=56,
    ),
    "cpu",
    (256, 512),
    512,
    1,
    4_000,
    2,
)


@contextmanager
def one_process_group(device: str) -> Iterator[None]:
    import torch.distributed as dist

    with tempfile.TemporaryDirectory() as store:
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=f"file://{store}/store", rank=0, world_size=1)
        yield


def recipe_config(size: Size):
    """CA-DPO with the recipe's adapter, on one device."""
    from inbol_ray.config.training import LoraSettings

    recipe = {"lora": LoraSettings(rank=128, alpha=256), "gradient_checkpointing": True, "max_length": 2048}
    return training_config(size.shape, size.device).model_copy(update=recipe)


class Bench:
    """Rows, a model made ready by the product's code, and its optimiser step."""

    def __init__(
        self,
        size: Size,
        folder: Path,
        *,
        kind: str = "ca_dpo",
        shape: Shape | None = None,
        prepare: Callable = lambda model: None,
        **changes,
    ) -> None:
        """`prepare` sees the adapted model before it is sharded; `changes` are those of the training configuration."""
        import torch

        from inbol_ray.config.training import SupervisedConfig
        from inbol_ray.training.fsdp import adapt_model, shard
        from inbol_ray.training.objectives import build_objective
        from inbol_ray.training.optimizer_step import OptimizerStep, build_optimizer
        from inbol_ray.training.reference import build_reference

        torch.manual_seed(0)
        self.size, self.shape, self.folder = size, shape or size.shape, folder
        config = recipe_config(size).model_copy(update={"dtype": self.shape.dtype} | changes)
        if kind == "idk_it":
            shared = SupervisedConfig.model_fields.keys() & config.model_fields.keys() - {"kind"}
            config = SupervisedConfig(**{name: getattr(config, name) for name in shared}, data="idk")
        self.config = config
        self.processor = build_processor(self.shape)
        self.objective = build_objective(config, self.processor)
        self.base = build_model(self.shape, self.processor.tokenizer, size.device)
        adapted = adapt_model(self.base, config)
        prepare(adapted)
        self.model = shard(adapted, config)
        if config.lora is None and kind == "ca_dpo":
            reference = self._frozen_copy()
        else:
            reference = build_reference(self.model, "", config)
        self.step = OptimizerStep(self.model, self.objective, reference, build_optimizer(self.model, config), config)
        self.model.train()

    def _frozen_copy(self):
        """`build_reference` of full fine-tuning, which would load a checkpoint."""
        from inbol_ray.training.fsdp import shard
        from inbol_ray.training.objectives import response_logps

        frozen = build_model(self.shape, self.processor.tokenizer, self.size.device).requires_grad_(False)
        frozen = shard(frozen, self.config).eval()
        return lambda batch, features: response_logps(frozen, batch, features)

    def batches(self, budget: int, kind: str = "all") -> list[dict]:
        """The micro-batches of one step of about `size.step_tokens` tokens, planned and collated by the product."""
        import pyarrow as pa

        from inbol_ray.training.batches import MICRO_BATCH, add_token_counts, plan_batches

        rows = write_samples(self.folder, kind, 3 * self.size.step_tokens // self.size.budgets[0] + 3)
        if self.config.kind == "supervised":
            rows = [to_conversation(row) for row in rows]
        length = max(map(self.objective.row_length, rows))
        rows_a_batch = max(1, budget // length)
        num_rows = rows_a_batch * max(1, round(self.size.step_tokens / (rows_a_batch * length)))
        rows = [rows[index % len(rows)] | {"id": str(index)} for index in range(num_rows)]
        config = self.config.model_copy(update={"global_batch_size": num_rows, "micro_batch_tokens": budget})
        (share,), _ = plan_batches(add_token_counts(pa.Table.from_pylist(rows), self.objective), config, seed=0)
        groups: dict[int, list[dict]] = {}
        for row in share.to_pylist():
            groups.setdefault(row[MICRO_BATCH], []).append(row)
        return [self.objective.collate(group) for group in groups.values()]

    def checkpointing(self, on: bool) -> None:
        if on:
            self.base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            self.base.disable_input_require_grads()
        else:
            self.base.gradient_checkpointing_disable()

    def measure(self, batches: list[dict]) -> dict[str, float]:
        """Medians of a few steps after one to warm up, and the peak memory."""
        import torch

        if self.size.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        taken = [self.step.run(batches, 1.0) for _ in range(1 + NUM_TIMED)]
        num_samples = sum(len(batch["ids"]) for batch in batches)
        middle = {
            name: statistics.median(step[name] for step in taken[1:])
            for name in ("step_s", "tokens_per_s", "tflops_per_s", "utilisation", "padding_rate")
        }
        return middle | {
            "first_step_s": taken[0]["step_s"],
            "samples_per_s": num_samples / middle["step_s"],
            "rows_a_micro_batch": len(batches[0]["ids"]),
            "micro_batches": len(batches),
            "peak_memory_gb": memory(self.size.device),
            "losses": [step["loss"] for step in taken],
        }


def to_conversation(row: dict) -> dict:
    response = row["refusal"] if row["knowledge"] == "unknown" else row["correct"]
    turns = [{"user": row["user"], "assistant": response}]
    return {"id": row["id"], "images": row["images"], "turns": turns, "knowledge": row["knowledge"]}


@contextmanager
def noting_no_memory(record: Record, name: str) -> Iterator[None]:
    """An out-of-memory error is a figure too; it ends the section, since FSDP cannot be used after it."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        record(name, "out of memory")
        raise SystemExit(0) from None


def measure_peak(size: Size, folder: Path, record: Record) -> None:
    import torch

    from inbol_ray.training.utilisation import peak_flops

    record("bf16_tflops", peak_flops(size.device, torch.bfloat16) / 1e12)
    record("float32_tflops", peak_flops(size.device, torch.float32) / 1e12)
    source = torch.empty((2 << 30) if size.device == "cuda" else (64 << 20), dtype=torch.uint8, device=size.device)
    target = torch.empty_like(source)
    seconds = min(timed(lambda: target.copy_(source), size.device) for _ in range(5))
    record("copy_gb_per_s", 2 * source.numel() / seconds / 1e9)


def finish(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def timed(work: Callable[[], object], device: str) -> float:
    finish(device)
    started = time.perf_counter()
    work()
    finish(device)
    return time.perf_counter() - started


def memory(device: str) -> float:
    """Most memory so far, in GB."""
    import torch

    from inbol_ray.training.utilisation import peak_memory_bytes

    return peak_memory_bytes(torch.device(device)) / 1e9


def measure_checkpointed(size: Size, folder: Path, record: Record) -> None:
    bench = Bench(size, folder)
    for budget in size.budgets:
        with noting_no_memory(record, f"ca_dpo_{budget}"):
            record(f"ca_dpo_{budget}", bench.measure(bench.batches(budget)))


def measure_unchecked(size: Size, folder: Path, record: Record) -> None:
    bench = Bench(size, folder, gradient_checkpointing=False)
    for budget in size.budgets:
        with noting_no_memory(record, f"ca_dpo_{budget}"):
            record(f"ca_dpo_{budget}", bench.measure(bench.batches(budget)))


def measure_compiled(size: Size, folder: Path, record: Record) -> None:
    bench = Bench(size, folder, compile_layers=True, gradient_checkpointing=False)
    for budget in size.budgets[1::-1]:
        with noting_no_memory(record, f"ca_dpo_{budget}"):
            record(f"ca_dpo_{budget}", bench.measure(bench.batches(budget)))


def measure_supervised(size: Size, folder: Path, record: Record) -> None:
    bench = Bench(size, folder, kind="idk_it", projector_learning_rate=2e-5)
    for on, budget in ((True, size.budgets[1]), (False, size.budgets[0]), (False, size.budgets[1])):
        bench.checkpointing(on)
        name = f"idk_it_{budget}" + "_checkpointed" * on
        with noting_no_memory(record, name):
            record(name, bench.measure(bench.batches(budget)))


def measure_trl(size: Size, folder: Path, record: Record) -> None:
    """The same Mixed samples and adapter on both sides: first TRL, then we; with activation checkpointing and without."""
    from trl_side import run_trl

    rows = write_samples(folder, "mixed", size.trl_rows)
    for on in (True, False):
        name = "checkpointed" if on else "unchecked"
        config = recipe_config(size).model_copy(update={"gradient_checkpointing": on})
        clock = Clock(1 + NUM_TIMED, size.device)
        processor = build_processor(size.shape)
        with noting_no_memory(record, f"trl_{name}"):
            run_trl(
                build_model(size.shape, processor.tokenizer, size.device), processor, rows, config, size.device, clock
            )
        record(f"trl_{name}", clock.figures())


def measure_same_samples(size: Size, folder: Path, record: Record) -> None:
    """Our side of `measure_trl`, all rows in one micro-batch as there."""
    from trl_side import start_adapter

    rows = write_samples(folder, "mixed", size.trl_rows)
    bench = Bench(size, folder, prepare=start_adapter)
    batch = bench.objective.collate(rows)
    for on in (True, False):
        name = "checkpointed" if on else "unchecked"
        bench.checkpointing(on)
        clock = Clock(1 + NUM_TIMED, size.device)
        with noting_no_memory(record, f"ours_{name}"):
            for _ in clock:
                clock.report(bench.step.run([batch], 1.0)["loss"])
        record(f"ours_{name}", clock.figures())


class Clock:
    """Times steps (`trl_side.Turns`)."""

    def __init__(self, num_turns: int, device: str) -> None:
        import torch

        self.num_turns, self.device = num_turns, device
        self.seconds: list[float] = []
        self.losses: list[float] = []
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def __iter__(self) -> Iterator[None]:
        for _ in range(self.num_turns):
            finish(self.device)
            self._started = time.perf_counter()
            yield

    def report(self, loss: float) -> None:
        finish(self.device)
        self.seconds.append(time.perf_counter() - self._started)
        self.losses.append(loss)

    def figures(self) -> dict[str, Any]:
        return {
            "step_s": statistics.median(self.seconds[1:]),
            "losses": self.losses,
            "peak_memory_gb": memory(self.device),
        }


def measure_attention(size: Size, folder: Path, record: Record) -> None:
    """Forward and backward of the policy in each way, at one micro-batch, in a model of fewer layers.

    Gradients are compared in float32, where the ways differ by rounding alone.
    """
    import torch

    shape = replace(size.shape, num_layers=size.num_layers)
    ways: dict[str, Callable] = {"dense": dense_logps, "dense_one_row": partial(one_row_logps, flex=False)}
    if size.device == "cuda":  # flex_attention has no backward on CPU
        ways |= {"dense_cudnn": cudnn_logps, "flex": flex_logps, "flex_one_row": partial(one_row_logps, flex=True)}
    for dtype in ("float32", size.shape.dtype):
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
    from inbol_ray.training.objectives import frozen_image_features, response_logps

    bench.base.model.language_model.set_attn_implementation("flex_attention")
    return response_logps(bench.model, batch, frozen_image_features(bench.model, batch["pixel_values"]))


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


def measure_precision(size: Size, folder: Path, record: Record) -> None:
    """Log-probabilities of the same weights: a fault of mask or positions would stand out from the rounding."""
    import torch

    from inbol_ray.training.objectives import move_to, response_logps
    from inbol_ray.training.packing import pack_responses

    processor = build_processor(size.shape)
    model = build_model(replace(size.shape, dtype="bfloat16"), processor.tokenizer, size.device).eval()
    model.lm_head.weight.data *= 20  # random weights say the same of every token; these have likely ones
    from inbol_ray.training.objectives import build_objective

    objective = build_objective(recipe_config(size), processor)
    batch = objective.collate(write_samples(folder, "mixed", 4))
    prefixes, responses, owners = [], [], []
    for row, (ids, segments) in enumerate(zip(batch["input_ids"], batch["segments"], strict=True)):
        for slot in (1, 2, 3):
            prefixes.append(ids[segments == 0].tolist())
            responses.append([ids[segments == slot].tolist() if slot == index + 1 else [] for index in range(3)])
            owners.append(row)
    apart = (
        batch | pack_responses(prefixes, responses, objective.pad_id) | {"pixel_values": batch["pixel_values"][owners]}
    )

    @torch.no_grad()
    def logps(which: dict):
        moved = move_to(which, size.device)
        moved["pixel_values"] = moved["pixel_values"].to(model.dtype)
        return response_logps(model, moved).double().cpu()

    def one_a_row(dtype: str):
        together = logps(apart).sum(1).view(-1, 3)
        record(f"{dtype}_packed_minus_separate", float((logps(batch) - together).abs().max()))
        return together

    half_packed, half = logps(batch), one_a_row("bfloat16")
    model.float()
    whole_packed, whole = logps(batch), one_a_row("float32")
    record("logps", {"least": float(whole.min()), "largest": float(whole.max())})
    record("bfloat16_minus_float32_packed", float((half_packed - whole_packed).abs().max()))
    record("bfloat16_minus_float32_separate", float((half - whole).abs().max()))


def measure_logits(size: Size, folder: Path, record: Record) -> None:
    """The two losses on logits of a large vocabulary, at once and in chunks: gradients, time and memory."""
    import torch

    from inbol_ray.training import losses
    from inbol_ray.training.encode import IGNORED
    from inbol_ray.training.packing import packed_logps

    num_rows, width = (16, 128) if size.device == "cuda" else (4, 16)
    generator = torch.Generator(size.device).manual_seed(0)
    logits = torch.randn(
        num_rows, width + 1, size.vocab_size, device=size.device, generator=generator, dtype=torch.bfloat16
    )
    ids = torch.randint(size.vocab_size, (num_rows, width), device=size.device, generator=generator)
    batch = {
        "input_ids": ids,
        "segments": (torch.arange(width, device=size.device) * 3 // width + 1).expand_as(ids),
        "predictors": torch.arange(width, device=size.device).expand_as(ids),
    }
    labels = torch.cat([torch.full_like(ids[:, :1], IGNORED), ids], 1)
    for name, loss_of in {
        "ca_dpo": lambda leaf: (packed_logps(leaf, batch, 3) * torch.arange(1, 4, device=size.device)).sum(),
        "supervised": lambda leaf: losses.response_token_nll(leaf, labels, IGNORED),
    }.items():
        found = {}
        for way, chunk_bytes in {
            "at_once": 1 << 60,
            "in_chunks": losses.CHUNK_BYTES if size.device == "cuda" else 1 << 16,
        }.items():
            kept, losses.CHUNK_BYTES = losses.CHUNK_BYTES, chunk_bytes
            leaf = logits.clone().requires_grad_()
            clock = Clock(3, size.device)
            for _ in clock:
                leaf.grad = None
                loss = loss_of(leaf)
                loss.backward()
                clock.report(float(loss.detach()))
            losses.CHUNK_BYTES = kept
            found[way] = leaf.grad
            record(f"{name}_{way}", clock.figures())
        distance = (found["at_once"].float() - found["in_chunks"].float()).norm() / found["at_once"].float().norm()
        record(f"{name}_gradient_distance", float(distance))


def measure_full(size: Size, folder: Path, record: Record) -> None:
    shape = replace(size.shape, num_layers=size.num_layers)
    bench = Bench(size, folder, shape=shape, lora=None, learning_rate=1e-6)
    for budget in size.budgets[:2]:
        with noting_no_memory(record, f"ca_dpo_{budget}"):
            record(f"ca_dpo_{budget}", bench.measure(bench.batches(budget)))


@dataclass(frozen=True)
class Section:
    run: Callable[[Size, Path, Record], None]
    limit_s: int


SECTIONS = {
    "peak": Section(measure_peak, 30),
    "steps_unchecked": Section(measure_unchecked, 100),
    "same_samples": Section(measure_same_samples, 60),
    "trl": Section(measure_trl, 90),
    "steps_checkpointed": Section(measure_checkpointed, 100),
    "precision": Section(measure_precision, 60),
    "attention": Section(measure_attention, 110),
    "logits": Section(measure_logits, 40),
    "idk_it": Section(measure_supervised, 70),
    "full": Section(measure_full, 60),
    "steps_compiled": Section(measure_compiled, 150),
}
"""In order of importance, with the seconds after which each is ended."""


def run_section(name: str, size: Size, pipe) -> None:
    """In a process of its own; sends (figure, value) pairs, and (None, reason) where it fails."""
    sys.stdout.reconfigure(line_buffering=True)
    try:
        with tempfile.TemporaryDirectory() as folder, one_process_group(size.device):
            SECTIONS[name].run(size, Path(folder), lambda figure, value: pipe.send((figure, value)))
    except Exception as error:
        traceback.print_exc()
        pipe.send((None, f"{type(error).__name__}: {error}"[:1000]))
    except SystemExit:
        pass
    pipe.close()
    sys.stderr.flush()
    os._exit(0)  # NCCL may take minutes to end after an error


def run_sections(names: list[str], size: Size, results: dict, deadline: float) -> None:
    spawn = multiprocessing.get_context("spawn")
    for name in names:
        figures = results["sections"].setdefault(name, {})
        pipe, theirs = spawn.Pipe(duplex=False)
        process = spawn.Process(target=run_section, args=(name, size, theirs), daemon=True)
        started = time.monotonic()
        process.start()
        theirs.close()
        limit = min(started + SECTIONS[name].limit_s * (1 if size.device == "cuda" else 10), deadline)
        print(f"{name}", flush=True)
        try:
            while pipe.poll(max(0.0, limit - time.monotonic())):
                figure, value = pipe.recv()
                figures[figure or "failed"] = value
                print(f"  {figure or 'failed'}: {brief(value)}", flush=True)
                save(results)
            figures["ended"] = f"after its limit of {limit - started:.0f} s"
            process.kill()
        except EOFError:
            pass
        process.join(5)
        figures["seconds"] = time.monotonic() - started
        save(results)


def save(results: dict) -> None:
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(results | {"summary": summarise(results["sections"])}, indent=1))


def summarise(sections: dict) -> dict[str, float]:
    """The figures that have a target."""
    found: dict[str, float] = {}
    steps = {
        f"{section}/{name}": value["utilisation"]
        for section, figures in sections.items()
        for name, value in figures.items()
        if section.startswith("steps") and isinstance(value, dict)
    }
    if steps:
        best = max(steps, key=steps.get)
        found |= {"best_utilisation": steps[best], "best_utilisation_at": best}
    ours, theirs = sections.get("same_samples", {}), sections.get("trl", {})
    for name in ("checkpointed", "unchecked"):
        pair = ours.get(f"ours_{name}"), theirs.get(f"trl_{name}")
        if all(isinstance(side, dict) for side in pair):
            found[f"speedup_over_trl_{name}"] = pair[1]["step_s"] / pair[0]["step_s"]
            found[f"loss_difference_{name}"] = max(
                abs(a - b) for a, b in zip(pair[0]["losses"], pair[1]["losses"], strict=True)
            )
    return found


def brief(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {brief(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return f"[{', '.join(map(brief, value))}]"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all if none is named")
    parser.add_argument("--seconds", type=int, default=480, help="for all sections together, on a GPU")
    options = parser.parse_args()
    if unknown := set(options.sections) - SECTIONS.keys():
        parser.error(f"no sections: {', '.join(sorted(unknown))}; expected {', '.join(SECTIONS)}")
    size = GPU if torch.cuda.is_available() else CPU
    device = torch.cuda.get_device_name() if size.device == "cuda" else "cpu"
    deadline = time.monotonic() + (options.seconds if size.device == "cuda" else 7200)
    results = {"device": device, "versions": versions(), "size": asdict(size), "sections": {}}
    run_sections(options.sections or list(SECTIONS), size, results, deadline)
    print("\n".join(f"{name:32s} {brief(value)}" for name, value in summarise(results["sections"]).items()))


if __name__ == "__main__":
    main()
