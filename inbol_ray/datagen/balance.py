"""Which sampled questions training data is made of: (id, class, corpus) -> places of those that stay."""

from collections import Counter
from collections.abc import Sequence

from inbol_ray.config.sampling import BalanceConfig
from inbol_ray.errors import DataError
from inbol_ray.subsets import SHARES, take


def balanced(
    ids: Sequence[str], classes: Sequence[str], corpora: Sequence[str], config: BalanceConfig, seed: int
) -> list[int]:
    """Places, ascending, of the questions that stay; `ids`, `classes` and `corpora` have one entry a question.

    Raises DataError where a class that is to have a share has no question.
    """
    if config.classes is None:
        return list(range(len(ids)))
    shares = {name: share for name, share in config.classes if share}
    found = Counter(classes)
    if lacking := [name for name in shares if not found[name]]:
        raise DataError(
            f"balance.classes: {lacking[0]} is to be {shares[lacking[0]]:.0%} of the training data, found no question of "
            f"that class among {len(ids):,}; lower its share to 0, or move the thresholds in `classes`"
        )
    total = min(found[name] / share for name, share in shares.items())
    strata = list(zip(classes, corpora, strict=True))
    sizes = Counter(strata)
    counts = {}
    for name, share in shares.items():
        of_class = {stratum: size for stratum, size in sizes.items() if stratum[0] == name}
        counts |= SHARES[config.corpora](of_class, round(total * share))
    return take(ids, strata, counts, seed)
