"""Our loss against TRL's own DPOTrainer, on the same weights and the same pairs, as `trl_rows` makes them."""

import pytest
import torch

from inbol_ray.config.training import CaDpoConfig
from inbol_ray.datagen import trl_rows
from inbol_ray.images import load_images
from inbol_ray.method.preference_pairs import pair_weights
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.models.loading import load_model, load_processor
from inbol_ray.training.objectives import build_objective, response_logps

BETA = 0.3


def preference_rows(images: list[str], mixed_pairs: str, classes: tuple[str, ...], confidence: float) -> list[dict]:
    users = ["What color is the circle?", "Where does the creature live, and why?", "How many?", "Name?"]
    return [
        {
            "id": str(index),
            "images": [image],
            "user": user,
            "correct": "red" if index % 2 else "dark green and blue",
            "incorrect": "small square",
            "refusal": "Sorry, I can't answer that.",
            "knowledge": knowledge,
            **pair_weights(knowledge, confidence, mixed_pairs),
        }
        for index, (image, user, knowledge) in enumerate(zip(images, users, classes, strict=True))
    ]


@pytest.fixture
def models(tiny_llava):
    """(policy, reference): the policy is a random step away, so that margins are not 0."""
    policy, reference = load_model(str(tiny_llava)).eval(), load_model(str(tiny_llava)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.model.language_model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return policy, reference


def trl_loss(models, processor, pairs: list[dict], folder) -> torch.Tensor:
    """DPOTrainer's own loss of one batch: the mean over pairs."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    settings = DPOConfig(
        output_dir=str(folder),
        beta=BETA,
        max_length=None,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        disable_dropout=True,
        report_to=[],
        per_device_train_batch_size=len(pairs),
    )
    policy, reference = models
    trainer = DPOTrainer(
        model=policy,
        ref_model=reference,
        args=settings,
        processing_class=processor,
        train_dataset=Dataset.from_list(pairs),
    )
    return trainer.compute_loss(policy, trainer.data_collator([dict(pair) for pair in pairs]))


def gradients(model, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("mixed_pairs", "classes", "confidence"),
    [
        pytest.param("confidence", ("known", "unknown", "mixed", "mixed"), 1.0, id="full confidence, one pair a row"),
        pytest.param("refusal_incorrect", ("mixed",) * 4, 0.4, id="ablation 1"),
        pytest.param("correct_incorrect", ("mixed",) * 4, 0.4, id="ablation 2"),
        pytest.param("unweighted", ("mixed",) * 4, 0.4, id="ablation 3"),
        pytest.param("confidence", ("known", "unknown", "mixed", "mixed"), 0.4, id="CA-DPO"),
    ],
)
def test_loss_and_gradient_equal_the_weighted_mean_of_trls(
    mixed_pairs, classes, confidence, models, tiny_llava, scene_images, tmp_path
):
    policy, reference = models
    processor = load_processor(str(tiny_llava))
    processor.chat_template = DEFAULT_FAMILY.chat.training_template
    rows = preference_rows(scene_images, mixed_pairs, classes, confidence)
    objective = build_objective(
        CaDpoConfig(init_from="original", learning_rate=1, beta=BETA), processor, DEFAULT_FAMILY
    )
    batch = objective.collate(rows)
    loss, _ = objective.loss(policy, batch, lambda batch, features: response_logps(reference, batch, features))
    ours = gradients(policy, loss / len(rows))

    # TRL takes no weights and gives the mean over pairs: one call for all pairs that weigh the same.
    pairs = [{"images": load_images(row["images"]), **pair} for row in rows for pair in trl_rows.preference_rows(row)]
    expected = torch.zeros(())
    for weight in sorted({pair["weight"] for pair in pairs}):
        alike = [pair for pair in pairs if pair["weight"] == weight]
        expected = expected + weight * trl_loss(models, processor, alike, tmp_path) * len(alike) / len(rows)
    theirs = gradients(policy, expected)

    assert float(loss.detach()) / len(rows) == pytest.approx(float(expected.detach()), abs=1e-5)
    assert abs(float(expected.detach()) - 0.6931) > 0.01
    assert ours.keys() == theirs.keys()
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-5 * largest, msg=name)
