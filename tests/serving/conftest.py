"""A real server in a process of its own, on the random tiny LLaVA, started as `make serve` starts it."""

import base64
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from inbol_ray.calibration.calibration_file import FORMAT, Calibration, calibrate_signal, write_calibration
from inbol_ray.calibration.conditions import QuestionKind, current_conditions
from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.model import PromptConfig
from inbol_ray.sampling.checkpoints import model_digest

ROOT = Path(__file__).parents[2]
KEY = "test-key-0123456789abcdef"
MODEL, PLAIN = "ca_dpo", "plain"
START_TIMEOUT_S = 300


@dataclass
class Server:
    process: subprocess.Popen
    url: str
    log: Path
    ray_folder: Path
    """Where this server's Ray keeps its session, logs included."""

    def metric(self, name: str, **labels: str) -> float:
        """Sum over replicas and models of a metric, from the endpoint that the server's log names."""
        url = re.findall(r"metrics at (http://\S+)", self.log.read_text())[-1]
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [
            line
            for line in httpx.get(url, timeout=30).text.splitlines()
            if line.startswith(f"ray_{name}{{") and all(label in line for label in wanted)
        ]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def client(self, **options):
        from openai import OpenAI

        return OpenAI(base_url=f"{self.url}/v1", api_key=KEY, **({"max_retries": 0} | options))

    def post(self, body, **options) -> httpx.Response:
        headers = {"Authorization": f"Bearer {KEY}"}
        kind = "content" if isinstance(body, bytes) else "json"
        options = {"timeout": 60} | options
        return httpx.post(f"{self.url}/v1/chat/completions", **{kind: body}, headers=headers, **options)


@contextmanager
def running_server(folder: Path, checkpoint: Path | str, *options: str) -> Iterator[Server]:
    """`serve/app.py` with the demo's configuration and another model, until it answers; SIGTERM at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "serve/app.py", "--config", "jobs/configs/demo.yaml", "--serving.port", str(port)]
    command += [f"--serving.models.{MODEL}.method", "null", f"--serving.models.{MODEL}.path", str(checkpoint)]
    command += ["--engine.kv_cache_bytes", str(64 << 20), *options]
    log = folder / "server.log"
    environment = {**os.environ, "INBOL_API_KEYS": KEY, "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    ray_folder = Path(tempfile.mkdtemp(prefix="r"))  # short, for Ray puts sockets there
    environment["RAY_TMPDIR"] = str(ray_folder)
    environment["RAY_metrics_report_interval_ms"] = "500"
    with open(log, "w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment)
    server = Server(process, f"http://127.0.0.1:{port}", log, ray_folder)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while "Serving " not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.3)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(ray_folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(tmp_path_factory, tiny_llava):
    """Two names for one checkpoint: MODEL with a calibration, PLAIN without."""
    folder = tmp_path_factory.mktemp("server")
    write_calibration(invented_calibration(model_digest(str(tiny_llava))), folder / "calibration.json")
    calibrated = [f"--serving.models.{MODEL}.calibration", str(folder / "calibration.json")]
    with running_server(folder, tiny_llava, *calibrated, f"--serving.models.{PLAIN}.path", str(tiny_llava)) as running:
        yield running


DEMO_PROMPTS = PromptConfig(answer_suffix=False)


def invented_calibration(checkpoint_digest: str, prompts: PromptConfig = DEMO_PROMPTS) -> Calibration:
    """Of a model that is wrong with probability 1 - confidence: the threshold for risk r is near 1 - 2 r.

    Asked as the demo asks, or by other `prompts`.
    """
    rng = np.random.default_rng(0)
    confidence = rng.random(3000)
    wrong = rng.random(3000) > confidence
    return Calibration(
        format=FORMAT,
        method="m",
        checkpoint_digest=checkpoint_digest,
        delta=0.1,
        num_questions=3000,
        kinds=[QuestionKind(dataset="vqav2", answer_kind="vqa10", num_images=1, num_questions=3000)],
        conditions=current_conditions(prompts, EngineConfig()),
        max_tokens=16,
        signals={
            "first_token": calibrate_signal(confidence, wrong, 0.1),
            "agreement": calibrate_signal(np.round(confidence * 4) / 4, wrong, 0.1, 4),
        },
    )


def ask(question: str, image: bytes | None = None, **fields) -> dict:
    """A request body with one user turn."""
    content: list[dict] = [{"type": "text", "text": question}]
    if image is not None:
        uri = f"data:image/png;base64,{base64.b64encode(image).decode()}"
        content.append({"type": "image_url", "image_url": {"url": uri}})
    return {"model": MODEL, "messages": [{"role": "user", "content": content}], **fields}
