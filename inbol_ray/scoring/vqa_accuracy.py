"""VQA accuracy: a prediction and the answers of several people -> score in [0, 1].

Three modes, of which results name the one they used. `always_normalise` is ours and the default: both sides are
normalised. `official` is VQAv2's own scorer to the digit, quirks included. `official_vizwiz` is the scorer that VizWiz
published, a copy of VQAv2's that normalises the prediction alone.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

from inbol_ray.errors import DataError

VqaMode = Literal["always_normalise", "official", "official_vizwiz"]

_CACHE_SIZE = 1 << 16
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_MARK = re.compile(f"[{re.escape(_MARKS)}]")
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_MAX_PERIODS = 32  # the official scorer passes a regex flag, whose value is 32, as the number of substitutions
_NUMBERS = {
    "none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4",
    "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
}  # fmt: skip
_ARTICLES = frozenset({"a", "an", "the"})
_FORMS = """
    ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't
    it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't
    somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's
    they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's
    where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
    couldn't've hadn't've mightn't've shouldn't've wouldn't've he'd've it'd've she'd've somebody'd've someone'd've
    something'd've there'd've they'd've we'd've who'd've you'd've y'all'll y'all'd've 'ow's'at
"""

_CONTRACTIONS = {
    form[:i] + form[i + 1 :]: form for form in _FORMS.split() for i, character in enumerate(form) if character == "'"
} | {"somebody'd": "somebodyd"}

# VizWiz's copy of the table has typographic apostrophes, but for these words and these two misspellings.
_CURLY = str.maketrans("'", "\u2019")
_STRAIGHT_WORDS = frozenset({"aint", "arent", "cant", "couldve", "couldnt", "weve", "wheres", "whove"})
_STRAIGHT_MISSPELLINGS = frozenset({"couldn'tve", "hadn'tve"})
_VIZWIZ_CONTRACTIONS = {
    spelt if spelt in _STRAIGHT_MISSPELLINGS else spelt.translate(_CURLY): (
        form if spelt in _STRAIGHT_WORDS else form.translate(_CURLY)
    )
    for spelt, form in _CONTRACTIONS.items()
}


@lru_cache(maxsize=_CACHE_SIZE)
def normalise_vqa(text: str) -> str:
    """Text as the VQAv2 scorer compares it: marks, periods, number words, articles, contractions.

    `none` becomes `0`, `black-white` becomes `black white`, `1,000` becomes `1000`; plurals and accents stay.
    Source: VQAv2 evaluation code, vqaEval.py (processPunctuation, processDigitArticle), its quirks included.
    """
    return _normalise(text, _CONTRACTIONS)


def _normalise(text: str, contractions: Mapping[str, str]) -> str:
    cleaned = text
    if _MARK.search(text):
        deletes_every_mark = _DIGIT_COMMA_DIGIT.search(text) is not None
        for mark in _MARKS:
            if mark in text:
                touches_blank = f"{mark} " in text or f" {mark}" in text
                cleaned = cleaned.replace(mark, "" if touches_blank or deletes_every_mark else " ")
    if "." in cleaned:
        cleaned = _PERIOD.sub("", cleaned, count=_MAX_PERIODS)
    words = (_NUMBERS.get(word, word) for word in cleaned.lower().split())
    return " ".join(contractions.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(prediction: str, references: Sequence[str], mode: VqaMode = "always_normalise") -> float:
    """VQA accuracy of a prediction against human answers, in [0, 1].

    Each reference is left out in turn; the prediction then scores min(1, equal answers among the others / 3), and
    the result is the mean: 0, .3, .6, .9, 1 for 0, 1, 2, 3, 4+ equal answers of ten. One reference alone scores 0.
    `official` compares raw text where all references are identical, as the official scorer does, so `Yes` misses ten
    times `yes`; `always_normalise` normalises both sides every time; `official_vizwiz` only the prediction.

    Raises DataError without references. Source: VQAv2 evaluation code, vqaEval.py (evaluate); VizWiz's copy of it.
    """
    if not references:
        raise DataError("VQA accuracy needs at least one reference answer, found none; reject such a row when reading")
    prediction = tidy(prediction)
    if mode == "official_vizwiz":
        gold = Counter(references)
        prediction = _normalise(prediction, _VIZWIZ_CONTRACTIONS)
    else:
        gold, identical = _count_references(tuple(references), mode == "always_normalise")
        if mode == "always_normalise" or not identical:
            prediction = normalise_vqa(prediction)
    return share_of_people(gold[prediction], len(references))


def share_of_people(num_equal: int, num_references: int) -> float:
    """VQA accuracy where `num_equal` of `num_references` people agree: the mean over leaving out each person of
    min(1, agreeing others / 3). Source: VQAv2 evaluation code, vqaEval.py (evaluate)."""
    left_out = num_equal * min(3, num_equal - 1) + (num_references - num_equal) * min(3, num_equal)
    return left_out / (3 * num_references)


@lru_cache(maxsize=_CACHE_SIZE)
def _count_references(references: tuple[str, ...], always: bool) -> tuple[Counter[str], bool]:
    """How often each reference occurs, in the form to compare, and whether all are identical before normalising."""
    tidied = [tidy(reference) for reference in references]
    identical = len(set(tidied)) == 1
    return Counter(map(normalise_vqa, tidied) if always or not identical else tidied), identical


def tidy(text: str) -> str:
    """Text on one line, stripped: what the official scorer does before anything else."""
    return text.replace("\n", " ").replace("\t", " ").strip()
