"""Does a reply give a number, measure, time or date as its answer? read reply, wanted value -> bool.

Of several values the one counts that its clause and its noun link best to the question: `of the five lamps, two are lit`
gives 2 lit lamps. Two that are linked equally well and differ answer nothing, nor do alternatives. Source: ours.
"""

import re

from inbol_ray.scoring.asked import FUNCTION_WORDS, PREPOSITIONS
from inbol_ray.scoring.assertions import Standing
from inbol_ray.scoring.linking import HEAD, Linked, Said
from inbol_ray.scoring.quantities import Value, read_values, same_value
from inbol_ray.scoring.sentences import VERBS, clean, is_word, tokenise

_MARGIN, _WIDE_MARGIN = 0.25, 0.75
"""The wide one is for times and dates: a question about one has few words to link by."""
_INCHES = re.compile(r"(\d)\s*\"$")
_DIMENSIONS = frozenset({"long", "wide", "deep", "tall", "high", "thick", "old"})
_TOTALS = frozenset({"total", "altogether", "overall"})
_NO_NOUNS = FUNCTION_WORDS | PREPOSITIONS | VERBS | _TOTALS | {"whom", "other", "than", "not"}
_NOISE = frozenset({"about", "approximately", "around", "roughly", "exactly"})
_ITS_NOUN, _OTHER_NOUN, _PART_OF, _IN_TOTAL, _RESULT = 1.0, -2.0, -4.0, 1.0, 1.0


def wanted_value(gold: str, said: Said) -> Value | None:
    """The value that a reference answer is, its noun and units aside; None where it says something else."""
    tokens = tokenise(clean(_INCHES.sub(r"\1 inches", gold)))
    values = read_values(tokens)
    if gold.strip().lower() in ("none", "no", "nothing", "nobody") and said.asked.kind == "count":
        return Value("number", 0.0, "", (0.0,), 0, 1)
    if len(values) != 1:
        return None
    (value,) = values
    rest = [token for place, token in enumerate(tokens) if not value.start <= place < value.end and is_word(token)]
    known = FUNCTION_WORDS | _NOISE | said.asked.words
    return value if all(token.lemma in known for token in rest) else None


def gives_value(said: Said, wanted: Value) -> bool:
    """Whether the value that answers is the wanted one."""
    candidates = [(weight, value) for linked in said.linked for weight, value in _candidates(linked, said, wanted)]
    if not candidates:
        return False
    best = max(weight for weight, _ in candidates)
    if _counts_otherwise(said, wanted):
        return False
    margin = _MARGIN if wanted.kind in ("number", "measure") else _WIDE_MARGIN
    leading = [value for weight, value in candidates if weight >= best - margin]
    return all(same_or_year(value, wanted) for value in leading)


def _counts_otherwise(said: Said, wanted: Value) -> bool:
    """Whether the reply also gives another number of just what is counted: `5 sheep. There are 6 sheep.`"""
    if said.asked.kind != "count" or said.asked.words != {said.asked.head}:
        return False
    told = {
        value.number
        for linked in said.linked
        for value in linked.values
        if linked.lemmas[value.end : value.end + 1] == [said.asked.head]
        and linked.marks[value.start][0] is Standing.ASSERTED
        and linked.words[max(0, value.start - 2) : value.start] != ["of", "the"]
    }
    return len(told) > 1


def same_or_year(said: Value, wanted: Value) -> bool:
    """`same_value`, and a date whose year is the wanted number."""
    if said.kind == "date" and wanted.kind == "number":
        return said.fields[0] == wanted.number or (said.fields[0] is None and said.fields[2] == wanted.number)
    return same_value(said, wanted)


def _candidates(linked: Linked, said: Said, wanted: Value) -> list[tuple[float, Value]]:
    found = []
    for value in linked.values:
        mark = linked.marks[value.start][0]
        is_more = linked.words[value.end : value.end + 1] in (["more"], ["less"], ["fewer"])
        if mark is Standing.ASSERTED and _comparable(value, wanted) and not is_more:
            found.append((linked.weight + _local_weight(linked, value, said), value))
    if said.asked.kind == "count":
        found += _spoken_counts(linked, said)
    return found


def _comparable(value: Value, wanted: Value) -> bool:
    if wanted.kind in ("time", "date"):
        return value.kind == wanted.kind
    return value.kind in ("number", "measure") or (value.kind == "date" and wanted.unit == "")


def _local_weight(linked: Linked, value: Value, said: Said) -> float:
    words, lemmas = linked.words, linked.lemmas
    weight = 0.0
    before = words[max(0, value.start - 3) : value.start]
    following = lemmas[value.end : value.end + 4]
    if said.asked.kind == "count" and value.kind == "number":
        if before[-2:] == ["of", "the"] or before[-2:] == ["out", "of"] or (before[-1:] == ["of"] and value.start <= 1):
            return _PART_OF
        if words[value.end - 1] == "one" and following[:1] == ["of"] and said.asked.head not in following:
            return _PART_OF
        noun = _noun_after(linked, value.end)
        if said.asked.head in following[:4] or {"whom", "which", "them"}.intersection(words[value.end : value.end + 2]):
            weight += _ITS_NOUN + (HEAD if said.asked.head not in linked.lemmas else 0.0)
        elif noun is not None and before[-1:] not in (["number"], ["is"]):
            weight += _OTHER_NOUN
        elif noun is None and said.asked.head not in linked.lemmas:
            weight += _ITS_NOUN
    elif said.asked.head in lemmas[max(0, value.start - 4) : value.start]:
        weight += _ITS_NOUN
    if value.kind == "measure" and following[:1] and following[0] in _DIMENSIONS:  # `3 m wide and 5 m long`
        weight += _ITS_NOUN if following[0] in said.asked.tokens else _OTHER_NOUN
    if _TOTALS.intersection(words[max(0, value.start - 4) : value.end + 4]):
        weight += _IN_TOTAL
    if before[-1:] == ["="]:
        weight += _RESULT
    elif words[value.end : value.end + 1] in (["="], ["+"], ["x"], ["/"], ["times"]):
        weight -= _RESULT
    return weight


def _noun_after(linked: Linked, place: int) -> str | None:
    """The word that a number counts, where it is no verb, preposition or conjunction."""
    if place >= len(linked.clause.tokens):
        return None
    token = linked.clause.tokens[place]
    is_noun = is_word(token) and token.lemma not in _NO_NOUNS
    return token.lemma if is_noun and not token.text.endswith(("ly", "ing", "ed")) else None


def _spoken_counts(linked: Linked, said: Said) -> list[tuple[float, Value]]:
    """`no surfers`, `a tower`, `does not have any wheels`: counts without a number word."""
    found: list[tuple[float, Value]] = []
    head, lemmas, words = said.asked.head, linked.lemmas, linked.words
    taken = {place for value in linked.values for place in range(value.start, value.end)}
    for place, lemma in enumerate(lemmas):
        is_head = lemma == head or (words[place] in ("none", "nobody") and not found)
        if not is_head:
            continue
        near = words[max(0, place - 3) : place + 1]
        if linked.marks[place][0] is Standing.DENIED:
            if {"no", "any", "none", "without", "a", "nobody", "zero"}.intersection(near):
                found.append((linked.weight + _ITS_NOUN, Value("number", 0.0, "", (0.0,), place, place + 1)))
        elif {"a", "an", "one"}.intersection(near) and not taken.intersection(range(place - 3, place + 1)):
            plural = linked.clause.tokens[place].text.lower().endswith("s")
            if not plural:
                found.append((linked.weight, Value("number", 1.0, "", (1.0,), place, place + 1)))
    return found
