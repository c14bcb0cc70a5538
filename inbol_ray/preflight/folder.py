"""What is wrong with one checkpoint: architecture, processor, chat template, special tokens, weights, adapters."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.training import MethodConfig
from inbol_ray.errors import CheckpointError, InbolError
from inbol_ray.models.llava import LLAVA
from inbol_ray.models.llava.processor import CLASS_TOKENS, count_features, processor_fields
from inbol_ray.models.loading import load_processor
from inbol_ray.preflight.weights import weight_problems
from inbol_ray.sampling.checkpoints import check_checkpoint, hub_snapshot
from inbol_ray.store.local_copies import local_copy
from inbol_ray.training.fsdp import add_adapter

QUESTION = "What is this?"
MAX_DETAIL_CHARS = 300


def find_problems(
    checkpoint: str, storage: StorageConfig, methods: Mapping[str, MethodConfig] | None = None
) -> list[str]:
    """One line for each problem of a checkpoint (folder, hub name or `s3://` URI), and of `methods` to train from it.

    Reads no weights, only the headers of their files; of a hub name without copy here it downloads the small files.
    """
    try:
        folder = checkpoint_folder(checkpoint, storage)
        architecture = _read_architecture(folder)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = build_without_weights(config)
    except InbolError as error:
        return [_one_line(str(error))]
    except Exception as error:  # a file from outside can make a library raise anything
        return [f"{checkpoint}/config.json: {_short(error)}; expected the configuration of a LLaVA in the hub's layout"]
    problems = list(_processor_problems(folder, config))
    if "quantization_config" not in architecture:  # whose tensors have other names; vLLM checks them when it loads them
        problems += weight_problems(folder, config, may_download=not Path(local_copy(checkpoint, storage)).is_dir())
    return problems + [
        problem
        for name, method in (methods or {}).items()
        for problem in _adapter_problems(name, method, model, config)
    ]


def checkpoint_folder(checkpoint: str, storage: StorageConfig) -> Path:
    """A checkpoint's files on this machine; of a hub name the small ones. Raises CheckpointError."""
    local = Path(local_copy(checkpoint, storage))
    check_checkpoint(str(local))
    return local if local.is_dir() else hub_snapshot(checkpoint)


def build_without_weights(config: LlavaConfig, method: MethodConfig | None = None) -> torch.nn.Module:
    """The LLaVA that a configuration describes, with a method's adapter: every name and shape, on the meta device.

    Raises ValueError for an adapter without a place in the model.
    """
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
        return add_adapter(model, method) if method is not None and method.lora is not None else model


def _read_architecture(folder: Path) -> dict:
    """`config.json` of a model that this project can sample and train. Raises CheckpointError."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: no JSON ({_short(error)}); copy or download the checkpoint again") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: found {type(config).__name__}, expected a JSON object; download it again")
    names = config.get("architectures") or []
    kind = config.get("model_type")
    if "LlavaLlamaForCausalLM" in names or kind == "llava_llama" or "mm_vision_tower" in config:
        raise CheckpointError(
            f"{path}: found a checkpoint in LLaVA's own layout (LlavaLlamaForCausalLM), expected the hub's "
            "(LlavaForConditionalGeneration); take its conversion, llava-hf/llava-1.5-7b-hf or -13b-hf, or convert your "
            "own with transformers/models/llava/convert_llava_weights_to_hf.py"
        )
    if kind != "llava":
        raise CheckpointError(
            f"{path}: model_type is {kind!r}, expected 'llava' (known: llava); choose a checkpoint in the hub's "
            "llava-hf layout, such as llava-hf/llava-1.5-7b-hf"
        )
    for part in ("text_config", "vision_config"):
        if not isinstance(config.get(part), dict):
            raise CheckpointError(f"{path}: {part} is missing; expected that of a llava-hf checkpoint: save it again")
    tower = config["vision_config"].get("model_type")
    if tower not in CLASS_TOKENS:
        raise CheckpointError(
            f"{path}: vision_config.model_type is {tower!r}, expected one of {', '.join(CLASS_TOKENS)}; choose a "
            "checkpoint with such a vision tower"
        )
    return config


def _processor_problems(folder: Path, config: LlavaConfig) -> Iterator[str]:
    try:
        processor = load_processor(str(folder))
    except CheckpointError as error:
        yield _one_line(str(error))
        return
    except Exception as error:  # a broken tokenizer.json raises KeyError, TypeError, ValueError or plain Exception
        mend = "save the processor beside the model (processor.save_pretrained)"
        yield f"{folder}: the processor cannot be loaded ({_short(error)}); {mend}"
        return
    for look in (_token_problems, _image_problems, _template_problems):
        yield from _guarded(look, folder, processor, config)


def _guarded(look: Callable[..., Iterator[str]], folder: Path, processor, config: LlavaConfig) -> Iterator[str]:
    try:
        yield from look(folder, processor, config)
    except Exception as error:  # as above: what the files hold runs through libraries that do not expect it
        what = look.__name__.removeprefix("_").removesuffix("_problems")
        yield f"{folder}: the processor fails at its {what} ({_short(error)}); save it again (processor.save_pretrained)"


def _token_problems(folder: Path, processor: LlavaProcessor, config: LlavaConfig) -> Iterator[str]:
    tokenizer, path = processor.tokenizer, folder / "tokenizer.json"
    for token in (LLAVA.chat.image_token, LLAVA.chat.end_token):
        ids = tokenizer(token, add_special_tokens=False).input_ids
        if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
            yield f"{path}: {token} is read as {tokenizer.convert_ids_to_tokens(ids)}, expected one token; add it"
        elif token == LLAVA.chat.image_token and ids[0] != config.image_token_id:
            yield (
                f"{folder}/config.json: image_token_index is {config.image_token_id}, but the tokenizer reads "
                f"{LLAVA.chat.image_token} as {ids[0]}; set it to that, if the model was trained with this tokenizer"
            )
    if tokenizer.pad_token_id is None:
        yield f"{folder}/tokenizer_config.json: pad_token is missing, expected a token to fill batches with; add it"
    largest, size = max(tokenizer.get_vocab().values()), config.text_config.vocab_size
    if largest >= size:
        yield (
            f"{path}: the largest token id is {largest}, but text_config.vocab_size is {size}; this tokenizer belongs "
            "to another model, or the model's embeddings were not resized to it"
        )


def _image_problems(folder: Path, processor: LlavaProcessor, config: LlavaConfig) -> Iterator[str]:
    path, side = folder / "processor_config.json", config.vision_config.image_size
    pixels = processor.image_processor(images=Image.new("RGB", (64, 48)), return_tensors="pt")["pixel_values"]
    if tuple(pixels.shape[-2:]) != (side, side):
        yield (
            f"{path}: the image processor makes pictures of {pixels.shape[-1]} x {pixels.shape[-2]} pixels, but the "
            f"vision tower takes {side} x {side}; set crop_size and size to vision_config.image_size"
        )
        return
    found, expected = LLAVA.image_tokens(processor), count_features(config)
    if found != expected:
        wanted = processor_fields(config)
        stated = {name: getattr(processor, name) for name in wanted}
        yield (
            f"{path}: an image becomes {found} tokens ({_fields(stated)}), but the vision tower of config.json makes "
            f"{expected} features of it; set {_fields(wanted)}"
        )


def _template_problems(folder: Path, processor: LlavaProcessor, config: LlavaConfig) -> Iterator[str]:
    """A checkpoint without a chat template is no problem: prompts are written out here."""
    template = processor.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if template is None:
        return
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
    rendered = processor.apply_chat_template([turn], chat_template=template, add_generation_prompt=True)
    # A template may write the token that the tokenizer puts in front by itself.
    rendered, expected = rendered.removeprefix(processor.tokenizer.bos_token or ""), LLAVA.chat.prompt(QUESTION)
    if rendered != expected:
        yield (
            f"{folder}: the chat template lays a turn out as {rendered!r}, expected {expected!r}: the model was tuned "
            "with another layout than it would be asked in; choose a checkpoint in LLaVA-1.5's layout, or remove the "
            "template (chat_template.jinja) if it is not the one that the model was tuned with"
        )


def _adapter_problems(name: str, method: MethodConfig, model, config: LlavaConfig) -> Iterator[str]:
    if method.lora is None:
        return
    where = f"training.{name}.lora.target_modules"
    try:
        build_without_weights(config, method)
    except ValueError as error:
        linear = [key for key, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
        yield (
            f"{where} is {method.lora.target_modules!r}: {_short(error)} Expected a regular expression that matches "
            f"linear layers in full, such as {linear[-2]}"
        )


def _fields(values: Mapping) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _short(error: Exception) -> str:
    text = _one_line(f"{type(error).__name__}: {error}")
    return text if len(text) <= MAX_DETAIL_CHARS else f"{text[:MAX_DETAIL_CHARS]}..."


def _one_line(text: str) -> str:
    return " ".join(text.split())
