"""TRL's DPOTrainer on our preference rows: the yardstick of the training benchmarks."""

import tempfile
from typing import Protocol


class Turns(Protocol):
    """Iterating begins a step, `report` takes the loss at its end."""

    num_turns: int

    def __iter__(self): ...

    def report(self, loss: float) -> None: ...


def start_adapter(model) -> None:
    """The same fresh adapter on every side, whatever drew random numbers before."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for name, parameter in sorted(model.named_parameters()):
        if "lora_A" in name:
            parameter.data.copy_(0.02 * torch.randn(parameter.shape, generator=generator))


def run_trl(model, processor, rows: list[dict], config, device: str, take_turn: Turns) -> None:
    """DPOTrainer.train() with LoRA, its reference by the adapter switched off: all pairs of `rows` in each step.

    `config` is our CaDpoConfig; TRL gets the same adapter, clipping, type and activation checkpointing.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    from inbol_ray.datagen.trl_rows import preference_rows
    from inbol_ray.images import load_images
    from inbol_ray.models import DEFAULT_FAMILY

    processor.chat_template = DEFAULT_FAMILY.chat.training_template
    pairs = [{"images": load_images(row["images"]), **pair} for row in rows for pair in preference_rows(row)]

    class Recording(DPOTrainer):
        def compute_loss(self, *args, **kwargs):
            loss = super().compute_loss(*args, **kwargs)
            self.last_loss = float((loss[0] if isinstance(loss, tuple) else loss).detach())
            return loss

    class TakeTurns(TrainerCallback):
        def __init__(self) -> None:
            self.turns = iter(take_turn)

        def on_step_begin(self, args, state, control, **kwargs):
            next(self.turns)

        def on_step_end(self, args, state, control, **kwargs):
            take_turn.report(trainer.last_loss)

    with tempfile.TemporaryDirectory() as folder:
        settings = DPOConfig(
            output_dir=folder,
            beta=config.beta,
            learning_rate=config.learning_rate,
            lr_scheduler_type="constant",
            max_grad_norm=config.max_grad_norm,
            per_device_train_batch_size=len(pairs),
            max_steps=take_turn.num_turns,
            max_length=None,
            bf16=config.dtype == "bfloat16",
            use_cpu=device != "cuda",
            gradient_checkpointing=config.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = Recording(
            model=model,
            args=settings,
            processing_class=processor,
            train_dataset=Dataset.from_list(pairs),
            peft_config=LoraConfig(
                r=config.lora.rank, lora_alpha=config.lora.alpha, target_modules=config.lora.target_modules
            ),
            callbacks=[TakeTurns()],
        )
        start_adapter(trainer.model)
        trainer.train()
