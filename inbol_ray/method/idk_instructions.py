"""SampledAnswers -> Conversation."""

from inbol_ray.config.model import PromptConfig
from inbol_ray.method.prompts import DEFAULT_PROMPTS, answer_text, pick_refusal, render_question
from inbol_ray.rows import Knowledge, Question


def build_idk_instruction(
    question: Question,
    knowledge: Knowledge,
    responses: list[str],
    outcomes: list[str],
    prompts: PromptConfig = DEFAULT_PROMPTS,
    seed: int = 0,
) -> dict | None:
    """IDK instruction: Known -> a correct response of the model's own, Unknown -> a refusal, Mixed -> None.

    Raises ValueError for a Known question without a correct response.
    Source: InBoL (arXiv 2412.11196) section 2, IDK instructions; refusals drawn from templates (figure 5).
    """
    if knowledge == "mixed":
        return None
    if knowledge == "unknown":
        return conversation(question, pick_refusal(question.id, seed=seed), knowledge, prompts)
    correct = [text for text, outcome in zip(responses, outcomes, strict=True) if outcome == "correct"]
    if not correct:
        raise ValueError(
            f"{question.id}: Known, and none of its {len(responses)} responses is correct; sample it again, or let "
            "`classify` name its class"
        )
    return conversation(question, max(correct, key=correct.count), knowledge, prompts)


def build_sft_example(
    question: Question, knowledge: Knowledge, prompts: PromptConfig = DEFAULT_PROMPTS, seed: int = 0
) -> dict | None:
    """SFT baseline: the corpus's answer, and a refusal only for questions that the image cannot answer."""
    if question.answerable is False:
        return conversation(question, pick_refusal(question.id, seed=seed), knowledge, prompts)
    answer = answer_text(question)
    return None if answer is None else conversation(question, answer, knowledge, prompts)


def conversation(question: Question, response: str, knowledge: Knowledge, prompts: PromptConfig) -> dict:
    """A single-turn CONVERSATION row."""
    return {
        "id": question.id,
        "images": question.images,
        "turns": [{"user": render_question(question, prompts), "assistant": response}],
        "knowledge": knowledge,
    }
