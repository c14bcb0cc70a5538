"""What the GPU benchmark measures on: sizes, a model made ready by the product's own code, and clocks."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_samples import SHAPES, Shape, build_model, build_processor, training_config, write_samples

NUM_TIMED = 3
LEARNING_RATE = 2e-6
"""The paper configuration's."""

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

    recipe = {
        "lora": LoraSettings(rank=128, alpha=256),
        "learning_rate": LEARNING_RATE,
        "gradient_checkpointing": True,
        "max_length": 2048,
    }
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
        from inbol_ray.models import DEFAULT_FAMILY
        from inbol_ray.training.fsdp import adapt_model, shard
        from inbol_ray.training.objectives import build_objective
        from inbol_ray.training.optimizer_step import OptimizerStep, build_optimizer
        from inbol_ray.training.reference import build_reference

        torch.manual_seed(0)
        self.size, self.shape, self.folder = size, shape or size.shape, folder
        config = recipe_config(size).model_copy(update={"dtype": self.shape.dtype} | changes)
        if kind == "idk_it":
            shared = SupervisedConfig.model_fields.keys() & type(config).model_fields.keys() - {"kind"}
            config = SupervisedConfig(**{name: getattr(config, name) for name in shared}, data="idk")
        self.config = config
        self.processor = build_processor(self.shape)
        self.objective = build_objective(config, self.processor, DEFAULT_FAMILY)
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


@contextmanager
def noting_no_memory(record: Record, name: str) -> Iterator[None]:
    """An out-of-memory error is a figure too; it ends the section, since FSDP cannot be used after it."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        record(name, "out of memory")
        raise SystemExit(0) from None


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
