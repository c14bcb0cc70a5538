"""Greedy replies that are never asked for twice: a store of every request that an evaluation has answered.

requests -> [those without a stored reply -> `sampling.generate`, one pool of engines an architecture] -> replies by key

The store is a folder of `sampling.parts`, which engines fill block by block while they run. A request is found in it by
its key, a digest of all that its reply depends on. So an evaluation that is killed goes on with the examples that it
lacks, and one with a benchmark or a model more asks only what is new.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from inbol_ray.config.schema import PipelineConfig
from inbol_ray.evaluation.judge import GreedyReply
from inbol_ray.images import IMAGES_VERSION, pixel_rule
from inbol_ray.local_copies import local_copy
from inbol_ray.provenance import package_versions
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.sampling.generate import generate
from inbol_ray.sampling.parts import list_parts
from inbol_ray.sampling.vllm_engine import Decoding
from inbol_ray.storage import is_remote


def answer_requests(
    requests: pa.Table, config: PipelineConfig, decoding: Decoding, *, progress: str | None = None
) -> dict[str, GreedyReply]:
    """Replies by key; `requests` has the columns `key` (`request_keys`), `id`, `checkpoint`, `prompt` and `images`.

    Raises what `generate` raises; finished blocks stay in the store.
    """
    folder = store_folder(config)
    wanted = set(requests["key"].to_pylist())
    replies = dict(_stored(folder, config, wanted))
    missing = _first_of_each_key(requests.filter(pc.invert(pc.is_in(requests["key"], _string_set(replies)))))
    groups = list(_by_architecture(missing))
    for number, group in enumerate(groups, start=1):
        unit = "replies" if len(groups) == 1 else f"replies of model group {number}/{len(groups)}"
        checkpoints = group["checkpoint"].unique().to_pylist()
        generate([group], checkpoints, config, decoding, folder=folder, unit=unit, progress=progress)
    if missing.num_rows:
        replies = dict(_stored(folder, config, wanted))
    return replies


def request_keys(requests: pa.Table, config: PipelineConfig, decoding: Decoding) -> pa.Array:
    """A digest a request of the model's files, prompt, images and how they are shown, decoding, numbers' type and
    engine's version."""
    common = {
        "decoding": asdict(decoding),
        "dtype": config.engine.dtype,
        "max_model_len": config.engine.max_model_len,
        "packages": package_versions(),
        "images_version": IMAGES_VERSION,
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


def store_folder(config: PipelineConfig) -> str:
    """Where the replies of a run's evaluations are; absolute, because engines run in other folders."""
    root = config.output_dir
    return f"{root if is_remote(root) else Path(root).resolve()}/replies"


def _stored(folder: str, config: PipelineConfig, wanted: set[str]) -> Iterator[tuple[str, GreedyReply]]:
    for parts in list_parts(folder, config.storage):
        for block in sorted(parts.finished()):
            if wanted.isdisjoint(parts.read_requests(block)["key"].to_pylist()):
                continue
            columns = parts.read_block(block).select(["key", "responses", "reason", "detail"])
            for row in columns.to_pylist():
                if row["key"] in wanted:
                    text = row["responses"][0] if row["responses"] else ""
                    yield row["key"], GreedyReply(text, row["reason"], row["detail"])


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
