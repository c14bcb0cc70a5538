"""Does a reply give a text - a thing, name, place or action - as its answer? read reply, reference -> bool.

A mention of the reference counts where it stands (`mention_standing`), in a clause that answers the question as well as any
other, unless the reply contradicts itself: denies it, or says the same of something else. Source: ours.
"""

from inbol_ray.scoring.assertions import Standing
from inbol_ray.scoring.linking import Said
from inbol_ray.scoring.mention_standing import stands
from inbol_ray.scoring.mentions import Mention, Wanted, find_mentions, read_reference, split_parts
from inbol_ray.scoring.word_forms import is_opposite

_MARGIN = 0.25


def gives_text(said: Said, gold: str) -> bool:
    """Whether the reference is what the reply answers."""
    parts = split_parts(gold)
    if len(parts) > 1:
        return all(
            any(stands(said, mention, part) for mention in find_mentions(said, part))
            for part in map(read_reference, parts)
        )
    wanted = read_reference(gold)
    found = find_mentions(said, wanted)
    standing = [mention for mention in found if stands(said, mention, wanted) and _answers(said, mention)]
    if not standing:
        return False
    weight = max(mention.linked.weight for mention in standing)
    if any(_repeated_otherwise(said, mention) or _joined_to_opposite(mention, wanted) for mention in standing):
        return False
    rivals = [mention for mention in found if mention.linked.weight >= weight - _MARGIN]
    return not any(_takes_back(mention, wanted) for mention in rivals) and not _says_nothing(said, weight)


def _answers(said: Said, mention: Mention) -> bool:
    """Whether no other clause answers the question better than a mention's."""
    best = max(linked.weight for linked in said.linked if linked.clause.opener != "(")
    return mention.linked.weight >= best - _MARGIN and not mention.linked.is_elsewhere


def _repeated_otherwise(said: Said, mention: Mention) -> bool:
    """Whether another clause says the same of something else: `It is a parrot. It is a rabbit.`"""
    lemmas = mention.linked.lemmas
    before, after = lemmas[: mention.start], lemmas[mention.end :]
    if len(before) + len(after) < 2:
        return False
    for linked in said.linked:
        other = linked.lemmas
        place = len(other) - len(after)
        is_alike = 0 < place - len(before) <= 2 and other[: len(before)] == before and other[place:] == after
        if (
            linked.clause.sentence != mention.linked.clause.sentence
            and is_alike
            and other != lemmas
            and "not" not in other
        ):
            return True
    return False


def _joined_to_opposite(mention: Mention, wanted: Wanted) -> bool:
    """`round and also square`, `rainy and dry`: what cannot both be."""
    linked = mention.linked
    return len(wanted.words) == 1 and any(
        is_opposite(wanted.words[0], lemma) and mark is Standing.ASSERTED and "and" in linked.words[mention.end : place]
        for place, (lemma, (mark, _)) in enumerate(zip(linked.lemmas, linked.marks, strict=True))
    )


def _says_nothing(said: Said, weight: float) -> bool:
    return any(
        word in ("nothing", "nobody", "anything", "anybody", "anyone") and mark is Standing.DENIED
        for linked in said.linked
        if linked.weight >= weight - _MARGIN
        for word, (mark, _) in zip(linked.words, linked.marks, strict=True)
    )


def _takes_back(mention: Mention, wanted: Wanted) -> bool:
    """Whether a mention denies what another asserts: `The key is in the drawer. The key isn't in the drawer.`"""
    mark, count = mention.linked.marks[mention.start]
    if wanted.negations and count == 1:
        return False
    return mark is Standing.DENIED or (mark is Standing.ASIDE and "than" in mention.linked.words[: mention.start])
