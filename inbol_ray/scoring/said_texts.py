"""Does a reply give a text - a thing, name, place or action - as its answer? read reply, reference -> bool.

A mention of the reference counts where it is asserted, offered without an alternative, the same thing (`York` is not in
`New York`) in the same place (`on the sofa` is not `behind the sofa`), and in a clause that answers the question as well as
any other. Source: ours.
"""

from dataclasses import dataclass
from functools import lru_cache

from inbol_ray.scoring.asked import FUNCTION_WORDS, PREPOSITIONS
from inbol_ray.scoring.assertions import Standing
from inbol_ray.scoring.linking import Linked, Said
from inbol_ray.scoring.sentences import VERBS, Token, clean, is_word, tokenise
from inbol_ray.scoring.word_forms import is_opposite, positive_of

_PLACES = {
    word: group
    for group, words in enumerate(
        (
            "on onto atop",
            "in inside within into",
            "under",
            "behind",
            "above over",
            "beside near next by alongside",
            "outside",
            "between",
        )
    )
    for word in words.split()
}
_LOOSE = frozenset({0, 1})  # a place named without its preposition is where something is on, in or at
_NEIGHBOURS = frozenset({"beside", "near", "behind", "next", "against", "under", "above"})
_COMPOUNDS = frozenset(
    """hot dog/peanut butter/sweet potato/guinea pig/sea lion/sea horse/prairie dog/french fry/ice cream/egg plant/dragon fruit/
    pine apple/new york/new zealand/new jersey/south africa/north korea/south korea/los angeles/san francisco/washington dc"""
    .replace("\n", "").replace("    ", "").split("/")
)  # fmt: skip
_NAME_PREFIXES = frozenset(
    ["new", "san", "los", "santa", "saint", "north", "south", "east", "west", "old", "upper", "lower"]
)
_TITLES = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "sir",
        "lord",
        "lady",
        "king",
        "queen",
        "president",
        "prince",
        "princess",
        "pope",
        "saint",
        "general",
        "captain",
        "professor",
        "actor",
        "actress",
        "singer",
        "senator",
        "minister",
        "chancellor",
        "painter",
        "author",
        "writer",
        "artist",
        "player",
        "coach",
        "dame",
        "emperor",
        "the",
    ]
)
_NO_NOUNS = FUNCTION_WORDS | PREPOSITIONS | VERBS | {"not", ",", "but"}
_ARTICLES = frozenset({"a", "an", "the", "his", "her", "its", "their"})
_MARGIN = 0.25


@dataclass(frozen=True, slots=True)
class Wanted:
    """A reference answer: lemmas of its content words, of its preposition (or empty), and whether it is a proper name."""

    words: tuple[str, ...]
    place: int | None
    is_name: bool
    negations: int


@dataclass(frozen=True, slots=True)
class Mention:
    """Tokens [start, end) of a clause that say the reference."""

    linked: Linked
    start: int
    end: int


@lru_cache(maxsize=1 << 14)
def read_reference(gold: str) -> Wanted:
    """A reference as it is looked for: without articles; its preposition apart; a reference of none but those is kept."""
    tokens = [token for token in tokenise(clean(gold)) if is_word(token)]
    lemmas = [token.lemma for token in tokens]
    place = next((_PLACES[token.text.lower()] for token in tokens[:1] if token.text.lower() in _PLACES), None)
    words = tuple(word for word in lemmas if word not in FUNCTION_WORDS and word not in _PLACES) or tuple(lemmas)
    is_name = len(tokens) > 0 and (
        tokens[-1].text[0].isupper() or all(token.text[0].isupper() or token.text[0].isdigit() for token in tokens)
    )
    return Wanted(
        words, place if len(words) < len(lemmas) else None, is_name, sum(word in ("no", "not") for word in words)
    )


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
    standing = [mention for mention in found if stands(said, mention, wanted) and answers(said, mention)]
    if not standing:
        return False
    weight = max(mention.linked.weight for mention in standing)
    rivals = [mention for mention in found if mention.linked.weight >= weight - _MARGIN]
    return not any(_takes_back(mention, wanted) for mention in rivals) and not _says_nothing(said, weight)


def _says_nothing(said: Said, weight: float) -> bool:
    return any(
        word in ("nothing", "nobody") and mark is Standing.DENIED
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


def split_parts(gold: str) -> list[str]:
    """Parts of a reference that lists several things: `salt and pepper`, `red, white and blue`."""
    text = gold.replace(" & ", " and ").replace(", and ", " and ").replace(";", ",")
    return [part.strip() for piece in text.split(" and ") for part in piece.split(",") if part.strip()]


def find_mentions(said: Said, wanted: Wanted) -> list[Mention]:
    """Every place where a reply says the reference's words: in a row but for articles, or close together."""
    found: list[Mention] = []
    for linked in said.linked:
        content = [
            (place, token.lemma)
            for place, token in enumerate(linked.clause.tokens)
            if is_word(token) and (token.lemma not in FUNCTION_WORDS or token.lemma in wanted.words)
        ]
        size = len(wanted.words)
        lemmas = [word for _, word in content]
        for first in range(len(content) - size + 1):
            if tuple(lemmas[first : first + size]) == wanted.words:
                found.append(Mention(linked, content[first][0], content[first + size - 1][0] + 1))
        for first in range(len(content) - 1):  # `sail boat` for `sailboat`
            if size == 1 and lemmas[first] + lemmas[first + 1] == wanted.words[0]:
                found.append(Mention(linked, content[first][0], content[first + 1][0] + 1))
        if size == 2:
            found += [Mention(linked, place, place + 1) for place, word in content if word == "".join(wanted.words)]
        if size > 1 and not found:
            found += _loose(linked, content, wanted, said)
    return found


def _loose(linked: Linked, content: list[tuple[int, str]], wanted: Wanted, said: Said) -> list[Mention]:
    """A name without its first or with its middle names; else all words in any order, few others between."""
    lemmas = [word for _, word in content]
    if wanted.is_name:
        last = wanted.words[-1]
        if last not in lemmas or last.isdigit():
            return []
        number = lemmas.index(last)
        place = content[number][0]
        if wanted.words[0] in lemmas[max(0, number - 3) : number]:
            return [Mention(linked, content[lemmas.index(wanted.words[0])][0], place + 1)]
        if said.asked.kind != "person" or _other_first_name(linked.clause.tokens, place):
            return []
        return [Mention(linked, place, place + 1)]
    places = [[place for place, word in content if word == one] for one in wanted.words]
    if not all(places):
        return []
    chosen = [one[0] for one in places]
    if max(chosen) - min(chosen) > len(wanted.words) + 4:
        return []
    return [Mention(linked, min(chosen), max(chosen) + 1)]


def _other_first_name(tokens: list[Token], place: int) -> bool:
    before = tokens[place - 1] if place else None
    return before is not None and before.text[0].isupper() and place > 1 and before.text.lower() not in _TITLES


def stands(said: Said, mention: Mention, wanted: Wanted) -> bool:
    """Whether a mention is asserted, of the thing itself, without an alternative and in the right place."""
    linked, start = mention.linked, mention.start
    mark, count = linked.marks[start]
    count -= wanted.negations and any(word in ("no", "not") for word in linked.lemmas[start : mention.end])
    if linked.clause.opener == "than" or count % 2 or (mark is Standing.ASIDE and not _inverted(said, linked)):
        return False
    if mark is Standing.ASSERTED and _inverted(said, linked):
        return False
    if _is_other_thing(said, linked, mention, wanted) or is_alternative(linked, mention):
        return False
    return _in_place(said, linked, mention, wanted)


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
    if tokens[start].text.lower().endswith("ing") and before is not None and before.text.lower() in _ARTICLES:
        return (
            end < len(tokens) and linked.lemmas[end] not in _NO_NOUNS and said.asked.kind == "other"
        )  # `a sleeping cat`
    if wanted.is_name and _is_apposed(linked.words[:start]):
        return True
    if before is not None and tokens[start].text[0].isupper() and before.text[0].isupper():
        return before.text.lower() in _NAME_PREFIXES and start > 0
    return False


def _is_apposed(before: list[str]) -> bool:
    """Whether `, a friend of` leads to a name: a word about another name."""
    if "," not in before:
        return False
    last = before[len(before) - before[::-1].index(",") :]
    return len(last) > 2 and last[0] in _ARTICLES and not {"of", "to", "with", "from"}.isdisjoint(last)


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
    group = _place_before(linked, mention.start)
    if wanted.place is not None:
        return group is None or group == wanted.place or {group, wanted.place} == _LOOSE
    return group is None or group in _LOOSE or group == _PLACES["between"]


def _place_before(linked: Linked, start: int) -> int | None:
    words = linked.words[max(0, start - 5) : start]
    if "front" in words or "top" in words:
        return _PLACES["on"] if "top" in words else -1
    found = [_PLACES[word] for token, word in zip(linked.lemmas[max(0, start - 5) : start], words, strict=True)
             for word in (word, token) if word in _PLACES]  # fmt: skip
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


def answers(said: Said, mention: Mention) -> bool:
    """Whether no other clause answers the question better than a mention's."""
    best = max(linked.weight for linked in said.linked if linked.clause.opener != "(")
    return mention.linked.weight >= best - _MARGIN
