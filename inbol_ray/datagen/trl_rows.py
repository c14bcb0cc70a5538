"""Our rows as TRL's conversational ones, and the chat template that training with them needs.

PREFERENCE_SET with weights -> a row a pair; CONVERSATION -> a row an assistant turn
"""

from collections.abc import Iterator

from inbol_ray.method.prompts import END_TOKEN, IMAGE_TOKEN, clean_text
from inbol_ray.rows import PAIRS

TRAINING_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% set text = message['content'] if message['content'] is string "
    "else message['content'] | selectattr('type', 'equalto', 'text') | map(attribute='text') | join %}"
    "{% if message['role'] == 'user' %}USER: "
    "{% if message['content'] is not string %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}" + IMAGE_TOKEN + "\n{% endfor %}"
    "{% endif %}{{ text }} ASSISTANT:"
    "{% elif message['role'] == 'system' %}{{ text }} "
    "{% else %} {{ text }}" + END_TOKEN + "{% endif %}{% endfor %}"
)
"""llava-hf's chat template with what it lacks for training: the begin token, the end token after an answer, and a system
text."""


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
    return {"role": role, "content": clean_text(text)}
