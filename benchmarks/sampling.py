"""Confidence sampling, measured side by side: bare vLLM, this package, ray.data.llm and Hugging Face generate.

All sides get the same questions about the same PNG files and the same tiny LLaVA, and draw N = 10 samples at temperature
1. Every side runs in a process of its own, with one thread an engine, and the sides take turns, so that other load on
the machine hits all of them. Rates are steady: the start of engines and a warm-up are timed apart, and where work
streams, the clock runs from the first finished batch to the last (`sampling_sides` says how, side by side).

    python benchmarks/sampling.py [--checkpoint MODEL] [--questions 2400] [--rounds 3]

The model is the demo's base model where build/demo has one: it answers in about two tokens, of 16 that it may use, as
the confidence stage asks it. Without one, an untrained model of its size has to stop after three.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

SIDES = {
    "vllm": "(a) vllm.LLM.generate(n=10)",
    "vllm_same_parameters": "(a) the same, seeded and with log-probabilities",
    "ours": "(b) ours, to Parquet: seeded, log-probabilities",
    "ray_data_llm": "(c) ray.data.llm, ten rows a question",
    "hf": "(d) Hugging Face generate, batches of 16",
}
SLOW_SIDES = {"ray_data_llm": 3, "hf": 12}
"""These sides answer the first 1/k of the questions: their rate is steady long before the others are done."""
TRAINED_MAX_TOKENS, UNTRAINED_MAX_TOKENS = 16, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder of a trained tiny LLaVA; default: the demo's base model")
    parser.add_argument("--questions", type=int, default=2400)
    parser.add_argument("--rounds", type=int, default=3, help="turns that each side takes")
    parser.add_argument("--work", type=Path, default=Path("build/bench/sampling"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    trained = args.checkpoint or find_demo_model()
    checkpoint = str(Path(trained or build_model(args.work)).resolve())
    max_tokens = TRAINED_MAX_TOKENS if trained else UNTRAINED_MAX_TOKENS
    print(
        f"{args.questions:,} questions to {'a trained' if trained else 'an untrained'} model, at most {max_tokens} tokens"
    )
    write_questions(args.work, args.questions)
    costs = run_side("costs", checkpoint, max_tokens, args)
    setting = {"questions": args.questions, "max_tokens": max_tokens, "trained_model": bool(trained)}
    runs: dict[str, list[dict]] = {side: [] for side in SIDES}
    for _ in range(args.rounds):
        for side in SIDES:
            runs[side].append(run_side(side, checkpoint, max_tokens, args))
            print(f"{SIDES[side]:<50}", show(runs[side][-1]), flush=True)
        result = summarise(runs, costs) | setting
        path = args.work.parent / "sampling.json"
        path.write_text(json.dumps(result, indent=1))  # after each turn, so that one cut short leaves the others
    report(result, path)


def run_side(side: str, checkpoint: str, max_tokens: int, args) -> dict:
    # One thread an engine: right on few cores (more fight over them), and the same for every side.
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TORCHDYNAMO_DISABLE": "1",
        "RAY_worker_niceness": "0",  # Ray's workers would otherwise give way to whatever else runs here, the others not
    }
    count = args.questions // SLOW_SIDES.get(side, 1)
    script = Path(__file__).with_name("sampling_sides.py")
    done = subprocess.run(
        [sys.executable, str(script), side, checkpoint, str(args.work), str(count), str(max_tokens)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def show(run: dict) -> str:
    return (
        f"{run['questions_per_s']:7.1f} questions/s {run['tokens_per_s']:8,.0f} tokens/s   "
        f"({run['questions']:,} in {run['steady_s']:.1f} s; start {run['start_s']:.1f} s)"
    )


def summarise(runs: dict[str, list[dict]], costs: dict[str, float]) -> dict:
    """Medians over the turns so far, and everything that they come from."""
    rate = {side: statistics.median(run["questions_per_s"] for run in runs[side]) for side in runs}
    return {f"ours_over_{side}": rate["ours"] / rate[side] for side in rate if side != "ours"} | {
        "questions_per_s": rate,
        "tokens_per_s": {side: statistics.median(run["tokens_per_s"] for run in runs[side]) for side in runs},
        "ms_per_question": costs,
        "cpus": os.cpu_count(),
        "raw": runs,
    }


def report(result: dict, path: Path) -> None:
    rate, costs = result["questions_per_s"], result["ms_per_question"]
    print(f"\nmedians of {len(result['raw']['ours'])} turns:")
    for side in rate:
        print(f"  {SIDES[side]:<50}{rate[side]:8.1f} questions/s   ours is {rate['ours'] / rate[side]:.2f} of it")
    waiting = 1000 / rate["ours"] - costs["engine"]
    print(
        f"\nwhere our {1000 / rate['ours']:.2f} ms a question go: the engine alone takes {costs['engine']:.2f} ms; waiting, "
        f"Ray and cores that are shared take {waiting:+.2f} ms. In its process, beside it: {costs['unpack']:.2f} ms to "
        f"unpack inputs, {costs['parquet']:.2f} ms to write Parquet. In others: rendering {costs['render']:.2f} ms, which "
        f"bare vLLM does between its steps. After the last block: reading and judging {costs['judge']:.2f} ms.\n"
        f"written to {path}"
    )


def find_demo_model() -> str | None:
    """The latest base model of `make demo`, if there is one."""
    found = sorted(Path("build/demo/artifacts").glob("base-*/model"), key=lambda path: path.stat().st_mtime)
    return str(found[-1]) if found else None


def build_model(work: Path) -> str:
    """An untrained tiny LLaVA of the demo's size."""
    from inbol_ray.config.model import PromptConfig, ToyBaseModel
    from inbol_ray.toyworld.base_model import build_model, build_processor, save_new_model

    processor = build_processor(PromptConfig())
    folder = work / "model"
    save_new_model(build_model(ToyBaseModel(), processor, seed=0), processor, folder)
    return str(folder)


def write_questions(work: Path, count: int) -> None:
    """`questions.parquet` (id, prompt, image path, question, answer): three questions an image, as in VQA corpora."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from inbol_ray.models import DEFAULT_FAMILY
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
                row = {
                    "id": f"{len(rows):06d}",
                    "prompt": DEFAULT_FAMILY.chat.prompt(question.text),
                    "image": str(path),
                }
                rows.append(row | {"question": question.text, "answer": question.answer})
    pq.write_table(pa.Table.from_pylist(rows[:count]), work / "questions.parquet")


if __name__ == "__main__":
    main()
