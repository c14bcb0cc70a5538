"""Questions as the prompts of a model family."""

from inbol_ray.config.model import PromptConfig
from inbol_ray.method.prompts import render_question
from inbol_ray.models.family import ModelFamily
from inbol_ray.rows import Question


def question_prompt(
    family: ModelFamily, question: Question, prompts: PromptConfig, *, refusal_instruction: bool = False
) -> str:
    """The whole prompt that asks a question: `render_question` in the family's chat layout."""
    user = render_question(question, prompts, refusal_instruction=refusal_instruction)
    return family.chat.prompt(user, num_images=len(question.images), system=prompts.system)
