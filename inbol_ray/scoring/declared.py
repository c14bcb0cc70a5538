"""What a benchmark itself declares about replies to a question, beside the general detector: reply, Question -> bool.

A benchmark of refusal says what refusing is: an option (`None of the above`), or words that are no option. Its reader
declares it in `Question.meta`, and nothing here knows a benchmark by name:

| key of `meta` | holds |
|---|---|
| `refusal_index` | index of the option that refuses; then no other option does, whatever it says |
| `refusal_texts` | words that refuse where a reply opens with them |
| `refusal_letter` | a letter beyond the options that refuses, as the prompt offers it (`F. None of the above`) |
| `empty_object_refuses` | true where the prompt asks for a JSON object: one that holds nothing refuses |
| `masked_answer` | the right answer, which the options of an unanswerable question lack: to name it is right |

The `meta` of dataset `own` is its user's and declares nothing. Source: ours; the readers name the benchmarks' rules.
"""

import json
import re
from functools import lru_cache

from inbol_ray.rows import Question
from inbol_ray.scoring.choice_parsers import leading_choice, parse_choice
from inbol_ray.scoring.refusal import detect_refusal
from inbol_ray.scoring.text_answers import normalised_match

_KEYS = ("refusal_index", "refusal_texts", "refusal_letter", "empty_object_refuses", "masked_answer")
_FENCE = re.compile(r"^```\w*\s*|\s*```$")
_OPENING = r"[\s*\"'(]*(?:(?:the\s+)?(?:correct\s+|right\s+)?answer\s*(?:is\b|:)\s*:?[\s*\"'(]*)?"


def refuses(reply: str, question: Question) -> bool:
    """Whether a reply refuses: as its benchmark declares, else in words (`detect_refusal`)."""
    declared = _declared(question)
    if not declared:
        return detect_refusal(reply, question).refused
    # A reply that is an option's text or letter names that option, even where it reads like a declared refusal.
    names_option = leading_choice(reply, question.choices) is not None
    texts = tuple(declared.get("refusal_texts", ()))
    if not names_option and _opens_with_refusal(reply, texts, declared.get("refusal_letter")):
        return True
    if declared.get("empty_object_refuses") and _is_empty_object(reply):
        return True
    if (refusal_index := declared.get("refusal_index")) is not None:
        chosen = parse_choice(reply, question.choices)
        if chosen is not None or names_option:
            return chosen == refusal_index
    return detect_refusal(reply, question).refused


def names_masked_answer(reply: str, question: Question) -> bool:
    """Whether a reply is the right answer that the options were robbed of."""
    masked = _declared(question).get("masked_answer")
    return masked is not None and normalised_match(reply, masked)


def _declared(question: Question) -> dict:
    return {} if question.dataset == "own" else _read(question.meta)


@lru_cache(maxsize=1 << 14)
def _read(meta: str) -> dict:
    found = json.loads(meta)
    return {key: found[key] for key in _KEYS if found.get(key) is not None}


def _is_empty_object(reply: str) -> bool:
    """Whether a reply is a JSON object, in a code fence or not, whose values are all blank, null or zero."""
    try:
        found = json.loads(_FENCE.sub("", reply.strip()))
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and not any(
        value.strip(" 0") if isinstance(value, str) else value for value in found.values()
    )


def _opens_with_refusal(reply: str, texts: tuple[str, ...], letter: str | None) -> bool:
    pattern = _pattern(texts, letter)
    return pattern is not None and pattern.match(reply.replace("\u2019", "'")) is not None


@lru_cache(maxsize=64)
def _pattern(texts: tuple[str, ...], letter: str | None) -> re.Pattern[str] | None:
    forms = [rf"(?i:{re.escape(text.replace(chr(0x2019), chr(39)).rstrip('.'))})(?!\w)" for text in texts]
    if letter is not None:
        forms.append(rf"{letter}(?=[.):,*]|\s*$)(?!\.\w\.)")
    return re.compile(f"(?i:{_OPENING})(?:{'|'.join(forms)})") if forms else None
