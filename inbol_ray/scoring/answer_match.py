"""Does a reply give the reference answer? Pure functions, one per metric: reply, reference -> score in [0, 1].

Refusals are not looked at here (`scoring.refusal`), and a reply without a readable choice stays unparsed: it is never
replaced by a random letter.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal

from inbol_ray.errors import DataError
from inbol_ray.rows import Question

VqaMode = Literal["always_normalise", "official"]
EntityMode = Literal["contains", "exact"]
ChoiceParser = Literal["union", "strict_llava"]

_CACHE_SIZE = 1 << 16
_LETTERS = string.ascii_uppercase

# --- VQA accuracy -------------------------------------------------------------------------------------------------

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_MAX_PERIODS = 32  # the official scorer passes a regex flag, whose value is 32, as the number of substitutions
_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4",
    "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the"})
_CONTRACTED = """
    ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't
    it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't
    somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's
    they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's
    where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
    couldn't've hadn't've mightn't've shouldn't've wouldn't've he'd've it'd've she'd've somebody'd've someone'd've
    something'd've there'd've they'd've we'd've who'd've you'd've y'all'll y'all'd've 'ow's'at
"""
_CONTRACTIONS = {
    form[:i] + form[i + 1 :]: form
    for form in _CONTRACTED.split()
    for i, character in enumerate(form)
    if character == "'"
} | {"somebody'd": "somebodyd"}


@lru_cache(maxsize=_CACHE_SIZE)
def normalise_vqa(text: str) -> str:
    """Text as the VQAv2 scorer compares it: marks, periods, number words, articles, contractions.

    `none` becomes `0`, `black-white` becomes `black white`, `1,000` becomes `1000`; plurals and accents stay.
    Source: VQAv2 evaluation code, vqaEval.py (processPunctuation, processDigitArticle), its quirks included.
    """
    deletes_every_mark = _DIGIT_COMMA_DIGIT.search(text) is not None
    cleaned = text
    for mark in _MARKS:
        if mark in text:
            touches_blank = f"{mark} " in text or f" {mark}" in text
            cleaned = cleaned.replace(mark, "" if touches_blank or deletes_every_mark else " ")
    cleaned = _PERIOD.sub("", cleaned, count=_MAX_PERIODS)
    words = (_NUMBERS.get(word, word) for word in cleaned.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(prediction: str, references: Sequence[str], mode: VqaMode = "always_normalise") -> float:
    """VQA accuracy of a prediction against human answers, in [0, 1].

    Each reference is left out in turn; the prediction then scores min(1, equal answers among the others / 3), and
    the result is the mean: 0, .3, .6, .9, 1 for 0, 1, 2, 3, 4+ equal answers of ten. One reference alone scores 0.
    `official` compares raw text where all references are identical, as the official scorer does, so `Yes` misses ten
    times `yes`; `always_normalise` normalises both sides every time.

    Raises DataError without references. Source: VQAv2 evaluation code, vqaEval.py (evaluate).
    """
    if not references:
        raise DataError("VQA accuracy needs at least one reference answer, found none; reject such a row when reading")
    prediction = _tidy(prediction)
    gold, identical = _count_references(tuple(references), mode == "always_normalise")
    if mode == "always_normalise" or not identical:
        prediction = normalise_vqa(prediction)
    num_equal, num_references = gold[prediction], len(references)
    left_out = num_equal * min(3, num_equal - 1) + (num_references - num_equal) * min(3, num_equal)
    return left_out / (3 * num_references)


@lru_cache(maxsize=_CACHE_SIZE)
def _count_references(references: tuple[str, ...], always: bool) -> tuple[Counter[str], bool]:
    """How often each reference occurs, in the form to compare, and whether all are identical before normalising."""
    tidy = [_tidy(reference) for reference in references]
    identical = len(set(tidy)) == 1
    return Counter(map(normalise_vqa, tidy) if always or not identical else tidy), identical


def _tidy(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


# --- Multiple choice ----------------------------------------------------------------------------------------------

# `D.C.` or `A.M.` at the start is no choice, hence the look-ahead.
_LEADING_LETTER = re.compile(r"\(([A-Z])\)|([A-Z])(?:\.(?!\w\.)|[):])")
_LETTER_ALONE = re.compile(r"\(?([A-Za-z])[.):]{0,2}\s*")
_ANSWER_IS = re.compile(r"\b(?i:answer\s+is)\s*:?\s*\(?([A-Z])\b(?!')")
_STRICT_ANSWER_IS = re.compile(r"The answer is ([A-Z]).")


def parse_choice(reply: str, choices: Sequence[str], parser: ChoiceParser = "union") -> int | None:
    """Index of the choice that a reply names, or None where it names none of them (unparsed).

    `union` accepts, in this order: a letter alone in any case; a leading `(B)`, `B.`, `B)` or `B:`; one `answer is B`;
    the text of exactly one choice in any case, final periods aside. `strict_llava` is the rule of LLaVA's ScienceQA
    evaluation, which takes the reply unstripped and only options A to E.

    Source: ours (union of LLaVA eval_science_qa.py and lmms-eval scienceqa); `strict_llava`: eval_science_qa.py.
    """
    if parser == "strict_llava":
        return _in_range(_strict_llava_letter(reply), choices)
    if (index := leading_choice(reply, choices)) is not None:
        return index
    letters = set(_ANSWER_IS.findall(reply))
    return _in_range(letters.pop(), choices) if len(letters) == 1 else None


def leading_choice(reply: str, choices: Sequence[str]) -> int | None:
    """Index of the choice that a reply opens with, by letter, or consists of, by text; None for neither."""
    reply = reply.strip()
    if alone := _LETTER_ALONE.fullmatch(reply):
        letter = alone[1].upper()
    elif leading := _LEADING_LETTER.match(reply):
        letter = leading[1] or leading[2]
    else:
        letter = None
    if (index := _in_range(letter, choices)) is not None:
        return index
    text = _fold_choice(reply)
    same = [index for index, choice in enumerate(choices) if _fold_choice(choice) == text]
    return same[0] if len(same) == 1 and text else None


def _strict_llava_letter(reply: str) -> str | None:
    if reply in tuple("ABCDE"):
        return reply
    if len(reply) >= 3 and reply[0] in "ABCDE" and reply[1:3] == ". ":
        return reply[0]
    letters = _STRICT_ANSWER_IS.findall(reply)
    return letters[0] if len(letters) == 1 else None


def _in_range(letter: str | None, choices: Sequence[str]) -> int | None:
    index = _LETTERS.find(letter) if letter else -1
    return index if 0 <= index < len(choices) else None


def _fold_choice(text: str) -> str:
    return text.strip().rstrip(".").casefold()


# --- Entities and exact answers -----------------------------------------------------------------------------------

_DISAMBIGUATOR = re.compile(r"\s*\([^()]*\)\s*$")
_SENTENCE_END = re.compile(r"\n|[!?]+(?=\s)|\.+(?=\s+[^\s\d])")
_ABBREVIATIONS = frozenset({"st", "ste", "mt", "mts", "ft", "dr", "mr", "mrs", "ms", "prof", "jr", "sr", "vs"})
_LAST_WORD = re.compile(r"[^\W_]+$")


def entity_match(reply: str, gold_names: Sequence[str], mode: EntityMode = "contains") -> bool:
    """Whether the first sentence of a reply is one of an entity's names or, for `contains`, holds one word for word.

    A disambiguator in brackets at the end of a name is dropped; both sides are normalised with `normalise_vqa`.
    Source: ours, in place of OVEN's BM25 index over six million titles (edchengg/oven_eval).
    """
    said = normalise_vqa(_tidy(first_sentence(reply)))
    for name in gold_names:
        gold = _normalise_name(name)
        if gold and (said == gold or (mode == "contains" and f" {gold} " in f" {said} ")):
            return True
    return False


def first_sentence(text: str) -> str:
    """Text up to the first line break or sentence end; `St. Bernard`, `F. Scott` and `No. 5` hold no sentence end."""
    text = text.strip()
    for end in _SENTENCE_END.finditer(text):
        word = _LAST_WORD.search(text, 0, end.start())
        abbreviated = (
            end[0] == "."
            and word is not None
            and (word[0].lower() in _ABBREVIATIONS or (len(word[0]) == 1 and word[0].isalpha()))
        )
        if not abbreviated:
            return text[: end.end()].strip()
    return text


@lru_cache(maxsize=_CACHE_SIZE)
def _normalise_name(name: str) -> str:
    return normalise_vqa(_tidy(_DISAMBIGUATOR.sub("", name))) or normalise_vqa(_tidy(name))


def exact_match(reply: str, gold: str) -> bool:
    """Equality after stripping, lower-casing and dropping final periods. Source: GQA eval.py, LLaVA's conversion."""
    return _fold_exact(reply) == _fold_exact(gold)


def _fold_exact(text: str) -> str:
    return text.strip().lower().rstrip(".")


# --- Dispatch -----------------------------------------------------------------------------------------------------


def _score_vqa10(reply: str, question: Question) -> float:
    return vqa_accuracy(reply, question.gold_answers)


def _score_entity(reply: str, question: Question) -> float:
    return float(entity_match(reply, question.gold_answers))


def _score_exact(reply: str, question: Question) -> float:
    return float(any(exact_match(reply, gold) for gold in question.gold_answers))


def _score_open(reply: str, question: Question) -> float:
    said = normalise_vqa(_tidy(reply))
    return float(any(said == normalise_vqa(_tidy(gold)) for gold in question.gold_answers))


_SCORERS: dict[str, Callable[[str, Question], float]] = {
    "vqa10": _score_vqa10,
    "entity": _score_entity,
    "exact": _score_exact,
    "open": _score_open,
}


def score_answer(reply: str, question: Question) -> tuple[float, bool]:
    """Score in [0, 1] of a reply that is no refusal, and whether it is unparsed (empty, or names no choice).

    By `answer_kind`: `vqa10` VQA accuracy, `mc` the gold choice, `entity` a name in the first sentence, `exact`
    equality as GQA has it, `open` equality with any reference after `normalise_vqa`.

    Source: the scorers named at the functions above; `open` is ours.

    Raises DataError for an `answer_kind` without a scorer and for a question without the reference its kind needs.
    """
    if is_unparsed(reply, question):
        return 0.0, True
    if question.answer_kind == "mc":
        if question.gold_index is None:
            raise DataError(f"{question.id}: a multiple-choice question needs gold_index, found None")
        return float(parse_choice(reply, question.choices) == question.gold_index), False
    scorer = _SCORERS.get(question.answer_kind)
    if scorer is None:
        allowed = ", ".join(["mc", *_SCORERS])
        raise DataError(f"{question.id}: no scorer for answer_kind {question.answer_kind!r}; expected one of {allowed}")
    if not question.gold_answers:
        raise DataError(f"{question.id}: answer_kind {question.answer_kind!r} needs gold_answers, found none")
    return scorer(reply, question), False


def is_unparsed(reply: str, question: Question) -> bool:
    """Whether there is no answer to score: an empty reply, or one that names no choice where it should."""
    if not reply.strip():
        return True
    return question.answer_kind == "mc" and parse_choice(reply, question.choices) is None
