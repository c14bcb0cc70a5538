"""The guarantee on the toy world: a model of the real pipeline, and its signals on questions that nothing has seen."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engine_process import engine_replies

ROOT = Path(__file__).parents[2]
NUM_QUESTIONS, NUM_SAMPLES, NUM_DRAWS, DELTA = 2000, 8, 300, 0.1
TARGET_SHARES = (0.5, 0.7, 0.9)
"""Target risks, as shares of the model's error rate where it answers everything."""
TRAINED = "idk_it"
"""The first method that has learned to refuse."""


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory) -> str:
    """An IDK-IT model of a third of the demo's size: it answers some questions, and its doubts mean something."""
    out_dir = tmp_path_factory.mktemp("pipeline")
    configs = ["--config", "jobs/configs/demo.yaml", "--config", "tests/calibration/third.yaml"]
    job = (
        "import sys; from inbol_ray.config.load import load_config; from inbol_ray.run import run_stages; from inbol_ray.runtime.job import run_job; "
        f"run_job(lambda: run_stages(load_config(sys.argv[1:]), [{TRAINED!r}]))"
    )
    command = [sys.executable, "-c", job, *configs, "--output_dir", str(out_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(next(out_dir.glob(f"artifacts/{TRAINED}-*/model")))


@pytest.fixture(scope="module")
def population(trained_model, tmp_path_factory):
    """Confidence, agreement and wrongness of the model's answers to questions that no part of the project has seen."""
    from inbol_ray.config.corpora import CorpusConfig, ToyWorldConfig
    from inbol_ray.config.machines import EngineConfig, StorageConfig
    from inbol_ray.config.model import PromptConfig
    from inbol_ray.corpora.source import CorpusSource, read_rows
    from inbol_ray.method.prompts import render_question
    from inbol_ray.models import DEFAULT_FAMILY
    from inbol_ray.sampling.chat_engine import SAMPLE_TEMPERATURE, agreement_rate
    from inbol_ray.sampling.vllm_engine import Decoding
    from inbol_ray.scoring.outcome import judge_reply
    from inbol_ray.toyworld.corpora import write_corpora

    root = tmp_path_factory.mktemp("fresh")
    sizes = {"num_train_questions": 4, "num_validation_questions": 4, "num_test_questions": NUM_QUESTIONS}
    write_corpora(root, ToyWorldConfig(**sizes), seed=987_654)
    splits = {"vqav2": "test2014", "scienceqa": "test", "oven": "entity_test", "vqav2_idk": "test"}
    questions = [
        question
        for dataset, split in splits.items()
        for question in read_rows(
            CorpusSource(
                CorpusConfig(dataset=dataset, split=split, root=""), str(root / dataset), StorageConfig(), str(root)
            )
        )
    ]
    prompts = PromptConfig(answer_suffix=False)
    rows = [{"prompt": DEFAULT_FAMILY.chat.prompt(render_question(q, prompts)), "images": q.images} for q in questions]
    seeds = [number * NUM_SAMPLES for number in range(len(rows))]
    decoding = Decoding(1 + NUM_SAMPLES, SAMPLE_TEMPERATURE, 16, force_first=True)
    found = engine_replies(trained_model, rows, seeds, EngineConfig(), decoding)
    assert not any(reply.reason for reply in found)
    wrong = [judge_reply(r.texts[0], q).kind != "correct" for r, q in zip(found, questions, strict=True)]
    return {
        "first_token": np.array([reply.answer_probability for reply in found]),
        "agreement": np.array([agreement_rate(reply.texts[0], reply.texts[1:]) for reply in found]),
        "wrong": np.array(wrong),
    }


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["first_token", "agreement"])
def test_realised_risk_respects_the_target_over_many_draws(population, signal):
    from inbol_ray.method.risk_coverage import risk_coverage
    from inbol_ray.method.thresholds import fit_threshold, threshold_grid

    confidence_N, wrong_N = population[signal], population["wrong"]
    grid = threshold_grid(NUM_SAMPLES if signal == "agreement" else None)
    rng = np.random.default_rng(0)
    error_rate = float(wrong_N.mean())
    print(f"\n{signal}: AURC {risk_coverage(confidence_N, wrong_N).aurc:.3f}, error rate {error_rate:.3f}")
    coverages = {}
    for share in TARGET_SHARES:
        target_risk, missed, answered = share * error_rate, 0, []
        for _ in range(NUM_DRAWS):
            drawn = rng.integers(len(wrong_N), size=500)
            threshold = fit_threshold(confidence_N[drawn], wrong_N[drawn], grid, target_risk, DELTA)
            answered_N = confidence_N >= threshold
            missed += bool(answered_N.any() and wrong_N[answered_N].mean() > target_risk)
            answered.append(answered_N.mean())
        rate, coverages[share] = missed / NUM_DRAWS, float(np.mean(answered))
        print(f"target {target_risk:.3f}: missed in {rate:.3f} of {NUM_DRAWS} draws, coverage {coverages[share]:.3f}")
        assert rate <= DELTA + 2.5 * math.sqrt(DELTA * (1 - DELTA) / NUM_DRAWS)
    # A threshold that refuses nearly everything, or next to nothing, would keep any promise.
    assert 0.1 < coverages[TARGET_SHARES[1]] < 0.9
