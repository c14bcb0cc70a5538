"""Seeded subsets: the same rows in any order, shares to within a row."""

import random
from collections import Counter

import pytest

from inbol_ray.subsets import draw, equal_shares, proportional_shares, rank, take

SIZES = {"yes/no": 377, "number": 120, "other": 493, "rare": 3}


@pytest.mark.parametrize("total", [0, 1, 7, 100, 333, 992, 993, 5_000])
def test_proportional_shares_are_exact_to_within_a_row(total):
    whole = sum(SIZES.values())
    shares = proportional_shares(SIZES, total)
    assert sum(shares.values()) == min(total, whole)
    for name, size in SIZES.items():
        assert abs(shares[name] - min(total, whole) * size / whole) < 1 and shares[name] <= size


def test_equal_shares_take_from_the_others_what_one_lacks():
    assert equal_shares({"a": 10, "b": 10, "c": 10}, 9) == {"a": 3, "b": 3, "c": 3}
    assert equal_shares({"a": 1, "b": 10, "c": 10}, 9) == {"a": 1, "b": 4, "c": 4}
    assert equal_shares({"a": 1, "b": 2, "c": 100}, 9) == {"a": 1, "b": 2, "c": 6}
    assert equal_shares({"a": 1, "b": 2}, 9) == {"a": 1, "b": 2}
    assert sorted(equal_shares({"a": 5, "b": 5, "c": 5}, 8).values()) == [2, 3, 3]


def test_a_draw_does_not_depend_on_the_order_of_rows():
    rows = [(f"id-{k}", "even" if k % 2 == 0 else "odd") for k in range(500)]
    drawn = {rows[place][0] for place in draw(*zip(*rows, strict=True), 60, 3)}
    for seed in range(3):
        mixed = random.Random(seed).sample(rows, len(rows))
        places = draw(*zip(*mixed, strict=True), 60, 3)
        assert {mixed[place][0] for place in places} == drawn and places == sorted(places)
    assert {rows[place][0] for place in draw(*zip(*rows, strict=True), 60, 4)} != drawn


def test_within_a_stratum_a_smaller_draw_lies_in_a_larger_one():
    keys = [f"id-{k}" for k in range(300)]
    few, many = (set(take(keys, ["all"] * 300, {"all": count}, 0)) for count in (40, 90))
    assert few < many and len(many) == 90


def test_ranks_are_spread_alike():
    """Of 20,000 ids a quarter of the range holds a quarter, to four standard errors."""
    quarters = Counter(rank(f"oven:entity_train:oven_entity_train_{k:08d}", 0) >> 126 for k in range(20_000))
    assert all(abs(count - 5_000) < 4 * (20_000 * 0.25 * 0.75) ** 0.5 for count in quarters.values())
