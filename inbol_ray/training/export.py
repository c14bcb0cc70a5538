"""A trained model as others load it: a merged Hugging Face folder, and beside it the PEFT adapter of a LoRA run."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from inbol_ray.config.training import TrainingConfig
from inbol_ray.models import family_of
from inbol_ray.models.loading import load_model, load_processor
from inbol_ray.store.local_copies import written_to
from inbol_ray.training.fsdp import add_adapter

MODEL, ADAPTER = "model", "adapter"
PROCESSOR_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)


def export_model(model: nn.Module, config: TrainingConfig, init_checkpoint: str, out_dir: str) -> None:
    """Write `model/` in the hub's layout, and `adapter/` of a LoRA run, to `out_dir`; all workers call this.

    The first worker writes. In `out_dir`, a path or `s3://` URI, a folder appears under its name only when complete
    (in a store only files do), so a crash half-way leaves nothing that could be loaded. `init_checkpoint` is a folder
    or a hub name. Weights have its type, LoRA's are float32. The first worker needs memory for the model in
    that type, and in full fine-tuning for the float32 weights too.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    state = get_model_state_dict(model, options=options)
    if dist.get_rank() == 0:
        with written_to(out_dir) as folder:
            _write_model(state, config, init_checkpoint, folder)
    dist.barrier()


def _write_model(state: dict, config: TrainingConfig, init_checkpoint: str, out_dir: Path) -> None:
    # Loaded from the hub's layout, so transformers saves it back in that layout, which vLLM needs.
    whole = load_model(init_checkpoint)
    if config.lora is not None:
        whole = add_adapter(whole, config)
    unexpected = whole.load_state_dict(state, strict=False).unexpected_keys
    assert not unexpected, unexpected
    if config.lora is not None:
        with _appearing_complete(out_dir / ADAPTER) as folder:
            whole.save_pretrained(folder)
            copy_processor(init_checkpoint, folder)
        whole = whole.merge_and_unload()
    with _appearing_complete(out_dir / MODEL) as folder:
        whole.save_pretrained(folder)
        copy_processor(init_checkpoint, folder)


@contextmanager
def _appearing_complete(folder: Path) -> Iterator[Path]:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(partial, folder)


def copy_processor(source: str, target: Path) -> None:
    """Copy the processor's files, and have it pad pictures to a square as training does (`images.decode_image`).

    The tokenizer's files stay as they are. Raises OSError or ValueError where `source` has no image processor.
    """
    if Path(source).is_dir():
        for name in PROCESSOR_FILES:
            if (Path(source) / name).exists():
                shutil.copy2(Path(source) / name, target / name)
    else:
        load_processor(source).save_pretrained(target)
    family_of(source).finish_processor(target, lambda: load_processor(source))
