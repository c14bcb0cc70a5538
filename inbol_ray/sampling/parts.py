"""Work that survives a kill: requests cut into blocks, and one file with the replies to each block.

requests -> {folder}/requests.parquet -> {folder}/{block}.parquet -> replies in request order

A part appears whole or not at all, under a name that follows from its block. So a block that is done twice, by a
retried task or by two drivers at once, replaces its part by one that is as good, and every request is answered once.
Beside the parts lie, as {block}.partial.parquet, the first replies to blocks that take long (`in_hand`). The folder is
named after everything that the replies depend on: other requests never meet the parts of these.
"""

import bisect
import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import DataError, RowCountError
from inbol_ray.store.storage import create_folder, open_filesystem, write_whole

REPLY = pa.schema(
    [
        pa.field("responses", pa.list_(pa.string())),
        pa.field("token_logprobs", pa.list_(pa.list_(pa.float32()))),
        pa.field("first_token", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("answer_probability", pa.float64()),
        pa.field("finish", pa.string()),
        pa.field("input_tokens", pa.int64()),
        pa.field("output_tokens", pa.int64()),
    ]
)
"""`vllm_engine.Reply`, column for column; `first_token` is JSON."""

SAVED = pa.schema([pa.field("row", pa.int32()), *REPLY])
"""Replies to some requests of a block; `row` counts in the block."""

REPLY_VERSION = 3
"""Goes up when REPLY or the meaning of a column changes: parts of another version are not taken for these."""

BLOCKS_PER_ROW_GROUP = 16
"""Of requests.parquet. What is said of each row group stays in the memory of all who read it, so blocks share one."""

_PART = re.compile(r"(\d{8})\.parquet")
_SAVED_PART = re.compile(r"(\d{8})\.partial\.parquet")
_REQUESTS = "requests.parquet"
_FAILURES = "failures"
_BLOCK_SIZE, _VERSION = b"block_size", b"reply_version"


@dataclass(frozen=True)
class Parts:
    """The folder of one set of requests. Small and picklable: workers open the storage with their own credentials."""

    uri: str
    storage: StorageConfig

    def __reduce__(self) -> tuple:
        return Parts, (self.uri, self.storage)  # without what is cached below

    @cached_property
    def _place(self) -> tuple[pafs.FileSystem, str]:
        return open_filesystem(self.uri, self.storage)

    @cached_property
    def _requests(self) -> pq.FileMetaData:
        filesystem, folder = self._place
        with filesystem.open_input_file(f"{folder}/{_REQUESTS}") as file:
            return pq.read_metadata(file)

    @cached_property
    def _block_size(self) -> int:
        return int(self._requests.metadata[_BLOCK_SIZE])

    @cached_property
    def _first_blocks(self) -> list[int]:
        """The first block of each row group, and the number of all blocks."""
        groups = (self._requests.row_group(group).num_rows for group in range(self._requests.num_row_groups))
        return list(itertools.accumulate((-(-rows // self._block_size) for rows in groups), initial=0))

    def _find(self, block: int) -> tuple[int, int, int]:
        """(row group, offset in it, size) of a block."""
        group = bisect.bisect_right(self._first_blocks, block) - 1
        offset = (block - self._first_blocks[group]) * self._block_size
        return group, offset, min(self._block_size, self._requests.row_group(group).num_rows - offset)

    @property
    def num_blocks(self) -> int:
        return self._first_blocks[-1]

    @property
    def num_rows(self) -> int:
        return self._requests.num_rows

    def block_size(self, block: int) -> int:
        return self._find(block)[2]

    def read_requests(self, block: int) -> pa.Table:
        """The requests of one block. Thread-safe."""
        filesystem, folder = self._place
        group, offset, size = self._find(block)
        with filesystem.open_input_file(f"{folder}/{_REQUESTS}") as file:
            return pq.ParquetFile(file, metadata=self._requests).read_row_group(group).slice(offset, size)

    def is_open(self) -> bool:
        """Whether its requests have been written."""
        filesystem, folder = self._place
        return filesystem.get_file_info(f"{folder}/{_REQUESTS}").type == pafs.FileType.File

    def is_current(self) -> bool:
        return self._requests.metadata.get(_VERSION) == str(REPLY_VERSION).encode()

    def finished(self) -> set[int]:
        """Blocks whose part is there."""
        return self._blocks_named(_PART)

    def saved(self) -> set[int]:
        """Blocks of which `save` stored replies, and whose part was not there yet."""
        return self._blocks_named(_SAVED_PART)

    def _blocks_named(self, pattern: re.Pattern) -> set[int]:
        filesystem, folder = self._place
        infos = filesystem.get_file_info(pafs.FileSelector(folder))
        return {int(match[1]) for info in infos if (match := pattern.fullmatch(info.base_name))}

    def is_finished(self, block: int) -> bool:
        filesystem, folder = self._place
        return filesystem.get_file_info(f"{folder}/{block:08d}.parquet").type == pafs.FileType.File

    def write(self, block: int, ids: Sequence[str], replies: pa.Table) -> None:
        """Store the replies to a block, columns REPLY: a row a request, in order."""
        filesystem, folder = self._place
        part = replies.add_column(0, pa.field("id", pa.string()), [ids])
        write_whole(filesystem, f"{folder}/{block:08d}.parquet", _to_parquet(part))

    def save(self, block: int, replies: pa.Table) -> None:
        """Store replies to some of a block's requests, columns SAVED, in place of those saved before."""
        filesystem, folder = self._place
        write_whole(filesystem, f"{folder}/{block:08d}.partial.parquet", _to_parquet(replies))

    def read_saved(self, block: int) -> pa.Table:
        """What `save` stored of an unfinished block; no rows where that is nothing. Raises DataError as `read_block`."""
        filesystem, folder = self._place
        path = f"{folder}/{block:08d}.partial.parquet"
        if filesystem.get_file_info(path).type == pafs.FileType.NotFound:
            return SAVED.empty_table()
        return _read_replies(filesystem, path, SAVED)

    def delete_saved(self, block: int) -> None:
        filesystem, folder = self._place
        filesystem.delete_file(f"{folder}/{block:08d}.partial.parquet")

    def read(self) -> Iterator[pa.Table]:
        """Requests with their replies, a table a block, in the order of the requests; one block in memory at a time."""
        for block in range(self.num_blocks):
            yield self.read_block(block)

    def read_block(self, block: int) -> pa.Table:
        """The requests of one finished block with their replies.

        Raises DataError for an unreadable part, RowCountError for one that does not answer its block's requests.
        """
        filesystem, folder = self._place
        path = f"{folder}/{block:08d}.parquet"
        replies = _read_replies(filesystem, path, pa.schema([pa.field("id", pa.string()), *REPLY]))
        requests = self.read_requests(block)
        if not replies["id"].equals(requests["id"]):
            raise RowCountError(f"{path}: its {replies.num_rows} ids are not those of block {block}; delete it")
        for name in REPLY.names:
            requests = requests.append_column(REPLY.field(name), replies[name])
        return requests

    def rows(self) -> Iterator[dict]:
        """`read`, row by row."""
        for table in self.read():
            yield from table.to_pylist()

    def report_failure(self, text: str) -> None:
        """Leave the cause of an engine's death where the driver finds it."""
        filesystem, folder = self._place
        write_whole(filesystem, f"{folder}/{_FAILURES}", text.encode())

    def last_failure(self) -> str:
        filesystem, folder = self._place
        try:
            with filesystem.open_input_file(f"{folder}/{_FAILURES}") as file:
                return file.read().decode()
        except FileNotFoundError:
            return ""


def list_parts(uri: str, storage: StorageConfig) -> list[Parts]:
    """Every set of requests that has been opened under `uri`, but for those of another REPLY_VERSION."""
    filesystem, folder = open_filesystem(uri, storage)
    infos = filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))
    folders = sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)
    there = (Parts(f"{uri.rstrip('/')}/{name}", storage) for name in folders)
    return [parts for parts in there if parts.is_open() and parts.is_current()]


def open_parts(uri: str, storage: StorageConfig, requests: Iterable[pa.Table], key: dict, block_size: int) -> Parts:
    """The parts of these requests under `uri`, with those that an earlier run has finished.

    `requests` are tables of any size with the columns `id` and `checkpoint`, and anything else; a few blocks at a time are
    in memory, and none mixes checkpoints. `key` holds, as JSON values, what the replies depend on beside the requests.

    Raises DataError where there are no requests.
    """
    with tempfile.TemporaryDirectory(prefix="inbol-requests-") as spool:
        spooled = os.path.join(spool, _REQUESTS)
        _write_requests(spooled, _cut(requests, block_size * BLOCKS_PER_ROW_GROUP), block_size)
        identity = hashlib.sha256(json.dumps({"version": REPLY_VERSION} | key, sort_keys=True).encode() + b"\0")
        with open(spooled, "rb") as file:
            identity.update(hashlib.file_digest(file, "sha256").digest())
        parts = Parts(f"{uri.rstrip('/')}/{identity.hexdigest()[:16]}", storage)
        filesystem, folder = open_filesystem(parts.uri, storage)
        create_folder(filesystem, folder)
        if not parts.is_open():
            with pa.memory_map(spooled) as file:
                write_whole(filesystem, f"{folder}/{_REQUESTS}", file.read_buffer())
    if parts.last_failure():
        filesystem.delete_file(f"{folder}/{_FAILURES}")  # of an earlier run
    return parts


def _cut(requests: Iterable[pa.Table], num_rows: int) -> Iterator[pa.Table]:
    """Tables of `num_rows` requests, fewer where the checkpoint changes, whatever tables they come in."""
    pieces: list[pa.Table] = []
    size, checkpoint = 0, None
    for table in requests:
        start = 0
        for row, name in enumerate(table["checkpoint"].to_pylist()):
            if size and (size == num_rows or name != checkpoint):
                yield pa.concat_tables([*pieces, table.slice(start, row - start)]).combine_chunks()
                pieces, start, size = [], row, 0
            size, checkpoint = size + 1, name
        pieces.append(table.slice(start))
    if size:
        yield pa.concat_tables(pieces).combine_chunks()


def _write_requests(path: str, groups: Iterator[pa.Table], block_size: int) -> None:
    first = next(groups, None)
    if first is None:
        raise DataError("no requests to answer: expected at least one question")
    said = {_BLOCK_SIZE: str(block_size), _VERSION: str(REPLY_VERSION)}
    schema = first.schema.with_metadata((first.schema.metadata or {}) | said)
    with pq.ParquetWriter(path, schema, compression="zstd", write_statistics=False) as writer:
        for group in itertools.chain([first], groups):
            writer.write_table(group.replace_schema_metadata(schema.metadata), row_group_size=group.num_rows)


def _read_replies(filesystem: pafs.FileSystem, path: str, schema: pa.Schema) -> pa.Table:
    try:
        with filesystem.open_input_file(path) as file:
            replies = pq.read_table(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it and run again to redo its block") from None
    if replies.schema != schema:
        raise DataError(f"{path}: expected the columns {schema}, found {replies.schema}; delete it and run again")
    return replies


def _to_parquet(replies: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(replies, sink, compression="zstd")
    return sink.getvalue()
