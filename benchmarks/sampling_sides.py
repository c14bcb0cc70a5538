"""The sides of `sampling.py`, each run in a process of its own: SIDE CHECKPOINT FOLDER QUESTIONS MAX_TOKENS -> JSON line.

Every side excludes its start, which includes the loading of its engine. A side that is one call (vllm, hf) also warms up
on a few questions first and is timed over all of them. A side that streams (ours, ray_data_llm) is timed from its first
finished batch to its last, and is not credited with that first batch.
"""

import json
import pickle
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NUM_SAMPLES, TEMPERATURE = 10, 1.0
HF_BATCH = 16


@dataclass(frozen=True)
class Task:
    """Rows of `questions.parquet`, and what to answer them with."""

    checkpoint: str
    work: Path
    questions: list[dict]
    max_tokens: int


def main() -> None:
    import pyarrow.parquet as pq

    side, checkpoint, work, count, max_tokens = sys.argv[1:]
    questions = pq.read_table(Path(work) / "questions.parquet").to_pylist()[: int(count)]
    run: Callable[[Task], dict] = globals()[f"run_{side}"]
    print(json.dumps(run(Task(checkpoint, Path(work).resolve(), questions, int(max_tokens)))))


def measured(questions: int, tokens: float, steady_s: float, start_s: float) -> dict:
    return {
        "questions": questions,
        "questions_per_s": questions / steady_s,
        "tokens_per_s": tokens / steady_s,
        "steady_s": steady_s,
        "start_s": start_s,
    }


def engine_config():
    from inbol_ray.config.machines import EngineConfig

    return EngineConfig(num_gpus_per_engine=0)


def decoding(task: Task):
    """What confidence sampling asks for."""
    from inbol_ray.sampling.vllm_engine import Decoding

    return Decoding(NUM_SAMPLES, TEMPERATURE, task.max_tokens, num_logprobs=0)


def run_vllm(task: Task, **parameters) -> dict:
    """Bare vLLM: every prompt and decoded image handed to one call of LLM.generate."""
    from vllm import LLM, SamplingParams

    from inbol_ray.images import load_image

    started, config = time.monotonic(), engine_config()
    llm = LLM(
        model=task.checkpoint,
        dtype=config.dtype,
        max_model_len=config.max_model_len,
        max_num_seqs=config.max_num_seqs,
        kv_cache_memory_bytes=config.cache_bytes,
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
                max_tokens=task.max_tokens,
                **{name: value(number) if callable(value) else value for name, value in parameters.items()},
            )
            for number in range(len(rows))
        ]
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return sum(len(sample.token_ids) for output in outputs for sample in output.outputs)

    generate(task.questions[:64])
    start_s = time.monotonic() - started
    llm.reset_prefix_cache()
    llm.llm_engine.reset_encoder_cache()
    llm.reset_mm_cache()
    started = time.monotonic()
    tokens = generate(task.questions)
    return measured(len(task.questions), tokens, time.monotonic() - started, start_s)


def run_vllm_same_parameters(task: Task) -> dict:
    """The same with what ours asks for: a seed for each question, and the log-probabilities of sampled tokens."""
    return run_vllm(task, logprobs=0, seed=lambda number: number * 1000)


def run_ours(task: Task) -> dict:
    """The pipeline's own `generate`, with what confidence sampling asks of it; the clock is the parts' times.

    Beside the first block, what may have been running when it was finished is not credited either.
    """
    import pyarrow as pa

    from inbol_ray.config.load import load_config
    from inbol_ray.runtime.ray_session import started_ray
    from inbol_ray.sampling.generate import Pool, generate

    config = load_config(["--config", "jobs/configs/demo.yaml", "--engine.num_engines", "1"])
    count = len(task.questions)
    requests = pa.table(
        {
            "id": [row["id"] for row in task.questions],
            "checkpoint": [task.checkpoint] * count,
            "prompt": [row["prompt"] for row in task.questions],
            "images": [[row["image"]] for row in task.questions],
        }
    )
    folder = task.work / "parts"
    shutil.rmtree(folder, ignore_errors=True)
    with started_ray(config):
        started = time.time()
        parts = generate(
            [requests],
            [task.checkpoint],
            Pool(config.engine, config.seed, config.storage),
            decoding(task),
            folder=str(folder),
            unit="questions",
        )
    written = sorted(path.stat().st_mtime for path in Path(parts.uri).glob("0???????.parquet"))
    rows = list(parts.rows())
    assert len(rows) == count and all(len(row["responses"]) == NUM_SAMPLES for row in rows)
    tokens = sum(len(sample) for row in rows for sample in row["token_logprobs"])
    credited = count - parts.block_size(0) - config.engine.max_num_seqs // NUM_SAMPLES
    return measured(credited, tokens * credited / count, written[-1] - written[0], start_s=written[0] - started)


def run_ray_data_llm(task: Task) -> dict:
    """One row a sample, since ray.data.llm keeps only the first of n; rendered by vLLM inside its engine."""
    import ray.data
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from inbol_ray.config.load import load_config
    from inbol_ray.images import load_image
    from inbol_ray.runtime.ray_session import started_ray

    config = engine_config()
    processor_config = vLLMEngineProcessorConfig(
        model_source=task.checkpoint,
        engine_kwargs={
            "dtype": config.dtype,
            "max_model_len": config.max_model_len,
            "max_num_seqs": config.max_num_seqs,
            "kv_cache_memory_bytes": config.cache_bytes,
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
                "sampling_params": {"temperature": TEMPERATURE, "max_tokens": task.max_tokens},
            },
            postprocess=lambda row: {"text": row["generated_text"], "tokens": row["num_generated_tokens"]},
        )
        rows = [row for row in task.questions for _ in range(NUM_SAMPLES)]
        dataset = process(ray.data.from_items(rows, override_num_blocks=len(rows) // config.batch_size))
        started, arrivals, tokens = time.monotonic(), [], 0
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            arrivals.append((time.monotonic(), len(batch["text"])))
            tokens += int(batch["tokens"].sum())
    num_rows = sum(count for _, count in arrivals)
    assert num_rows == len(rows)
    steady = 1 - arrivals[0][1] / num_rows
    return measured(
        round(len(task.questions) * steady), tokens * steady, arrivals[-1][0] - arrivals[0][0], arrivals[0][0] - started
    )


def run_hf(task: Task) -> dict:
    """`generate` of transformers; a batch ends with its longest reply."""
    import torch

    from inbol_ray.images import load_image
    from inbol_ray.models.loading import load_model, load_processor

    started = time.monotonic()
    model, processor = load_model(task.checkpoint).eval(), load_processor(task.checkpoint)
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
            max_new_tokens=task.max_tokens,
            num_return_sequences=NUM_SAMPLES,
        )
        ends = (out[:, inputs["input_ids"].shape[1] :] == end).long()
        texts = processor.batch_decode(out, skip_special_tokens=True)
        assert len(texts) == len(rows) * NUM_SAMPLES
        return int((ends.cumsum(1) - ends == 0).sum())

    generate(task.questions[:HF_BATCH])
    start_s = time.monotonic() - started
    started = time.monotonic()
    tokens = sum(generate(task.questions[at : at + HF_BATCH]) for at in range(0, len(task.questions), HF_BATCH))
    return measured(len(task.questions), tokens, time.monotonic() - started, start_s)


def run_costs(task: Task) -> dict[str, float]:
    """Milliseconds a question of each step of ours, one after the other in this process, without Ray."""
    import pyarrow as pa

    from inbol_ray.confidence.judging import judge_samples
    from inbol_ray.config.machines import StorageConfig
    from inbol_ray.config.sampling import SamplingConfig
    from inbol_ray.rows import Question
    from inbol_ray.sampling.in_hand import InHand
    from inbol_ray.sampling.parts import open_parts
    from inbol_ray.sampling.render import Renderer
    from inbol_ray.sampling.vllm_engine import Request, VllmEngine

    costs: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        costs[name] = (time.monotonic() - started) * 1000 / len(task.questions)

    config = engine_config()
    rows = [{"id": row["id"], "prompt": row["prompt"], "images": [row["image"]]} for row in task.questions]
    engine, renderer = VllmEngine(task.checkpoint, config, seed=0), Renderer(task.checkpoint, config)
    warm = [Request(rendered) for rendered in renderer.render(rows[:64])]
    engine.generate(warm, decoding(task))
    with timed("render"):
        inputs = renderer.render(rows)
    packed = pickle.dumps(inputs, protocol=pickle.HIGHEST_PROTOCOL)
    with timed("unpack"):
        inputs = pickle.loads(packed)
    with timed("engine"):
        replies = engine.generate([Request(one, n * 1000) for n, one in enumerate(inputs)], decoding(task))
    requests = pa.Table.from_pylist([row | {"checkpoint": task.checkpoint} for row in rows])
    shutil.rmtree(task.work / "costs", ignore_errors=True)
    parts = open_parts(str(task.work / "costs"), StorageConfig(), [requests], {}, config.block_size)
    with timed("parquet"):
        in_hand = InHand(parts, config.block_size)
        for block in range(parts.num_blocks):
            ids = parts.read_requests(block)["id"].to_pylist()
            in_hand.take(block)
            for row in range(len(ids)):
                in_hand.add(block, row, replies[block * config.block_size + row])
            in_hand.finish(block, ids)
    with timed("judge"):
        for row, asked in zip(parts.rows(), task.questions, strict=True):
            question = Question(
                row["id"], "vqav2", "train", row["images"], asked["question"], "open", [asked["answer"]] * 10
            )
            judge_samples(question, row, SamplingConfig())
    return costs


if __name__ == "__main__":
    main()
