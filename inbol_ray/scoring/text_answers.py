"""Free-text rules other than VQA accuracy: GQA's equality, A-OKVQA's direct answers, OVEN's names, and our own.

Pure functions: reply, accepted answers -> bool, or a score in [0, 1].
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from inbol_ray.errors import DataError
from inbol_ray.scoring.vqa_accuracy import normalise_vqa, tidy

EntityMode = Literal["contains", "exact"]

_CACHE_SIZE = 1 << 16


def exact_match(reply: str, gold: str) -> bool:
    """Equality after stripping, lower-casing and dropping final periods. Source: GQA eval.py, LLaVA's conversion."""
    return _fold(reply) == _fold(gold)


def _fold(text: str) -> str:
    return text.strip().lower().rstrip(".")


def direct_answer_accuracy(reply: str, references: Sequence[str], *, normalise: bool) -> float:
    """min(1, equal answers / 3) over all references, of which none is left out.

    With `normalise` both sides go through `normalise_vqa`, as for every other corpus under our rules; the official rule
    compares texts as they stand, but for outer blanks of the reply.

    Raises DataError without references. Source: A-OKVQA eval_predictions.py; `normalise` ours.
    """
    if not references:
        raise DataError("a direct answer needs at least one reference answer, found none; reject such a row")
    if normalise:
        wanted = normalise_vqa(tidy(reply))
        num_equal = sum(normalise_vqa(tidy(reference)) == wanted for reference in references)
    else:
        num_equal = list(references).count(reply.strip())
    return min(1.0, num_equal / 3)


def normalised_match(reply: str, gold: str) -> bool:
    """Equality after `normalise_vqa` of both sides. Source: ours, for corpora without a rule of their own."""
    return normalise_vqa(tidy(reply)) == normalise_vqa(tidy(gold))


# --- Names of entities --------------------------------------------------------------------------------------------

_DISAMBIGUATOR = re.compile(r"\s*\([^()]*\)\s*$")
_SENTENCE_END = re.compile(r"\n|[!?]+(?=\s)|\.+(?=\s+[^\s\d])")
_ABBREVIATIONS = frozenset({"st", "ste", "mt", "mts", "ft", "dr", "mr", "mrs", "ms", "prof", "jr", "sr", "vs"})
_LAST_WORD = re.compile(r"[^\W_]+$")


def entity_match(reply: str, gold_names: Sequence[str], mode: EntityMode = "contains") -> bool:
    """Whether the first sentence of a reply is one of an entity's names or, for `contains`, holds one word for word.

    A disambiguator in brackets at the end of a name is dropped; both sides are normalised with `normalise_vqa`.
    Source: ours, in place of OVEN's BM25 index over six million titles (edchengg/oven_eval).
    """
    said = normalise_vqa(tidy(first_sentence(reply)))
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
    return normalise_vqa(tidy(_DISAMBIGUATOR.sub("", name))) or normalise_vqa(tidy(name))
