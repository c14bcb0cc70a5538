"""The guarantee on the toy world: a trained model's signals on fresh questions, calibrated over many draws."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NUM_QUESTIONS, NUM_SAMPLES, NUM_DRAWS, DELTA = 2000, 8, 300, 0.1


@pytest.fixture(scope="module")
def trained_model() -> str:
    """The demo's CA-DPO model, or the folder in INBOL_TRAINED_MODEL."""
    found = [os.environ.get("INBOL_TRAINED_MODEL"), *sorted(ROOT.glob("build/demo/artifacts/ca_dpo-*/model"))]
    model = next((str(path) for path in found if path), None)
    if model is None:
        pytest.skip("needs a trained model: run `make demo` first")
    return model


@pytest.fixture(scope="module")
def population(trained_model, tmp_path_factory):
    """Confidence, agreement and wrongness of the model's answers to questions that no part of the project has seen."""
    from inbol_ray.calibration.signals import SignalBatch
    from inbol_ray.config.corpora import CorpusConfig, ToyWorldConfig
    from inbol_ray.config.machines import EngineConfig, StorageConfig
    from inbol_ray.config.model import PromptConfig
    from inbol_ray.corpora.read import CorpusSource, read_rows
    from inbol_ray.prompts import chat_prompt, render_question
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
    rows = [
        {
            "request": number,
            "checkpoint": trained_model,
            "prompt": chat_prompt(render_question(question, prompts)),
            "images": question.images,
            "num_samples": NUM_SAMPLES,
        }
        for number, question in enumerate(questions)
    ]
    batch = SignalBatch(EngineConfig().model_dump(), 0, 16, None, len(rows))
    found = sorted(batch.read(rows), key=lambda row: row["request"])
    assert len(found) == len(questions) and not any(row["reason"] for row in found)
    wrong = [judge_reply(r["response"], q).kind != "correct" for r, q in zip(found, questions, strict=True)]
    return {
        "first_token": np.array([row["confidence"] for row in found]),
        "agreement": np.array([row["agreement"] for row in found]),
        "wrong": np.array(wrong),
    }


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["first_token", "agreement"])
def test_realised_risk_respects_the_target_over_many_draws(population, signal):
    from inbol_ray.calibration.risk_coverage import risk_coverage
    from inbol_ray.calibration.thresholds import fit_threshold, threshold_grid

    confidence_N, wrong_N = population[signal], population["wrong"]
    grid = threshold_grid(NUM_SAMPLES if signal == "agreement" else None)
    rng = np.random.default_rng(0)
    print(f"\n{signal}: AURC {risk_coverage(confidence_N, wrong_N).aurc:.3f}, error rate {wrong_N.mean():.3f}")
    attained = 0
    for target_risk in (0.1, 0.2, 0.3):
        missed, coverages = 0, []
        for _ in range(NUM_DRAWS):
            drawn = rng.integers(len(wrong_N), size=500)
            threshold = fit_threshold(confidence_N[drawn], wrong_N[drawn], grid, target_risk, DELTA)
            answered_N = confidence_N >= threshold
            missed += bool(answered_N.any() and wrong_N[answered_N].mean() > target_risk)
            coverages.append(answered_N.mean())
        rate, coverage = missed / NUM_DRAWS, float(np.mean(coverages))
        print(f"target {target_risk}: missed in {rate:.3f} of {NUM_DRAWS} draws of 500, mean coverage {coverage:.3f}")
        assert rate <= DELTA + 2.5 * math.sqrt(DELTA * (1 - DELTA) / NUM_DRAWS)
        attained += coverage > 0.05
    assert attained, "every draw refused everything: the test says nothing"
