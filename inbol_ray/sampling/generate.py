"""Generation over a table of requests: Ray Data streams batches through a pool of vLLM engines.

One actor class serves confidence sampling, question writing, judging and evaluation; only the prompts and the
decoding differ.

columns `checkpoint`, `prompt`, `images`, anything else
    -> the same and `responses` list<string>, `first_token` (JSON), `reason`, `detail`
"""

import json
from dataclasses import asdict

import pyarrow as pa
import ray
import ray.data

from inbol_ray.config.schema import EngineConfig
from inbol_ray.progress import write_progress
from inbol_ray.sampling.vllm_engine import Decoding, Request, VllmEngine


class GenerateBatch:
    """A Ray Data actor with one engine. Batches may mix checkpoints; rows are grouped to swap weights seldom."""

    def __init__(
        self, checkpoint: str, engine: dict, decoding: dict, seed: int, progress: str | None, total: int, unit: str
    ) -> None:
        self.engine = VllmEngine(checkpoint, EngineConfig(**engine), seed)
        self.decoding = Decoding(**decoding)
        self.progress, self.total, self.unit, self.done = progress, total, unit, 0

    def __call__(self, batch: pa.Table) -> pa.Table:
        rows = batch.select(["checkpoint", "prompt", "images"]).to_pylist()
        replies = [None] * len(rows)
        for checkpoint in dict.fromkeys(row["checkpoint"] for row in rows):
            indices = [index for index, row in enumerate(rows) if row["checkpoint"] == checkpoint]
            self.engine.load(checkpoint)
            requests = [Request(rows[index]["prompt"], rows[index]["images"]) for index in indices]
            for index, reply in zip(indices, self.engine.generate(requests, self.decoding), strict=True):
                replies[index] = reply
        self.done += len(rows)
        write_progress(self.progress, self.done, self.total, self.unit)
        return (
            batch.append_column("responses", pa.array([reply.texts for reply in replies], pa.list_(pa.string())))
            .append_column("first_token", pa.array([json.dumps(reply.first_token) for reply in replies]))
            .append_column("reason", pa.array([reply.reason for reply in replies]))
            .append_column("detail", pa.array([reply.detail for reply in replies]))
        )


def generate(
    requests: pa.Table, engine: EngineConfig, decoding: Decoding, *, seed: int, unit: str, progress: str | None = None
) -> pa.Table:
    """Replies to every request, one row each, in any order. Raises what an engine raised when it cannot go on."""
    dataset = (
        ray.data.from_arrow(requests)
        .repartition(target_num_rows_per_block=engine.batch_size)
        .map_batches(
            GenerateBatch,
            fn_constructor_args=(
                requests["checkpoint"][0].as_py(),
                engine.model_dump(),
                asdict(decoding),
                seed,
                progress,
                requests.num_rows,
                unit,
            ),
            batch_format="pyarrow",
            batch_size=engine.batch_size,
            compute=ray.data.ActorPoolStrategy(size=engine.num_engines),
            num_cpus=engine.num_cpus_per_engine if not engine.num_gpus_per_engine else None,
            num_gpus=engine.num_gpus_per_engine or None,
        )
    )
    return pa.concat_tables(ray.get(dataset.to_arrow_refs()))
