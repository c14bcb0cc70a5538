"""What differs between families of vision-language models; the rest of the project names no family.

`family_of(checkpoint)` finds a checkpoint's family; where none is at hand yet, callers pass `DEFAULT_FAMILY`. Imports
neither torch nor transformers.

May import `config`, `errors`, `rows`, `images` and `method`, and none of the packages that sample, train or serve.
"""

from inbol_ray.models.family import ChatLayout, ModelFamily, Turn
from inbol_ray.models.llava import LLAVA
from inbol_ray.models.questions import question_prompt
from inbol_ray.models.registry import family_of, family_of_type

DEFAULT_FAMILY: ModelFamily = LLAVA
"""The family of prompts that are written before a checkpoint is known."""

__all__ = ["DEFAULT_FAMILY", "ChatLayout", "ModelFamily", "Turn", "family_of", "family_of_type", "question_prompt"]
