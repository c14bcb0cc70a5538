"""Processor and weights of a checkpoint, as its family loads them; what does not fit is refused, never filled up."""

from typing import Any

from transformers import AutoProcessor

from inbol_ray.errors import CheckpointError
from inbol_ray.models.registry import family_of


def load_processor(checkpoint: str) -> Any:
    """The checkpoint's processor, with what its files lack (`ModelFamily.complete_processor`).

    Raises CheckpointError where it has none, or another family's.
    """
    family = family_of(checkpoint)
    try:
        processor = AutoProcessor.from_pretrained(checkpoint, trust_remote_code=False)
        if not isinstance(processor, family.processor_class()):
            raise ValueError(f"found a {type(processor).__name__}")
        family.complete_processor(processor, checkpoint)
    except CheckpointError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint}: no usable processor ({error}); expected a folder laid out as {family.example}, with "
            "processor_config.json and tokenizer.json beside the weights"
        ) from None
    return processor


def load_model(checkpoint: str) -> Any:
    """Weights in the checkpoint's own type, from safetensors only. Raises CheckpointError.

    They are mapped from the files: a machine's workers share that memory for as long as they do not write to it.
    """
    family = family_of(checkpoint)
    try:
        model, loaded = family.model_class().from_pretrained(
            checkpoint,
            dtype="auto",
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint}: the weights cannot be loaded ({error}); expected a folder laid out as {family.example}, with "
            "config.json and model*.safetensors"
        ) from None
    if problem := describe_unfit_weights(loaded):
        raise CheckpointError(f"{checkpoint}: {problem}")
    return model


def describe_unfit_weights(loaded: dict[str, Any]) -> str:
    """What the weights lack, from transformers' loading info, which fills the gaps with random numbers; or nothing."""
    missing = sorted(loaded["missing_keys"])
    shapes = sorted(f"{name} ({list(found)}, not {list(wanted)})" for name, found, wanted in loaded["mismatched_keys"])
    if not missing and not shapes:
        return ""
    gaps = [f"{len(missing)} tensors of the model are missing ({_first(missing)})"] if missing else []
    gaps += [f"{len(shapes)} have another shape than config.json says ({_first(shapes)})"] if shapes else []
    return f"{' and '.join(gaps)}; expected every weight of the model that config.json describes: save it whole"


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
