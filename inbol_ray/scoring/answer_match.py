"""How good is an answer? reply, Question -> (score in [0, 1], unparsed), by the rule of the question's corpus.

Under `ours` every text is compared without markdown, LaTeX, surrounding quotes, a leading `Answer:` and final marks
(`plain_answer`). Refusals are not looked at here (`scoring.refusal`), and a reply without a readable choice stays
unparsed: it is never replaced by a random letter.

| answer_kind | rule "ours" | rule "official", where it differs | rule "free_text", where it differs from ours |
|---|---|---|---|
| vqa10 | VQA accuracy, both sides normalised | VQAv2's own scorer; VizWiz's for VizWiz | by the people whose answer the reply gives |
| mc | `parse_union` | LLaVA's parser for ScienceQA, MMMU's and MMBench's for theirs | else the option that a sentence names |
| entity | a name in the first sentence | (OVEN's needs an index over six million titles) | a name that the reply gives |
| exact | GQA's equality | | an answer that the reply gives |
| open | the rule of MMMU, A-OKVQA, KIE-HVQA; TUBench's first yes or no; else normalised equality | A-OKVQA raw; TUBench any yes | an answer that the reply gives; A-OKVQA by people; KIE-HVQA as ours |

What a reply gives as its answer, `scoring.free_text` decides; a reply that is a reference always does.
"""

import json
from collections.abc import Callable
from functools import lru_cache

from inbol_ray.config.sampling import ScoringRules
from inbol_ray.errors import DataError
from inbol_ray.rows import Question
from inbol_ray.scoring.choice_parsers import ChoiceParser, parse_choice
from inbol_ray.scoring.free_text import count_people, free_text_accuracy, free_text_choice, free_text_match
from inbol_ray.scoring.mmmu_open import mmmu_open_match
from inbol_ray.scoring.ocr_parts import mean_similarity, read_parts
from inbol_ray.scoring.plain_text import plain_answer
from inbol_ray.scoring.text_answers import direct_answer_accuracy, entity_match, exact_match, normalised_match
from inbol_ray.scoring.vqa_accuracy import VqaMode, vqa_accuracy
from inbol_ray.scoring.yes_no import read_yes_no

OURS = ScoringRules()

_OFFICIAL_PARSERS: dict[str, ChoiceParser] = {
    "scienceqa": "llava",
    "scienceqa_full": "llava",
    "mmmu": "mmmu",
    "mmbench": "mmbench",
}

_YES_NO = frozenset(["tubench_ucr", "tubench_uvqa"])
_NO_SENTENCES = frozenset(["kie_hvqa"])
"""Datasets whose replies are objects."""


def score_answer(reply: str, question: Question, scoring: ScoringRules = OURS) -> tuple[float, bool]:
    """Score in [0, 1] of a reply that is no refusal, and whether it is unparsed: it names no choice where it should.

    Source: the functions that the module's table names.

    Raises DataError for an `answer_kind` without a scorer and for a question without the reference its kind needs.
    """
    if question.answer_kind == "mc":
        index = _chosen(reply, question, scoring)
        return float(index in _gold_indices(question)), index is None
    scorer = _SCORERS.get(question.answer_kind)
    if scorer is None:
        allowed = ", ".join(["mc", *_SCORERS])
        raise DataError(f"{question.id}: no scorer for answer_kind {question.answer_kind!r}; expected one of {allowed}")
    if not question.gold_answers:
        raise DataError(f"{question.id}: answer_kind {question.answer_kind!r} needs gold_answers, found none")
    if scoring.rules == "free_text" and question.dataset not in _NO_SENTENCES:
        return _score_free_text(reply, question), False
    said = reply if scoring.rules == "official" else plain_answer(reply)
    return float(scorer(said, question, scoring)), False


def is_unparsed(reply: str, question: Question, scoring: ScoringRules = OURS) -> bool:
    """Whether a reply names no choice where it should."""
    return question.answer_kind == "mc" and _chosen(reply, question, scoring) is None


def _chosen(reply: str, question: Question, scoring: ScoringRules) -> int | None:
    official = scoring.rules == "official"
    if scoring.rules == "free_text":
        return free_text_choice(reply, question.question, question.choices)
    parser = _OFFICIAL_PARSERS.get(question.dataset, "union") if official else "union"
    return parse_choice(reply, question.choices, parser)


def _gold_indices(question: Question) -> frozenset[int]:
    if question.gold_index is None:
        raise DataError(f"{question.id}: a multiple-choice question needs gold_index, found None")
    if question.dataset == "mmmu":
        return _mmmu_gold(question.meta)
    # Options may share a text (A-OKVQA compares texts): then any of them is right.
    gold = question.choices[question.gold_index]
    return frozenset(index for index, choice in enumerate(question.choices) if choice == gold)


@lru_cache(maxsize=1 << 14)
def _mmmu_gold(meta: str) -> frozenset[int]:
    """MMMU accepts several letters for some questions."""
    return frozenset(ord(letter) - ord("A") for letter in json.loads(meta)["gold"])


def _score_free_text(reply: str, question: Question) -> float:
    """By the people who agree where several were asked (VQA accuracy, A-OKVQA's direct answers), else right or wrong."""
    if question.answer_kind == "vqa10":
        return free_text_accuracy(reply, question.question, question.gold_answers)
    if question.dataset == "aokvqa_direct":
        return min(1.0, count_people(reply, question.question, question.gold_answers) / 3)
    return float(free_text_match(reply, question.question, question.gold_answers))


def _score_vqa10(reply: str, question: Question, scoring: ScoringRules) -> float:
    if scoring.rules == "ours":
        return vqa_accuracy(reply, question.gold_answers)
    mode: VqaMode = "official_vizwiz" if question.dataset == "vizwiz" else "official"
    return vqa_accuracy(reply, question.gold_answers, mode)


def _score_entity(reply: str, question: Question, scoring: ScoringRules) -> bool:
    return entity_match(reply, question.gold_answers, scoring.entity_match)


def _score_exact(reply: str, question: Question, _scoring: ScoringRules) -> bool:
    return any(exact_match(reply, gold) for gold in question.gold_answers)


def _score_open(reply: str, question: Question, scoring: ScoringRules) -> float | bool:
    if question.dataset == "mmmu":
        return mmmu_open_match(reply, question.gold_answers)
    if question.dataset in _YES_NO:
        return read_yes_no(reply, scoring.rules == "official") == question.gold_answers[0].lower()
    if question.dataset == "kie_hvqa":
        truth = read_parts(question.gold_answers[0])
        if truth is None:
            raise DataError(f"{question.id}: gold_answers must hold KIE-HVQA's object, found {question.gold_answers}")
        return mean_similarity(reply, truth)
    if question.dataset == "aokvqa_direct":
        return direct_answer_accuracy(reply, question.gold_answers, normalise=scoring.rules == "ours")
    return any(normalised_match(reply, gold) for gold in question.gold_answers)


_SCORERS: dict[str, Callable[[str, Question, ScoringRules], float | bool]] = {
    "vqa10": _score_vqa10,
    "entity": _score_entity,
    "exact": _score_exact,
    "open": _score_open,
}
