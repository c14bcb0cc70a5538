"""Our endpoint client and our server speak the same: by the server's own schema and response, without an engine."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from chat_server import chat_server
from PIL import Image

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.config.machines import StorageConfig
from inbol_ray.config.model import PromptConfig
from inbol_ray.endpoints.answer import answer_requests
from inbol_ray.models import DEFAULT_FAMILY
from inbol_ray.sampling.parts import list_parts
from inbol_ray.sampling.vllm_engine import Decoding
from inbol_ray.serving.answer import End, Rule, Text
from inbol_ray.serving.answer import Refusal as Refused
from inbol_ray.serving.dialogue import read_dialogue, write_prompt
from inbol_ray.serving.image_url import read_data_uri
from inbol_ray.serving.response import completion
from inbol_ray.serving.schema import RequestError, parse_request


@pytest.mark.parametrize(
    ("event", "refused", "cut", "finish"),
    [
        (Text(" red"), False, "stop", "stop"),
        (Text(" red"), False, "length", "length"),
        (Refused("No."), True, "stop", "refusal"),
    ],
)
def test_our_server_takes_the_request_and_its_reply_is_read(tmp_path, event, refused, cut, finish):
    image = tmp_path / "image.png"
    Image.new("RGB", (4, 4), (9, 9, 9)).save(image)
    taken = []

    def serve(_number, body):
        try:
            request = parse_request(json.dumps(body).encode())
        except RequestError as error:
            return error.status, error.body()
        dialogue = read_dialogue(request.messages)
        (url,) = dialogue.image_urls
        taken.append(
            (write_prompt(dialogue, PromptConfig(answer_suffix=False)), read_data_uri(url), request.max_tokens)
        )
        return 200, completion("m", [event, End(refused, "model", 0.9, cut, 30, 2)], Rule())

    columns = {"key": ["k"], "id": ["i"], "checkpoint": ["m"], "user": ["What?"], "system": ["Be kind."]}
    requests = pa.table(columns | {"images": [[str(image)]]})
    with chat_server(serve) as server:
        endpoint = EndpointConfig(url=server.url, model="m")
        answer_requests(requests, endpoint, Decoding(max_tokens=9), StorageConfig(), folder=str(tmp_path), unit="")
    assert taken == [(DEFAULT_FAMILY.chat.prompt("What?", system="Be kind."), Path(image).read_bytes(), 9)]
    assert len(server.bodies) == 2 and "logprobs" not in server.bodies[1]  # it gives none, and says so
    (parts,) = list_parts(str(tmp_path), StorageConfig())
    (row,) = parts.rows()
    assert (row["responses"], row["finish"]) == ([event.text.strip()], finish)
    assert (row["input_tokens"], row["output_tokens"]) == (30, 2)
