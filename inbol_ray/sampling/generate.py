"""Replies to a table of requests, at the speed of the engines, and never lost: the one way to run a model here.

requests -> blocks (`parts`) -> [renderer actors] -> [engine actors, several blocks in flight each] -> one part a block

Confidence sampling, question writing, judging and evaluation all call `generate`; only prompts and decoding differ.

- In: tables in the order that the output shall have, with `id`, `checkpoint` (rows of one checkpoint side by side),
  `prompt` (`models.ChatLayout.prompt`), `images` (references) and any other columns, which come out again unchanged. They may
  come as a stream: neither requests nor replies are ever all in memory.
- Key: everything that the replies depend on. A call that is killed and made again with the same key goes on from its
  finished blocks; another key starts afresh beside them.
- Out: `Parts`; `read()` yields the requests with the columns `parts.REPLY`, block by block, in the requests' order.

An engine has at most `engine.batch_size` requests in hand, as blocks of which the oldest comes first. A kill costs no
more than a block of finished replies, an engine (`in_hand`). After the kill of an engine or a node Ray starts the engine
again, `max_restarts` times; whichever engine is there then goes on with its blocks.
"""

import os
import pickle
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Protocol

import pyarrow as pa
import ray
import ray.data

from inbol_ray.config.machines import EngineConfig, StorageConfig
from inbol_ray.config.section import result_settings
from inbol_ray.errors import EngineError, InbolError
from inbol_ray.images import IMAGES_VERSION
from inbol_ray.method.prompts import draw_index
from inbol_ray.runtime.progress import this_process, write_progress
from inbol_ray.runtime.resources import Ask, engine_asks, engine_resources, place_engines
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.sampling.in_hand import InHand
from inbol_ray.sampling.parts import Parts, open_parts
from inbol_ray.sampling.render import EngineInput, InvalidRequest, Renderer
from inbol_ray.sampling.vllm_engine import Decoding, Reply, Request, VllmEngine
from inbol_ray.store.provenance import package_versions

SAMPLING_VERSION = 1
"""Raised when engines answer the same requests in another way: seeds, stop strings, forced openings, rounds, rendering.
No golden output sees that, since engines are scripted there."""
SEED_RANGE = 2**62
"""vLLM adds the sample's index to a seed of 63 bits."""


class Rounds(Protocol):
    """Decides how often a question is sampled. Picklable: engines call it in their own process."""

    def num_more(self, row: Mapping, reply: Reply) -> int:
        """(row of the request, its samples so far) -> samples to draw next; 0 ends the question."""


@dataclass(frozen=True)
class Pool:
    """The engines of a stage: how they are set up, the seed that they sample with, and the store that they read."""

    engine: EngineConfig
    seed: int
    storage: StorageConfig = StorageConfig()


def generate(
    requests: Iterable[pa.Table],
    checkpoints: Sequence[str],
    pool: Pool,
    decoding: Decoding,
    *,
    folder: str,
    unit: str,
    progress: str | None = None,
    rounds: Rounds | None = None,
) -> Parts:
    """The finished parts of these requests, kept under `folder` (a path that every node sees, or an `s3://` prefix).

    `checkpoints` are those that the requests name, of one architecture. `unit` and `progress` (artifact id) are for
    `write_progress`. Raises CheckpointError and what else a first engine says against the checkpoint, EngineError once
    engines die more often than `engine.max_restarts` or do not fit the cluster, and DataError where nothing is asked.
    """
    engine = place_engines(pool.engine)
    key = {
        "models": {checkpoint: model_digest(checkpoint) for checkpoint in checkpoints},
        "decoding": asdict(decoding),
        "rounds": repr(rounds),
        "seed": pool.seed,
        "packages": package_versions(),
        "engine": result_settings(engine),
        "images_version": IMAGES_VERSION,
        "sampling_version": SAMPLING_VERSION,
    }
    parts = open_parts(folder, pool.storage, _named(requests, checkpoints), key, engine.block_size)
    missing = sorted(set(range(parts.num_blocks)) - parts.finished())
    if missing:
        try:
            for engine_name, done in _count(_run(parts, missing, checkpoints[0], engine, decoding, pool.seed, rounds)):
                write_progress(progress, done, parts.num_rows, unit, part=engine_name)
        except ray.exceptions.RayError as error:
            raise _cause(error, parts, engine) from error
    # Not sooner: the first report is taken for the end of the engines' start.
    found = parts.num_rows - sum(parts.block_size(block) for block in missing)
    write_progress(progress, found, parts.num_rows, unit, part="finished before")
    return parts


def _named(requests: Iterable[pa.Table], checkpoints: Sequence[str]) -> Iterator[pa.Table]:
    for table in requests:
        # The key names the models: replies of another one would be taken for theirs.
        assert set(table["checkpoint"].unique().to_pylist()) <= set(checkpoints)
        yield table


def _count(finished: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """(engine, requests of a block) -> (engine, its requests so far)."""
    done: Counter[str] = Counter()
    for engine_name, num_rows in finished:
        done[engine_name] += num_rows
        yield engine_name, done[engine_name]


def _run(
    parts: Parts,
    blocks: list[int],
    checkpoint: str,
    engine: EngineConfig,
    decoding: Decoding,
    seed: int,
    rounds: Rounds | None,
) -> Iterator[tuple[str, int]]:
    """Answer these blocks; yields the engine and the number of requests of each as it is finished."""
    num_engines = min(engine.num_engines, len(blocks))
    min_engines = min(engine.min_engines or num_engines, num_engines)
    _await_room(engine_asks(engine, min_engines), engine.start_timeout_s)
    resources = engine_resources(engine)
    restarts = {"max_restarts": engine.max_restarts, "max_task_retries": -1}
    # Ray 2.60 calls these deprecated, but has no other way to bound restarts.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    dataset = (
        ray.data.from_items([{"block": block} for block in blocks], override_num_blocks=len(blocks))
        .map_batches(
            RenderBlock,
            fn_constructor_args=(parts, checkpoint, engine),
            batch_format="pyarrow",
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=num_engines * engine.renderers_per_engine),
            num_cpus=1,
            **restarts,
        )
        .map_batches(
            AnswerBlock,
            fn_constructor_args=(parts, checkpoint, engine, decoding, seed, rounds),
            batch_format="pyarrow",
            batch_size=1,  # a block; where GPUs are asked for, Ray Data refuses None
            compute=ray.data.ActorPoolStrategy(
                min_size=min_engines,
                max_size=num_engines,
                max_concurrent_calls_per_actor=engine.blocks_per_batch,
                # Ray Data adds an engine only where 1.75 times as many blocks wait as engines work on.
                max_tasks_in_flight_per_actor=2 * engine.blocks_per_batch,
                enable_true_multi_threading=True,
            ),
            num_cpus=resources["CPU"],
            num_gpus=resources.get("GPU"),
            **restarts,
        )
    )
    for batch in dataset.iter_batches(batch_format="pyarrow", batch_size=None, prefetch_batches=0):
        yield from zip(batch["engine"].to_pylist(), batch["num_rows"].to_pylist(), strict=True)


class RenderBlock:
    """A Ray Data actor: number of a block -> its rendered requests, pickled."""

    def __init__(self, parts: Parts, checkpoint: str, engine: EngineConfig) -> None:
        self.parts = parts
        with _last_words(parts, "a renderer cannot start"):
            self.renderer = Renderer(checkpoint, engine)

    def __call__(self, batch: pa.Table) -> pa.Table:
        (block,) = batch["block"].to_pylist()
        rows = self.parts.read_requests(block).select(["id", "prompt", "images"]).to_pylist()
        inputs = pickle.dumps(self.renderer.render(rows), protocol=pickle.HIGHEST_PROTOCOL)
        return pa.table({"block": [block], "inputs": pa.array([inputs], pa.large_binary())})


class AnswerBlock:
    """A Ray Data actor with one engine: rendered requests of a block -> the block's part."""

    def __init__(
        self, parts: Parts, checkpoint: str, engine: EngineConfig, decoding: Decoding, seed: int, rounds: Rounds | None
    ) -> None:
        self.parts, self.decoding, self.seed, self.rounds = parts, decoding, seed, rounds
        self.in_hand = InHand(parts, engine.block_size)
        with _last_words(parts, "an engine cannot start"):
            self.engine = VllmEngine(checkpoint, engine, seed)

    def __del__(self) -> None:
        """Ray Data lets go of this when its pool has no more work: the devices are then wanted by the next."""
        if hasattr(self, "engine"):
            self.engine.close()

    def __call__(self, batch: pa.Table) -> pa.Table:
        (block,) = batch["block"].to_pylist()
        # Ray asks again for a block whose result was lost with a node, though its part was written.
        if not self.parts.is_finished(block):
            self._answer(block, pickle.loads(batch["inputs"][0].as_py()))
        return pa.table({"engine": [this_process()], "num_rows": [self.parts.block_size(block)]})

    def _answer(self, block: int, inputs: Sequence[EngineInput | InvalidRequest]) -> None:
        rows = self.parts.read_requests(block).to_pylist()
        answered = self.in_hand.take(block)
        open_rows = [row for row in range(len(rows)) if row not in answered]
        requests = [Request(inputs[row], draw_index(rows[row]["id"], SEED_RANGE, seed=self.seed)) for row in open_rows]
        rounds = self.rounds
        try:
            self.engine.generate(
                requests,
                self.decoding,
                checkpoint=rows[0]["checkpoint"],
                num_more=rounds and (lambda index, reply: rounds.num_more(rows[open_rows[index]], reply)),
                on_reply=lambda index, reply: self.in_hand.add(block, open_rows[index], reply),
            )
        except EngineError as error:
            # An engine cannot be mended in place. Ray starts this actor again, and sends the block again.
            blocks = {other: self.parts.read_requests(other)["id"][0].as_py() for other in self.in_hand}
            self.parts.report_failure(f"{error}, while it worked on the blocks that start with {blocks}")
            os._exit(1)
        self.in_hand.finish(block, [row["id"] for row in rows])


@contextmanager
def _last_words(parts: Parts, what: str) -> Iterator[None]:
    """Keep the reason of an error for the driver, whom Ray only tells that an actor died."""
    try:
        yield
    except Exception as error:
        parts.report_failure(f"{what}: {type(error).__name__}: {error}")
        raise


def _await_room(asks: list[Ask], timeout_s: float) -> None:
    """Wait until the cluster, or its autoscaler, has room for a renderer and the engines that must be up.

    That the cluster can ever have it is checked before (`runtime.resources.check_asks`); a cloud may still have no
    machine to give. A pool that does not fit would wait forever without a word.
    """
    bundles = [ask.resources for ask in asks for _ in range(ask.count)]
    room = ray.util.placement_group(bundles, strategy="PACK")
    try:
        if not room.wait(timeout_s):
            have = ", ".join(
                f"{ray.available_resources().get(kind, 0):g} of {total:g} {kind}s free"
                for kind, total in ray.cluster_resources().items()
                if kind in ("CPU", "GPU")
            )
            raise EngineError(
                f"no room for {' and '.join(map(str, asks))} within {timeout_s} s: the cluster has {have}. Lower "
                "engine.min_engines or add nodes"
            )
    finally:
        ray.util.remove_placement_group(room)


def _cause(error: BaseException, parts: Parts, engine: EngineConfig) -> InbolError:
    """What to tell the user: our own error where one is at the bottom, else the last words of the dying engine."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InbolError):
            return type(cause)(str(getattr(cause, "cause", cause)).splitlines()[-1])
        cause = cause.__cause__ or getattr(cause, "cause", None)
    said = parts.last_failure() or f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return EngineError(
        f"an engine could not start, or died more than engine.max_restarts ({engine.max_restarts}) times: {said}. "
        "Finished blocks are kept: run again to go on"
    )
