"""The same questions asked of a checkpoint's engine, and of it behind our own server and vLLM's: the same replies."""

import pyarrow as pa
import pytest
from engine_process import engine_replies

from benchmarks import serving
from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.load import load_config
from inbol_ray.config.machines import StorageConfig
from inbol_ray.endpoints.answer import answer_requests
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.sampling.parts import list_parts
from inbol_ray.sampling.vllm_engine import Decoding
from tests.serving.conftest import KEY, MODEL, running_server

QUESTIONS = ["What color is the ring?", "How many rings are there?", "Is there a cube?", "What is in the north?"]
TOO_LONG = "word " * 5000


@pytest.fixture(scope="module")
def engine(tiny_llava, scene_images):
    """Texts and log-probabilities by question, straight from the engine."""
    rows = [
        {"prompt": DEFAULT_FAMILY.chat.prompt(text), "images": [image]}
        for text, image in zip(QUESTIONS, scene_images, strict=True)
    ]
    config = load_config(["--config", serving.CONFIG]).engine
    replies = engine_replies(str(tiny_llava), rows, [0] * len(rows), config, Decoding(num_logprobs=0))
    return dict(zip(QUESTIONS, replies, strict=True))


def ask(url: str, folder, images, monkeypatch, **settings) -> dict[str, dict]:
    monkeypatch.setenv("TEST_ENDPOINT_KEY", KEY)
    texts = [*QUESTIONS, TOO_LONG]
    requests = pa.table(
        {
            "key": texts,
            "id": texts,
            "checkpoint": ["m"] * len(texts),
            "user": texts,
            "system": pa.array([None] * len(texts), pa.string()),
            "images": [[image] for image in [*images, images[0]]],
        }
    )
    endpoint = EndpointConfig(url=f"{url}/v1", model=MODEL, api_key_env="TEST_ENDPOINT_KEY", **settings)
    answer_requests(requests, endpoint, Decoding(), StorageConfig(), folder=str(folder), unit="")
    (parts,) = list_parts(str(folder), StorageConfig())
    return {row["key"]: row for row in parts.rows()}


def check(found: dict[str, dict], engine: dict) -> None:
    rejected = found.pop(TOO_LONG)
    assert (rejected["reason"], rejected["responses"]) == ("request_rejected", [])
    assert "status 400" in rejected["detail"]
    assert {text: row["responses"] for text, row in found.items()} == {
        text: [reply.texts[0].strip()] for text, reply in engine.items()
    }
    for row in found.values():
        assert row["finish"] in ("stop", "length", "refusal") and row["input_tokens"] > 0 < row["output_tokens"]


@pytest.mark.slow
def test_our_own_server_is_an_endpoint(tiny_llava, scene_images, engine, tmp_path, monkeypatch):
    """It does not give log-probabilities, and is asked without."""
    with running_server(tmp_path, tiny_llava) as server:
        found = ask(server.url, tmp_path / "replies", scene_images, monkeypatch)
    check(found, engine)
    assert all(row["token_logprobs"] == [[]] for row in found.values())


@pytest.mark.slow
def test_vllms_own_server_is_an_endpoint(tiny_llava, scene_images, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "LOGS", tmp_path)
    with serving.started(serving.vllm_command(str(tiny_llava)), "vllm") as url:
        found = ask(url, tmp_path / "replies", scene_images, monkeypatch, extra_body={"add_special_tokens": True})
    check(found, engine)
    for text, row in found.items():
        assert row["token_logprobs"][0] == pytest.approx(engine[text].token_logprobs[0], abs=1e-3)
