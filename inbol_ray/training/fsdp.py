"""A LLaVA made ready for training: load, freeze, adapt, shard with FSDP2."""

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from transformers import AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor

from inbol_ray.config.training import TrainingConfig
from inbol_ray.errors import CheckpointError
from inbol_ray.models.processors import complete_processor

PROJECTOR = "multi_modal_projector"


def load_processor(checkpoint: str):
    """The checkpoint's LlavaProcessor, what it lacks taken from config.json. Raises CheckpointError where it has none."""
    try:
        processor = AutoProcessor.from_pretrained(checkpoint, trust_remote_code=False)
        if not isinstance(processor, LlavaProcessor):
            raise ValueError(f"found a {type(processor).__name__}")
        complete_processor(processor, checkpoint)
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint}: no usable processor ({error}); expected a llava-hf folder with processor_config.json and "
            "tokenizer.json beside the weights"
        ) from None
    return processor


def load_model(checkpoint: str) -> LlavaForConditionalGeneration:
    """Weights in the checkpoint's own type, from safetensors only. Raises CheckpointError.

    They are mapped from the files: a machine's workers share that memory for as long as they do not write to it.
    """
    try:
        model, loaded = LlavaForConditionalGeneration.from_pretrained(
            checkpoint,
            dtype="auto",
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint}: not a LLaVA checkpoint that can be loaded ({error}); expected the hub's llava-hf layout "
            "with config.json and model*.safetensors"
        ) from None
    if problem := describe_unfit_weights(loaded):
        raise CheckpointError(f"{checkpoint}: {problem}")
    return model


def describe_unfit_weights(loaded: dict) -> str:
    """What the weights lack, from transformers' loading info, which fills the gaps with random numbers; or nothing."""
    missing = sorted(loaded["missing_keys"])
    shapes = sorted(f"{name} ({list(found)}, not {list(wanted)})" for name, found, wanted in loaded["mismatched_keys"])
    if not missing and not shapes:
        return ""
    gaps = [f"{len(missing)} tensors of the model are missing ({_first(missing)})"] if missing else []
    gaps += [f"{len(shapes)} have another shape than config.json says ({_first(shapes)})"] if shapes else []
    return f"{' and '.join(gaps)}; expected every weight of the LLaVA that config.json describes: save it whole"


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def prepare_model(checkpoint: str, config: TrainingConfig) -> nn.Module:
    """Load the model to train, adapted (`adapt_model`). Raises CheckpointError."""
    return adapt_model(load_model(checkpoint), config)


def adapt_model(model: LlavaForConditionalGeneration, config: TrainingConfig) -> nn.Module:
    """The model made ready: what is not configured to train is frozen, LoRA is wrapped around where configured."""
    model.model.vision_tower.requires_grad_(config.train_vision_tower)
    freeze_unused_layers(model)
    if config.projector_learning_rate == 0:
        model.model.multi_modal_projector.requires_grad_(False)
    adapted = model if config.lora is None else add_adapter(model, config)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        # Only reentrant checkpointing needs embeddings with a gradient; a frozen vision tower would run backward for it.
        model.disable_input_require_grads()
    return adapted


def freeze_unused_layers(model: LlavaForConditionalGeneration) -> None:
    """Freeze what lies behind the selected vision feature: no gradient comes there, so no optimiser state either.

    Resuming would miss that state (LLaVA-1.5 reads the last layer but one).
    """
    tower, selected = model.model.vision_tower, model.config.vision_feature_layer
    tower.post_layernorm.requires_grad_(False)
    layers = tower.encoder.layers
    # Feature i is the output of layer i - 1 (0: the embeddings); a negative one counts from the last layer's output.
    used = max(index if index >= 0 else len(layers) + 1 + index for index in np.atleast_1d(selected))
    layers[used:].requires_grad_(False)


def add_adapter(model: LlavaForConditionalGeneration, config: TrainingConfig) -> nn.Module:
    """The model inside a fresh PEFT adapter; a projector that trains beside it is part of the adapter."""
    from peft import LoraConfig, get_peft_model

    lora = config.lora
    adapter = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        modules_to_save=[PROJECTOR] if config.projector_learning_rate else None,
    )
    return get_peft_model(model, adapter)


def parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict]:
    """Trainable parameters as optimiser groups, each with its `peak` learning rate."""
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    peak = config.learning_rate
    if config.projector_learning_rate is None:
        return [{"params": [parameter for _, parameter in trainable], "peak": peak}]
    projector = [parameter for name, parameter in trainable if PROJECTOR in name]
    others = [parameter for name, parameter in trainable if PROJECTOR not in name]
    groups = [{"params": others, "peak": peak}, {"params": projector, "peak": config.projector_learning_rate}]
    return [group for group in groups if group["params"]]


def base_of(model: nn.Module) -> LlavaForConditionalGeneration:
    """The LLaVA inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def shard(model: nn.Module, config: TrainingConfig) -> nn.Module:
    """Shard every CLIP and Llama layer, then the rest, over all workers; each becomes a worker's own memory in turn.

    Layers of fewer parameters than `min_parameters_per_shard` belong to the rest.
    """
    mesh = init_device_mesh(config.compute_device, (dist.get_world_size(),))
    options = {"mesh": mesh}
    dtype = getattr(torch, config.dtype)
    if dtype != torch.float32:
        options["mp_policy"] = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    llava = base_of(model).model
    for layer in (*llava.vision_tower.encoder.layers, *llava.language_model.layers):
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
