"""What a clause says of its words: tokens -> each asserted, denied, or only an aside. English, by rule.

`not red but blue` denies red; `bigger than the cat`, `like a carrot`, `followed by K2` bring something in to compare with;
`it isn't true that there is no dog` denies twice. A doubt of one's own (`not sure, but`) denies nothing. Source: ours.
"""

import re
from collections.abc import Sequence
from enum import IntEnum

from inbol_ray.scoring.sentences import Clause, Token, is_word
from inbol_ray.scoring.word_forms import listed


class Standing(IntEnum):
    """How a word stands in its clause."""

    ASSERTED = 0
    DENIED = 1
    ASIDE = 2


_DOUBT = re.compile(
    r"\b(?:not|never|no|hard|difficult)\s+(?:\w+\s+)?(?:entirely|completely|totally|quite|fully|absolutely|perfectly|very|too|100\s*%?|"
    r"easy|really)?\s*(?:sure|clear|clearly|certain|obvious|mistaken|positive|wrong|expert|an\s+expert|easy\s+to\s+\w+|possible\s+to\s+(?:tell|"
    r"say|be\s+\w+)|to\s+(?:tell|say|see|be\s+\w+)|only|just|necessarily|perfectly|doubt|question)\b|\bno\s+(?:doubt|question|wonder)\b|"
    r"\bwithout\s+(?:a\s+|any\s+)?(?:doubt|question)\b|\bnot\s+(?:the\s+)?only\b|\bif\s+i\s+(?:am|be)\s+not\s+\w+|"
    r"\b(?:can|could|do|does)\s+not\s+(?:really\s+|quite\s+)?(?:tell|be\s+(?:\w+\s+)?(?:sure|certain)|know|say)\b",
    re.IGNORECASE,
)
_META = re.compile(
    r"\b(?:(?:it\s+)?(?:is|would\s+be|be)\s+)?(?:not\s+(?:true|correct|right|the\s+case)|(?:wrong|false|incorrect|untrue|a\s+mistake)"
    r"(?:\s+to\s+\w+)?)(?=\s+(?:that|there|to|if)\b|\s+\w+\s+(?:is|are)\b)|"
    r"\b(?:nobody|no\s+one)\s+(?:could|can|would)\s+(?:\w+\s+)?(?:say|claim|deny|call)\b|\bdo\s+not\s+(?:think|believe|suppose)\b|\bdoubt\s+(?:that|it|there)\b|"
    r"\b(?:can|could)\s+not\s+(?:say|claim)\s+(?:that\s+)?",
    re.IGNORECASE,
)
_NEGATORS = frozenset(
    listed("""not no never without neither nor none nobody nothing lack lacks lacking hardly barely scarcely zero""")
)
_PHRASES: tuple[tuple[tuple[str, ...], Standing], ...] = tuple(
    (tuple(words.split()), standing)
    for standing, listed in (
        (
            Standing.DENIED,
            """rather than/instead of/far from/anything but/other than/no longer/free of/free from/devoid of/in place of/
            ruled out/rules out/rule out/ruling out/excludes/exclude/nowhere near/away from/opposed to/apart from/except/
            except for/nothing like/unlike/not like/miss/missing/replaced/used to be/used to have/run out of/ran out of/mistaken for/mistake for/confused with""",
        ),
        (
            Standing.ASIDE,
            """than/compared with/compared to/similar to/resembles/resemble/resembling/followed by/ahead of/outnumber/outnumbers/reminiscent of/
            in front of by/in comparison/as opposed/rival of/close to/not far from/with the/after/before/others""",
        ),
    )
    for words in listed.replace("\n", " ").split("/")
)
_LIKE_VERBS = frozenset(listed("look seem sound smell taste feel appear"))
_ENDED = frozenset({"stop", "end", "avoid", "quit", "refuse"})
_UNDONE = frozenset({"wait", "want", "ready", "prepare", "plan", "hope"})
_RESUMES = frozenset(["but", "just", "only", "instead"])
_TRAILING = re.compile(
    r"\b(?:is|are|was|can|could|be|been|has|have)\s+(?:(?!no|not|nothing|never)\w+\s+)?(?:ruled\s+out|excluded|eliminated|wrong|incorrect|out\s+of\s+the\s+question|impossible|"
    r"absent|nowhere|too\s+\w+\b(?!\s+to\b))(?!\s+to\s+be\s+sure)|\b(?:do|does|would|can|could)\s+not\s+(?:fit|apply|match|qualify)\b",
    re.IGNORECASE,
)


def standings(clause: Clause, text: str) -> list[tuple[Standing, int]]:
    """Of each token its standing and how many times it is denied. `text` is the clean text that the tokens are of."""
    tokens = clause.tokens
    start, end = tokens[0].start, tokens[-1].end
    said = text[start:end]
    doubts = [(found.start() + start, found.end() + start) for found in _DOUBT.finditer(said)]
    metas = [(found.start() + start, found.end() + start) for found in _META.finditer(said)]
    count, aside = 0, clause.opener in ("unlike", "despite")
    comma_ends = False
    marks: list[tuple[Standing, int]] = []
    words = [token.text.lower() for token in tokens]
    for place, token in enumerate(tokens):
        if any(first == token.start for first, _ in metas):
            count += 1
        if words[place] == "to" and aside and "from" in words[max(0, place - 3) : place]:
            aside = False
        if token.text == "," and (comma_ends or _resumes(words, place)):
            count, aside, comma_ends = 0, False, False
        if words[place] in _RESUMES and place and words[place - 1] == ",":
            count, aside = 0, False
        if not any(first <= token.start < last for first, last in (*doubts, *metas)):
            step, is_aside = _effect(words, tokens, place)
            count += step
            if step and words[place] in ("rather", "instead", "without", "apart", "unlike", "except", "in"):
                comma_ends = True
            if is_aside:
                aside, comma_ends = True, True
        marks.append((_standing(count, aside), count))
    if not doubts and not metas and _TRAILING.search(said):
        marks = [(mark, number) if number else (Standing.DENIED, 1) for mark, number in marks]
    return marks


def _standing(count: int, aside: bool) -> Standing:
    if count % 2:
        return Standing.DENIED
    return Standing.ASIDE if aside else Standing.ASSERTED


def _resumes(words: Sequence[str], place: int) -> bool:
    """After a comma: `no wine, just juice`, `not red, it is blue`."""
    return words[place + 1 : place + 2] != [] and words[place + 1] in (*_RESUMES, "it", "they", "he", "she", "this")


def _effect(words: Sequence[str], tokens: Sequence[Token], place: int) -> tuple[int, bool]:
    """How many denials start at a token, and whether an aside does."""
    word = words[place]
    if word == "like":
        before = next((token for token in reversed(tokens[:place]) if is_word(token)), None)
        return 0, before is not None and before.lemma not in _LIKE_VERBS
    if word == "as" and "as" in words[max(0, place - 5) : place] and words[place - 1] != "well":
        return 0, True
    if word == "from" and "to" in words[place + 2 : place + 5]:  # `turned from green to orange`
        return 0, True
    if word == "to" and "too" in words[max(0, place - 4) : place]:  # `too dark to read`
        return 1, False
    if word.endswith("ing") and place and tokens[place - 1].lemma in _ENDED:  # `has stopped reading`
        return 1, False
    if word == "to" and place and tokens[place - 1].lemma in _UNDONE:
        return 0, True
    for phrase, standing in _PHRASES:
        if word == phrase[0] and tuple(words[place : place + len(phrase)]) == phrase:
            if phrase == ("with", "the") and (place == 0 or words[place - 1] != ","):
                continue
            if phrase == ("others",) and place == 0:
                continue
            return int(standing is Standing.DENIED), standing is Standing.ASIDE
    if word in _NEGATORS:
        if word == "no" and words[place + 1 : place + 2] in (["longer"], [","], ["."]):
            return 0, False
        if word == "nothing" and words[place + 1 : place + 2] == ["but"]:
            return 0, False
        if word in ("nor", "neither") and any(other in ("not", "neither", "no") for other in words[:place]):
            return 0, False
        return 1, False
    return 0, False
