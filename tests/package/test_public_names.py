"""The library surface: what `from inbol_ray import ...` gives, and how little it needs."""

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import inbol_ray

ROOT = Path(__file__).parents[2]
NOT_CORE = ("ray", "vllm", "transformers", "tokenizers", "safetensors", "peft", "trl", "datasets", "aiohttp", "boto3")
NOT_CORE += ("botocore", "fastapi", "tensorboardX", "mlflow", "wandb", "yaml", "jinja2")
REFUSE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Refuse())
"""


def run_without(blocked: tuple[str, ...], code: str, folder: Path) -> str:
    """Output of `code` in a fresh process that cannot import the packages `blocked`."""
    script = REFUSE.format(blocked=set(blocked)) + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_type_checker_sees_the_names_that_are_imported_lazily():
    tree = ast.parse(Path(inbol_ray.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"inbol_ray.{module}" for name, module in inbol_ray._MODULE_OF.items()}
    assert sorted(seen) == sorted(inbol_ray.__all__) and set(seen) <= set(dir(inbol_ray))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ca_dpo'; it has .*ca_dpo_loss"):
        inbol_ray.ca_dpo  # noqa: B018


def test_importing_the_package_imports_nothing_else(tmp_path):
    code = "import sys, inbol_ray; print([name for name in sys.modules if name.startswith(('inbol_ray.', 'numpy'))])"
    assert run_without((), code, tmp_path).strip() == "[]"


def test_every_name_works_with_the_core_packages_and_torch(tmp_path):
    code = """
        import inbol_ray
        for name in inbol_ray.__all__:
            getattr(inbol_ray, name)
    """
    run_without(NOT_CORE, code, tmp_path)


def test_losses_and_packing_need_torch_and_nothing_more(tmp_path):
    code = """
        import torch
        from inbol_ray import ca_dpo_loss, pack_responses, packed_attention_mask, packed_logps, pair_weights

        batch = pack_responses([[1, 2]], [[[3], [4], [5]]], pad_id=0)
        logps_BK = packed_logps(torch.zeros(1, 4, 8), batch, 3)
        weights_BP = torch.tensor([list(pair_weights("mixed", 0.6).values())])
        print(packed_attention_mask(batch["segments"]).shape, *logps_BK.tolist())
        print(*ca_dpo_loss(logps_BK, logps_BK, weights_BP, beta=0.1).tolist())
    """
    shape, logps, loss = run_without(NOT_CORE, code, tmp_path).replace("]) [", "])\n[").splitlines()
    assert shape == "torch.Size([1, 1, 5, 5])" and float(loss) == pytest.approx(0.6931, abs=1e-4)
    assert ast.literal_eval(logps) == pytest.approx([-2.0794] * 3, abs=1e-4)


def test_the_rest_works_without_torch_too(tmp_path):
    code = """
        import numpy as np
        from inbol_ray import (Question, build_idk_instruction, build_preference_set, classify, confidence_bounds,
            detect_refusal, expected_calibration_error, fit_threshold, judge_reply, next_round, render_question,
            risk_coverage, threshold_grid, trust_scores)

        question = Question(id="1", question="What colour is the dog?", gold_answers=["brown"])
        replies = ["Brown.", "I don't know.", "black"]
        outcomes = [judge_reply(reply, question).kind for reply in replies]
        scores = trust_scores(outcomes)
        print(outcomes, round(scores.acc), round(scores.refr), round(scores.s_trust))
        knowledge = classify(1 / 3)
        print(knowledge, classify(0.9), classify(0.9, answerable=False), detect_refusal("I cannot tell.").refused)
        row = build_preference_set(question, knowledge, 1 / 3, replies, outcomes)
        print(row["user"] == render_question(question), row["correct"], row["incorrect"])
        print(build_idk_instruction(question, "known", replies, outcomes)["turns"][0]["assistant"])
        confidence, wrong = np.linspace(0, 1, 2000), np.arange(2000) < 900
        print(fit_threshold(confidence, wrong, threshold_grid(), target_risk=0.1) < 0.5)
        print(round(risk_coverage(confidence, wrong).coverage_at(0.0), 2))
        print(round(expected_calibration_error(np.array([1.0, 0.0]), np.array([True, True])), 2))
        print(next_round(9, 9, confidence_bounds(["a"] * 9, [True] * 9, [[-0.1]] * 9), 10))
    """
    assert run_without((*NOT_CORE, "torch"), code, tmp_path).splitlines() == [
        "['correct', 'refused', 'wrong'] 33 33 0",
        "mixed known unknown True",
        "True brown black",
        "Brown.",
        "True",
        "0.55",
        "0.5",
        "0",
    ]


def test_a_file_of_replies_is_scored_without_torch_too(tmp_path):
    rows = [
        '{"id": "1", "question": "What colour is the dog?", "answers": ["brown"], "reply": "brown"}',
        '{"id": "2", "question": "What colour is the cat?", "answers": ["grey"], "reply": "I cannot tell."}',
    ]
    (tmp_path / "replies.jsonl").write_text("\n".join(rows))
    code = """
        from inbol_ray import compare_predictions, score_replies
        scored = score_replies("replies.jsonl")
        print([row["outcome"] for row in scored.predictions.to_pylist()])
        print(compare_predictions(scored.predictions, scored.predictions, ("one", "other")).num_a_better)
    """
    assert run_without((*NOT_CORE, "torch"), code, tmp_path).splitlines() == ["['correct', 'refused']", "0"]


def test_a_name_that_needs_a_package_says_which(tmp_path):
    code = """
        import inbol_ray
        try:
            inbol_ray.ca_dpo_loss
        except ImportError as error:
            print(error)
    """
    text = run_without(("torch",), code, tmp_path).strip()
    assert text == "inbol_ray.ca_dpo_loss needs the package torch, which is not installed: pip install torch"


@pytest.mark.parametrize("package", ["method", "scoring"])
def test_the_method_and_scoring_import_no_engine_when_loaded(package):
    """`refusal_training`, which trains the detector's weights, may import torch; nothing may import the rest."""
    found = set()
    for path in (ROOT / "inbol_ray" / package).glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    assert not found & set(NOT_CORE)
