"""Is a sentence right? reply, question, references -> bool, or VQA accuracy's score. The rule `free_text`.

For models that answer in sentences. The short answer is looked for in the reply, by the question: what is denied, corrected,
offered as an alternative or told of another thing in passing does not count. English, by rule, without a model.

It agrees with 92.4% of 620 labelled replies that were kept back while it was written (`tests/scoring/test_free_text.py`), and
with all of the 250 it was written on. It knows few synonyms and nothing of the world: an answer in other words than the
reference (`has no shoes on` for `barefoot`) is wrong. Source: ours.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from inbol_ray.scoring.choice_parsers import parse_union
from inbol_ray.scoring.linking import Said, read_reply
from inbol_ray.scoring.official_choice_parsers import index_of
from inbol_ray.scoring.plain_text import plain_answer
from inbol_ray.scoring.said_attributes import gives_attributes, wanted_attributes
from inbol_ray.scoring.said_options import choose_option
from inbol_ray.scoring.said_texts import gives_text
from inbol_ray.scoring.said_values import gives_value, wanted_value
from inbol_ray.scoring.said_yes_no import read_verdict
from inbol_ray.scoring.text_answers import normalised_match
from inbol_ray.scoring.vqa_accuracy import share_of_people

_LAST_LETTER = re.compile(
    r"(?:\b(?:is|be|option|leaves|leaving|remains)|[,:;])\s+(?:only\s+|just\s+)?(?:option\s+)?\(?([A-Z])\)?\s*[.!]?\s*$"
)
_YES_NO = frozenset({"yes", "no"})


def free_text_match(reply: str, question: str, references: Sequence[str]) -> bool:
    """Whether a reply's answer is one of the references."""
    return any(_gives(reply, question, reference) for reference in references)


def free_text_accuracy(reply: str, question: str, references: Sequence[str]) -> float:
    """VQA accuracy in [0, 1], where a person agrees whose answer the reply gives.

    As in VQA accuracy the mean over leaving out each person of min(1, agreeing others / 3), so that figures are comparable.
    """
    return share_of_people(count_people(reply, question, references), len(references))


def count_people(reply: str, question: str, references: Sequence[str]) -> int:
    """How many of the references, one a person, the reply gives as its answer."""
    agrees = {reference: _gives(reply, question, reference) for reference in dict.fromkeys(references)}
    return sum(agrees[reference] for reference in references)


def free_text_choice(reply: str, question: str, choices: Sequence[str]) -> int | None:
    """Index of the option that a reply chooses, by letter (`parse_union`), else by its text in a sentence."""
    index = parse_union(reply, choices)
    if index is None:
        index = choose_option(_read(reply, question), choices)
    if index is None and (last := _LAST_LETTER.search(reply)):
        index = index_of(last[1], choices)
    return index


@lru_cache(maxsize=64)
def _read(reply: str, question: str) -> Said:
    return read_reply(reply, question)


def _gives(reply: str, question: str, reference: str) -> bool:
    if normalised_match(plain_answer(reply), reference):
        return True
    said = _read(reply, question)
    if not said.linked:
        return False
    if reference.strip().lower() in _YES_NO and said.asked.kind != "count":
        return read_verdict(said) == reference.strip().lower()
    if (value := wanted_value(reference, said)) is not None:
        return gives_value(said, value)
    if (attributes := wanted_attributes(reference, said)) is not None:
        return gives_attributes(said, attributes)
    return gives_text(said, reference)
