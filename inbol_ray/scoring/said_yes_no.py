"""Does a sentence say yes or no to a question? read reply -> `yes`, `no` or None where it says both or neither.

A reply may open with the word, or answer by repeating the question's predicate (`The door stands wide open`), by denying it,
or by what excludes it (`The door is shut`). A reply that speaks of something else instead says no. Source: ours.
"""

import re
from typing import Literal

from inbol_ray.scoring.asked import FUNCTION_WORDS, PREPOSITIONS
from inbol_ray.scoring.assertions import Standing
from inbol_ray.scoring.linking import Linked, Said
from inbol_ray.scoring.mention_standing import is_same_place, place_before
from inbol_ray.scoring.mentions import PLACES
from inbol_ray.scoring.word_forms import is_opposite, listed, positive_of

YesNo = Literal["yes", "no"]

_YES = re.compile(
    r"^\W*(?:(?:yes|yeah|yep|yup|indeed|correct|absolutely|definitely|certainly|true|affirmative|sure|of\s+course|it\s+does|they\s+do|"
    r"it\s+is|they\s+are|he\s+is|she\s+is|there\s+(?:is|are))(?=\W*$|\s*[,.!;:\n]|\s+(?:it|there|the|he|she|they|indeed)\b)|that\s+is\s+(?:correct|right|true)\b|"
    r"(?:the\s+answer\s+(?:is|would\s+be)\s+)?yes\b)",
    re.IGNORECASE,
)
_NO = re.compile(
    r"^\W*(?:(?:no|nope|nah|negative|false|incorrect|(?:it|they|he|she|there)\s+(?:is|are|does|do|has|have)\s+not)(?=\W*$|\s*[,.!;:\n]|\s+(?:it|there|the|he|she|they)\s)|"
    r"not\s+(?:quite|really|exactly|at\s+all|yet|entirely)\b|(?:the\s+answer\s+(?:is|would\s+be)\s+)?no\b(?=\s*[,.!;:\n]|\W*$))",
    re.IGNORECASE,
)
_LATER = re.compile(
    r"(?:\bso|\btherefore|\bthus|\bhence|\banswer\s+is|\bwould\s+be|\bis\s+a)\W+(?:the\s+answer\s+is\W+|a\s+)?(?P<word>yes|no)\b(?=\W|$)(?!\s+\w)",
    re.IGNORECASE,
)
_UNDECIDED = re.compile(
    r"\bmay\s+or\s+may\s+not\b|\bmight\s+or\s+might\s+not\b|\bwhether\b|\byes\s+(?:and|or)\s+no\b|"
    r"\b(?:could|can|may|might)\b[^.;]*\bor\b[^.;]*\b(?:could|can|may|might|not)\b",
    re.IGNORECASE,
)
_EXISTS = frozenset({"there", "any"})
_PRONOUNS = frozenset(listed("it he she they this that these those there you"))
_UNSEEN = re.compile(
    r"\bnot\s+(?:be\s+)?(?:seen|visible|present|there|found|anywhere|shown|in\s+(?:the|this)\s+(?:picture|image|photo|frame|scene))\b|\b(?:is|are)\s+(?:nowhere|absent|missing)\b"
)
_PARTICLES = frozenset({"on", "off", "up", "down", "out"})
_THERE = re.compile(r"there (?:is|are) (?P<not>not )?(?:one|some|several|many|two|three|a few)\b")
_SUBORDINATE = frozenset({"whereas", "unlike", "although", "though", "despite", "since", "because"})
_PEOPLE = frozenset({"man", "woman", "child", "boy", "girl", "crowd", "guest", "visitor", "worker"})
_EACH = frozenset({"both", "all", "every", "each"})
_NOT_EACH = re.compile(
    r"\bonly\s+(?:one|some|two|half|a\s+few)\b|\bnot\s+(?:all|both|every)\b|\b(?:one|some|none|half)\s+of\b|\b(?:is|are|do|does|has|have)\s+not\W*$",
    re.IGNORECASE,
)
_FEW = frozenset({"both", "all", "every", "everyone"})


def read_verdict(said: Said) -> YesNo | None:
    """What the reply says to the question."""
    if not said.linked or _UNDECIDED.search(said.text):
        return None
    opened = _opening(said.text)
    if opened is None and _EACH.intersection(said.asked.tokens) and _NOT_EACH.search(said.text):
        return "no"
    if opened is None and (compared := _compared(said)) is not None:
        return compared
    if opened is None:
        if later := _LATER.search(said.text):
            return "yes" if later["word"].lower() == "yes" else "no"
        return _tell(said)[0]
    verdict, is_sure = _tell(said, first_sentence=True)
    return None if is_sure and verdict is not None and verdict != opened else opened


def _opening(text: str) -> YesNo | None:
    if _NO.match(text):
        return "no"
    return "yes" if _YES.match(text) else None


def _tell(said: Said, *, first_sentence: bool = False) -> tuple[YesNo | None, bool]:
    """What the reply's statements say, and whether they say it of the question's own words."""
    targets = _targets(said)
    turned = sum(word in ("not", "no", "without", "never", "lack") for word in said.asked.tokens) % 2
    counted = [
        (weight, verdict)
        for linked in said.linked
        for weight, verdict in _evidence(linked, targets, said)
        if weight >= _SURE or not (first_sentence and linked.clause.sentence)
    ]
    if not counted:
        denied = any(mark is Standing.DENIED for linked in said.linked for mark, _ in linked.marks)
        return ("no" if denied or targets else None), False
    best = max(weight for weight, _ in counted)
    verdicts = {verdict for weight, verdict in counted if weight >= best}
    if len(verdicts) > 1:
        return None, True
    (is_yes,) = verdicts
    return ("yes" if is_yes != bool(turned) else "no"), best >= _SURE


_SURE, _LONGEST_ELLIPSIS = 2.0, 5


def _targets(said: Said) -> list[str]:
    """Lemmas that decide: what there is asked to be, or the predicate without its subject."""
    tokens, words = said.asked.tokens, said.asked.words
    if tokens and tokens[-1] in _PARTICLES:
        return [tokens[-1]]
    content = [word for word in tokens[1:] if word in words and word not in _FEW and word != "see"]
    if (
        _EXISTS.intersection(tokens[:3])
        or tokens[1:2] == ("person",)
        or tokens[:3] in (("can", "you", "see"), ("do", "you", "see"))
    ):
        first: list[str] = []
        for word in tokens[1:]:
            if word in content:
                first.append(word)
            elif first and (word in PREPOSITIONS or word in FUNCTION_WORDS):
                break
        return first
    subject = _subject(said)
    return [word for word in content if word not in subject] or content


def _subject(said: Said) -> list[str]:
    """The first run of content words: a subject, of whose last word it is open whether it is the predicate."""
    run: list[str] = []
    for number, word in enumerate(said.asked.tokens[1:]):
        if word in said.asked.words and word not in _FEW:
            run.append(word)
        elif run or (number == 0 and word in _PRONOUNS):
            break
    is_last = bool(run) and run[-1] == said.asked.ordered[-1]
    return run[:-1] if len(run) > 1 and (is_last or len(run) > 2) else run


def _evidence(linked: Linked, targets: list[str], said: Said) -> list[tuple[float, bool]]:
    """(weight, whether it says yes) of what a clause says of the targets."""
    found: list[tuple[float, bool]] = []
    there = [
        (token.lemma, mark, count) for token, (mark, count) in zip(linked.clause.tokens, linked.marks, strict=True)
    ]
    unseen = _UNSEEN.search(" ".join(linked.words)) is not None
    hits = {lemma: (count + unseen) % 2 == 0 for lemma, _, count in there if lemma in targets}
    if "person" in targets and "person" not in hits:
        told = [(count + unseen) % 2 == 0 for lemma, _, count in there if lemma in _PEOPLE]
        hits |= {"person": told[-1]} if told else {}
    if "person" in targets and "nobody" in linked.words:
        hits["person"] = False
    for target in hits:
        hits[target] = hits[target] and _is_there(linked, target, said)
    opposed = [
        count % 2 == 0
        for lemma, mark, count in there
        if lemma not in targets and mark is not Standing.ASIDE and any(is_opposite(target, lemma) for target in targets)
    ]
    share = len(hits) / len(targets) if targets else 0.0
    if opposed and share < 1:
        found.append((1.5 if linked.clause.sentence else _SURE, not opposed[-1]))
    elif hits and not all(hits.values()):
        found.append((1.0 + share, False))
    elif hits and share >= 0.5:
        found.append((1.0 + share, True))
        if any(opposed) and _is_joined(linked, targets):  # `closed and open`
            found.append((1.0 + share, False))
    elif not hits and _EXISTS.intersection(said.asked.tokens[:3]) and (pointed := _THERE.match(" ".join(linked.words))):
        found.append((1.5, pointed["not"] is None))
    if linked.lemmas[-1:] == ["not"] and len(linked.lemmas) <= _LONGEST_ELLIPSIS and said.asked.head in linked.lemmas:
        found.append((_SURE + 0.5, False))  # `but the girl does not`
    lowered = 1.0 if linked.clause.opener in _SUBORDINATE else 0.0
    return [(weight - lowered, verdict) for weight, verdict in found]


def _is_there(linked: Linked, target: str, said: Said) -> bool:
    """Whether a target is in the place that the question says: not `next to the pot` for `on the pot`."""
    tokens, lemmas = said.asked.tokens, linked.lemmas
    if target not in tokens or target not in lemmas:
        return True
    place = tokens.index(target)
    asked = next((PLACES[word] for word in tokens[max(0, place - 2) : place] if word in PLACES), None)
    return asked is None or is_same_place(place_before(linked, lemmas.index(target)), asked)


def _is_joined(linked: Linked, targets: list[str]) -> bool:
    """Whether `and` joins a target and its opposite."""
    lemmas = linked.lemmas
    pairs = [(lemmas[place - 1], lemmas[place + 1]) for place in range(1, len(lemmas) - 1) if lemmas[place] == "and"]
    return any(
        (one in targets and is_opposite(one, other)) or (other in targets and is_opposite(other, one))
        for one, other in pairs
    )


def _compared(said: Said) -> YesNo | None:
    """What a comparison says to one: `the boy is older than the girl` says no to `Is the girl older than the boy?`."""
    asked = said.asked
    if "than" not in asked.tokens:
        return None
    place = asked.tokens.index("than")
    degree = positive_of(asked.tokens[place - 1])
    for linked in said.linked:
        if "than" not in linked.words:
            continue
        split = linked.words.index("than")
        told = positive_of(linked.lemmas[split - 1])
        same_way = asked.head in linked.lemmas[:split] or (
            asked.head not in linked.lemmas and split < len(linked.words) - 1
        )
        if told == degree or is_opposite(told, degree):
            denied = linked.marks[split - 1][1] % 2 == 1
            return "yes" if (same_way == (told == degree)) != denied else "no"
    return None
