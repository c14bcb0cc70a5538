"""A chat request -> the dialogue in it -> the prompt that the engine gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from inbol_ray.config.model import PromptConfig
from inbol_ray.method.prompts import add_answer_suffix
from inbol_ray.models import DEFAULT_FAMILY, Turn
from inbol_ray.serving.schema import ImagePart, Message, RequestError, TextPart

MAX_IMAGES = 1


@dataclass(frozen=True)
class Dialogue:
    """The turns as (user's text, number of images, reply or None), and the client's own system text."""

    turns: Sequence[Turn]
    system: str | None
    """Stands in place of `prompts.system`; an empty one leaves it out, None means that the client gave none."""
    image_urls: Sequence[str]


def read_dialogue(messages: Sequence[Message]) -> Dialogue:
    """Raises RequestError (400) for images that do not fit the layout."""
    system = messages[0] if messages[0].role == "system" else None
    spoken = messages[1:] if system else messages
    urls = [part.image_url.url for message in messages for part in message.parts() if isinstance(part, ImagePart)]
    if len(urls) > MAX_IMAGES:
        raise RequestError(400, f"at most {MAX_IMAGES} image a request; found {len(urls)}", param="messages")
    if len(urls) != _num_images(spoken[0]):
        raise RequestError(400, "the image belongs to the user's first message", param="messages")
    turns = [
        (_text(user), _num_images(user), _text(reply) if reply else None)
        for user, reply in zip(spoken[::2], [*spoken[1::2], None], strict=True)
    ]
    return Dialogue(turns, _text(system) if system else None, urls)


def write_prompt(dialogue: Dialogue, prompts: PromptConfig) -> str:
    """The prompt, asked as `prompts` says: a single question under its settings is `models.question_prompt`."""
    turns = dialogue.turns
    if prompts.answer_suffix:
        turns = [(add_answer_suffix(user), num_images, reply) for user, num_images, reply in turns]
    system = prompts.system if dialogue.system is None else dialogue.system or None
    return DEFAULT_FAMILY.chat.dialogue(turns, system)


def _text(message: Message) -> str:
    return "\n".join(part.text for part in message.parts() if isinstance(part, TextPart))


def _num_images(message: Message) -> int:
    return sum(isinstance(part, ImagePart) for part in message.parts())
