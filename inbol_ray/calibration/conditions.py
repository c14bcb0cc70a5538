"""What the thresholds of a calibration depend on beside the model: recorded with them, compared before a target is kept.

The risk of a threshold is that of the very replies that it was fitted on. Another prompt, another picture or another
arithmetic gives other replies, and then nothing is known of their risk.
"""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.model import PromptConfig
from inbol_ray.config.section import result_settings
from inbol_ray.images import IMAGES_VERSION
from inbol_ray.method.prompts import PROMPTS_VERSION, REFUSALS_VERSION
from inbol_ray.models import DEFAULT_FAMILY


class Stored(BaseModel):
    """A part of a calibration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class QuestionKind(Stored):
    """Questions that a calibration was made with, by what one can see of them."""

    dataset: str
    answer_kind: str
    num_images: int
    num_questions: int


class Conditions(Stored):
    """How questions are asked and replies are computed."""

    prompts: PromptConfig
    """The section `prompts`: system text, answer suffix and the rest."""
    prompts_version: int
    layout: str
    """The chat layout, as the prompt of the text `{question}` about one image, without a system text."""
    refusals_version: int
    """The refusal templates, whose first tokens make up P(refusal)."""
    images_version: int
    """How pictures become pixels: `images.IMAGES_VERSION`."""
    engine: dict[str, str | int | float | bool | None]
    """`result_settings` of `EngineConfig`."""


def current_conditions(prompts: PromptConfig, engine: EngineConfig) -> Conditions:
    """The conditions of this program with these settings."""
    return Conditions(
        prompts=prompts,
        prompts_version=PROMPTS_VERSION,
        layout=DEFAULT_FAMILY.chat.dialogue([("{question}", 1, None)]),
        refusals_version=REFUSALS_VERSION,
        images_version=IMAGES_VERSION,
        engine=result_settings(engine),
    )


def differences(calibrated: Conditions, served: Conditions) -> Iterator[str]:
    """What keeps a calibration from holding for replies under other conditions, a sentence each: the fact, the remedy."""
    if calibrated.prompts.answer_suffix != served.prompts.answer_suffix:
        was, now = (("without", "with")[given.prompts.answer_suffix] for given in (calibrated, served))
        yield f"calibration asked {was} the answer suffix, this server asks {now}: leave the model's answer_suffix null"
    if calibrated.prompts.system != served.prompts.system:
        yield "calibration asked with another prompts.system than this server: set it to that of the calibration file"
    for name in ("prompts_version", "layout", "refusals_version", "images_version"):
        was, now = getattr(calibrated, name), getattr(served, name)
        if was != now:
            yield f"calibration was made with {name} {was!r}, this server has {now!r}: calibrate again"
    for name in sorted(calibrated.engine.keys() | served.engine.keys()):
        was, now = calibrated.engine.get(name), served.engine.get(name)
        if was != now:
            yield f"calibration was made with engine.{name} {was}, this server has {now}: make them the same"
