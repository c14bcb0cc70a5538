"""A model made ready for training: load, freeze, adapt, shard with FSDP2."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from transformers import PreTrainedModel

from inbol_ray.config.training import TrainingConfig
from inbol_ray.models import family_of_type
from inbol_ray.models.loading import load_model
from inbol_ray.models.parts import base_of, parts_of


def prepare_model(checkpoint: str, config: TrainingConfig) -> nn.Module:
    """Load the model to train, adapted (`adapt_model`). Raises CheckpointError."""
    return adapt_model(load_model(checkpoint), config)


def adapt_model(model: PreTrainedModel, config: TrainingConfig) -> nn.Module:
    """The model made ready: what is not configured to train is frozen, LoRA is wrapped around where configured."""
    parts = parts_of(model)
    parts.vision_tower.requires_grad_(config.train_vision_tower)
    family_of_type(model.config.model_type).freeze_unused_layers(model)
    if config.projector_learning_rate == 0:
        parts.projector.requires_grad_(False)
    adapted = model if config.lora is None else add_adapter(model, config)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        # Only reentrant checkpointing needs embeddings with a gradient; a frozen vision tower would run backward for it.
        model.disable_input_require_grads()
    return adapted


def add_adapter(model: PreTrainedModel, config: TrainingConfig) -> nn.Module:
    """The model inside a fresh PEFT adapter; a projector that trains beside it is part of the adapter."""
    from peft import LoraConfig, get_peft_model

    lora = config.lora
    adapter = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        modules_to_save=[_projector_name(model)] if config.projector_learning_rate else None,
    )
    return get_peft_model(model, adapter)


def parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict]:
    """Trainable parameters as optimiser groups, each with its `peak` learning rate."""
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    peak = config.learning_rate
    if config.projector_learning_rate is None:
        return [{"params": [parameter for _, parameter in trainable], "peak": peak}]
    name_of_it = _projector_name(model)
    projector = [parameter for name, parameter in trainable if name_of_it in name]
    others = [parameter for name, parameter in trainable if name_of_it not in name]
    groups = [{"params": others, "peak": peak}, {"params": projector, "peak": config.projector_learning_rate}]
    return [group for group in groups if group["params"]]


def _projector_name(model: nn.Module) -> str:
    return family_of_type(base_of(model).config.model_type).modules.projector_name


def shard(model: nn.Module, config: TrainingConfig) -> nn.Module:
    """Shard every layer of vision tower and language model, then the rest, over all workers; each becomes a worker's own memory in turn.

    Layers of fewer parameters than `min_parameters_per_shard` belong to the rest.
    """
    mesh = init_device_mesh(config.compute_device, (dist.get_world_size(),))
    options = {"mesh": mesh}
    dtype = getattr(torch, config.dtype)
    if dtype != torch.float32:
        options["mp_policy"] = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    parts = parts_of(model)
    for layer in (*parts.vision_layers, *parts.text_layers):
        if sum(parameter.numel() for parameter in layer.parameters()) >= config.min_parameters_per_shard:
            _set_types(layer, dtype)
            fully_shard(layer, **options)
    _set_types(model, dtype)
    fully_shard(model, **options)
    register_fsdp_forward_method(model, "get_image_features")
    return model


def _set_types(module: nn.Module, dtype: torch.dtype) -> None:
    """What trains to float32, for the optimiser; what is frozen to the compute type, which FSDP would cast it to."""
    for parameter in module.parameters():
        wanted = torch.float32 if parameter.requires_grad else dtype
        if parameter.dtype != wanted:
            parameter.data = parameter.data.to(wanted)
