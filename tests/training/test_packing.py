"""Packed rows compute exactly what separate forwards compute."""

import pytest
import torch

from inbol_ray.config.schema import CaDpoConfig
from inbol_ray.datagen.preference_pairs import pair_weights
from inbol_ray.training.encode import IGNORED
from inbol_ray.training.fsdp import load_model, load_processor
from inbol_ray.training.losses import RESPONSES
from inbol_ray.training.objectives import build_objective

CONFIG = CaDpoConfig(init_from="original", learning_rate=1e-4)


def preference_rows(images):
    users = ["What color is the circle?", "Where does the creature live?", "How many red objects are there?", "Name?"]
    rows = []
    for index, (image, user) in enumerate(zip(images, users, strict=True)):
        knowledge = ("known", "mixed", "unknown", "mixed")[index]
        rows.append(
            {
                "id": str(index),
                "images": [image],
                "user": user,
                "correct": None if knowledge == "unknown" else "red",
                "incorrect": None if knowledge == "known" else "dark blue and green",
                "refusal": "Sorry, I can't answer that.",
                **pair_weights(knowledge, 0.5),
            }
        )
    return rows


@pytest.fixture(scope="module")
def setup(tiny_llava):
    torch.manual_seed(0)
    return build_objective(CONFIG, load_processor(str(tiny_llava))), load_model(str(tiny_llava)).eval()


def separate_logps(objective, model, row):
    """Log-probability of each response by a forward of its own; 0 where it is missing."""
    pixels = objective._pixels([row])
    prefix = objective.encoder.encode_prompt(row["user"], 1)
    sums = []
    for name in RESPONSES:
        response = objective.encoder.encode_response(row["user"], row[name], 1)
        if not response:
            sums.append(torch.zeros(()))
            continue
        ids = torch.tensor([prefix + response])
        logps = model(input_ids=ids, pixel_values=pixels).logits.log_softmax(-1)[0]
        sums.append(sum(logps[len(prefix) - 1 + k, token] for k, token in enumerate(response)))
    return torch.stack(sums)


def test_packed_logps_and_gradients_equal_separate_forwards(setup, scene_images):
    objective, model = setup
    rows = preference_rows(scene_images)
    packed = objective.logps(model, objective.collate(rows))
    separate = torch.stack([separate_logps(objective, model, row) for row in rows])
    torch.testing.assert_close(packed, separate, rtol=1e-5, atol=1e-4)

    mix = torch.randn(packed.shape, generator=torch.Generator().manual_seed(1))
    gradients = []
    for logps in (packed, separate):
        model.zero_grad()
        (logps * mix).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_row_does_not_see_the_others_responses(setup, scene_images):
    objective, model = setup
    row = preference_rows(scene_images)[1]
    with torch.no_grad():
        before = objective.logps(model, objective.collate([row]))
        after = objective.logps(model, objective.collate([row | {"incorrect": "something else entirely"}]))
    torch.testing.assert_close(before[:, [0, 2]], after[:, [0, 2]], rtol=1e-5, atol=1e-4)
    assert abs(before[0, 1] - after[0, 1]) > 0.1


def test_labels_cover_responses_and_end_tokens_only(setup):
    objective, _ = setup
    tokenizer = objective.processor.tokenizer
    turns = [
        {"user": "What color is the ring?", "assistant": "red"},
        {"user": "Name of the creature?", "assistant": "I don't know."},
    ]
    ids, labels = objective.encoder.encode_conversation(turns, 1)
    labelled = [token for token in labels if token != IGNORED]
    assert tokenizer.decode(labelled) == " red</s> I don't know.</s>"
    assert ids.count(tokenizer.convert_tokens_to_ids("<image>")) == objective.encoder.num_image_tokens == 9
    assert ids[0] == tokenizer.bos_token_id


def test_image_tokens_in_a_question_are_removed(setup):
    objective, _ = setup
    ids = objective.encoder.encode_prompt("What <image> is </s> this?", 1)
    tokenizer = objective.processor.tokenizer
    assert ids.count(tokenizer.convert_tokens_to_ids("<image>")) == 9
    assert tokenizer.eos_token_id not in ids


def test_length_bound_is_an_upper_bound(setup, scene_images):
    objective, _ = setup
    for row in preference_rows(scene_images):
        assert objective.max_row_length(row) >= objective.row_length(row)


def test_loss_with_one_pair_is_plain_dpo(setup, scene_images):
    objective, model = setup
    rows = [row | pair_weights("known", 1.0) | {"correct": "red"} for row in preference_rows(scene_images)]
    batch = objective.collate(rows)
    logps = objective.logps(model, batch)
    reference = logps.detach() + torch.randn(logps.shape, generator=torch.Generator().manual_seed(2))
    loss, metrics = objective.loss(model, batch, lambda _: reference)
    ratios = logps - reference
    expected = -torch.nn.functional.logsigmoid(CONFIG.beta * (ratios[:, 0] - ratios[:, 2])).sum()
    torch.testing.assert_close(loss, expected)
    assert metrics["margin_correct_refusal"][1] == 4
