"""Which option does a sentence choose? read reply, options -> index or None. For replies that name an option by its text.

Of options where one text holds another (`apple`, `apple juice`) the longest that is said counts; those that are denied or
ruled out do not. Of several that are left, the one in the clause that answers the question best. Source: ours.
"""

from collections.abc import Sequence

from inbol_ray.scoring.linking import Said
from inbol_ray.scoring.mention_standing import stands
from inbol_ray.scoring.mentions import Mention, find_mentions, read_reference

_MARGIN = 0.25


def choose_option(said: Said, choices: Sequence[str]) -> int | None:
    """Index of the one option that the reply asserts."""
    found: list[tuple[int, Mention]] = []
    for index, choice in enumerate(choices):
        wanted = read_reference(choice)
        if wanted.words:
            found += [(index, mention) for mention in find_mentions(said, wanted)]
    longest = [
        (index, mention)
        for index, mention in found
        if not any(other is not mention and _covers(other, mention) for _, other in found)
    ]
    standing = [
        (index, mention.linked.weight, mention.linked)
        for index, mention in longest
        if stands(said, mention, read_reference(choices[index]))
    ]
    if not standing:
        return None
    # A clause that names several options chooses none where another names one.
    lonely = [
        (index, weight)
        for index, weight, linked in standing
        if not any(linked is place and index != other for other, _, place in standing)
    ]
    named = lonely or [(index, weight) for index, weight, _ in standing]
    best = max(weight for _, weight in named)
    chosen = {index for index, weight in named if weight >= best - _MARGIN}
    return chosen.pop() if len(chosen) == 1 else None


def _covers(one: Mention, other: Mention) -> bool:
    return (
        one.linked is other.linked
        and one.start <= other.start
        and other.end <= one.end
        and one.end - one.start > other.end - other.start
    )
