"""The confidence stage with adaptive sampling, end to end: real Ray, real vLLM, and all N samples beside it."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from engine_process import engine_replies
from stage_context import stage_context

from inbol_ray.confidence.dataset import DESCRIPTION, read_dataset
from inbol_ray.confidence.estimate import estimate_confidence
from inbol_ray.confidence.judging import judge_samples
from inbol_ray.config.load import load_config
from inbol_ray.method.classes import classify
from inbol_ray.method.prompts import draw_index, render_question
from inbol_ray.method.stopping import replay
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.rows import QUESTION, Question
from inbol_ray.sampling.checkpoints import model_digest
from inbol_ray.sampling.generate import SEED_RANGE
from inbol_ray.sampling.vllm_engine import Decoding
from inbol_ray.store.row_writer import write_rows

NUM_QUESTIONS, NUM_UNANSWERABLE = 60, 4


@pytest.fixture(scope="module")
def decided_llava(tiny_llava, tmp_path_factory):
    """The tiny model with larger logits: its likeliest first token has a probability of 0.6 to 0.9."""
    import torch

    from inbol_ray.models.loading import load_model
    from inbol_ray.training.export import copy_processor

    model = load_model(str(tiny_llava))
    with torch.no_grad():
        model.lm_head.weight.mul_(4)
    folder = tmp_path_factory.mktemp("decided") / "model"
    model.save_pretrained(folder)
    copy_processor(str(tiny_llava), folder)
    return folder


def draw_all(model, questions, config):
    """All samples of each question, by a bare engine: rows as `judge_samples` takes them."""
    engine_config = config.engine.model_copy(update={"num_gpus_per_engine": 0})
    prompts = [
        {"prompt": DEFAULT_FAMILY.chat.prompt(render_question(question, config.prompts)), "images": question.images}
        for question in questions
    ]
    seeds = [draw_index(question.id, SEED_RANGE, seed=config.seed) for question in questions]
    decoding = Decoding(config.sampling.num_samples, 1.0, config.sampling.max_tokens, 0)
    replies = engine_replies(str(model), prompts, seeds, engine_config, decoding)
    return [
        {"responses": reply.texts, "token_logprobs": reply.token_logprobs, "checkpoint": str(model)}
        for reply in replies
    ]


@pytest.mark.slow
def test_adaptive_samples_are_the_first_of_all_samples_and_keep_their_class(decided_llava, scene_images, tmp_path):
    from inbol_ray.runtime.ray_session import started_ray

    published = str(tmp_path / "published")
    options = ["--config", "jobs/configs/demo.yaml", "--engine.num_engines", "1", "--sampling.max_tokens", "1"]
    options += ["--evaluation.sample_confidence", "false", "--sampling.publish_uri", published]
    config = load_config([*options, "--sampling.adaptive", "{}"])
    questions = [
        Question(f"vqav2:train:{n:03d}", "vqav2", "train", [scene_images[n % 4]], f"What is {n}?", "open", ["none"])
        for n in range(NUM_QUESTIONS)
    ] + [
        Question(f"mismatch:train:{n}", "mismatch", "train", [scene_images[n]], "Why?", "open", answerable=False)
        for n in range(NUM_UNANSWERABLE)
    ]
    everything = draw_all(decided_llava, questions, config)
    # A third of the questions take any of these replies for right, a third the most frequent one, a third none.
    for n in range(NUM_QUESTIONS):
        said = everything[n]["responses"]
        right = {0: sorted(set(said)), 1: [max(said, key=said.count)], 2: ["none"]}[n % 3]
        questions[n] = replace(questions[n], gold_answers=right * 3)

    inputs = {name: tmp_path / name for name in ("questions", "unanswerable", "checkpoint")}
    for path in inputs.values():
        path.mkdir()
    rows = [question.to_row() for question in questions]
    write_rows(inputs["questions"] / "train.parquet", reversed(rows[:NUM_QUESTIONS]), QUESTION)
    write_rows(inputs["unanswerable"] / "questions.parquet", rows[NUM_QUESTIONS:], QUESTION)
    (inputs["checkpoint"] / "model").symlink_to(decided_llava)
    context = stage_context(tmp_path, config, "confidence", **inputs)
    with started_ray(config):
        counts = estimate_confidence(context)

    answers = pq.read_table(tmp_path / "answers.parquet").to_pylist()
    assert [row["id"] for row in answers] == sorted(question.id for question in questions)
    by_id = {row["id"]: row for row in answers}
    classes = set()
    for question, row in zip(questions, everything, strict=True):
        drawn, whole = by_id[question.id], judge_samples(question, row, config.sampling, config.scoring)
        count = len(drawn["responses"])
        for name in ("responses", "outcomes", "scores"):
            assert drawn[name] == whole[name][:count]
        correct = [outcome == "correct" for outcome in whole["outcomes"]]
        assert drawn["confidence"] == pytest.approx(sum(correct[:count]) / count)
        if question.answerable is False:
            assert count == config.sampling.adaptive.num_undoubted
            continue
        error_rate = config.sampling.adaptive.error_rate
        assert count == replay(whole["responses"], correct, whole["token_logprobs"], config.classes, error_rate)
        if count < 10:
            classes.add(classify(drawn["confidence"], question.answerable, config.classes))
    assert classes >= {"known", "unknown"}, "the model decides too little to test anything"

    num_samples = sum(len(row["responses"]) for row in answers)
    assert num_samples < 10 * len(answers)
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    assert description["counts"] == counts == {"questions": len(answers), "samples": num_samples}
    assert description["settings"]["sampling"]["adaptive"] == {"error_rate": 0.05, "num_undoubted": 2}
    digest = model_digest(str(decided_llava))
    assert description["model"]["digest"] == digest
    assert read_dataset(published, config.storage, digest, allow_other_checkpoint=False).to_pylist() == answers
