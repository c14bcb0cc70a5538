"""What a kill may cost, counted on what is in storage after every single reply."""

import random
import shutil
import threading

import pyarrow as pa
import pytest

from inbol_ray.config.machines import StorageConfig
from inbol_ray.errors import DataError
from inbol_ray.sampling.in_hand import InHand
from inbol_ray.sampling.parts import open_parts
from inbol_ray.sampling.vllm_engine import Reply

NUM_BLOCKS, BLOCK_SIZE = 4, 8


def reply_to(block, row):
    return Reply([f"answer {block} {row}"] * 2, [[-1.0], [-2.0]], {"answer": -1.0})


@pytest.fixture
def open_again(tmp_path):
    ids = [f"q{n}" for n in range(NUM_BLOCKS * BLOCK_SIZE)]
    requests = pa.table({"id": ids, "checkpoint": ["m"] * len(ids)})
    return lambda: open_parts(str(tmp_path), StorageConfig(), [requests], {}, BLOCK_SIZE)


def ids_of(parts, block):
    return parts.read_requests(block)["id"].to_pylist()


def num_stored(parts):
    finished = parts.finished()
    saved = sum(parts.read_saved(block).num_rows for block in range(NUM_BLOCKS) if block not in finished)
    return saved + sum(parts.block_size(block) for block in finished)


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_at_any_reply_costs_less_than_a_block(open_again, seed):
    """The last question of every block is answered last of all, so no part can be written for long."""
    parts = open_again()
    in_hand = InHand(parts, BLOCK_SIZE)
    for block in range(NUM_BLOCKS):
        assert in_hand.take(block) == set()
    rows = [(block, row) for block in range(NUM_BLOCKS) for row in range(BLOCK_SIZE - 1)]
    random.Random(seed).shuffle(rows)
    for answered, (block, row) in enumerate(rows, start=1):
        in_hand.add(block, row, reply_to(block, row))
        assert answered - num_stored(parts) < BLOCK_SIZE
    assert parts.finished() == set()


def test_after_a_kill_only_what_is_missing_is_answered(open_again, tmp_path):
    parts = open_again()
    killed = InHand(parts, BLOCK_SIZE)
    for block in (0, 1):
        killed.take(block)
        for row in (6, 1, 5, 0, 3, 7):
            killed.add(block, row, reply_to(block, row))
    parts = open_again()
    in_hand, answered = InHand(parts, BLOCK_SIZE), 0
    for block in range(NUM_BLOCKS):
        known = in_hand.take(block)
        answered += len(known)
        for row in set(range(BLOCK_SIZE)) - known:
            in_hand.add(block, row, reply_to(block, row))
        in_hand.finish(block, ids_of(parts, block))
    assert 12 - BLOCK_SIZE < answered <= 12
    assert [row["responses"] for row in parts.rows()] == [
        reply_to(block, row).texts for block in range(NUM_BLOCKS) for row in range(BLOCK_SIZE)
    ]
    assert list(tmp_path.rglob("*.partial*")) == []


def test_blocks_of_several_threads_do_not_mix(open_again):
    parts = open_again()
    in_hand = InHand(parts, BLOCK_SIZE)

    def work(block):
        in_hand.take(block)
        for row in reversed(range(BLOCK_SIZE)):
            in_hand.add(block, row, reply_to(block, row))
        in_hand.finish(block, ids_of(parts, block))

    threads = [threading.Thread(target=work, args=(block,)) for block in range(NUM_BLOCKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert parts.finished() == set(range(NUM_BLOCKS)) and list(in_hand) == []
    assert [row["responses"][0] for row in parts.read_block(2).to_pylist()] == [f"answer 2 {n}" for n in range(8)]


def test_storage_that_fails_stops_the_engine_within_a_block(open_again, tmp_path):
    parts = open_again()
    in_hand = InHand(parts, BLOCK_SIZE)
    in_hand.take(0)
    shutil.rmtree(tmp_path)
    with pytest.raises(OSError):
        for row in range(BLOCK_SIZE):
            in_hand.add(0, row, reply_to(0, row))


def test_broken_saved_replies_are_named(open_again):
    parts = open_again()
    parts.save(1, pa.table({"row": [0]}))
    with pytest.raises(DataError, match=r"00000001\.partial\.parquet: expected the columns"):
        InHand(parts, BLOCK_SIZE).take(1)
