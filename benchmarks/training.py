"""Our CA-DPO step against TRL's DPOTrainer and against the same step without prefix sharing.

Same samples, same weights, same optimiser, LoRA, one image of 576 tokens a sample. Each side runs in a process of its
own, so that each has its own peak memory. Batches are made ready before a step on every side.

It runs on the CPU (a GPU: `benchmarks/gpu.py`). Each side has one thread, and its CPU seconds are recorded too: they hold
on a busy machine; the processes take turns step by step, so that noise hits all alike. Results go to
`build/bench/training.json`.
"""

import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from training_samples import (
    SHAPES,
    Shape,
    bound,
    training_config,
    write_model,
    write_samples,
)
from trl_side import run_trl, start_adapter

NUM_ROUNDS = 4
OUTPUT = Path("build/bench")
SIDES = ("packed", "unshared", "trl")


@dataclass(frozen=True)
class Task:
    """What every side trains, and where."""

    checkpoint: str
    rows: list[dict]
    shape: Shape


def run_ours(task: Task, *, share_prefix: bool, take_turn) -> None:
    """Optimiser steps of the product's own code, FSDP included, on one worker."""
    import torch.distributed as dist

    from inbol_ray.models import DEFAULT_FAMILY
    from inbol_ray.models.loading import load_processor
    from inbol_ray.training.fsdp import prepare_model, shard
    from inbol_ray.training.objectives import build_objective
    from inbol_ray.training.optimizer_step import OptimizerStep, build_optimizer
    from inbol_ray.training.reference import build_reference

    with tempfile.TemporaryDirectory() as store:
        dist.init_process_group("gloo", init_method=f"file://{store}/store", rank=0, world_size=1)
        config = training_config(task.shape, "cpu")
        objective = build_objective(config, load_processor(task.checkpoint), DEFAULT_FAMILY)
        model = prepare_model(task.checkpoint, config)
        start_adapter(model)
        model = shard(model, config)
        model.train()
        step = OptimizerStep(
            model, objective, build_reference(model, task.checkpoint, config), build_optimizer(model, config), config
        )
        batch = objective.collate(task.rows)
        if not share_prefix:
            batch = unshare(batch, objective)
            step.objective = UnsharedObjective(objective)
        for _ in take_turn:
            take_turn.report(step.run([batch], 1.0)["loss"])
        dist.destroy_process_group()


def unshare(batch: dict, objective) -> dict:
    """The batch with a row for each response: prefix and image repeated, everything else as before."""
    import torch

    from inbol_ray.method.packing import pack_responses

    prefixes, responses, owners = [], [], []
    for row, (ids, segments) in enumerate(zip(batch["input_ids"], batch["segments"], strict=True)):
        for slot in range(1, 4):
            response = ids[segments == slot].tolist()
            if response:
                prefixes.append(ids[segments == 0].tolist())
                responses.append([response if index + 1 == slot else [] for index in range(3)])
                owners.append(row)
    packed = pack_responses(prefixes, responses, objective.pad_id)
    return batch | packed | {"pixel_values": batch["pixel_values"][owners], "owners": torch.tensor(owners)}


class UnsharedObjective:
    """CA-DPO on rows of one response each, whose log-probabilities are put together again for the loss."""

    def __init__(self, objective) -> None:
        self.inner = objective

    def normaliser(self, batch: dict) -> float:
        return float(len(batch["weights"]))

    def size(self, batch: dict):
        return self.inner.size(batch)

    def loss(self, model, batch: dict, reference):
        import torch

        from inbol_ray.method.losses import ca_dpo_loss
        from inbol_ray.training.objectives import frozen_image_features, response_logps

        features = frozen_image_features(model, batch["pixel_values"])

        def together(logps: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(batch["weights"]).index_add(0, batch["owners"], logps)

        logps = together(response_logps(model, batch, features))
        with torch.no_grad():
            reference_logps = together(reference(batch, features))
        return ca_dpo_loss(logps, reference_logps, batch["weights"], self.inner.beta).sum(), {}


class Turns:
    """A side's view of the benchmark: iterating waits for its turn, `report` ends it and sends what it measured."""

    def __init__(self, pipe, num_turns: int) -> None:
        self.pipe, self.num_turns = pipe, num_turns

    def __iter__(self) -> Iterator[None]:
        for turn in range(self.num_turns):
            if turn == 0:
                self.memory_before = peak_memory_bytes()
                self.pipe.send("ready")
            self.pipe.recv()
            self.started, self.cpu_started = time.monotonic(), time.process_time()
            yield

    def report(self, loss: float) -> None:
        seconds, cpu_seconds = time.monotonic() - self.started, time.process_time() - self.cpu_started
        peak = peak_memory_bytes()
        self.pipe.send(
            {
                "seconds": seconds,
                "cpu_seconds": cpu_seconds,
                "loss": loss,
                "memory_bytes": peak - self.memory_before,
                "peak_bytes": peak,
            }
        )


def peak_memory_bytes() -> int:
    """Most memory of this process so far."""
    import torch

    from inbol_ray.training.utilisation import peak_memory_bytes as peak

    return peak(torch.device("cpu"))


def run_side(side: str, task: Task, pipe) -> None:
    from inbol_ray.models.loading import load_model, load_processor

    turns = Turns(pipe, 1 + NUM_ROUNDS)
    if side == "trl":
        model, processor = load_model(task.checkpoint), load_processor(task.checkpoint)
        run_trl(model, processor, task.rows, training_config(task.shape, "cpu"), "cpu", turns)
    else:
        run_ours(task, share_prefix=side == "packed", take_turn=turns)


def take_steps(sides: Sequence[str], task: Task) -> dict[str, list[dict]]:
    """Steps of these sides, which take turns; the first round is a warm-up."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for side in sides:
        pipes[side], theirs = spawn.Pipe()
        processes.append(spawn.Process(target=run_side, args=(side, task, theirs), daemon=True))
        processes[-1].start()
        theirs.close()  # so that a side's death ends the wait for it
        assert pipes[side].recv() == "ready"
    steps: dict[str, list[dict]] = {side: [] for side in sides}
    for round_number in range(1 + NUM_ROUNDS):
        for side in sides if round_number % 2 else reversed(sides):
            pipes[side].send("go")
            steps[side].append(pipes[side].recv())
            print(f"  round {round_number} {side:9s} {steps[side][-1]['seconds']:6.2f} s", flush=True)
    for process in processes:
        process.join()
    return steps


def compare(task: Task) -> dict[str, dict]:
    """What each side takes for a step."""
    return {
        side: {
            "steps_per_s": 1 / statistics.median(step["seconds"] for step in taken[1:]),
            "seconds": [step["seconds"] for step in taken[1:]],
            "cpu_seconds": [step["cpu_seconds"] for step in taken[1:]],
            "losses": [step["loss"] for step in taken],
            "step_memory_bytes": taken[-1]["memory_bytes"],
            "peak_bytes": taken[-1]["peak_bytes"],
        }
        for side, taken in take_steps(SIDES, task).items()
    }


def main() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OMP_NUM_THREADS"] = "1"  # on a busy machine, threads that wait for each other would drown the ratio
    shape = SHAPES["small"]
    results: dict = {"shape": asdict(shape), "rounds": NUM_ROUNDS, "threads": 1}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = str(Path(folder) / "model")
        results["parameters"] = write_model(Path(checkpoint), shape)
        for kind in ("mixed", "pair"):
            rows = write_samples(Path(folder), kind, shape.rows_per_step)
            print(f"{kind} samples", flush=True)
            sides = compare(Task(checkpoint, rows, shape))
            results[kind] = {"sides": sides, **bound(rows, checkpoint, results["parameters"], shape)}
            speed = {side: values["steps_per_s"] for side, values in sides.items()}
            results[f"{kind}_speedup_over_trl"] = speed["packed"] / speed["trl"]
            results[f"{kind}_speedup_over_unshared"] = speed["packed"] / speed["unshared"]
            cpu = {side: statistics.median(values["cpu_seconds"]) for side, values in sides.items()}
            results[f"{kind}_cpu_speedup_over_trl"] = cpu["trl"] / cpu["packed"]
            results[f"{kind}_share_of_bound"] = results[f"{kind}_speedup_over_trl"] / results[kind]["token_bound"]
    runs = [results["mixed"]["sides"], results["pair"]["sides"]]
    results["peak_memory_over_trl"] = max(
        sides["packed"]["step_memory_bytes"] / sides["trl"]["step_memory_bytes"] for sides in runs
    )
    results["whole_peak_memory_over_trl"] = max(
        sides["packed"]["peak_bytes"] / sides["trl"]["peak_bytes"] for sides in runs
    )
    results["loss_max_abs_diff"] = max(
        abs(ours - theirs)
        for sides in runs
        for ours, theirs in zip(sides["packed"]["losses"], sides["trl"]["losses"], strict=True)
    )
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "training.json").write_text(json.dumps(results, indent=1))
    for name, value in results.items():
        if isinstance(value, float):
            print(f"{name:32s} {value:.6g}")


if __name__ == "__main__":
    main()
