"""What is wrong with one checkpoint: architecture, processor, chat template, special tokens, weights, adapters."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedConfig

from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.training import MethodConfig
from inbol_ray.errors import CheckpointError, InbolError
from inbol_ray.models import family_of_type
from inbol_ray.models.loading import load_processor
from inbol_ray.models.registry import CONFIG, family_of_config, read_config
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
        architecture = read_config(folder / CONFIG)
        family_of_config(architecture, folder / CONFIG).check_config(architecture, folder / CONFIG)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = build_without_weights(config)
    except InbolError as error:
        return [_one_line(str(error))]
    except Exception as error:  # a file from outside can make a library raise anything
        return [f"{checkpoint}/config.json: {_short(error)}; expected a configuration in the hub's layout"]
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


def build_without_weights(config: PreTrainedConfig, method: MethodConfig | None = None) -> torch.nn.Module:
    """The model that a configuration describes, with a method's adapter: every name and shape, on the meta device.

    Raises ValueError for an adapter without a place in the model.
    """
    with torch.device("meta"):
        model = family_of_type(config.model_type).model_class()(config)
        return add_adapter(model, method) if method is not None and method.lora is not None else model


def _processor_problems(folder: Path, config: PreTrainedConfig) -> Iterator[str]:
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


def _guarded(look: Callable[..., Iterator[str]], folder: Path, processor, config: PreTrainedConfig) -> Iterator[str]:
    try:
        yield from look(folder, processor, config)
    except Exception as error:  # as above: what the files hold runs through libraries that do not expect it
        what = look.__name__.removeprefix("_").removesuffix("_problems")
        yield f"{folder}: the processor fails at its {what} ({_short(error)}); save it again (processor.save_pretrained)"


def _token_problems(folder: Path, processor, config: PreTrainedConfig) -> Iterator[str]:
    tokenizer, path = processor.tokenizer, folder / "tokenizer.json"
    chat = family_of_type(config.model_type).chat
    for token in (chat.image_token, chat.end_token):
        ids = tokenizer(token, add_special_tokens=False).input_ids
        if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
            yield f"{path}: {token} is read as {tokenizer.convert_ids_to_tokens(ids)}, expected one token; add it"
        elif token == chat.image_token and ids[0] != config.image_token_id:
            yield (
                f"{folder}/config.json: image_token_index is {config.image_token_id}, but the tokenizer reads "
                f"{chat.image_token} as {ids[0]}; set it to that, if the model was trained with this tokenizer"
            )
    if tokenizer.pad_token_id is None:
        yield f"{folder}/tokenizer_config.json: pad_token is missing, expected a token to fill batches with; add it"
    largest, size = max(tokenizer.get_vocab().values()), config.text_config.vocab_size
    if largest >= size:
        yield (
            f"{path}: the largest token id is {largest}, but text_config.vocab_size is {size}; this tokenizer belongs "
            "to another model, or the model's embeddings were not resized to it"
        )


def _image_problems(folder: Path, processor, config: PreTrainedConfig) -> Iterator[str]:
    yield from family_of_type(config.model_type).image_problems(folder, processor, config)


def _template_problems(folder: Path, processor, config: PreTrainedConfig) -> Iterator[str]:
    """A checkpoint without a chat template is no problem: prompts are written out here."""
    template = processor.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if template is None:
        return
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
    rendered = processor.apply_chat_template([turn], chat_template=template, add_generation_prompt=True)
    # A template may write the token that the tokenizer puts in front by itself.
    chat = family_of_type(config.model_type).chat
    rendered, expected = rendered.removeprefix(processor.tokenizer.bos_token or ""), chat.prompt(QUESTION)
    if rendered != expected:
        yield (
            f"{folder}: the chat template lays a turn out as {rendered!r}, expected {expected!r}: the model was tuned "
            "with another layout than it would be asked in; choose a checkpoint in this layout, or remove the "
            "template (chat_template.jinja) if it is not the one that the model was tuned with"
        )


def _adapter_problems(name: str, method: MethodConfig, model, config: PreTrainedConfig) -> Iterator[str]:
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


def _short(error: Exception) -> str:
    text = _one_line(f"{type(error).__name__}: {error}")
    return text if len(text) <= MAX_DETAIL_CHARS else f"{text[:MAX_DETAIL_CHARS]}..."


def _one_line(text: str) -> str:
    return " ".join(text.split())
