"""Every prompt template and refusal phrase, in one place and versioned.

Question -> user text. How that text, images and turns are laid out for a model is its family's (`models`).
"""

import hashlib
import re
import string
from dataclasses import dataclass

from inbol_ray.config.model import PromptConfig
from inbol_ray.rows import Question

PROMPTS_VERSION = 2
DEFAULT_PROMPTS = PromptConfig()

SHORT_ANSWER_SUFFIX = "Answer the question using a single word or phrase."
CHOICE_SUFFIX = "Answer with the option's letter from the given choices directly."
"""LLaVA-1.5's answer instructions (LLaVA docs/Evaluation.md)."""


@dataclass(frozen=True)
class Template:
    """What a corpus's prompt has beside hint, question, lettered options and the answer instruction, one per line."""

    before_hint: str = ""
    before_instruction: str = ""
    """Lines between the options and the answer instruction."""
    answer_instruction: str | None = None
    """In place of LLaVA's answer instruction; an empty text asks for none."""


PLAIN = Template()
_BARE = Template(answer_instruction="")
_NONE_OF_THEM = Template(answer_instruction='If all the options are incorrect, answer "F. None of the above".')
_IRRELEVANT = Template(
    answer_instruction="If the given image is irrelevant to the question, answer "
    '"F. The image and question are irrelevant.".'
)
_ANSWER_FIRST = "Give your answer first and then output the explanation."


def _tubench(looked_at: str, if_not: str, if_so: str, answers: str) -> Template:
    """TUBench's instruction, whose four sets differ in these words."""
    return Template(
        answer_instruction=f"Please analyze {looked_at} step by step. If you find {if_not}, please answer "
        f'"Unanswerable". If {if_so}, {answers}. {_ANSWER_FIRST}'
    )


_YES_OR_NO = 'answer either "Yes" or "No"'
_SELECT = "select your answer from the answer choices"
TEMPLATES: dict[str, Template] = {
    "scienceqa": Template(before_hint="Context: "),
    "scienceqa_full": Template(before_hint="Context: "),
    "mmmu": Template(before_instruction="\n"),
    "vizwiz": Template(
        before_instruction="When the provided information is insufficient, respond with 'Unanswerable'.\n"
    ),
    "mmaad_base": _BARE,
    "mmiasd_base": _BARE,
    "mmivqd_base": _BARE,
    "mmaad_instruction": _NONE_OF_THEM,
    "mmiasd_instruction": _NONE_OF_THEM,
    "mmivqd_instruction": _IRRELEVANT,
    "mohobench": _BARE,
    "kie_hvqa": _BARE,
    "tubench_ucr": _tubench(
        "the given image and question", "the question does not have a deterministic answer", "it does", _YES_OR_NO
    ),
    "tubench_uvqa": _tubench(
        "the given image and question",
        "that the given image lacks the information necessary to answer the question",
        "the image contains the information needed to answer the question",
        _YES_OR_NO,
    ),
    "tubench_ugeoqa": _tubench(
        "the given image and question",
        "that the given question and image lack the information necessary to answer the question",
        "the question and image contain the information needed to answer the question",
        _SELECT,
    ),
    "tubench_utabmwp": _tubench(
        "the table in the given image and question",
        "the table lacks the information necessary to answer the question",
        "the table contains the information needed to answer the question",
        _SELECT,
    ),
}
"""By dataset, `PLAIN` for all others. Source: LLaVA docs/Evaluation.md; MMMU's blank line is lmms-eval's; MM-UPD's
instructions are its own (AtsuMiyai/UPD, llava_vqa_updbench.py); MoHoBench has none (DSTTSD/MoHoBench,
vllm_generation.py), KIE-HVQA's questions hold theirs, TUBench's invite `Unanswerable` (NLPCode/TUBench,
utils/*/prompt.json)."""

REFUSALS: dict[int, tuple[str, ...]] = {
    1: (
        "Sorry, I can't answer that.",
        "I don't know.",
        "I cannot answer this question.",
        "I'm not able to answer that.",
        "It cannot be determined from the image.",
    )
}
"""Refusal templates by version (paper figure 5; wording ours)."""
REFUSALS_VERSION = max(REFUSALS)
CURRENT_REFUSALS = REFUSALS[REFUSALS_VERSION]

GENERATE_UNANSWERABLE = "Ask a question about this image that the image cannot answer."
GENERATE_ANSWERABLE = "Ask a question about this image."
JUDGE_ANSWERABLE = "Can this question be answered from the image? {question}"
JUDGE_YES, JUDGE_NO = "yes", "no"


def render_question(
    question: Question, prompts: PromptConfig = DEFAULT_PROMPTS, *, refusal_instruction: bool = False
) -> str:
    """The user's text for a question: hint, question, lettered options, and the instructions that config asks for.

    Source: LLaVA-1.5 evaluation prompts; the refusal instruction is the paper's *refusal prompt* baseline.
    """
    template = TEMPLATES.get(question.dataset, PLAIN)
    lines = [prompts.refusal_instruction] if refusal_instruction else []
    if question.hint:
        lines.append(template.before_hint + question.hint)
    lines.append(question.question)
    lines += [f"{letter}. {choice}" for letter, choice in zip(string.ascii_uppercase, question.choices, strict=False)]
    if prompts.answer_suffix:
        suffix = template.answer_instruction
        if suffix is None:
            suffix = CHOICE_SUFFIX if question.choices else SHORT_ANSWER_SUFFIX
        invites = question.dataset != "vizwiz" or prompts.vizwiz_invitation
        if instruction := (template.before_instruction if invites else "") + suffix:
            lines.append(instruction)
    return "\n".join(lines)


def add_answer_suffix(user: str) -> str:
    """A user's free text with the answer instruction that `render_question` gives a question of its form.

    Lettered options (`A. cat`, `B. dog`, one per line) call for the letter, all else for a word or phrase; text that ends
    with one of these instructions keeps it. What a corpus's own template adds (MMMU, VizWiz) or asks for instead
    (MM-UPD) no text shows.
    """
    if user.rstrip().endswith((SHORT_ANSWER_SUFFIX, CHOICE_SUFFIX)):
        return user
    letters = "".join(re.findall(r"^([A-Z])\. ", user, re.MULTILINE))
    options = letters[letters.rfind("A") :]
    has_options = len(options) > 1 and string.ascii_uppercase.startswith(options)
    return f"{user}\n{CHOICE_SUFFIX if has_options else SHORT_ANSWER_SUFFIX}"


def answer_text(question: Question) -> str | None:
    """The reference answer in the form that the prompt asks for: an option's letter, else the most frequent answer.

    Returns None where the corpus holds no answer.
    """
    if question.answer_kind == "mc":
        return None if question.gold_index is None else string.ascii_uppercase[question.gold_index]
    if not question.gold_answers:
        return None
    return max(question.gold_answers, key=question.gold_answers.count)


def pick_refusal(key: str, *, seed: int, version: int = 1) -> str:
    """A template drawn by hash, so that the same example gets the same refusal on any worker."""
    templates = REFUSALS[version]
    return templates[draw_index(key, len(templates), seed=seed)]


def draw_index(key: str, count: int, *, seed: int) -> int:
    """A number below `count` that depends on the key and the seed alone, not on the order of rows."""
    digest = hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count
