"""The plan of batches: what is trained on when, whoever trains."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from inbol_ray.config.training import SupervisedConfig
from inbol_ray.errors import DataError
from inbol_ray.training.batches import MICRO_BATCH, NUM_TOKENS, STEP, idle_passes, plan_batches, shares_of

NUM_ROWS, BATCH = 70, 16


def config(**changes) -> SupervisedConfig:
    values = {"global_batch_size": BATCH, "num_epochs": 3, "num_workers": 2} | changes
    return SupervisedConfig(init_from="original", learning_rate=1, data="idk", **values)


@pytest.fixture
def rows():
    lengths = np.random.default_rng(0).integers(20, 400, NUM_ROWS)
    return pa.table({"id": [f"{n}" for n in range(NUM_ROWS)], NUM_TOKENS: pa.array(lengths, pa.int32())})


def step_members(shards: list[pa.Table], num_steps: int) -> list[set[str]]:
    members: list[set[str]] = [set() for _ in range(num_steps)]
    for shard in shards:
        for row in shard.to_pylist():
            members[row[STEP]].add(row["id"])
    return members


@pytest.mark.parametrize("num_workers", [1, 2, 4, 8])
@pytest.mark.parametrize("budget", [None, 1000])
def test_members_of_a_step_depend_on_the_seed_alone(rows, num_workers, budget):
    changes = {"num_workers": num_workers, "micro_batch_tokens": budget}
    shards, num_steps = plan_batches(rows, config(**changes), seed=5)
    assert num_steps == 3 * (NUM_ROWS // BATCH) and len(shards) == num_workers
    assert step_members(shards, num_steps) == step_members(*plan_batches(rows, config(), seed=5))
    assert step_members(shards, num_steps) != step_members(*plan_batches(rows, config(), seed=6))


def test_an_epoch_has_each_row_at_most_once_and_epochs_differ(rows):
    members = step_members(*plan_batches(rows, config(), seed=0))
    per_epoch = NUM_ROWS // BATCH
    epochs = [members[start : start + per_epoch] for start in range(0, len(members), per_epoch)]
    for epoch in epochs:
        assert len(set.union(*epoch)) == per_epoch * BATCH
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_micro_batches_keep_to_the_budget_and_are_alike_on_all_workers(rows, num_workers):
    shards, _ = plan_batches(rows, config(num_workers=num_workers, micro_batch_tokens=1000), seed=0)
    sizes = []
    for shard in shards:
        groups: dict[tuple, list[int]] = {}
        for row in shard.to_pylist():
            groups.setdefault((row[STEP], row[MICRO_BATCH]), []).append(row[NUM_TOKENS])
        for lengths in groups.values():
            assert max(lengths) * len(lengths) <= 1000
        sizes.append({key: len(lengths) for key, lengths in groups.items()})
    assert all(size == sizes[0] for size in sizes) and max(Counter(step for step, _ in sizes[0]).values()) > 1


@pytest.mark.parametrize("num_workers", range(1, 9))
def test_fewer_workers_share_the_batch_and_run_as_many_passes(num_workers):
    shares = [shares_of(rank, num_workers, 8) for rank in range(num_workers)]
    assert sorted(share for own in shares for share in own) == list(range(8))
    passes = [
        3 * len(own) + idle_passes(rank, num_workers, 8, num_micro_batches=3 * len(own))
        for rank, own in enumerate(shares)
    ]
    assert set(passes) == {3 * len(shares[0])}


def test_sorting_by_length_spares_padding(rows):
    def padded(table: pa.Table) -> int:
        groups: dict[tuple, list[int]] = {}
        for row in table.to_pylist():
            groups.setdefault((row[STEP], row[MICRO_BATCH]), []).append(row[NUM_TOKENS])
        return sum(max(lengths) * len(lengths) for lengths in groups.values())

    [budgeted], _ = plan_batches(rows, config(num_workers=1, micro_batch_tokens=1000), seed=0)
    [whole], _ = plan_batches(rows, config(num_workers=1), seed=0)
    useful = sum(budgeted[NUM_TOKENS].to_pylist())
    assert padded(budgeted) < 1.25 * useful < 1.5 * useful < padded(whole)


def test_a_row_longer_than_the_budget_goes_alone():
    table = pa.table({"id": ["a", "b", "c", "d"], NUM_TOKENS: pa.array([5000, 10, 10, 10], pa.int32())})
    [shard], _ = plan_batches(
        table, config(num_workers=1, global_batch_size=4, num_epochs=1, micro_batch_tokens=100), seed=0
    )
    assert [(row["id"] == "a", row[MICRO_BATCH]) for row in shard.to_pylist()] == [(True, 0)] + 3 * [(False, 1)]


def test_too_few_rows_are_an_error(rows):
    with pytest.raises(DataError, match="70 training rows are fewer than one global batch of 80"):
        plan_batches(rows, config(global_batch_size=80), seed=0)
