"""The replies of the blocks that an engine works on, so kept that a kill costs no more than one block of them.

reply -> unsaved -> {block}.partial.parquet -> {block}.parquet

A block's part can only be written when its last question is answered, and one long question may hold up many blocks.
So replies that wait for others of their block are saved beside the parts whenever half a block of them has come
together, and the engine pauses before there is more than a block. After a kill, who gets the block goes on from them.
"""

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pyarrow as pa

from inbol_ray.sampling.parts import REPLY, Parts
from inbol_ray.sampling.vllm_engine import Reply


def reply_table(replies: Sequence[Reply]) -> pa.Table:
    """The columns REPLY."""
    columns = [
        [reply.texts for reply in replies],
        [reply.token_logprobs for reply in replies],
        [json.dumps(reply.first_token) for reply in replies],
        [reply.reason for reply in replies],
        [reply.detail for reply in replies],
        [reply.answer_probability for reply in replies],
        [reply.finish for reply in replies],
        [reply.input_tokens for reply in replies],
        [reply.output_tokens for reply in replies],
    ]
    return pa.table(columns, schema=REPLY)


@dataclass
class _Block:
    saved: pa.Table
    """In storage: columns SAVED."""
    unsaved: dict[int, Reply] = field(default_factory=dict)
    """By their row in the block."""

    def replies(self, new: dict[int, Reply]) -> pa.Table:
        fresh = reply_table(list(new.values())).add_column(0, "row", pa.array(new, pa.int32()))
        return pa.concat_tables([self.saved, fresh])


class InHand:
    """Blocks in work, each from `take` over an `add` a reply to `finish`. Thread-safe."""

    def __init__(self, parts: Parts, block_size: int) -> None:
        self._parts, self._block_size = parts, block_size
        self._blocks: dict[int, _Block] = {}
        self._num_unsaved = 0
        self._lock = threading.Lock()
        # One thread writes: a block is never saved after its part is written, and the engine does not wait for storage.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="parts")
        self._saving: Future | None = None

    def __iter__(self) -> Iterator[int]:
        """Numbers of the blocks."""
        return iter(sorted(self._blocks))

    def take(self, block: int) -> set[int]:
        """Begin a block; returns the rows of it that were answered before a kill."""
        saved = self._parts.read_saved(block)
        self._blocks[block] = _Block(saved)
        return set(saved["row"].to_pylist())

    def add(self, block: int, row: int, reply: Reply) -> None:
        """Keep a final reply. Returns with fewer than `block_size` replies unsaved; raises what the storage raised."""
        with self._lock:
            self._blocks[block].unsaved[row] = reply
            self._num_unsaved += 1
            num_unsaved = self._num_unsaved
        if 2 * num_unsaved >= self._block_size and (self._saving is None or self._saving.done()):
            self._await_saving()
            self._saving = self._writer.submit(self._save)
        if num_unsaved >= self._block_size:
            self._await_saving()

    def finish(self, block: int, ids: Sequence[str]) -> None:
        """Write the part of a block. `ids` are those of its requests, all of which are answered."""
        self._writer.submit(self._finish, block, ids).result()

    def _await_saving(self) -> None:
        if self._saving is not None:
            self._saving.result()

    def _save(self) -> None:
        for number, block in list(self._blocks.items()):
            if new := self._take_unsaved(block):
                block.saved = block.replies(new)
                self._parts.save(number, block.saved)
                self._count_saved(new)

    def _finish(self, number: int, ids: Sequence[str]) -> None:
        block = self._blocks[number]
        was_saved = block.saved.num_rows > 0
        new = self._take_unsaved(block)
        self._parts.write(number, ids, block.replies(new).sort_by("row").select(REPLY.names))
        self._count_saved(new)
        del self._blocks[number]
        if was_saved:
            self._parts.delete_saved(number)

    def _take_unsaved(self, block: _Block) -> dict[int, Reply]:
        with self._lock:
            new, block.unsaved = block.unsaved, {}
        return new

    def _count_saved(self, stored: dict[int, Reply]) -> None:
        with self._lock:
            self._num_unsaved -= len(stored)
