"""Reference log-probabilities, from columns or from the pass with the adapter off: the same loss."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from inbol_ray.config.training import CaDpoConfig, LoraSettings
from inbol_ray.method.preference_pairs import pair_weights
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.models.loading import load_processor
from inbol_ray.rows import KNOWLEDGE_CLASSES
from inbol_ray.training.fsdp import prepare_model
from inbol_ray.training.objectives import REFERENCE_COLUMNS, build_objective
from inbol_ray.training.reference import build_reference
from inbol_ray.training.reference_columns import SCORES, ReferenceScorer


@pytest.fixture
def rows(scene_images):
    return [
        {
            "id": str(index),
            "images": np.array([image], dtype=object),
            "user": "What is " + "very " * index + "red?",
            "correct": "dark blue",
            "incorrect": "a ring",
            "refusal": "I don't know.",
            "knowledge": KNOWLEDGE_CLASSES[index % 3],
            **pair_weights(KNOWLEDGE_CLASSES[index % 3], 0.3),
        }
        for index, image in enumerate(scene_images)
    ]


def test_stored_columns_and_the_adapter_off_give_the_same_loss(tiny_llava, rows):
    checkpoint = str(tiny_llava)
    config = CaDpoConfig(init_from="original", learning_rate=1, lora=LoraSettings(rank=4, alpha=8))
    objective = build_objective(config, load_processor(checkpoint), DEFAULT_FAMILY)
    torch.manual_seed(0)
    model = prepare_model(checkpoint, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    live, _ = objective.loss(model, objective.collate(rows), build_reference(model, checkpoint, config))

    columns = {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]}
    scored = ReferenceScorer(checkpoint, config)(columns)
    table = pa.table(scored).select(SCORES.names).cast(SCORES).to_pylist()
    stored = config.model_copy(update={"reference": "precomputed"})
    batch = objective.collate([row | scores for row, scores in zip(rows, table, strict=True)])
    precomputed, _ = objective.loss(model, batch, build_reference(model, checkpoint, stored))

    assert precomputed.item() == pytest.approx(live.item(), rel=1e-5)
    assert abs(live.item() / len(rows) - 0.6931) > 0.01
    # a Known sample has no wrong answer, an Unknown one no right answer
    assert table[0][REFERENCE_COLUMNS[1]] == 0 and table[2][REFERENCE_COLUMNS[0]] == 0
    assert all(table[0][name] < -1 for name in (REFERENCE_COLUMNS[0], REFERENCE_COLUMNS[2]))
