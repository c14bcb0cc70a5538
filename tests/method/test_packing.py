"""Packed rows compute exactly what separate forwards compute."""

from dataclasses import dataclass

import pytest
import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from inbol_ray.config.training import CaDpoConfig, LoraSettings
from inbol_ray.method.packing import pack_responses
from inbol_ray.training.fsdp import add_adapter
from inbol_ray.training.objectives import response_logps

PAD, IMAGE, VOCABULARY = 0, 1, 50
IMAGE_TOKENS = 4


@dataclass(frozen=True)
class Shape:
    """Of a random LLaVA and of a batch; `equal` leaves out padding."""

    seed: int
    layers: int = 2
    heads: int = 2
    kv_heads: int = 2
    feature_layer: int = -2
    lora: bool = False
    num_rows: int = 3
    equal: bool = False


SHAPES = [
    Shape(0),
    Shape(1, lora=True),
    Shape(2, num_rows=1),
    Shape(3, equal=True),
    Shape(4, layers=1, heads=4, kv_heads=1, feature_layer=-1, num_rows=5),
    Shape(5, layers=3, heads=4, kv_heads=2, lora=True, num_rows=4, equal=True),
]


def random_llava(shape: Shape) -> torch.nn.Module:
    """Float64 random weights; a LoRA adapter, where asked for, is no longer at its neutral start."""
    torch.manual_seed(shape.seed)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=8, patch_size=4
    )
    text = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=8 * shape.heads,
        intermediate_size=24,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=64,
        pad_token_id=PAD,
        initializer_range=0.3,
    )
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=IMAGE, vision_feature_layer=shape.feature_layer
    )
    model = LlavaForConditionalGeneration(config)
    if shape.lora:
        settings = LoraSettings(rank=4, alpha=8)
        model = add_adapter(model, CaDpoConfig(init_from="original", learning_rate=1, lora=settings))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.2)
    return model.double().eval()


def random_rows(shape: Shape) -> tuple[list[list[int]], list[list[list[int]]], torch.Tensor]:
    """(prefixes, responses, pixels); without `equal`, lengths vary and each row lacks some response, or none."""
    generator = torch.Generator().manual_seed(shape.seed)

    def tokens(low: int, high: int) -> list[int]:
        count = high if shape.equal else int(torch.randint(low, high + 1, (), generator=generator))
        return torch.randint(2, VOCABULARY, (count,), generator=generator).tolist()

    prefixes, responses = [], []
    for row in range(shape.num_rows):
        prefixes.append([2, *[IMAGE] * IMAGE_TOKENS, *tokens(1, 9)])
        responses.append([tokens(1, 6) if shape.equal or slot != row % 4 else [] for slot in range(3)])
    pixels = torch.randn(shape.num_rows, 3, 8, 8, generator=generator, dtype=torch.float64)
    return prefixes, responses, pixels


def separate_logps(model, prefixes, responses, pixels) -> torch.Tensor:
    """[B, K], each response by an unpadded forward of its own; 0 where it is missing."""
    rows = []
    for prefix, slots, image in zip(prefixes, responses, pixels, strict=True):
        sums = []
        for response in slots:
            if not response:
                sums.append(torch.zeros((), dtype=torch.float64))
                continue
            logits = model(input_ids=torch.tensor([prefix + response]), pixel_values=image[None]).logits[0]
            predicted = logits[len(prefix) - 1 : -1].log_softmax(-1)
            sums.append(predicted.gather(-1, torch.tensor(response)[:, None]).sum())
        rows.append(torch.stack(sums))
    return torch.stack(rows)


def gradients(model, logps: torch.Tensor) -> dict[str, torch.Tensor]:
    mix = torch.randn(logps.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model.zero_grad()
    (logps * mix).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_packed_logps_and_gradients_equal_separate_forwards(shape):
    model = random_llava(shape)
    prefixes, responses, pixels = random_rows(shape)
    batch = pack_responses(prefixes, responses, PAD) | {"pixel_values": pixels}
    packed = response_logps(model, batch)
    separate = separate_logps(model, prefixes, responses, pixels)
    torch.testing.assert_close(packed, separate, rtol=1e-10, atol=1e-10)
    ours, theirs = gradients(model, packed), gradients(model, separate)
    assert ours.keys() == theirs.keys() and any(gradient.abs().max() > 0.1 for gradient in ours.values())
    if shape.lora:
        assert all("lora" in name for name in ours)
    # Llama's norms compute in float32 whatever the model's type: their backward rounds.
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-5, atol=1e-6 * largest, msg=name)


def test_in_float32_they_differ_by_rounding_only():
    shape = Shape(6, layers=3, num_rows=4)
    model = random_llava(shape).float()
    prefixes, responses, pixels = random_rows(shape)
    batch = pack_responses(prefixes, responses, PAD) | {"pixel_values": pixels.float()}
    with torch.no_grad():
        packed = response_logps(model, batch)
        separate = separate_logps(model, prefixes, responses, pixels.float())
    torch.testing.assert_close(packed, separate.float(), rtol=1e-6, atol=1e-4)


def test_a_response_sees_no_other_response():
    shape = Shape(7, num_rows=1, equal=True)
    model = random_llava(shape)
    prefixes, responses, pixels = random_rows(shape)
    changed = [[responses[0][0], responses[0][1][::-1], responses[0][2]]]
    with torch.no_grad():
        before, after = (
            response_logps(model, pack_responses(prefixes, slots, PAD) | {"pixel_values": pixels})
            for slots in (responses, changed)
        )
    torch.testing.assert_close(before[:, [0, 2]], after[:, [0, 2]])
    assert abs(before[0, 1] - after[0, 1]) > 0.1


def test_an_absent_response_takes_no_columns():
    width = pack_responses([[2, 3]], [[[4, 5], [], [6]]], PAD)["input_ids"].shape[1]
    assert width == 2 + 2 + 1
