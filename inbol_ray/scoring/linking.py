"""Which clause of a reply answers the question? clauses, what is asked -> a weight a clause.

A clause is linked by the question's words, most by its head noun, and by a pronoun that stands for it; a conclusion (`so`,
`all in all`) and what opens a reply without a verb weigh more, a subordinate clause (`which ...`, `although ...`) less, and
one about the opposite (`on the right` for `on the left`) least. Source: ours.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from inbol_ray.scoring.asked import Asked, read_question
from inbol_ray.scoring.assertions import Standing, standings
from inbol_ray.scoring.quantities import Value, read_values
from inbol_ray.scoring.sentences import VERBS, Clause, clean, is_word, read_clauses, tokenise
from inbol_ray.scoring.short_answers import after_corrections, declared_answer
from inbol_ray.scoring.word_forms import is_opposite, listed

_PRONOUNS = frozenset(listed("it he she they this that these those one"))
_REMAINS = frozenset(["remains", "remain", "leaves", "leaving"])
_PERSONAL = frozenset(listed("it he she they them him"))
POSITIONS = frozenset(
    listed("""under behind above beside near next between outside inside left right top bottom front""")
)
_IMPLIES = frozenset({"means", "suggests", "indicates", "shows", "leaves"})
_ELLIPSES = frozenset(["other", "others", "rest", "remain", "whom"])
_EXPLAINS = frozenset((":", "\u2014", "\u2013", "-", "--", "(", ";", "because", "since"))
_POINTS_BACK = re.compile(
    r"\W*(?:so\s+)?(?:that|this|which)\s+(?:is|makes|gives|must\s+be)\s+(?:the|its|his|her|their|what)\b", re.IGNORECASE
)
_SUBORDINATE = frozenset(
    listed("""which who whose whom where although though while whereas because since unlike despite besides""")
)
_CONCLUSION = re.compile(
    r"^\W*(?:(?:so|therefore|thus|hence|consequently|overall|clearly|ultimately|finally)\b|all\s+in\s+all|in\s+(?:conclusion|short|summary|total)|that\s+means|"
    r"this\s+(?:means|suggests|indicates|makes|is\s+clearly)|(?:it|this)\s+must\b|to\s+sum\s+up)",
    re.IGNORECASE,
)
_DESCRIBES = re.compile(
    r"\W*(?:(?:the|this)\s+(?:\w+\s+){0,2}(?:image|picture|photo|photograph|chart|graph|table|diagram|map|scene|drawing|illustration)\s+"
    r"(?:shows?|compares?|depicts?|lists?|presents?|displays?|is|features?|captures?|contains?|plots?)|in\s+(?:the|this)\s+(?:image|picture|photo))\b",
    re.IGNORECASE,
)
HEAD, _WORD, _ADJECTIVE, _PREDICATE, _PRONOUN, _FRAGMENT = 1.5, 1.2, 0.5, 2.0, 0.7, 4.0
_POSITION, _REASONS = 1.5, 3.0
_LONGEST_FRAGMENT = 5
_CONCLUDES, _AFTER_DENIAL, _SUBORDINATED, _OPPOSED = 2.0, 1.0, -1.5, -2.5


@dataclass(slots=True)
class Linked:
    """A clause, how each of its tokens stands, the values in it, and how well it is linked to the question."""

    clause: Clause
    marks: list[tuple[Standing, int]]
    values: list[Value]
    weight: float
    is_elsewhere: bool = False
    """Whether it tells of the opposite place: `on the left` where the right is asked about."""

    @property
    def lemmas(self) -> list[str]:
        return [token.lemma for token in self.clause.tokens]

    @property
    def words(self) -> list[str]:
        return [token.text.lower() for token in self.clause.tokens]


@dataclass(slots=True)
class Said:
    """A reply, read for one question."""

    asked: Asked
    text: str
    linked: list[Linked]


def read_reply(reply: str, question: str) -> Said:
    """A reply's clauses that count, each with its weight."""
    text = after_corrections(clean(declared_answer(reply) or reply))
    asked = read_question(question)
    linked: list[Linked] = []
    clauses = read_clauses(tokenise(text))
    for number, clause in enumerate(clauses):
        marks = standings(clause, text)
        previous = linked[-1] if linked else None
        is_whole = clauses[number + 1 : number + 2] == [] or _stands_alone(clause, clauses[number + 1])
        weight = _weight(clause, marks, asked, linked, number == 0 and is_whole, text)
        elsewhere = bool(POSITIONS & asked.words) and _is_opposed(clause, marks, asked.words & POSITIONS, asked.head)
        linked.append(Linked(clause, marks, read_values(clause.tokens), weight, elsewhere))
        if previous is not None and _POINTS_BACK.match(text[clause.tokens[0].start :]):
            previous.weight = max(previous.weight, weight)  # `The middle one is 7, so that is the median.`
    return Said(asked, text, linked)


def _weight(
    clause: Clause,
    marks: Sequence[tuple[Standing, int]],
    asked: Asked,
    earlier: Sequence[Linked],
    is_first: bool,
    text: str,
) -> float:
    previous = earlier[-1] if earlier else None
    lemmas = [token.lemma for token in clause.tokens if is_word(token)]
    there = set(lemmas)
    weight = sum(_word_weight(word, asked) for word in asked.words if word in there)
    if asked.head in there:
        pass
    elif _refers(clause, lemmas, asked, earlier):
        weight += HEAD
    elif _has_pronoun(clause):
        weight += _PRONOUN
    elif not _ELLIPSES.isdisjoint(there):
        weight += HEAD  # `the other three are lit`
    if is_first and len(lemmas) <= _LONGEST_FRAGMENT and not any(lemma in VERBS for lemma in lemmas):
        weight += _FRAGMENT
    if clause.opener in ("therefore", "thus", "hence", "so") or _CONCLUSION.match(text[clause.tokens[0].start :]):
        weight += _CONCLUDES
    if previous is not None and any(mark is Standing.DENIED for mark, _ in previous.marks):
        weight += _AFTER_DENIAL
    if clause.opener in ("because", "since") and "why" in asked.tokens:
        weight += _REASONS
    elif clause.opener in ("which", "who", "whose") and previous is not None and _last_word(previous) == asked.head:
        weight += HEAD  # `the ball, which is white`
    elif clause.opener == "which" and clause.tokens[0].text.lower() in _IMPLIES:
        weight += _CONCLUDES  # `..., which means rain`
    elif clause.opener in _SUBORDINATE:
        weight += _SUBORDINATED
    if not _REMAINS.isdisjoint(token.text.lower() for token in clause.tokens):
        weight += _CONCLUDES
    if _DESCRIBES.match(text[clause.tokens[0].start :]):
        weight -= 1.0
    if _is_opposed(clause, marks, asked.words, asked.head):
        weight += _OPPOSED
    return weight


def _word_weight(word: str, asked: Asked) -> float:
    """What is asked of the head says more than what it is called: `knitting` in `What is the old woman knitting?`"""
    if word == asked.head:
        return HEAD
    if asked.kind == "count":
        return _PREDICATE
    if word in POSITIONS:
        return _POSITION
    is_before = asked.head in asked.ordered and asked.ordered.index(word) < asked.ordered.index(asked.head)
    return _ADJECTIVE if is_before else _WORD


def _refers(clause: Clause, lemmas: list[str], asked: Asked, earlier: Sequence[Linked]) -> bool:
    """Whether a pronoun stands for the head: a subject for one in any clause before, another for one in the last."""
    if clause.tokens[0].text.lower() in _PERSONAL:
        return any(asked.head in linked.lemmas for linked in earlier)
    return bool(earlier) and asked.head in earlier[-1].lemmas and not _PERSONAL.isdisjoint(lemmas)


def _last_word(linked: Linked) -> str:
    return next(token.lemma for token in reversed(linked.clause.tokens) if is_word(token))


def _stands_alone(clause: Clause, following: Clause) -> bool:
    return following.sentence != clause.sentence or following.opener in _EXPLAINS


def _has_pronoun(clause: Clause) -> bool:
    words = [token.text.lower() for token in clause.tokens]
    return any(word in _PRONOUNS for word in words[:4])


def _is_opposed(clause: Clause, marks: Sequence[tuple[Standing, int]], words: frozenset[str], head: str) -> bool:
    """Whether a clause says the opposite of one of the question's words, which it lacks."""
    there = {token.lemma for token in clause.tokens}
    wanted = [word for word in words if word not in there and word != head]
    return any(
        mark is not Standing.DENIED and any(is_opposite(word, token.lemma) for word in wanted)
        for token, (mark, _) in zip(clause.tokens, marks, strict=True)
    )
