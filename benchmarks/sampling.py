"""Confidence sampling, measured side by side: bare vLLM, this package, ray.data.llm and Hugging Face generate.

All sides get the same questions about the same PNG files, the same tiny LLaVA, and draw N = 10 samples of up to 16
tokens at temperature 1. Every side runs in a process of its own, and the sides take turns, so that other load on the
machine hits all of them. Rates are steady: the start of engines is timed apart, and where work streams, the clock runs
from the first finished batch to the last.

    python benchmarks/sampling.py [--checkpoint MODEL] [--questions 4000] [--rounds 3]

Without a checkpoint the model is an untrained one of the demo's size, which rarely stops before 16 tokens; a trained
one answers in about two tokens, so that prompts weigh more.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

NUM_SAMPLES, TEMPERATURE, MAX_TOKENS = 10, 1.0, 16
SIDES = ("vllm", "vllm_same_settings", "engine_alone", "ours", "ray_data_llm", "hf")
TITLES = {
    "vllm": "(a) vllm.LLM.generate(n=10)",
    "vllm_same_settings": "    the same, seeded and with log-probabilities",
    "engine_alone": "    our engine on rendered prompts, without Ray",
    "ours": "(b) ours, to Parquet",
    "ray_data_llm": "(c) ray.data.llm, ten rows a question",
    "hf": "(d) Hugging Face generate, batches of 16",
}
SLOW_SIDES = {"ray_data_llm": 2, "hf": 16}
"""These sides answer the first 1/k of the questions: their rate is steady long before the others are done."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder of a trained tiny LLaVA, for example of the demo")
    parser.add_argument("--questions", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3, help="turns that each side takes")
    parser.add_argument("--work", type=Path, default=Path("build/bench/sampling"))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(globals()[f"run_{args.side}"](args.checkpoint, read_questions(args), args.work)))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    checkpoint = str(Path(args.checkpoint or build_model(args.work)).resolve())
    write_questions(args.work, args.questions)
    runs: dict[str, list[dict]] = {side: [] for side in SIDES}
    for number in range(args.rounds):
        for side in SIDES:
            if side in SLOW_SIDES and number:
                continue
            runs[side].append(run_side(side, checkpoint, args))
            print(f"{TITLES[side]:<52}", show(runs[side][-1]), flush=True)
    report(runs, args, trained=bool(args.checkpoint))


def run_side(side: str, checkpoint: str, args) -> dict:
    # One thread an engine: right on few cores (more fight over them), and the same for every side.
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TORCHDYNAMO_DISABLE": "1",
    }
    command = [sys.executable, __file__, "--side", side, "--checkpoint", checkpoint, "--work", str(args.work)]
    done = subprocess.run(
        [*command, "--questions", str(args.questions // SLOW_SIDES.get(side, 1))],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measured(questions: int, tokens: float, steady_s: float, start_s: float) -> dict:
    return {
        "questions": questions,
        "questions_per_s": questions / steady_s,
        "tokens_per_s": tokens / steady_s,
        "steady_s": steady_s,
        "start_s": start_s,
    }


def show(run: dict) -> str:
    return (
        f"{run['questions_per_s']:7.1f} questions/s {run['tokens_per_s']:9,.0f} tokens/s   "
        f"({run['questions']:,} in {run['steady_s']:.1f} s; start {run['start_s']:.1f} s)"
    )


def report(runs: dict[str, list[dict]], args, trained: bool) -> None:
    rate = {side: statistics.median(run["questions_per_s"] for run in runs[side]) for side in SIDES}
    result = {
        "ours_over_vllm": rate["ours"] / rate["vllm"],
        "ours_over_vllm_same_settings": rate["ours"] / rate["vllm_same_settings"],
        "ours_over_ray_data_llm": rate["ours"] / rate["ray_data_llm"],
        "ours_over_hf": rate["ours"] / rate["hf"],
        "ours_over_engine_alone": rate["ours"] / rate["engine_alone"],
        "questions": args.questions,
        "trained_model": trained,
        "cpus": os.cpu_count(),
        "raw": runs,
    }
    path = args.work.parent / "sampling.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"\nmedians of {args.rounds} turns, questions a second:")
    for side in SIDES:
        print(f"  {TITLES[side]:<52}{rate[side]:8.1f}   ours is {rate['ours'] / rate[side]:.2f} of it")
    settings, alone = rate["vllm"] / rate["vllm_same_settings"] - 1, 1 - rate["ours"] / rate["engine_alone"]
    print(
        f"where the rest goes: seeds and log-probabilities make bare vLLM take {settings:+.0%} as long; Ray, pickled "
        f"inputs and Parquet take {alone:.0%} of our engine's own rate. Rendering is on the other side of the ledger: "
        f"bare vLLM does it between its steps, we do it in another process.\nwritten to {path}"
    )


def build_model(work: Path) -> str:
    """An untrained tiny LLaVA of the demo's size."""
    from inbol_ray.config.model import PromptConfig, ToyBaseModel
    from inbol_ray.toyworld.base_model import build_model, build_processor, save_new_model

    processor = build_processor(PromptConfig())
    folder = work / "model"
    save_new_model(build_model(ToyBaseModel(), processor, seed=0), processor, folder)
    return str(folder)


def write_questions(work: Path, count: int) -> None:
    """`questions.parquet` (id, prompt, image path): three questions an image, as in VQA corpora."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from inbol_ray.prompts import chat_prompt
    from inbol_ray.toyworld.questions import ask
    from inbol_ray.toyworld.scenes import SceneStyle, draw_scene, encode_png, render_scene

    rng = np.random.default_rng(0)
    (work / "images").mkdir(exist_ok=True)
    rows = []
    while len(rows) < count:
        scene = draw_scene(rng, SceneStyle())
        path = (work / "images" / f"{len(rows):06d}.png").resolve()
        path.write_bytes(encode_png(render_scene(scene)))
        for family in ("colour_at", "shape_at", "count_shape"):
            if question := ask(rng, scene, family, 0):
                rows.append({"id": f"{len(rows):06d}", "prompt": chat_prompt(question.text), "image": str(path)})
    pq.write_table(pa.Table.from_pylist(rows[:count]), work / "questions.parquet")


def read_questions(args) -> list[dict]:
    import pyarrow.parquet as pq

    return pq.read_table(args.work / "questions.parquet").to_pylist()[: args.questions]


def engine_config():
    from inbol_ray.config.machines import EngineConfig

    return EngineConfig(num_gpus_per_engine=0)


def run_vllm(checkpoint: str, questions: list[dict], _work: Path, **settings) -> dict:
    """Bare vLLM: every prompt and decoded image handed to one call of LLM.generate."""
    from vllm import LLM, SamplingParams

    from inbol_ray.images import load_image

    started, config = time.monotonic(), engine_config()
    llm = LLM(
        model=checkpoint,
        dtype=config.dtype,
        max_model_len=config.max_model_len,
        max_num_seqs=config.max_num_seqs,
        kv_cache_memory_bytes=config.kv_cache_bytes,
        enforce_eager=True,
        enable_chunked_prefill=False,
        limit_mm_per_prompt={"image": 1},
    )

    def generate(rows: list[dict]) -> int:
        prompts = [{"prompt": row["prompt"], "multi_modal_data": {"image": load_image(row["image"])}} for row in rows]
        params = [
            SamplingParams(
                n=NUM_SAMPLES,
                temperature=TEMPERATURE,
                max_tokens=MAX_TOKENS,
                **{name: value(number) if callable(value) else value for name, value in settings.items()},
            )
            for number in range(len(rows))
        ]
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return sum(len(sample.token_ids) for output in outputs for sample in output.outputs)

    generate(questions[:64])  # warm-up
    start_s = time.monotonic() - started
    llm.reset_prefix_cache()
    llm.llm_engine.reset_encoder_cache()
    llm.reset_mm_cache()
    started = time.monotonic()
    tokens = generate(questions)
    return measured(len(questions), tokens, time.monotonic() - started, start_s)


def run_vllm_same_settings(checkpoint: str, questions: list[dict], work: Path) -> dict:
    return run_vllm(checkpoint, questions, work, logprobs=0, seed=lambda number: number * 1000)


def run_engine_alone(checkpoint: str, questions: list[dict], _work: Path) -> dict:
    from inbol_ray.sampling.render import Renderer
    from inbol_ray.sampling.vllm_engine import Decoding, Request, VllmEngine

    started = time.monotonic()
    engine = VllmEngine(checkpoint, engine_config(), seed=0)
    rows = [{"prompt": row["prompt"], "images": [row["image"]]} for row in questions]
    inputs = Renderer(checkpoint, engine_config()).render(rows)
    requests = [Request(rendered, number * 1000) for number, rendered in enumerate(inputs)]
    decoding = Decoding(NUM_SAMPLES, TEMPERATURE, MAX_TOKENS, 0)
    start_s = time.monotonic() - started
    started = time.monotonic()
    replies = engine.generate(requests, decoding)
    steady_s = time.monotonic() - started
    tokens = sum(len(sample) for reply in replies for sample in reply.token_logprobs)
    return measured(len(questions), tokens, steady_s, start_s)


def run_ours(checkpoint: str, questions: list[dict], work: Path) -> dict:
    """The pipeline's own `generate`, with what confidence sampling asks of it; the clock is the parts' times."""
    import shutil

    import pyarrow as pa

    from inbol_ray.config.load import load_config
    from inbol_ray.pipeline import started_ray
    from inbol_ray.sampling.vllm_engine import Decoding

    config = load_config(["--config", "jobs/configs/demo.yaml", "--engine.num_engines", "1"])
    requests = pa.table(
        {
            "id": [row["id"] for row in questions],
            "checkpoint": [checkpoint] * len(questions),
            "prompt": [row["prompt"] for row in questions],
            "images": [[row["image"]] for row in questions],
        }
    )
    folder = work / "parts"
    shutil.rmtree(folder, ignore_errors=True)
    with started_ray(config):
        from inbol_ray.sampling.generate import generate

        started = time.time()
        decoding = Decoding(NUM_SAMPLES, TEMPERATURE, MAX_TOKENS, 0)
        parts = generate(requests, config, decoding, folder=str(folder.resolve()), unit="questions")
    written = sorted(path.stat().st_mtime for path in Path(parts.uri).glob("0*.parquet"))
    steady = 1 - parts.block_size(0) / len(questions)
    rows = list(parts.rows())
    assert len(rows) == len(questions) and all(len(row["responses"]) == NUM_SAMPLES for row in rows)
    tokens = sum(len(sample) for row in rows for sample in row["token_logprobs"])
    return measured(
        round(len(questions) * steady), tokens * steady, written[-1] - written[0], start_s=written[0] - started
    )


def run_ray_data_llm(checkpoint: str, questions: list[dict], _work: Path) -> dict:
    """One row a sample, since ray.data.llm keeps only the first of n; rendered by vLLM inside its engine."""
    import ray.data
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from inbol_ray.config.load import load_config
    from inbol_ray.images import load_image
    from inbol_ray.pipeline import started_ray

    config = engine_config()
    processor_config = vLLMEngineProcessorConfig(
        model_source=checkpoint,
        engine_kwargs={
            "dtype": config.dtype,
            "max_model_len": config.max_model_len,
            "max_num_seqs": config.max_num_seqs,
            "kv_cache_memory_bytes": config.kv_cache_bytes,
            "enforce_eager": True,
            "limit_mm_per_prompt": {"image": 1},
        },
        batch_size=config.batch_size,
        concurrency=1,
        accelerator_type=None,
        placement_group_config={"bundles": [{"CPU": 1}]},
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}},
    )
    with started_ray(load_config(["--config", "jobs/configs/demo.yaml"])):
        process = build_processor(
            processor_config,
            preprocess=lambda row: {
                "prompt": row["prompt"],
                "multimodal_data": {"image": [load_image(row["image"])]},
                "sampling_params": {"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS},
            },
            postprocess=lambda row: {"text": row["generated_text"], "tokens": row["num_generated_tokens"]},
        )
        rows = [row for row in questions for _ in range(NUM_SAMPLES)]
        dataset = process(ray.data.from_items(rows, override_num_blocks=len(rows) // config.batch_size))
        started, arrivals, tokens = time.monotonic(), [], 0
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            arrivals.append((time.monotonic(), len(batch["text"])))
            tokens += int(batch["tokens"].sum())
    num_rows = sum(count for _, count in arrivals)
    assert num_rows == len(rows)
    steady = 1 - arrivals[0][1] / num_rows
    return measured(
        round(len(questions) * steady), tokens * steady, arrivals[-1][0] - arrivals[0][0], arrivals[0][0] - started
    )


def run_hf(checkpoint: str, questions: list[dict], _work: Path) -> dict:
    import torch

    from inbol_ray.images import load_image
    from inbol_ray.training.fsdp import load_model, load_processor

    started = time.monotonic()
    model, processor = load_model(checkpoint).eval(), load_processor(checkpoint)
    processor.tokenizer.padding_side = "left"
    end = processor.tokenizer.eos_token_id

    @torch.inference_mode()
    def generate(rows: list[dict]) -> int:
        images = [load_image(row["image"]) for row in rows]
        inputs = processor(images=images, text=[row["prompt"] for row in rows], return_tensors="pt", padding=True)
        out = model.generate(
            **inputs,
            do_sample=True,
            temperature=TEMPERATURE,
            max_new_tokens=MAX_TOKENS,
            num_return_sequences=NUM_SAMPLES,
        )
        ends = (out[:, inputs["input_ids"].shape[1] :] == end).long()
        texts = processor.batch_decode(out, skip_special_tokens=True)
        assert len(texts) == len(rows) * NUM_SAMPLES
        return int((ends.cumsum(1) - ends == 0).sum())

    generate(questions[:16])  # warm-up
    start_s = time.monotonic() - started
    started = time.monotonic()
    tokens = sum(generate(questions[at : at + 16]) for at in range(0, len(questions), 16))
    return measured(len(questions), tokens, time.monotonic() - started, start_s)


if __name__ == "__main__":
    main()
