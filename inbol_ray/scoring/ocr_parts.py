"""KIE-HVQA's rule: a reply that tells clear, unclear and all characters apart, against what can be read ->
similarities.

Reply and truth are JSON objects with three texts, whose keys' case varies in the release. Blanks do not count. A part
that a reply lacks scores 0; a reply that is no such object is taken for the text as a whole (`final`).

Source: KIE-HVQA eval.py (calculate_metrics); how it reads a reply that is no JSON was not to be seen, that is ours.
"""

import json
from collections.abc import Mapping

KEYS = {
    "clear": "clear char-level ocr",
    "not_clear": "not clear enough char-level ocr",
    "final": "final ocr",
}
"""Part -> its key, in lower case."""


def read_parts(text: str) -> dict[str, str] | None:
    """The three texts of the outermost JSON object in a text; None where there is none with all of them."""
    try:
        found = json.loads(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    lowered = {key.strip().lower(): value for key, value in found.items()}
    parts = {part: value for part, key in KEYS.items() if isinstance(value := lowered.get(key), str)}
    return parts if len(parts) == len(KEYS) else None


def score_parts(reply: str, truth: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """(character accuracy, similarity), each in [0, 1], of every part of `truth` (`read_parts`)."""
    said: Mapping[str, str] = read_parts(reply) or {"final": reply}
    return {part: _compare(said[part], text) if part in said else (0.0, 0.0) for part, text in truth.items()}


def mean_similarity(reply: str, truth: Mapping[str, str]) -> float:
    """Mean similarity over the parts, in [0, 1]: the release's average distance score of one reply."""
    scores = score_parts(reply, truth)
    return sum(similarity for _, similarity in scores.values()) / len(scores)


def _compare(said: str, true: str) -> tuple[float, float]:
    said, true = said.replace(" ", ""), true.replace(" ", "")
    num_same = sum(one == other for one, other in zip(said, true, strict=False))
    longest = max(len(said), len(true))
    return num_same / len(true) if true else 0.0, 1 - _distance(said, true) / longest if longest else 1.0


def _distance(one: str, other: str) -> int:
    """Levenshtein's: insertions, deletions and substitutions of a character cost 1 each."""
    row = list(range(len(other) + 1))
    for number, character in enumerate(one, start=1):
        diagonal, row[0] = row[0], number
        for place, there in enumerate(other, start=1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (character != there))
    return row[-1]
