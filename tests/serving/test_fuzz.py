"""Thousands of hostile requests: no 5xx, nothing told of the inside, and memory that does not grow."""

import io
import json
import random
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
import schemathesis
from PIL import Image

from inbol_ray.serving.schema import ChatRequest
from tests.serving.conftest import KEY, ask
from tests.serving.test_server import check_refused

NUM_IMAGES = 3000
NUM_BODIES = 2000
MAX_GROWTH_BYTES = 64 << 20
HEADERS = {"Authorization": f"Bearer {KEY}"}
pytestmark = pytest.mark.slow


def memory(server) -> int:
    """Resident bytes of HAProxy, the replica and its engine."""
    names = ("haproxy", "ServeReplica", "VLLM")
    family = psutil.Process(server.process.pid).children(recursive=True)
    return sum(p.memory_info().rss for p in family if any(name in " ".join(p.cmdline()) for name in names))


def post_all(server, bodies) -> dict[int, int]:
    """Statuses and their number; every reply is checked."""
    counts: dict[int, int] = {}
    with httpx.Client(headers=HEADERS, timeout=60) as client, ThreadPoolExecutor(4) as pool:
        url = f"{server.url}/v1/chat/completions"
        for response in pool.map(lambda body: client.post(url, content=body), bodies):
            counts[response.status_code] = counts.get(response.status_code, 0) + 1
            assert response.status_code < 500, response.text
            if response.status_code != 200:
                check_refused(response, response.status_code)
    return counts


def mutated_images(rng: random.Random, count: int):
    """Encodings of small pictures with bytes flipped, cut out, doubled and added."""
    originals = []
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "ICO", "PPM"):
        for mode in ("RGB", "L", "P", "RGBA"):
            buffer = io.BytesIO()
            try:
                Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 9).convert(mode).save(buffer, kind)
            except (OSError, ValueError):
                continue
            originals.append(buffer.getvalue())
    for _ in range(count):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.choice((0, 1, 1, 4, 30))):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randrange(1, 60)]
                case 2:
                    data[at:at] = data[at : at + rng.randrange(1, 60)]
                case 3:
                    data[at:at] = rng.randbytes(rng.randrange(1, 9))
            data = data or bytearray(b"\0")
        yield bytes(data)


def mutated_bodies(rng: random.Random, count: int):
    """A valid body with one or two values, at any depth, replaced by something odd."""
    odd = [None, True, -1, 0, 1e308, 2**63, "", "x" * 5000, "\u202e\0<image></s>", [], {}, [[]], {"a": {}}, "nan", 0.5]
    picture = io.BytesIO()
    Image.new("RGB", (48, 48), "red").save(picture, "PNG")
    original = ask("What color is the ring?", picture.getvalue(), temperature=0.5, top_p=0.9, stop=["a"], max_tokens=4)
    original |= {"inbol": {"threshold": 0.5, "signal": "first_token"}, "stream": False}
    for _ in range(count):
        body = json.loads(json.dumps(original))
        for _ in range(rng.randrange(1, 3)):
            place = body
            while True:
                key = rng.choice([*place]) if isinstance(place, dict) else rng.randrange(len(place))
                if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.3:
                    break
                place = place[key]
            place[key] = rng.choice(odd)
        text = json.dumps(body).encode()
        if rng.random() < 0.2:
            text = text[: rng.randrange(len(text))] + rng.randbytes(rng.randrange(4))
        yield text


def test_images_and_bodies_by_the_thousand(server):
    rng = random.Random(0)
    images = [json.dumps(ask("What?", data, max_tokens=1)).encode() for data in mutated_images(rng, NUM_IMAGES)]
    warm = post_all(server, images[:600])
    before = memory(server)
    assert before > 0
    counts = post_all(server, images[600:])
    counts_bodies = post_all(server, mutated_bodies(rng, NUM_BODIES))
    growth = memory(server) - before
    print(f"\nimages {warm} {counts}, bodies {counts_bodies}, memory {growth / 2**20:+.1f} MiB")
    assert counts[200] and counts[400] and counts_bodies[200] and counts_bodies[400]
    assert growth < MAX_GROWTH_BYTES
    assert httpx.get(f"{server.url}/readyz", timeout=30).status_code == 200


def test_the_schema_itself_is_fuzzed(server):
    """What schemathesis makes of the published schema, valid and not."""
    document = httpx.get(f"{server.url}/openapi.json").json()
    assert document["components"]["schemas"].keys() >= ChatRequest.model_json_schema()["$defs"].keys()
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    from hypothesis import HealthCheck, given, settings

    for operation in (result.ok() for result in schema.get_all_operations()):

        @given(case=operation.as_strategy() | operation.as_strategy(schemathesis.GenerationMode.NEGATIVE))
        @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def fuzz(case):
            response = case.call(headers=HEADERS, timeout=60)
            assert response.status_code < 500, response.text

        fuzz()
