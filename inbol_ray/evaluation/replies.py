"""Greedy replies that are never asked for twice: a store of every request that an evaluation has answered.

requests -> [those without a stored reply -> `sampling.generate` or an endpoint] -> replies by key

The store is a folder of `sampling.parts`, which engines and endpoints fill while they run. A request is found in it by
its key, a digest of all that its reply depends on. So an evaluation that is killed goes on with the examples that it
lacks, and one with a benchmark or a model more asks only what is new. What was saved of an unfinished block counts too.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.machines import EngineConfig, StorageConfig
from inbol_ray.endpoints.wire import WIRE_VERSION
from inbol_ray.evaluation.prediction_row import GreedyReply
from inbol_ray.images import IMAGES_VERSION, pixel_rule
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.sampling.generate import SAMPLING_VERSION, Pool, generate
from inbol_ray.sampling.parts import list_parts
from inbol_ray.sampling.vllm_engine import Decoding
from inbol_ray.store.local_copies import local_copy
from inbol_ray.store.provenance import package_versions


def answer_requests(
    requests: pa.Table, pool: Pool, decoding: Decoding, *, folder: str, progress: str | None = None
) -> dict[str, GreedyReply]:
    """Replies by key, of those in `folder` and of engines; `requests` has the columns `key` (`request_keys`), `id`,
    `checkpoint`, `prompt` and `images`.

    Raises what `generate` raises; finished blocks stay in the store.
    """

    def ask(missing: pa.Table) -> None:
        groups = list(_by_architecture(missing))
        for number, group in enumerate(groups, start=1):
            unit = "replies" if len(groups) == 1 else f"replies of model group {number}/{len(groups)}"
            checkpoints = group["checkpoint"].unique().to_pylist()
            generate([group], checkpoints, pool, decoding, folder=folder, unit=unit, progress=progress)

    return fetch_replies(requests, folder, pool.storage, ask)


def fetch_replies(
    requests: pa.Table, folder: str, storage: StorageConfig, ask: Callable[[pa.Table], None]
) -> dict[str, GreedyReply]:
    """Stored replies by key, after `ask` has stored in `folder` those of the requests without one.

    Raises what `ask` raises. A key that `ask` stores no reply for is left out.
    """
    wanted = set(requests["key"].to_pylist())
    replies = dict(_stored(folder, storage, wanted))
    missing = _first_of_each_key(requests.filter(pc.invert(pc.is_in(requests["key"], _string_set(replies)))))
    if missing.num_rows:
        ask(missing)
        replies = dict(_stored(folder, storage, wanted))
    return replies


def request_keys(requests: pa.Table, engine: EngineConfig, decoding: Decoding) -> pa.Array:
    """A digest a request of the model's files, prompt, images and how they are shown, decoding, numbers' type and
    engine's version."""
    common = {
        "decoding": asdict(decoding),
        "dtype": engine.dtype,
        "max_model_len": engine.max_model_len,
        "packages": package_versions(),
        "images_version": IMAGES_VERSION,
        "sampling_version": SAMPLING_VERSION,
    }
    start = hashlib.sha256(json.dumps(common, sort_keys=True).encode())

    def key(row: dict) -> str:
        digest = start.copy()
        rule = pixel_rule(row["id"])
        digest.update(json.dumps([model_digest(row["checkpoint"]), row["prompt"], row["images"], rule]).encode())
        return digest.hexdigest()

    return pa.array(
        (key(row) for batch in requests.to_batches(max_chunksize=1024) for row in batch.to_pylist()), pa.string()
    )


def endpoint_keys(requests: pa.Table, endpoint: EndpointConfig, decoding: Decoding) -> pa.Array:
    """A digest a request of the server and its model, the texts and images, and the decoding. No package's version is
    in it: what a server replies does not depend on what is installed here."""
    common = {"endpoint": endpoint.reply_settings(), "decoding": asdict(decoding), "wire": WIRE_VERSION}
    start = hashlib.sha256(json.dumps(common, sort_keys=True).encode())

    def key(row: dict) -> str:
        digest = start.copy()
        digest.update(json.dumps([row["system"], row["user"], row["images"]]).encode())
        return digest.hexdigest()

    return pa.array((key(row) for row in requests.to_pylist()), pa.string())


def _stored(folder: str, storage: StorageConfig, wanted: set[str]) -> Iterator[tuple[str, GreedyReply]]:
    for parts in list_parts(folder, storage):
        finished = parts.finished()
        for block in sorted(finished | parts.saved()):
            keys = parts.read_requests(block)["key"].to_pylist()
            if wanted.isdisjoint(keys):
                continue
            if block in finished:
                rows = enumerate(parts.read_block(block).to_pylist())
            else:
                rows = ((row["row"], row) for row in parts.read_saved(block).to_pylist())
            for number, row in rows:
                if keys[number] in wanted:
                    yield keys[number], _reply(row)


def _reply(row: dict) -> GreedyReply:
    logprobs = row["token_logprobs"][0] if row["token_logprobs"] else ()
    return GreedyReply(
        text=row["responses"][0] if row["responses"] else "",
        reason=row["reason"],
        detail=row["detail"],
        finish=row["finish"],
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        # A server may round a log-probability to just above 0.
        confidence=math.exp(min(0.0, sum(logprobs) / len(logprobs))) if logprobs else None,
    )


def _first_of_each_key(requests: pa.Table) -> pa.Table:
    first: dict[str, int] = {}
    for number, key in enumerate(requests["key"].to_pylist()):
        first.setdefault(key, number)
    return requests.take(pa.array(first.values(), pa.int64()))


def _by_architecture(requests: pa.Table) -> Iterator[pa.Table]:
    """Requests whose models one pool of engines can serve in turn, the models side by side."""
    groups: dict[str, list[str]] = {}
    for checkpoint in dict.fromkeys(requests["checkpoint"].to_pylist()):
        groups.setdefault(_architecture(checkpoint), []).append(checkpoint)
    for checkpoints in groups.values():
        tables = [requests.filter(pc.equal(requests["checkpoint"], checkpoint)) for checkpoint in checkpoints]
        yield pa.concat_tables(tables)


def _architecture(checkpoint: str) -> str:
    """What an engine is built for: the model's config.json; a hub name stands for itself."""
    path = Path(local_copy(checkpoint)) / "config.json"
    if not path.is_file():
        return checkpoint
    config = json.loads(path.read_text("utf-8"))
    return json.dumps({key: value for key, value in config.items() if key != "_name_or_path"}, sort_keys=True)


def _string_set(keys) -> pa.Array:
    return pa.array(list(keys), pa.string())
