"""The protocol of model families: its members agree with each other, and no module beside them knows a family."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import inbol_ray
from inbol_ray.errors import CheckpointError
from inbol_ray.models import DEFAULT_FAMILY, family_of, family_of_type, question_prompt
from inbol_ray.models.registry import FAMILIES
from inbol_ray.rows import Question

PACKAGE = Path(inbol_ray.__file__).parent
OF_A_FAMILY = re.compile(
    r"(?i:llava|clip_?vision|siglip)|multi_modal_projector|model\.(vision_tower|language_model)|\.\*language_model"
    r"|USER: |ASSISTANT:|<image>|</s>"
)
KNOW_LLAVA = {
    # Settings, which lie below `models`: system texts, the default LoRA targets, the values of `plan.model`.
    "config/model.py",
    "config/schema.py",
    "config/training.py",
    "config/plan.py",
    # Documents for people: an export's usage, the page's title, a model card, a stage's title.
    "datagen/trl_export.py",
    "pipeline.py",
    "report/sections.py",
    "training/card.py",
    # The toy world's base model is built as a LLaVA.
    "toyworld/base_model.py",
    # Not of the model: LLaVA's official rule for ScienceQA, and a corpus with `<image>` in its questions.
    "corpora/kie_hvqa.py",
    "scoring/answer_match.py",
    "scoring/choice_parsers.py",
    "scoring/official_choice_parsers.py",
}
"""Modules outside `models/` in whose code, comments and docstrings left out, a family still shows."""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_dialogue_is_its_prompts_and_replies(family):
    chat = family.chat
    turns = [("What is it?", 1, "A ring."), ("Which colour?", 0, None)]
    prompt = chat.prompt("What is it?", num_images=1, system="Be brief.")
    assert chat.dialogue(turns, "Be brief.") == prompt + chat.reply("A ring.") + chat.prompt(
        "Which colour?", num_images=0
    )
    assert prompt.count(chat.image_token) == 1 and prompt.endswith(chat.before_reply)
    assert chat.reply("A ring.").count(chat.end_token) == 1


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_text_from_outside_cannot_hold_special_tokens(family):
    chat = family.chat
    cut = len(chat.image_token) // 2
    nested = chat.image_token[:cut] + chat.end_token + chat.image_token + chat.image_token[cut:]
    assert chat.clean(f"a{nested}b") == "ab"
    assert chat.prompt(nested, num_images=0) == chat.prompt("", num_images=0) and chat.reply(nested) == chat.reply("")


def test_templates_lay_a_turn_out_as_prompts_do():
    from jinja2 import Environment

    chat, render = DEFAULT_FAMILY.chat, Environment().from_string
    user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}
    reply = {"role": "assistant", "content": "A ring."}
    assert render(chat.template).render(messages=[user], add_generation_prompt=True) == chat.prompt("What is it?")
    system = {"role": "system", "content": "Be brief."}
    whole = chat.dialogue([("What is it?", 1, "A ring.")], "Be brief.")
    assert render(chat.training_template).render(messages=[system, user, reply], bos_token="<s>") == f"<s>{whole}"


def test_a_question_has_a_place_for_each_of_its_images():
    from inbol_ray.config.model import PromptConfig

    question = Question("d:s:1", "gqa", "s", ["a.jpg", "b.jpg"], "What is it?", "open")
    prompt = question_prompt(DEFAULT_FAMILY, question, PromptConfig(system="llava_v1"))
    assert prompt.startswith("A chat between a curious human") and prompt.count(DEFAULT_FAMILY.chat.image_token) == 2


def test_a_checkpoint_tells_its_family(tiny_llava, tmp_path):
    assert family_of(str(tiny_llava)) is family_of_type("llava") is DEFAULT_FAMILY
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3"}))
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/config.json: model_type is 'gemma3'.*known: llava"):
        family_of(str(tmp_path))


def test_a_folder_without_configuration_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"config.json: no JSON \(FileNotFoundError"):
        family_of(str(tmp_path))


def test_the_parts_of_a_model_are_found_with_an_adapter_too(tiny_llava):
    from peft import LoraConfig, get_peft_model

    from inbol_ray.models.loading import load_model
    from inbol_ray.models.parts import parts_of

    model = load_model(str(tiny_llava))
    before = parts_of(model)
    assert before.text_layers is model.model.language_model.layers and before.head is model.lm_head
    adapted = get_peft_model(
        model, LoraConfig(target_modules=["q_proj"], modules_to_save=[DEFAULT_FAMILY.modules.projector_name])
    )
    after = parts_of(adapted)
    assert after.vision_layers is before.vision_layers and after.projector is not before.projector
    assert all(parameter.requires_grad for parameter in after.projector.modules_to_save.parameters())


def test_the_protocol_needs_no_torch():
    program = "import sys, inbol_ray.models; print({'torch', 'transformers', 'vllm', 'ray'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found == "set()\n"


def test_families_know_nothing_of_what_uses_them():
    allowed = {"config", "errors", "images", "method", "models", "rows"}
    for path in (PACKAGE / "models").rglob("*.py"):
        imported = re.findall(r"^\s*from inbol_ray\.(\w+)", path.read_text(), re.MULTILINE)
        assert set(imported) <= allowed, path
    for path in (PACKAGE / "method").rglob("*.py"):
        assert "inbol_ray.models" not in path.read_text(), path


def test_a_family_shows_nowhere_else():
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if PACKAGE / "models" not in path.parents and OF_A_FAMILY.search(_code(path))
    }
    assert found == KNOW_LLAVA


def _code(path: Path) -> str:
    """Names and strings of a module, without comments and docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            docs = [one for one in body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)]
            node.body = [one for one in body if one not in docs] or [ast.Pass()]
    return ast.unparse(tree)
