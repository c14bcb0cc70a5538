"""Which colors or materials does a reply give a thing? read reply, wanted words -> bool.

`a red kettle` and `the kettle is red` give the kettle red, `yellow with a blue handle` gives it yellow. Source: ours.
"""

from inbol_ray.scoring.asked import FUNCTION_WORDS, PREPOSITIONS
from inbol_ray.scoring.assertions import Standing
from inbol_ray.scoring.linking import Linked, Said
from inbol_ray.scoring.sentences import VERBS, is_word, words_of
from inbol_ray.scoring.word_forms import lemma, listed

_COLORS = frozenset(
    lemma(word)
    for word in listed(
        """red orange yellow green blue purple violet pink brown black white gray beige tan cream gold silver maroon
        navy turquoise teal cyan magenta burgundy bronze khaki olive lavender lilac crimson scarlet indigo ivory
        peach coral amber copper transparent clear mint mauve charcoal blond"""
    )
)
_MATERIALS = frozenset(
    lemma(word)
    for word in listed(
        """wood metal plastic glass stone brick concrete steel iron copper aluminum gold silver bronze brass marble
        granite leather cotton wool silk linen denim canvas paper cardboard straw thatch bamboo rubber clay ceramic
        porcelain wicker velvet nylon polyester wax foam ice snow sand mud cement tile tin felt fur lace chrome oak
        pine wrought fabric cloth"""
    )
)
WORDS = {"color": _COLORS, "material": _MATERIALS}
_SHADES = frozenset(
    listed("""light dark bright pale deep shiny dull navy pastel soft vivid mostly all completely solid""")
)
_CUTS = frozenset({"and", "with", ",", "on", "of", "in", "next", "is", "are", "the", "a", "an", "his", "her", "its"})
_MARGIN, _WIDE_MARGIN = 0.25, 0.75
_JOINS = frozenset({"and", ",", "-", "/", "or", "&"})
_NO_NOUNS = FUNCTION_WORDS | PREPOSITIONS | VERBS | {"not", "but", "while", "color", "all", "than"}
_PRONOUNS = frozenset(["it", "they", "one", "this", "that"])


def wanted_attributes(gold: str, said: Said) -> frozenset[str] | None:
    """The colors or materials that a reference consists of, where the question asks for one; else None."""
    known = WORDS.get(said.asked.kind)
    if known is None:
        return None
    words = [word for word in words_of(gold) if word not in _SHADES and word not in ("and", "color", "or")]
    return frozenset(words) if words and known.issuperset(words) else None


def gives_attributes(said: Said, wanted: frozenset[str]) -> bool:
    """Whether the best linked clause gives the wanted words and no other color, and no clause as good gives others.

    Several wanted colors may be told in several clauses. Of materials more may be said (`oak wood`).
    """
    known = WORDS[said.asked.kind]
    found = [
        (linked.weight + bonus, words)
        for linked in said.linked
        for bonus, words in [_attributes_in(linked, said, known)]
        if words
    ]
    if not found:
        return False
    best = max(weight for weight, _ in found)
    leading = [words for weight, words in found if weight >= best - _MARGIN]
    if any(_denies(linked, wanted) for linked in said.linked if linked.weight >= best - _MARGIN):
        return False
    if said.asked.kind == "material":
        return all(wanted <= words for words in leading)
    if all(words == wanted for words in leading):
        return True
    clauses = [linked for linked in said.linked if linked.weight >= best - _WIDE_MARGIN]
    return len(wanted) > 1 and frozenset().union(*(_all_in(linked, known) for linked in clauses)) == wanted


def _all_in(linked: Linked, known: frozenset[str]) -> frozenset[str]:
    """Every asserted attribute of a clause, `or` where it joins some."""
    return frozenset().union(*(_set(linked, start, end, known) for start, end in _runs(linked, known)))


def _denies(linked: Linked, wanted: frozenset[str]) -> bool:
    denied = {word for word, (mark, _) in zip(linked.lemmas, linked.marks, strict=True) if mark is Standing.DENIED}
    return wanted <= denied


def _attributes_in(linked: Linked, said: Said, known: frozenset[str]) -> tuple[float, frozenset[str]]:
    """How much better than its clause the attributes are linked, and they; alternatives are given as `or`."""
    lemmas, words, head = linked.lemmas, linked.words, said.asked.head
    runs = _runs(linked, known)
    if not runs:
        return 0.0, frozenset()
    heads = [place for place, word in enumerate(lemmas) if word == head]
    for place in heads:
        for start, end in runs:
            if end <= place and place - end <= 2 and not _cut(words[end:place]):
                return 0.5, _set(linked, start, end, known)
    if heads or any(word in _PRONOUNS for word in words[:3]):
        first = heads[0] if heads else 0
        after = [run for run in runs if run[0] > first]
        for start, end in after:
            if not _describes_other(linked, end):
                return 0.0, _set(linked, start, end, known)
        if after:
            return -0.25, _set(linked, *after[0], known)
    start, end = runs[0]
    return -0.5 if heads else 0.0, _set(linked, start, end, known)


def _describes_other(linked: Linked, end: int) -> bool:
    """Whether a noun follows, of another thing than is asked about."""
    return (
        end < len(linked.clause.tokens) and is_word(linked.clause.tokens[end]) and linked.lemmas[end] not in _NO_NOUNS
    )


def _cut(between: list[str]) -> bool:
    return any(word in _CUTS for word in between)


def _runs(linked: Linked, known: frozenset[str]) -> list[tuple[int, int]]:
    """Stretches [start, end) of asserted attributes that only `and`, commas and shades part."""
    lemmas, words = linked.lemmas, linked.words
    runs: list[tuple[int, int]] = []
    start, last = None, 0
    for place, word in enumerate(lemmas):
        if word in known and linked.marks[place][0] is Standing.ASSERTED:
            if start is not None and all(one in _JOINS or one in _SHADES for one in words[last + 1 : place]):
                last = place
                continue
            if start is not None:
                runs.append((start, last + 1))
            start, last = place, place
    if start is not None:
        runs.append((start, last + 1))
    return runs


def _set(linked: Linked, start: int, end: int, known: frozenset[str]) -> frozenset[str]:
    if "or" in linked.words[start:end]:
        return frozenset({"or"})
    return frozenset(word for word in linked.lemmas[start:end] if word in known)
