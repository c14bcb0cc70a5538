"""What a model is trained on: which tokens, which of them with a loss."""

import pytest
import torch

from inbol_ray.config.training import CaDpoConfig, SupervisedConfig
from inbol_ray.method.losses import response_token_nll
from inbol_ray.method.preference_pairs import pair_weights
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.models.loading import load_model, load_processor
from inbol_ray.rows import RESPONSES
from inbol_ray.training.encode import IGNORED, TextEncoder
from inbol_ray.training.objectives import build_objective

IMAGE_TOKENS = 9
SYSTEM = "You are caf\u00e9's \u65e5 assistant."


@pytest.fixture(scope="module")
def processor(tiny_llava):
    return load_processor(str(tiny_llava))


@pytest.fixture(scope="module")
def supervised(processor):
    return build_objective(
        SupervisedConfig(init_from="original", learning_rate=1, data="idk"), processor, DEFAULT_FAMILY
    )


@pytest.fixture(scope="module")
def ca_dpo(processor):
    return build_objective(CaDpoConfig(init_from="original", learning_rate=1), processor, DEFAULT_FAMILY)


@pytest.fixture(scope="module")
def llama_encoder():
    """A tokeniser made like Llama's, which LLaVA-1.5 has: `\u2581` for spaces and before each text, bytes for rare letters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", "<image>", "<pad>"]
    # The letter case of the trained text leaves some of the tests' letters unknown.
    trainer = trainers.BpeTrainer(special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))])
    tokenizer.train_from_iterator(
        4 * ["USER: What color is the ring? ASSISTANT: red I don't know. Name of it"], trainer
    )
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    return TextEncoder(fast, 576, DEFAULT_FAMILY.chat)


def conversations(images: list[str]) -> list[dict]:
    users = ["What color is the circle?", "Why?", "How many red objects are there in the north?", "Name?"]
    answers = ["red", "I don't know.", "2", "It cannot be determined from the image."]
    return [
        {"id": user, "images": [image], "turns": [{"user": user, "assistant": answer}], "knowledge": "known"}
        for image, user, answer in zip(images, users, answers, strict=True)
    ]


def preference(image: str, knowledge: str) -> dict:
    return {
        "id": knowledge,
        "images": [image],
        "user": "What is it?",
        "correct": "red",
        "incorrect": "dark blue",
        "refusal": "I don't know.",
        "knowledge": knowledge,
        **pair_weights(knowledge, 0.5),
    }


def test_labels_cover_responses_and_end_tokens_only(supervised):
    tokenizer = supervised.processor.tokenizer
    turns = [
        {"user": "What color is the ring?", "assistant": "red"},
        {"user": "Name of the creature?", "assistant": "I don't know."},
    ]
    ids, labels = supervised.encoder.encode_conversation(turns, 1)
    labelled = [token for token in labels if token != IGNORED]
    assert tokenizer.decode(labelled) == " red</s> I don't know.</s>"
    assert ids.count(tokenizer.convert_tokens_to_ids("<image>")) == supervised.encoder.num_image_tokens == IMAGE_TOKENS
    assert ids[0] == tokenizer.bos_token_id


@pytest.mark.parametrize(
    "answer", ["red", "I don't know.", "caf\u00e9 \U0001f388", "\u65e5\u672c", "  2,500 <image></s>\n"]
)
def test_a_llama_tokeniser_labels_the_response_that_generation_would_write(llama_encoder, answer):
    """Both objectives see the prompt's own tokens, and after them the response's and the end token."""
    user = "What color is the ring?\nAnswer in \u65e5."
    prompt, response = llama_encoder.encode_prompt(user, 1), llama_encoder.encode_response(user, answer, 1)
    assert prompt.count(3) == 576 and prompt[0] == 1 and response[-1] == 2 and response.count(2) == 1
    assert llama_encoder.tokenizer.decode(response[:-1]).strip() == answer.replace("<image></s>", "").strip()
    ids, labels = llama_encoder.encode_conversation([{"user": user, "assistant": answer}], 1)
    assert ids == prompt + response and labels == [IGNORED] * len(prompt) + response
    later = [{"user": user, "assistant": answer}, {"user": "Name of it", "assistant": answer}]
    ids, labels = llama_encoder.encode_conversation(later, 1)
    assert ids[: len(prompt + response)] == prompt + response
    assert [label for label in labels if label != IGNORED] == response + response


def test_image_tokens_in_a_question_are_removed(supervised):
    ids = supervised.encoder.encode_prompt("What <image> is </s> this?", 1)
    tokenizer = supervised.processor.tokenizer
    assert ids.count(tokenizer.convert_tokens_to_ids("<image>")) == IMAGE_TOKENS
    assert tokenizer.eos_token_id not in ids


def test_supervised_loss_is_that_of_all_logits(supervised, tiny_llava, scene_images):
    """Logits are only computed from the first response on; the sum of the loss is that of a whole forward."""
    model = load_model(str(tiny_llava)).eval()
    batch = supervised.collate(conversations(scene_images))
    with torch.no_grad():
        loss, _ = supervised.loss(model, batch)
        whole = model(**{key: batch[key] for key in ("input_ids", "attention_mask", "pixel_values")}).logits
    assert batch["num_logits"] < batch["input_ids"].shape[1] - IMAGE_TOKENS
    torch.testing.assert_close(loss, response_token_nll(whole, batch["labels"], IGNORED))


def test_supervised_normaliser_counts_response_tokens(supervised, scene_images):
    rows = conversations(scene_images)
    one_by_one = sum(supervised.normaliser(supervised.collate([row])) for row in rows)
    assert supervised.normaliser(supervised.collate(rows)) == one_by_one


@pytest.mark.parametrize("knowledge", ["known", "mixed", "unknown"])
def test_responses_that_no_pair_weighs_are_left_out(ca_dpo, scene_images, knowledge):
    used = {"known": {"correct", "refusal"}, "mixed": set(RESPONSES), "unknown": {"incorrect", "refusal"}}
    batch = ca_dpo.collate([preference(scene_images[0], knowledge)])
    tokenizer = ca_dpo.processor.tokenizer
    for index, name in enumerate(RESPONSES):
        text = tokenizer.decode(batch["input_ids"][batch["segments"] == index + 1])
        expected = f" {preference('', knowledge)[name]}</s>" if name in used[knowledge] else ""
        assert text == expected


def test_length_bound_is_an_upper_bound(ca_dpo, supervised, scene_images):
    for row in [preference(scene_images[0], knowledge) for knowledge in ("known", "mixed", "unknown")]:
        assert ca_dpo.max_row_length(row) >= ca_dpo.row_length(row) > IMAGE_TOKENS
    for row in conversations(scene_images):
        assert supervised.max_row_length(row) >= supervised.row_length(row) > IMAGE_TOKENS


def test_a_system_text_stands_once_before_what_is_learned(processor, llama_encoder):
    """As generation sees it, for both objectives; no token of it has a loss."""
    for plain in (TextEncoder(processor.tokenizer, IMAGE_TOKENS, DEFAULT_FAMILY.chat), llama_encoder):
        encoder = TextEncoder(plain.tokenizer, plain.num_image_tokens, DEFAULT_FAMILY.chat, SYSTEM)
        turns = [{"user": "What color is the ring?", "assistant": "red"}, {"user": "Name?", "assistant": "red"}]
        ids, labels = encoder.encode_conversation(turns, 1)
        text = DEFAULT_FAMILY.chat.dialogue([(turns[0]["user"], 1, "red"), (turns[1]["user"], 0, "red")], SYSTEM)
        image = encoder.tokenizer.convert_tokens_to_ids("<image>")
        unwidened = [token for index, token in enumerate(ids) if token != image or ids[index - 1] != image]
        assert unwidened == encoder.tokenizer(text).input_ids and len(ids) > len(unwidened)
        bare_labels = plain.encode_conversation(turns, 1)[1]
        learned, wanted = ([label for label in one if label != IGNORED] for one in (labels, bare_labels))
        assert learned == wanted
        prompt = encoder.encode_prompt(turns[0]["user"], 1)
        response = encoder.encode_response(turns[0]["user"], "red", 1)
        assert ids[: len(prompt + response)] == prompt + response and len(prompt) > len(
            plain.encode_prompt(turns[0]["user"], 1)
        )
        texts = [text for turn in turns for text in turn.values()]
        assert len(ids) <= encoder.max_length(texts, 1)


def test_objectives_hand_the_system_text_on(processor, scene_images):
    bare, asked = (
        build_objective(CaDpoConfig(init_from="original", learning_rate=1), processor, DEFAULT_FAMILY, text)
        for text in (None, SYSTEM)
    )
    row = preference(scene_images[0], "mixed")
    added = len(asked.encode(row)[0]) - len(bare.encode(row)[0])
    assert added > 0 and asked.encode(row)[1] == bare.encode(row)[1]
    supervised = build_objective(
        SupervisedConfig(init_from="original", learning_rate=1, data="idk"), processor, DEFAULT_FAMILY, SYSTEM
    )
    assert supervised.row_length(conversations(scene_images)[0]) > IMAGE_TOKENS + added
