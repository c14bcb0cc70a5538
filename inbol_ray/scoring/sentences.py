"""A reply as sentences, clauses and words: text -> list of clauses of tokens. English, by rule.

A clause is what one verb says: sentences are cut at stops, semicolons, colons and dashes, before `but`, `while`, `which` and
the like, and where a comma or `and` is followed by a subject and its verb. Nothing here knows what is asked.
Source: ours.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from inbol_ray.scoring.plain_text import without_markup
from inbol_ray.scoring.word_forms import lemma, listed


class Token(NamedTuple):
    """A word, number or mark: as written, its lemma, and where it starts and ends in the clean text."""

    text: str
    lemma: str
    start: int
    end: int


@dataclass(slots=True)
class Clause:
    """Tokens of one clause; `opener` is the conjunction before it (`but`, `which`, ...), `sentence` its sentence's number."""

    tokens: list[Token]
    opener: str
    sentence: int


_APOSTROPHES = str.maketrans(
    {"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2212": "-", "\u00d7": " x "}
)
_CONTRACTED = (
    (re.compile(r"\b(?:can't|cannot)\b", re.IGNORECASE), "can not"),
    (re.compile(r"\bwon't\b", re.IGNORECASE), "will not"),
    (re.compile(r"n't\b", re.IGNORECASE), " not"),
    (re.compile(r"\b(it|he|she|that|there|here|what|who|where|one|everything|nothing)'s\b", re.IGNORECASE), r"\1 is"),
    (re.compile(r"(?<=[a-z])'re\b", re.IGNORECASE), " are"),
    (re.compile(r"(?<=i)'m\b", re.IGNORECASE), " am"),
    (re.compile(r"(?<=[a-z])'(?:ve|d|ll)\b", re.IGNORECASE), " will"),
    (re.compile(r"'s\b|(?<=s)'(?=\s)", re.IGNORECASE), ""),
)
_ALIASES = (
    (re.compile(r"\bunited\s+states(?:\s+of\s+america)?\b", re.IGNORECASE), "USA"),
    (re.compile(r"\b(?:united\s+kingdom|great\s+britain)\b", re.IGNORECASE), "UK"),
    (re.compile(r"\b(?:new\s+york\s+city|nyc)\b", re.IGNORECASE), "New York"),
    (re.compile(r"\bSt\.?(?=\s+[A-Z][a-z])"), "Saint"),
    (re.compile(r"\bper\s+cent\b", re.IGNORECASE), "percent"),
)
_NO_ONE = re.compile(r"\bno\s*-?one\b(?!\s+of)", re.IGNORECASE)
_BY_ONESELF = re.compile(
    r"\b(?:all\s+)?by\s+(?:him|her|it|one|my|your)self\b|\bby\s+themselves\b|\b(?:all\s+)?on\s+(?:his|her|its|their)\s+own\b(?!\s+\w)",
    re.IGNORECASE,
)
_ABBREVIATED = re.compile(
    r"\b(mr|mrs|ms|dr|st|mt|prof|jr|sr|vs|no|approx|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.(?=\s*[\w,])(?!\s*$)",
    re.IGNORECASE,
)
_INITIALED = re.compile(
    r"\b(?:[A-Z][a-z]+ |[A-Z]\. ?)(?:[A-Z]\. ?)*[A-Z]\.(?= ?[A-Z][a-z])|\b[A-Z]\.(?= [A-Z]\.| [A-Z][a-z]+ ?[A-Z])"
)
_HALF_DAY = re.compile(r"\b([ap])\.?\s?m\b\.?(?=\s*[a-z,;]|(\s*$))", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*\u2022]\s+|\d{1,2}[.)]\s+(?=[A-Za-z]))", re.MULTILINE)
_TOKEN = re.compile(
    r"\d{1,2}:\d\d(?!\d)|\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+(?:\.\d+)+(?![^\W_])|\d+(?=(?:st|nd|rd|th|cm|mm|km|kg|m|g|ml|l|t|am|pm)\b)"
    r"|[^\W_]+(?:'[^\W_]+)*|\.{2,}|--+|[.,;:!?()\u2014\u2013\u2026\"\n%$\u20ac\u00a3\u00a5\u00b0/+=-]"
)
_STOPS = frozenset({".", "!", "?", "\n", "...", "\u2026", ".."})
_CUTS = frozenset({";", ":", "\u2014", "\u2013", "--", "(", ")"})
_OPENERS = frozenset(
    listed(
        """but while whereas although though which who whose because since unlike despite yet however so whom unless
        where instead therefore thus hence besides"""
    )
)
_NOT_BUT = frozenset({"nothing", "anything", "none", "everything", "all"})
_DETERMINERS = frozenset(
    listed(
        """the a an its his her their this that these those it they he she there we you i another one some my our both
        others two three four five everyone no each only"""
    )
)  # fmt: skip
VERBS = frozenset(
    lemma(word)
    for word in listed(
        """be have do can may might must will would should could seem look appear wear hold contain show say read sit
        stand lie ride drive carry eat make live go lead cover hang rise grow run walk play come get give keep need
        use want think believe count see measure cost weigh belong mean leave sell win start end stretch fill
        surround outnumber mark reach run point face mention state indicate depict feature drive wait watch work put
        stay park feel tell know score"""
    )
)  # fmt: skip
"""Lemmas of verbs that most clauses are made with; enough to tell a clause from a list."""


def clean(text: str) -> str:
    """Text without markdown, LaTeX, bullets and contractions, with straight quotes: what `read_clauses` takes."""
    text = without_markup(text.translate(_APOSTROPHES))
    text = _BULLET.sub("", text)
    text = _HALF_DAY.sub(
        lambda found: f"{found[1]}m" + ("." if found[2] is not None and found[0].endswith(".") else ""), text
    )
    if "'" in text or "cannot" in text:
        for pattern, written in _CONTRACTED:
            text = pattern.sub(written, text)
    for pattern, written in _ALIASES:
        text = pattern.sub(written, text)
    text = _NO_ONE.sub("nobody", _BY_ONESELF.sub("alone", text))
    return _INITIALED.sub(lambda name: name[0].replace(".", ""), _ABBREVIATED.sub(r"\1", text))


def tokenise(text: str) -> list[Token]:
    """Tokens of a clean text; a mark is its own lemma."""
    return [Token(found[0], lemma(found[0]), *found.span()) for found in _TOKEN.finditer(text)]


def words_of(text: str) -> list[str]:
    """Lemmas of a text's words and numbers, without marks."""
    return [token.lemma for token in tokenise(clean(text)) if is_word(token)]


def is_word(token: Token) -> bool:
    return token.text[0].isalnum()


def read_clauses(tokens: list[Token]) -> list[Clause]:
    """Clauses of tokens in order; none is empty."""
    clauses: list[Clause] = []
    start, opener, sentence = 0, "", 0

    def close(end: int) -> None:
        nonlocal start
        if any(is_word(token) for token in tokens[start:end]):
            clauses.append(Clause(tokens[start:end], opener, sentence))
        start = end

    for place, token in enumerate(tokens):
        word = token.text.lower()
        if word in _STOPS:
            close(place)
            start, opener, sentence = place + 1, "", sentence + 1
        elif (
            word in _CUTS
            or (word == "-" and _is_dash(tokens, place))
            or word in _OPENERS
            and _opens(tokens, place, start)
            or word in (",", "and")
            and _has_verb(tokens[start:place])
            and _starts_clause(tokens, place + 1)
        ):
            close(place)
            start, opener = place + 1, word
    close(len(tokens))
    return clauses


def _has_verb(tokens: list[Token]) -> bool:
    return any(token.lemma in VERBS for token in tokens)


def _is_dash(tokens: list[Token], place: int) -> bool:
    before, after = tokens[place - 1 : place], tokens[place + 1 : place + 2]
    return bool(before and after) and before[0].end < tokens[place].start and tokens[place].end < after[0].start


def _opens(tokens: list[Token], place: int, start: int) -> bool:
    word, before = tokens[place].text.lower(), tokens[place - 1].text.lower() if place > start else ""
    if word == "but":
        return before not in _NOT_BUT
    if word in ("who", "where", "which", "whose", "whom"):  # `the man who ...` says which man
        return before == ","
    if word == "instead":
        return tokens[place + 1 : place + 2] == [] or tokens[place + 1].text.lower() != "of" and before != ","
    if word == "so":
        return place == start or before in (",", "and")
    return True


def _starts_clause(tokens: list[Token], place: int) -> bool:
    """Whether a subject and its verb follow: a determiner or pronoun, then within a few words a verb."""
    following = tokens[place : place + 6]
    if following and following[0].lemma in ("and", "so", "then", "thus", "therefore"):
        following = following[1:]
    if not following or not (following[0].text.lower() in _DETERMINERS or following[0].text[0].isupper()):
        return False
    for token in following[1:]:
        if not is_word(token):
            return False
        if token.lemma in VERBS:
            return True
        if token.lemma == "and":
            return False
    return False
