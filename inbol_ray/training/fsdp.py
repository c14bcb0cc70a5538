"""FSDP2 around a LLaVA: load, freeze, adapt, shard; and the way back to one Hugging Face folder."""

import shutil
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import AutoProcessor, LlavaForConditionalGeneration

from inbol_ray.config.schema import TrainingConfig
from inbol_ray.errors import CheckpointError

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


def load_processor(checkpoint: str):
    """The checkpoint's LlavaProcessor. Raises CheckpointError where it has none."""
    try:
        return AutoProcessor.from_pretrained(checkpoint, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint}: no usable processor ({error}); expected a llava-hf folder with processor_config.json and "
            "tokenizer.json beside the weights"
        ) from None


def load_model(checkpoint: str) -> LlavaForConditionalGeneration:
    """Float32 weights from safetensors only. Raises CheckpointError."""
    try:
        return LlavaForConditionalGeneration.from_pretrained(
            checkpoint, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint}: not a LLaVA checkpoint that can be loaded ({error}); expected the hub's llava-hf layout "
            "with config.json and model*.safetensors"
        ) from None


def prepare_model(checkpoint: str, config: TrainingConfig) -> nn.Module:
    """Load the model to train: vision tower frozen unless configured, LoRA wrapped around where configured."""
    model = load_model(checkpoint)
    model.model.vision_tower.requires_grad_(config.train_vision_tower)
    # Layers behind the selected vision feature get no gradient, hence no optimiser state to resume from.
    model.model.vision_tower.post_layernorm.requires_grad_(False)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if config.lora is None:
        return model
    from peft import get_peft_model

    if config.gradient_checkpointing:
        model.enable_input_require_grads()
    return get_peft_model(model, _lora_config(config))


def _lora_config(config: TrainingConfig):
    from peft import LoraConfig

    lora = config.lora
    return LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target_modules)


def base_of(model: nn.Module) -> LlavaForConditionalGeneration:
    """The LLaVA inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def shard(model: nn.Module, config: TrainingConfig) -> nn.Module:
    """Shard every CLIP and Llama layer, then the rest, over all workers."""
    device = "cuda" if config.num_gpus_per_worker else "cpu"
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    options = {"mesh": mesh}
    if config.dtype != "float32":
        options["mp_policy"] = MixedPrecisionPolicy(
            param_dtype=getattr(torch, config.dtype), reduce_dtype=torch.float32
        )
    llava = base_of(model).model
    for block in (*llava.vision_tower.encoder.layers, *llava.language_model.layers):
        fully_shard(block, **options)
    fully_shard(model, **options)
    return model


def export_merged(model: nn.Module, config: TrainingConfig, init_checkpoint: str, out_dir: Path) -> None:
    """Write one Hugging Face folder in the hub's layout (all ranks call this; rank 0 writes).

    The folder appears under its name only when complete: a crash half-way leaves nothing that could be loaded.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=config.lora is not None)
    state = get_model_state_dict(model, options=options)
    if dist.get_rank() == 0:
        # Loaded from the hub's layout, so transformers saves it back in that layout, which vLLM needs.
        merged = load_model(init_checkpoint)
        if config.lora is not None:
            from peft import get_peft_model

            adapted = get_peft_model(merged, _lora_config(config))
            unexpected = adapted.load_state_dict(state, strict=False).unexpected_keys
            assert not unexpected, unexpected
            merged = adapted.merge_and_unload()
        else:
            merged.load_state_dict(state)
        partial = out_dir.with_name(f".{out_dir.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        merged.save_pretrained(partial)
        copy_processor(init_checkpoint, partial)
        shutil.rmtree(out_dir, ignore_errors=True)
        partial.rename(out_dir)
    dist.barrier()


def copy_processor(source: str, target: Path) -> None:
    """Copy the processor's files unchanged, so that training never alters preprocessing."""
    if not Path(source).is_dir():
        load_processor(source).save_pretrained(target)
        return
    for name in PROCESSOR_FILES:
        if (Path(source) / name).exists():
            shutil.copy2(Path(source) / name, target / name)
