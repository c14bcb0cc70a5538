"""Our server against vLLM's own OpenAI server: same machine, model, engine settings and requests, in turns.

usage: python benchmarks/serving.py [--model FOLDER] [--out build/bench/serve.json]

Both servers run at once and are asked in alternating rounds, so that what else the machine does hits both alike. Every
round asks the same questions about the same images; each (question, image) is new in its first round on either side.
`same_answers` is the share of the warm-up's questions that both answer in the same words.
`throughput_over_vllm` is the median ratio over rounds at the highest concurrency, `p50_overhead_ms` the median
difference at concurrency 1; the figures for every concurrency stand beside them.
"""

import argparse
import asyncio
import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np

from inbol_ray.config.load import load_config
from inbol_ray.toyworld.scenes import SceneStyle, draw_scene, encode_png, render_scene

ROOT = Path(__file__).parents[1]
LOGS = ROOT / "build" / "bench"
CONFIG = "jobs/configs/demo.yaml"
NAME = "ca_dpo"
CONCURRENCIES = (1, 4, 16)
ROUNDS = 5
REQUESTS = {1: 60, 4: 150, 16: 300}
MAX_TOKENS = 16
START_TIMEOUT_S = 300
EXTRA_FIELDS = {"ours": {}, "vllm": {"add_special_tokens": True}}
"""vLLM's chat API otherwise leaves out the token that LLaVA's processor begins every text with."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", help="llava-hf folder; the demo's CA-DPO model by default")
    arguments.add_argument("--out", default="build/bench/serve.json")
    options = arguments.parse_args()
    found = sorted(ROOT.glob("build/demo/artifacts/ca_dpo-*/model"), key=os.path.getmtime)
    model = options.model or (str(found[-1]) if found else sys.exit("no model: run `make demo` first, or give --model"))
    LOGS.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        urls = {
            "ours": stack.enter_context(started(our_command(model), "ours")),
            "vllm": stack.enter_context(started(vllm_command(model), "vllm")),
        }
        raw, same_answers = asyncio.run(measure(urls))
    result = summarise(raw) | {"same_answers": same_answers, "model": model, "cpus": os.cpu_count()}
    result["finished"] = datetime.now(UTC).isoformat()
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result | {"raw": raw}, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def our_command(model: str) -> list[str]:
    models = [f"--serving.models.{NAME}.method", "null", f"--serving.models.{NAME}.path", model]
    return [sys.executable, "serve/app.py", "--config", CONFIG, *models, "--serving.port"]


def vllm_command(model: str) -> list[str]:
    engine = load_config(["--config", CONFIG]).engine
    settings = {
        "model": model,
        "served-model-name": NAME,
        "host": "127.0.0.1",
        "dtype": engine.dtype,
        "max-model-len": engine.max_model_len,
        "max-num-seqs": engine.max_num_seqs,
        "kv-cache-memory-bytes": engine.cache_bytes,
        "limit-mm-per-prompt": '{"image": 1}',
        "uvicorn-log-level": "error",
    }
    flags = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    flags += ["--enforce-eager", "--disable-log-stats", "--port"]
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *flags]


@contextmanager
def started(command: list[str], name: str) -> Iterator[str]:
    """The URL of a server that runs `command` with a free port added, once it knows its model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The engine without a worker process of its own, as our server starts it on CPUs: both sides the same.
    engine = {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    environment = os.environ | {"VLLM_LOGGING_LEVEL": "ERROR"} | engine
    environment.pop("INBOL_API_KEYS", None)
    log = open(LOGS / f"serve-{name}.log", "w")  # noqa: SIM115
    process = subprocess.Popen([*command, str(port)], cwd=ROOT, stdout=log, stderr=log, env=environment)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_TIMEOUT_S
    try:
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{name}: did not start, see {log.name}")
            try:
                if httpx.get(f"{url}/v1/models", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def make_bodies(side: str, concurrency: int, count: int) -> list[bytes]:
    rng = np.random.default_rng(concurrency)
    bodies = []
    for number in range(count):
        image = base64.b64encode(encode_png(render_scene(draw_scene(rng, SceneStyle())))).decode()
        content = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
            {"type": "text", "text": f"What color is object {number} in the north?"},
        ]
        body = {"model": NAME, "messages": [{"role": "user", "content": content}], "temperature": 0.0}
        bodies.append(json.dumps(body | {"max_tokens": MAX_TOKENS} | EXTRA_FIELDS[side]).encode())
    return bodies


async def measure(urls: dict[str, str]) -> tuple[list[dict], float]:
    """The rounds, and the share of the warm-up's questions that are answered alike."""
    rounds, said = [], []
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(timeout=120, limits=limits, headers={"Content-Type": "application/json"}) as client:
        for side, url in urls.items():
            said.append(sorted((await ask_all(client, url, make_bodies(side, 99, 40), 4)).items()))
            print(f"{side} is warm", file=sys.stderr)
        for concurrency in CONCURRENCIES:
            bodies = {side: make_bodies(side, concurrency, REQUESTS[concurrency]) for side in urls}
            for number in range(ROUNDS):
                for side in sorted(urls, reverse=bool(number % 2)):
                    started_at = time.perf_counter()
                    replies = await ask_all(client, urls[side], bodies[side], concurrency)
                    wall_s = time.perf_counter() - started_at
                    rounds.append(
                        {
                            "side": side,
                            "concurrency": concurrency,
                            "round": number,
                            "requests_per_s": len(replies) / wall_s,
                            "latencies_ms": [round(1000 * seconds, 2) for seconds, _ in replies.values()],
                        }
                    )
    same = [ours[1][1] == theirs[1][1] for ours, theirs in zip(*said, strict=True)]
    return rounds, sum(same) / len(same)


async def ask_all(
    client: httpx.AsyncClient, url: str, bodies: list[bytes], concurrency: int
) -> dict[int, tuple[float, str]]:
    """Seconds and words of each reply by the request's number, `concurrency` requests under way at any time."""
    waiting, replies = enumerate(bodies), {}

    async def worker() -> None:
        for number, body in waiting:
            started_at = time.perf_counter()
            response = await client.post(f"{url}/v1/chat/completions", content=body)
            seconds = time.perf_counter() - started_at
            response.raise_for_status()
            replies[number] = (seconds, response.json()["choices"][0]["message"]["content"].strip())

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return replies


def summarise(rounds: list[dict]) -> dict:
    table = []
    for concurrency in CONCURRENCIES:
        sides = {
            side: [row for row in rounds if row["side"] == side and row["concurrency"] == concurrency]
            for side in ("ours", "vllm")
        }
        row: dict = {"concurrency": concurrency}
        for side, members in sides.items():
            latencies = np.concatenate([member["latencies_ms"] for member in members])
            row[side] = {f"p{q}_ms": round(float(np.percentile(latencies, q)), 2) for q in (50, 95, 99)}
            row[side]["requests_per_s"] = round(statistics.median(m["requests_per_s"] for m in members), 2)
        pairs = list(zip(sides["ours"], sides["vllm"], strict=True))
        row["throughput_over_vllm"] = round(
            statistics.median(a["requests_per_s"] / b["requests_per_s"] for a, b in pairs), 3
        )
        row["p50_overhead_ms"] = round(
            statistics.median(np.median(a["latencies_ms"]) - np.median(b["latencies_ms"]) for a, b in pairs), 2
        )
        table.append(row)
    return {
        "throughput_over_vllm": table[-1]["throughput_over_vllm"],
        "p50_overhead_ms": table[0]["p50_overhead_ms"],
        "by_concurrency": table,
    }


if __name__ == "__main__":
    main()
