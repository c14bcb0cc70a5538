"""Adaptive sampling end to end: real Ray, real vLLM, and the same questions with all their samples beside it."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from stage_context import stage_context

from inbol_ray.confidence.classes import classify
from inbol_ray.confidence.dataset import DESCRIPTION, read_dataset
from inbol_ray.confidence.estimate import estimate_confidence, judge_samples
from inbol_ray.confidence.stopping import replay
from inbol_ray.config.load import load_config
from inbol_ray.row_writer import write_rows
from inbol_ray.rows import QUESTION, Question
from inbol_ray.sampling.checkpoints import model_digest

OPTIONS = ["--config", "jobs/configs/demo.yaml", "--engine.num_engines", "1", "--sampling.max_tokens", "1"]
NUM_QUESTIONS, NUM_UNANSWERABLE = 60, 4


@pytest.fixture(scope="module")
def sure_llava(tiny_llava, tmp_path_factory):
    """The tiny model with larger logits, so that some replies are likely and others are not."""
    import torch

    from inbol_ray.training.export import copy_processor
    from inbol_ray.training.fsdp import load_model

    model = load_model(str(tiny_llava))
    with torch.no_grad():
        model.lm_head.weight.mul_(12)
    folder = tmp_path_factory.mktemp("sure") / "model"
    model.save_pretrained(folder)
    copy_processor(str(tiny_llava), folder)
    return folder


def run_stage(folder, model, questions, *options):
    """The context after the stage, its answers by id, and its description."""
    inputs = {name: folder / name for name in ("questions", "unanswerable", "checkpoint")}
    for path in inputs.values():
        path.mkdir(parents=True)
    (inputs["checkpoint"] / "model").symlink_to(model)
    unanswerable = [question.to_row() for question in questions if question.answerable is False]
    write_rows(inputs["unanswerable"] / "questions.parquet", unanswerable, QUESTION)
    train = [question.to_row() for question in questions if question.answerable is not False]
    write_rows(inputs["questions"] / "train.parquet", reversed(train), QUESTION)
    config = load_config([*OPTIONS, "--evaluation.sample_confidence", "false", *options])
    settings = {"sampling": config.sampling.model_dump()}
    context = stage_context(folder, config, settings, **inputs)
    counts = estimate_confidence(context)
    answers = pq.read_table(folder / "answers.parquet").to_pylist()
    assert [row["id"] for row in answers] == sorted(question.id for question in questions)
    description = json.loads((folder / DESCRIPTION).read_text())
    assert description["counts"] == counts == {"questions": len(answers), "samples": _num_samples(answers)}
    return context, {row["id"]: row for row in answers}, description


def _num_samples(answers) -> int:
    return sum(len(row["responses"]) for row in answers)


def test_adaptive_samples_are_the_first_of_all_samples_and_keep_their_class(sure_llava, scene_images, tmp_path):
    from inbol_ray.pipeline import started_ray

    questions = [
        Question(f"vqav2:train:{n:03d}", "vqav2", "train", [scene_images[n % 4]], f"What is {n}?", "open", ["none"])
        for n in range(NUM_QUESTIONS)
    ] + [
        Question(f"mismatch:train:{n}", "mismatch", "train", [scene_images[n]], "Why?", "open", answerable=False)
        for n in range(NUM_UNANSWERABLE)
    ]
    published = str(tmp_path / "published")
    with started_ray(load_config(OPTIONS)):
        _, full, _ = run_stage(tmp_path / "fixed", sure_llava, questions)
        # A third of the questions take any reply for right, a third the most frequent one, a third none.
        for n in range(NUM_QUESTIONS):
            said = full[questions[n].id]["responses"]
            right = {0: sorted(set(said)), 1: [max(said, key=said.count)], 2: ["none"]}[n % 3]
            questions[n] = replace(questions[n], gold_answers=right * 3)
        context, adaptive, description = run_stage(
            tmp_path / "adaptive",
            sure_llava,
            questions,
            "--sampling.adaptive",
            "{}",
            "--sampling.publish_uri",
            published,
        )
    config = context.config
    stopped = set()
    for question in questions:
        drawn, whole = (
            adaptive[question.id],
            judge_samples(question, full[question.id], config.sampling, config.scoring),
        )
        count = len(drawn["responses"])
        for name in ("responses", "outcomes", "scores"):
            assert drawn[name] == whole[name][:count]
        correct = [outcome == "correct" for outcome in whole["outcomes"]]
        expected = replay(whole["responses"], correct, whole["token_logprobs"], config.classes, 0.05)
        assert count == (2 if question.answerable is False else expected)
        assert drawn["confidence"] == pytest.approx(sum(correct[:count]) / count)
        if 2 < count < 10:
            stopped.add(classify(drawn["confidence"], question.answerable, config.classes))
    assert len(stopped) > 1, "the model is too sure or too unsure to test anything"
    assert description["settings"]["sampling"]["adaptive"] == {"error_rate": 0.05, "num_undoubted": 2}
    digest = model_digest(str(sure_llava))
    assert description["model"]["digest"] == digest
    there = read_dataset(published, config.storage, digest, allow_other_checkpoint=False)
    assert there.to_pylist() == [adaptive[id] for id in sorted(adaptive)]
