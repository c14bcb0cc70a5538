"""Seeded subsets: which rows stay where not all are wanted. Every cut of the project is made here.

A row's rank is a hash of its id and the seed, and the lowest ranks stay. So the same rows are drawn whatever the order,
the blocks and the processes that they come in, and of a stratum a smaller draw lies within a larger one.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence

Shares = Callable[[Mapping[Hashable, int], int], dict[Hashable, int]]
"""(rows there are, rows wanted) -> rows to take, both by stratum."""


def rank(key: str, seed: int) -> int:
    """128 bits that depend on the key and the seed alone: two keys never share a rank."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=16).digest(), "big")


def proportional_shares(sizes: Mapping[Hashable, int], total: int) -> dict[Hashable, int]:
    """Each stratum's share of `total`, at most one row off its exact share: what rounding down leaves goes to the
    largest remainders (Hamilton's method), one row each."""
    whole = sum(sizes.values())
    total = min(total, whole)
    shares = {name: total * size // whole for name, size in sizes.items() if size}
    by_remainder = sorted(shares, key=lambda name: (-(total * sizes[name] % whole), str(name)))
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares


def equal_shares(sizes: Mapping[Hashable, int], total: int) -> dict[Hashable, int]:
    """The same number of rows from each stratum, as far as it has them; what a small one lacks the others give."""
    left = min(total, sum(sizes.values()))
    shares = {}
    for number, name in enumerate(sorted(sizes, key=lambda name: (sizes[name], str(name)))):
        shares[name] = min(sizes[name], left // (len(sizes) - number))
        left -= shares[name]
    return shares


SHARES: dict[str, Shares] = {"proportional": proportional_shares, "equal": equal_shares}
"""By the name that configurations use."""


def draw(
    keys: Sequence[str], strata: Sequence[Hashable], total: int, seed: int, shares: Shares = proportional_shares
) -> list[int]:
    """Places of at most `total` rows, ascending. `keys` are the rows' ids and `strata` what each belongs to, (n,)."""
    return take(keys, strata, shares(Counter(strata), total), seed)


def take(keys: Sequence[str], strata: Sequence[Hashable], counts: Mapping[Hashable, int], seed: int) -> list[int]:
    """Places of `counts[stratum]` rows of each stratum (0 where it is not named), ascending."""
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, stratum in enumerate(strata):
        places[stratum].append(place)
    return sorted(
        place
        for stratum, found in places.items()
        for place in sorted(found, key=lambda place: rank(keys[place], seed))[: counts.get(stratum, 0)]
    )
