"""Our CA-DPO step against TRL's DPOTrainer and against the same step without prefix sharing.

Same samples, same weights, same optimiser, LoRA, one image of 576 tokens a sample. Each side runs in a process of its
own, so that each has its own peak memory; the processes take turns step by step, so that noise hits all alike. Batches
are made ready before a step on every side. Results go to `build/bench/training.json`.
"""

import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

NUM_ROUNDS = 5
ROWS_PER_STEP = 2
LEARNING_RATE = 1e-3
BETA = 0.1
OUTPUT = Path("build/bench/training.json")
SIDES = ("packed", "unshared", "trl")


@dataclass(frozen=True)
class Shape:
    """A LLaVA-1.5 in small: 576 image tokens, a vision tower of a few percent of the language model's size.

    Wide rather than deep: in a narrow model attention costs far more beside the linear layers than in LLaVA-1.5-7B.
    """

    hidden_size: int = 768
    intermediate_size: int = 2048
    num_layers: int = 3
    vision_hidden_size: int = 128
    vision_num_layers: int = 3
    image_px: int = 336
    patch_px: int = 14

    @property
    def num_image_tokens(self) -> int:
        return (self.image_px // self.patch_px) ** 2


def write_model(folder: Path, shape: Shape) -> dict[str, int]:
    """Save a random LLaVA with its processor; returns its parameter counts."""
    import torch
    from transformers import CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaProcessor
    from transformers import LlavaForConditionalGeneration as Llava

    from inbol_ray.config.schema import PromptConfig
    from inbol_ray.prompts import CHAT_TEMPLATE
    from inbol_ray.toyworld.base_model import build_tokenizer, save_new_model

    tokenizer = build_tokenizer(PromptConfig())
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": shape.image_px}, crop_size={"height": shape.image_px, "width": shape.image_px}
        ),
        tokenizer=tokenizer,
        patch_size=shape.patch_px,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=shape.vision_hidden_size,
        intermediate_size=4 * shape.vision_hidden_size,
        num_hidden_layers=shape.vision_num_layers,
        num_attention_heads=shape.vision_hidden_size // 64,
        image_size=shape.image_px,
        patch_size=shape.patch_px,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.hidden_size // 64,
        num_key_value_heads=shape.hidden_size // 64,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    model = Llava(LlavaConfig(vision_config=vision, text_config=text, image_token_index=image_id))
    save_new_model(model, processor, folder)
    return {
        "language_model": sum(parameter.numel() for parameter in model.model.language_model.parameters()),
        "vision_tower": sum(parameter.numel() for parameter in model.model.vision_tower.parameters()),
    }


def write_samples(folder: Path, kind: str) -> list[dict]:
    """PREFERENCE_SET rows, Mixed (three responses, two pairs) or Known (two responses, one pair).

    Prompts of about 24 text tokens and responses of 8 to 20, end token included. Pairs weigh alike (the paper's
    ablation 3), which is what TRL's mean over pairs computes.
    """
    import numpy as np

    from inbol_ray.datagen.preference_pairs import pair_weights
    from inbol_ray.toyworld.scenes import COLOUR_NAMES, SceneStyle, draw_scene, encode_png, render_scene

    rng = np.random.default_rng(0)

    def words(count: int) -> str:
        return " ".join(rng.choice(COLOUR_NAMES, count))

    knowledge = {"mixed": "mixed", "pair": "known"}[kind]
    rows = []
    for index in range(ROWS_PER_STEP):
        image = folder / f"{index}.png"
        image.write_bytes(encode_png(render_scene(draw_scene(rng, SceneStyle()))))
        rows.append(
            {
                "id": str(index),
                "images": [str(image)],
                "user": words(16),
                "correct": words(7 + 6 * index),
                "incorrect": words(13) if kind == "mixed" else None,
                "refusal": words(19 - 6 * index),
                "knowledge": knowledge,
                **pair_weights(knowledge, 0.5, "unweighted"),
            }
        )
    return rows


def start_adapter(model) -> None:
    """The same fresh adapter on every side, whatever drew random numbers before."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for name, parameter in sorted(model.named_parameters()):
        if "lora_A" in name:
            torch.nn.init.normal_(parameter, std=0.02, generator=generator)


def training_config():
    from inbol_ray.config.schema import CaDpoConfig, LoraSettings

    return CaDpoConfig(
        init_from="original",
        learning_rate=LEARNING_RATE,
        final_learning_rate_rate=1.0,
        warmup_steps=0,
        beta=BETA,
        global_batch_size=ROWS_PER_STEP,
        num_workers=1,
        lora=LoraSettings(rank=16, alpha=32),
    )


def run_ours(checkpoint: str, rows: list[dict], *, share_prefix: bool, take_turn) -> None:
    """Optimiser steps of the product's own code, FSDP included, on one worker."""
    import torch.distributed as dist

    from inbol_ray.training.fsdp import load_processor, prepare_model, shard
    from inbol_ray.training.loop import OptimizerStep, build_optimizer
    from inbol_ray.training.objectives import build_objective
    from inbol_ray.training.reference import build_reference

    with tempfile.TemporaryDirectory() as store:
        dist.init_process_group("gloo", init_method=f"file://{store}/store", rank=0, world_size=1)
        config = training_config()
        objective = build_objective(config, load_processor(checkpoint))
        model = prepare_model(checkpoint, config)
        start_adapter(model)
        model = shard(model, config)
        model.train()
        step = OptimizerStep(
            model, objective, build_reference(model, checkpoint, config), build_optimizer(model, config), config
        )
        batch = objective.collate(rows)
        if not share_prefix:
            batch = unshare(batch, objective, rows)
            step.objective = UnsharedObjective(objective)
        for _ in take_turn:
            take_turn.report(step.run([batch], 1.0)["loss"])
        dist.destroy_process_group()


def unshare(batch: dict, objective, rows: list[dict]) -> dict:
    """The batch with a row for each response: prefix and image repeated, everything else as before."""
    import torch

    from inbol_ray.training.packing import pack_responses

    prefixes, responses, owners = [], [], []
    for row, (ids, segments) in enumerate(zip(batch["input_ids"], batch["segments"], strict=True)):
        for slot in range(1, 4):
            response = ids[segments == slot].tolist()
            if response:
                prefixes.append(ids[segments == 0].tolist())
                responses.append([response if index + 1 == slot else [] for index in range(3)])
                owners.append(row)
    packed = pack_responses(prefixes, responses, objective.pad_id)
    return batch | packed | {"pixel_values": batch["pixel_values"][owners], "owners": torch.tensor(owners)}


class UnsharedObjective:
    """CA-DPO on rows of one response each, whose log-probabilities are put together again for the loss."""

    def __init__(self, objective) -> None:
        self.inner = objective

    def normaliser(self, batch: dict) -> float:
        return float(len(batch["weights"]))

    def num_tokens(self, batch: dict) -> int:
        return self.inner.num_tokens(batch)

    def loss(self, model, batch: dict, reference):
        import torch

        from inbol_ray.training.losses import ca_dpo_loss
        from inbol_ray.training.objectives import frozen_image_features, response_logps

        features = frozen_image_features(model, batch["pixel_values"])

        def together(logps: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(batch["weights"]).index_add(0, batch["owners"], logps)

        logps = together(response_logps(model, batch, features))
        with torch.no_grad():
            reference_logps = together(reference(batch, features))
        return ca_dpo_loss(logps, reference_logps, batch["weights"], self.inner.beta).sum(), {}


def run_trl(checkpoint: str, rows: list[dict], *, take_turn) -> None:
    """DPOTrainer.train() with LoRA, its reference by the adapter switched off; one step a turn."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    from inbol_ray.images import load_image
    from inbol_ray.prompts import END_TOKEN, chat_prompt
    from inbol_ray.rows import PAIRS
    from inbol_ray.training.fsdp import load_model, load_processor
    from inbol_ray.training.objectives import WEIGHT_COLUMNS

    config = training_config()
    pairs = [
        {
            "images": [load_image(row["images"][0])],
            "prompt": "<s>" + chat_prompt(row["user"]),
            "chosen": f" {row[preferred]}{END_TOKEN}",
            "rejected": f" {row[rejected]}{END_TOKEN}",
        }
        for row in rows
        for column, (preferred, rejected) in zip(WEIGHT_COLUMNS, PAIRS, strict=True)
        if row[column] > 0
    ]

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
            beta=BETA,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            max_grad_norm=config.max_grad_norm,
            per_device_train_batch_size=len(pairs),
            max_steps=take_turn.num_turns,
            max_length=None,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = Recording(
            model=load_model(checkpoint),
            args=settings,
            processing_class=load_processor(checkpoint),
            train_dataset=Dataset.from_list(pairs),
            peft_config=LoraConfig(
                r=config.lora.rank, lora_alpha=config.lora.alpha, target_modules=config.lora.target_modules
            ),
            callbacks=[TakeTurns()],
        )
        start_adapter(trainer.model)
        trainer.train()


class Turns:
    """A side's view of the benchmark: iterating waits for its turn, `report` ends it and sends what it measured."""

    def __init__(self, pipe, num_turns: int) -> None:
        self.pipe, self.num_turns = pipe, num_turns

    def __iter__(self) -> Iterator[None]:
        for turn in range(self.num_turns):
            if turn == 0:
                self.memory_before = peak_memory_bytes()
                self.pipe.send("ready")
            self.pipe.recv()
            self.started = time.monotonic()
            yield

    def report(self, loss: float) -> None:
        seconds = time.monotonic() - self.started
        extra = peak_memory_bytes() - self.memory_before
        self.pipe.send({"seconds": seconds, "loss": loss, "memory_bytes": extra, "rss_bytes": peak_memory_bytes()})


def peak_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run_side(side: str, checkpoint: str, rows: list[dict], pipe) -> None:
    turns = Turns(pipe, 1 + NUM_ROUNDS)
    if side == "trl":
        run_trl(checkpoint, rows, take_turn=turns)
    else:
        run_ours(checkpoint, rows, share_prefix=side == "packed", take_turn=turns)


def compare(checkpoint: str, rows: list[dict]) -> dict[str, dict]:
    """Run the sides in turns, a warm-up round first; returns each side's steps."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for side in SIDES:
        pipes[side], theirs = spawn.Pipe()
        processes.append(spawn.Process(target=run_side, args=(side, checkpoint, rows, theirs), daemon=True))
        processes[-1].start()
        assert pipes[side].recv() == "ready"
    steps: dict[str, list[dict]] = {side: [] for side in SIDES}
    for round_number in range(1 + NUM_ROUNDS):
        for side in SIDES if round_number % 2 else reversed(SIDES):
            pipes[side].send("go")
            steps[side].append(pipes[side].recv())
            print(f"  round {round_number} {side:9s} {steps[side][-1]['seconds']:6.2f} s", flush=True)
    for process in processes:
        process.join()
    return {
        side: {
            "steps_per_s": 1 / statistics.median(step["seconds"] for step in taken[1:]),
            "seconds": [step["seconds"] for step in taken[1:]],
            "losses": [step["loss"] for step in taken],
            "step_memory_bytes": taken[-1]["memory_bytes"],
            "peak_rss_bytes": taken[-1]["rss_bytes"],
        }
        for side, taken in steps.items()
    }


def bound(rows: list[dict], checkpoint: str, parameters: dict[str, int]) -> dict[str, float]:
    """Speed-up over TRL that token counts allow: language model alone, and with the vision tower.

    Of each sequence TRL runs policy forward, policy backward and reference forward, like us, so the language model's
    work is in proportion to its tokens. The frozen tower runs forward only: eight times a Mixed sample in TRL (two
    responses of two pairs, policy and reference), once here. Attention's own cost is left out.
    """
    from inbol_ray.rows import PAIRS, RESPONSES
    from inbol_ray.training.fsdp import load_processor
    from inbol_ray.training.objectives import WEIGHT_COLUMNS, build_objective

    objective = build_objective(training_config(), load_processor(checkpoint))
    trl_tokens = trl_images = 0
    for row in rows:
        prefix, responses = objective.encode(row)
        lengths = dict(zip(RESPONSES, map(len, responses), strict=True))
        for column, pair in zip(WEIGHT_COLUMNS, PAIRS, strict=True):
            if row[column] > 0:
                trl_tokens += sum(len(prefix) + lengths[name] for name in pair)
                trl_images += 4
    tokens = sum(map(objective.row_length, rows))
    image_tokens = objective.encoder.num_image_tokens + 1
    # Per token: forward 2 operations a weight, LoRA's backward 2 (activations only), reference forward 2.
    language, vision = 6 * parameters["language_model"], 2 * parameters["vision_tower"] * image_tokens
    return {
        "tokens_a_row": tokens / len(rows),
        "token_bound": trl_tokens / tokens,
        "bound_with_vision": (trl_tokens * language + trl_images * vision) / (tokens * language + len(rows) * vision),
    }


def main() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    shape = Shape()
    results: dict = {"shape": asdict(shape), "rows_per_step": ROWS_PER_STEP, "rounds": NUM_ROUNDS, "device": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = str(Path(folder) / "model")
        results["parameters"] = write_model(Path(checkpoint), shape)
        for kind in ("mixed", "pair"):
            rows = write_samples(Path(folder), kind)
            print(f"{kind} samples", flush=True)
            sides = compare(checkpoint, rows)
            results[kind] = {"sides": sides, **bound(rows, checkpoint, results["parameters"])}
            speed = {side: values["steps_per_s"] for side, values in sides.items()}
            results[f"{kind}_speedup_over_trl"] = speed["packed"] / speed["trl"]
            results[f"{kind}_speedup_over_unshared"] = speed["packed"] / speed["unshared"]
            results[f"{kind}_share_of_bound"] = results[f"{kind}_speedup_over_trl"] / results[kind]["token_bound"]
    runs = [results["mixed"]["sides"], results["pair"]["sides"]]
    results["peak_memory_over_trl"] = max(
        sides["packed"]["step_memory_bytes"] / sides["trl"]["step_memory_bytes"] for sides in runs
    )
    results["peak_rss_over_trl"] = max(
        sides["packed"]["peak_rss_bytes"] / sides["trl"]["peak_rss_bytes"] for sides in runs
    )
    results["loss_max_abs_diff"] = max(
        abs(ours - theirs)
        for sides in runs
        for ours, theirs in zip(sides["packed"]["losses"], sides["trl"]["losses"], strict=True)
    )
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(results, indent=1))
    for name, value in results.items():
        if isinstance(value, float):
            print(f"{name:32s} {value:.6g}")


if __name__ == "__main__":
    main()
