"""LLaVA-1.5's chat layout, which is that of the hub's llava-hf checkpoints.

`USER: <image>\\n{text} ASSISTANT:`, and a reply that starts with a blank and ends with `</s>` (the hub's template itself
forgets the `</s>`). A system text, where one is configured, stands before the first turn, as LLaVA-1.5's own template
puts it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from inbol_ray.models.family import Turn

IMAGE_TOKEN = "<image>"
END_TOKEN = "</s>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }} {% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}<image>\n{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }} {% endfor %}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""The llava-hf template, for checkpoints that we make ourselves."""

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


@dataclass(frozen=True)
class LlavaChat:
    """LLaVA-1.5's `models.family.ChatLayout`."""

    image_token: str = IMAGE_TOKEN
    end_token: str = END_TOKEN
    before_reply: str = "ASSISTANT:"
    template: str = CHAT_TEMPLATE
    training_template: str = TRAINING_TEMPLATE

    def prompt(self, user: str, *, num_images: int = 1, system: str | None = None) -> str:
        """`USER: <image>\\n{user} ASSISTANT:`, after the system text.

        Text from outside cannot smuggle in the image token: it is removed from `user`.
        """
        before = "" if system is None else f"{self.clean(system)} "
        header = f"{self.image_token}\n" * num_images
        return f"{before}USER: {header}{self.clean(user)} {self.before_reply}"

    def reply(self, text: str) -> str:
        return f" {self.clean(text)}{self.end_token}"

    def dialogue(self, turns: Sequence[Turn], system: str | None = None) -> str:
        parts = []
        for index, (user, num_images, reply) in enumerate(turns):
            parts.append(self.prompt(user, num_images=num_images, system=None if index else system))
            if reply is not None:
                parts.append(self.reply(reply))
        return "".join(parts)

    def clean(self, text: str) -> str:
        while (cleaned := text.replace(self.image_token, "").replace(self.end_token, "")) != text:
            text = cleaned  # taking one out can put another together: <ima<image>ge>
        return text
