"""Is a mention of a reference the reply's own answer? read reply, mention -> bool.

Not where it is denied, one of alternatives, another thing (`York` in `New York`, `dog` in `hot dog`) or somewhere else
(`behind the sofa` for `on the sofa`). Source: ours.
"""

from inbol_ray.scoring.assertions import Standing
from inbol_ray.scoring.linking import Linked, Said
from inbol_ray.scoring.mentions import PLACES, Mention, Wanted
from inbol_ray.scoring.sentences import VERBS
from inbol_ray.scoring.word_forms import is_opposite, listed, positive_of

_LOOSE = frozenset({0, 1})  # a place named without its preposition is where something is on, in or at
_NEIGHBOURS = frozenset({"beside", "near", "behind", "next", "against", "under", "above"})
_COMPOUNDS = frozenset(
    """hot dog/peanut butter/sweet potato/guinea pig/sea lion/sea horse/prairie dog/french fry/ice cream/egg plant/dragon fruit/
    pine apple/new york/new zealand/new jersey/south africa/north korea/south korea/los angeles/san francisco/washington dc"""
    .replace("\n", "").replace("    ", "").split("/")
)  # fmt: skip
_NAME_PREFIXES = frozenset(listed("new san los santa saint north south east west old upper lower"))
_AUXILIARIES = frozenset({"be", "do", "can", "have", "will", "could"})
_NEGATIVE = frozenset({"no", "not", "without", "never"})
_ARTICLES = frozenset({"a", "an", "the", "his", "her", "its", "their"})


def stands(said: Said, mention: Mention, wanted: Wanted) -> bool:
    """Whether a mention is asserted, of the thing itself, without an alternative and in the right place."""
    linked, start = mention.linked, mention.start
    mark, count = linked.marks[start]
    count -= wanted.negations and any(word in ("no", "not") for word in linked.lemmas[start : mention.end])
    if linked.clause.opener == "than" or count % 2 or (mark is Standing.ASIDE and not _inverted(said, linked)):
        return False
    if mark is Standing.ASSERTED and _inverted(said, linked):
        return False
    if _denied_subject(linked, mention) and not _NEGATIVE.intersection(said.asked.tokens):
        return False
    if _is_other_thing(said, linked, mention, wanted) or is_alternative(linked, mention):
        return False
    return _in_place(said, linked, mention, wanted)


def _denied_subject(linked: Linked, mention: Mention) -> bool:
    """Whether a mention is the subject of what is denied: `the shark is not a mammal`."""
    lemmas = linked.lemmas
    for place in range(mention.end, len(lemmas) - 1):
        if lemmas[place] in VERBS:
            return lemmas[place] in _AUXILIARIES and lemmas[place + 1] == "not" and linked.marks[place + 1][1] % 2 == 1
    return False


def _inverted(said: Said, linked: Linked) -> bool:
    """Whether a comparison says the question's the other way round: `smaller than` for `bigger`."""
    if "than" not in linked.words:
        return False
    return any(_opposite_degree(one, other) for one in said.asked.tokens for other in linked.lemmas)


def _opposite_degree(one: str, other: str) -> bool:
    return (one, other) in _MORE_LESS or is_opposite(positive_of(one), positive_of(other))


_MORE_LESS = frozenset({("more", "fewer"), ("more", "less"), ("most", "fewest"), ("fewer", "more"), ("less", "more")})


def _is_other_thing(said: Said, linked: Linked, mention: Mention, wanted: Wanted) -> bool:
    tokens, start, end = linked.clause.tokens, mention.start, mention.end
    before = tokens[start - 1] if start else None
    first = wanted.words[0]
    if before is not None and f"{before.lemma} {first}" in _COMPOUNDS:
        return True
    if end < len(tokens) and f"{wanted.words[-1]} {tokens[end].lemma}" in _COMPOUNDS:
        return True
    if "do" in said.asked.tokens and tokens[start].text.lower().endswith("ing"):
        is_noun = before is not None and before.text.lower() in _ARTICLES  # `a sleeping cat`, `near a painting`
        if is_noun or ("watch" in linked.lemmas[:start] and "watch" not in wanted.words):
            return True
    if wanted.is_name and _is_apposed(linked, start):
        return True
    if before is not None and tokens[start].text[0].isupper() and before.text[0].isupper():
        return before.text.lower() in _NAME_PREFIXES and start > 0
    return False


def _is_apposed(linked: Linked, start: int) -> bool:
    """Whether `, a friend of` leads to a name: a word about another name."""
    words = linked.words[:start]
    if "," not in words:
        return False
    comma = start - 1 - words[::-1].index(",")
    between = linked.lemmas[comma + 1 : start]
    told = any(lemma in VERBS for lemma in linked.lemmas[:comma])
    return (
        told and not any(lemma in VERBS for lemma in between) and not {"of", "to", "with", "from"}.isdisjoint(between)
    )


def is_alternative(linked: Linked, mention: Mention) -> bool:
    """Whether a mention is one of things joined by `or`, of which none is chosen."""
    words, lemmas = linked.words, linked.lemmas
    for place, word in enumerate(words):
        if word != "or" or linked.marks[place][0] is not Standing.ASSERTED:
            continue
        following = words[place + 1 : place + 3]
        if not following or following[0] in ("so", ",", "rather", "more", "less", "in") or following == ["at", "least"]:
            continue
        between = lemmas[place + 1 : mention.start] if mention.start > place else lemmas[mention.end : place]
        if len(between) <= 8 and not any(one in VERBS for one in between):
            return True
    return False


def _in_place(said: Said, linked: Linked, mention: Mention, wanted: Wanted) -> bool:
    """Whether the preposition before a mention agrees with the reference's, where the question asks for a place."""
    if wanted.place is None and said.asked.kind != "place":
        return not _is_neighbour(said, linked, mention)
    group = place_before(linked, mention.start)
    if wanted.place is not None:
        return is_same_place(group, wanted.place)
    return group is None or group in _LOOSE or group == PLACES["between"]


def is_same_place(one: int | None, other: int | None) -> bool:
    """Whether two prepositions may name one place: `on` and `in` may, and one that is not said."""
    return None in (one, other) or one == other or {one, other} == _LOOSE


def place_before(linked: Linked, start: int) -> int | None:
    """The place (`PLACES`) that the preposition before a token names; -1 for one that no reference names."""
    words = linked.words[max(0, start - 5) : start]
    if words[-2:-1] == ["of"] and "out" in words or words[-3:-2] == ["out"]:
        return -1
    if "front" in words or "top" in words:
        return PLACES["on"] if "top" in words else -1
    found = [PLACES[word] for token, word in zip(linked.lemmas[max(0, start - 5) : start], words, strict=True)
             for word in (word, token) if word in PLACES]  # fmt: skip
    return found[-1] if found else None


def _is_neighbour(said: Said, linked: Linked, mention: Mention) -> bool:
    """Whether a mention only says what the thing asked about is next to."""
    if linked.words[mention.start].endswith("ing"):
        return False
    words = linked.words[max(0, mention.start - 4) : mention.start]
    if (
        words[-1:]
        and words[-1] in ("them", "it", "him", "her")
        or {"them", "it", "him", "her"}.intersection(words[-2:])
    ):
        return False
    if linked.clause.tokens and (found := _NEIGHBOURS.intersection(words)):
        asked = set(said.asked.tokens)
        return not found & asked and not {"front", "to"} & asked
    return False
