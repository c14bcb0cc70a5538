"""What one GPU does with our training step, and what it would do with others; `build/bench/gpu.json`.

LLaVA-1.5-7B's shape with random weights in bfloat16, LoRA as in the recipe, the product's own batch planning, FSDP2
wrapping (NCCL, one device) and optimiser step, without Ray, vLLM or a checkpoint. Each section is a process of its own,
ends within its limit, and writes each figure as soon as it is there:

- peak: what the device reaches in a matrix product and in a copy
- steps: CA-DPO by micro-batch budget, with and without activation checkpointing; IDK-IT; compiled layers
- trl: the same Mixed samples through TRL's DPOTrainer
- losses: both sides in float32 in a model of fewer layers, where rounding does not hide whether they compute the same
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
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gpu_attention import measure_attention
from gpu_model import (
    CPU,
    GPU,
    NUM_TIMED,
    Bench,
    Clock,
    Record,
    Size,
    noting_no_memory,
    one_process_group,
    recipe_config,
    timed,
)
from training_samples import build_model, build_processor, write_samples

OUTPUT = Path("build/bench/gpu.json")
PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl")


def measure_peak(size: Size, folder: Path, record: Record) -> None:
    import torch

    from inbol_ray.training.utilisation import peak_flops

    record("bf16_tflops", peak_flops(size.device, torch.bfloat16) / 1e12)
    record("float32_tflops", peak_flops(size.device, torch.float32) / 1e12)
    source = torch.empty((2 << 30) if size.device == "cuda" else (64 << 20), dtype=torch.uint8, device=size.device)
    target = torch.empty_like(source)
    seconds = min(timed(lambda: target.copy_(source), size.device) for _ in range(5))
    record("copy_gb_per_s", 2 * source.numel() / seconds / 1e9)


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
    bench = Bench(size, folder, gradient_checkpointing=False, prepare=compile_layers)
    for budget in size.budgets[1::-1]:
        with noting_no_memory(record, f"ca_dpo_{budget}"):
            record(f"ca_dpo_{budget}", bench.measure(bench.batches(budget)))


def compile_layers(model) -> None:
    """Compile the language model's layers by torch.compile, FSDP's hooks left outside."""
    import torch

    from inbol_ray.models.parts import base_of

    for layer in base_of(model).model.language_model.layers:
        layer.forward = torch.compile(layer.forward, dynamic=True)


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


def measure_losses(size: Size, folder: Path, record: Record) -> None:
    """TRL's losses and ours on the same samples and adapter, at a rate at which they move."""
    from trl_side import run_trl, start_adapter

    rows = write_samples(folder, "mixed", size.trl_rows // 2)
    shape = replace(size.shape, num_layers=size.num_layers, dtype="float32")
    changes = {"dtype": shape.dtype, "learning_rate": 1e-4}
    clock = Clock(1 + NUM_TIMED, size.device)
    processor = build_processor(shape)
    config = recipe_config(size).model_copy(update=changes)
    run_trl(build_model(shape, processor.tokenizer, size.device), processor, rows, config, size.device, clock)
    record("trl", clock.figures())
    bench = Bench(size, folder, shape=shape, prepare=start_adapter, **changes)
    batch = bench.objective.collate(rows)
    clock = Clock(1 + NUM_TIMED, size.device)
    for _ in clock:
        clock.report(bench.step.run([batch], 1.0)["loss"])
    record("ours", clock.figures())


def measure_precision(size: Size, folder: Path, record: Record) -> None:
    """Log-probabilities of the same weights: a fault of mask or positions would stand out from the rounding."""
    import torch

    from inbol_ray.method.packing import pack_responses
    from inbol_ray.training.objectives import move_to, response_logps

    processor = build_processor(size.shape)
    model = build_model(replace(size.shape, dtype="bfloat16"), processor.tokenizer, size.device).eval()
    model.lm_head.weight.data *= 20  # random weights say the same of every token; these have likely ones
    from inbol_ray.models import DEFAULT_FAMILY
    from inbol_ray.training.objectives import build_objective

    objective = build_objective(recipe_config(size), processor, DEFAULT_FAMILY)
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

    from inbol_ray.method import losses
    from inbol_ray.method.packing import packed_logps
    from inbol_ray.training.encode import IGNORED

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
    "losses": Section(measure_losses, 60),
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
    # Without checkpointing our side goes on from the steps before, so there is nothing to compare.
    for name, pair in {
        "bfloat16": (ours.get("ours_checkpointed"), theirs.get("trl_checkpointed")),
        "float32": (sections.get("losses", {}).get("ours"), sections.get("losses", {}).get("trl")),
    }.items():
        if all(isinstance(side, dict) for side in pair):
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
