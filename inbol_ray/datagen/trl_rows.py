"""Our rows as TRL's conversational ones.

PREFERENCE_SET with weights -> a row a pair; CONVERSATION -> a row an assistant turn
"""

from collections.abc import Iterator

from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.rows import PAIRS


def preference_rows(row: dict) -> Iterator[dict]:
    """One row for each pair that the sample weighs."""
    for preferred, rejected in PAIRS:
        weight = row[f"weight_{preferred}_{rejected}"]
        if weight > 0:
            yield {
                "prompt": [message("user", row["user"])],
                "chosen": [message("assistant", row[preferred])],
                "rejected": [message("assistant", row[rejected])],
                "weight": weight,
            }


def instruction_rows(row: dict) -> Iterator[dict]:
    """One row for each assistant turn, the turns before it in the prompt."""
    prompt: list[dict] = []
    for turn in row["turns"]:
        prompt = [*prompt, message("user", turn["user"])]
        completion = message("assistant", turn["assistant"])
        yield {"prompt": prompt, "completion": [completion]}
        prompt = [*prompt, completion]


def message(role: str, text: str) -> dict:
    """A conversational message, without special tokens in its text."""
    return {"role": role, "content": DEFAULT_FAMILY.chat.clean(text)}
