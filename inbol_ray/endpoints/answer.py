"""Requests -> replies of an endpoint, in a folder of `sampling.parts`: each is there before its slot asks the next.

A reply may have cost money, so unlike an engine's it is never held back: a kill loses what is under way and no more.
All of it happens in the calling process, whose machine holds the API key; a server is far slower than one process.
"""

import asyncio
from collections import deque
from dataclasses import asdict

import pyarrow as pa

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.machines import StorageConfig
from inbol_ray.endpoints.client import EndpointClient, NoReplyError
from inbol_ray.endpoints.waiting import Sleep
from inbol_ray.endpoints.wire import WIRE_VERSION, Chat
from inbol_ray.errors import EndpointError
from inbol_ray.runtime.progress import write_progress
from inbol_ray.sampling.in_hand import reply_table
from inbol_ray.sampling.parts import REPLY, Parts, open_parts
from inbol_ray.sampling.vllm_engine import Decoding, Reply

BLOCK_SIZE = 64
"""Requests of a part. Its replies are written again with each new one, so a part is small."""
MAX_FAILED_IN_A_ROW = 3
"""Questions that get no reply, with none answered in between, before the server is taken to be down."""


def answer_requests(
    requests: pa.Table,
    endpoint: EndpointConfig,
    decoding: Decoding,
    storage: StorageConfig,
    *,
    folder: str,
    unit: str,
    progress: str | None = None,
    sleep: Sleep = asyncio.sleep,
) -> dict[str, str]:
    """Ask the endpoint, and keep its replies under `folder`.

    `requests` has the columns `key`, `id`, `checkpoint` (the endpoint's name), `user`, `system` and `images`. Returns,
    by key, why requests have no reply; there are none such unless `endpoint.keep_failures`. Raises EndpointError; what
    has come by then is kept. `sleep` is replaced in tests.
    """
    key = {"endpoint": endpoint.reply_settings(), "decoding": asdict(decoding), "wire": WIRE_VERSION}
    parts = open_parts(folder, storage, [requests], key, BLOCK_SIZE)
    asking = _Asking(parts, endpoint, unit, progress)
    try:
        asyncio.run(asking.ask_all(EndpointClient(endpoint, decoding, sleep)))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    if asking.failures and not endpoint.keep_failures:
        failed_id, why = next(iter(asking.failures.values()))
        raise EndpointError(
            f"{endpoint.name}: {len(asking.failures)} of {parts.num_rows} questions got no reply in "
            f"{endpoint.max_retries + 1} tries, first {failed_id}: {why}. All other replies are stored: run again to ask "
            "these again, or set the endpoint's keep_failures to record them as errors"
        )
    return {key: why for key, (_, why) in asking.failures.items()}


class _Asking:
    """The state of one call: what is left to ask, and what has failed."""

    def __init__(self, parts: Parts, endpoint: EndpointConfig, unit: str, progress: str | None) -> None:
        self._parts, self._endpoint, self._unit, self._progress = parts, endpoint, unit, progress
        self._writer = _Writer(parts)
        finished = parts.finished()
        self._todo = deque(
            (block, number, row)
            for block in range(parts.num_blocks)
            if block not in finished
            for number, row in enumerate(parts.read_requests(block).to_pylist())
            if number not in self._writer.open(block)
        )
        self._num_done = parts.num_rows - len(self._todo)
        self._failed_in_a_row = 0
        self.failures: dict[str, tuple[str, str]] = {}
        """By key, the question's id and why it has no reply."""

    async def ask_all(self, client: EndpointClient) -> None:
        async with client, asyncio.TaskGroup() as group:
            for _ in range(min(self._endpoint.max_concurrency, len(self._todo))):
                group.create_task(self._ask_in_turn(client))

    async def _ask_in_turn(self, client: EndpointClient) -> None:
        while self._todo:
            block, number, row = self._todo.popleft()
            try:
                reply = await client.ask(Chat(row["user"], row["images"], row["system"]))
            except NoReplyError as error:
                self._fail(row, str(error))
                continue
            self._failed_in_a_row = 0
            await self._writer.add(block, number, reply)
            self._num_done += 1
            write_progress(self._progress, self._num_done, self._parts.num_rows, self._unit)

    def _fail(self, row: dict, why: str) -> None:
        self.failures[row["key"]] = row["id"], why
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            raise EndpointError(
                f"{self._endpoint.name}: {self._failed_in_a_row} questions in a row got no reply in "
                f"{self._endpoint.max_retries + 1} tries each, the last with {why}. What has come is stored: run again "
                "when the server is well"
            )


class _Writer:
    """Replies of unfinished blocks -> {block}.partial.parquet -> {block}.parquet; one write at a time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._blocks: dict[int, dict[int, Reply]] = {}
        self._saved: dict[int, pa.Table] = {}
        self._unsaved: set[tuple[int, int]] = set()
        self._lock = asyncio.Lock()

    def open(self, block: int) -> set[int]:
        """Rows of a block that an earlier run has stored."""
        if block not in self._saved:
            self._saved[block], self._blocks[block] = self._parts.read_saved(block), {}
        return set(self._saved[block]["row"].to_pylist())

    async def add(self, block: int, row: int, reply: Reply) -> None:
        """Returns when the reply is stored; replies that come while another is written are stored together."""
        self._blocks[block][row] = reply
        self._unsaved.add((block, row))
        async with self._lock:
            if (block, row) in self._unsaved:
                replies = dict(self._blocks[block])
                await asyncio.to_thread(self._store, block, replies)
                self._unsaved -= {(block, stored) for stored in replies}

    def _store(self, block: int, replies: dict[int, Reply]) -> None:
        new = reply_table(list(replies.values())).add_column(0, "row", pa.array(replies, pa.int32()))
        table = pa.concat_tables([self._saved[block], new])
        if table.num_rows < self._parts.block_size(block):
            return self._parts.save(block, table)
        ids = self._parts.read_requests(block)["id"].to_pylist()
        self._parts.write(block, ids, table.sort_by("row").select(REPLY.names))
        if block in self._parts.saved():
            self._parts.delete_saved(block)
