"""One replica of the Ray Serve application: HTTP in OpenAI's dialect, with the engines in the same process.

request -> Work -> the events of a reply -> a response, whole or streamed. Whatever goes wrong becomes a JSON error that
a client can act on: 4xx for the request's own faults, 429 and 503 with Retry-After for what a later try may mend.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from ray import serve
from starlette.exceptions import HTTPException

from inbol_ray.calibration.calibration_file import Calibration
from inbol_ray.calibration.conditions import Conditions
from inbol_ray.config.machines import EngineConfig
from inbol_ray.config.serving import ServingConfig
from inbol_ray.sampling.chat_engine import ReplyOptions
from inbol_ray.serving.answer import End, Event, Work
from inbol_ray.serving.dial import ModelDial, make_dial
from inbol_ray.serving.dialogue import read_dialogue, write_prompt
from inbol_ray.serving.engines import RETRY_AFTER_S, Engines
from inbol_ray.serving.image_url import ImageSource
from inbol_ray.serving.keys import load_keys
from inbol_ray.serving.metrics import ServingMetrics
from inbol_ray.serving.page import page_headers, page_html
from inbol_ray.serving.response import DONE, ChunkWriter, completion, sse
from inbol_ray.serving.schema import ChatRequest, RequestError, parse_request

_PROBE_LIFETIME_S = 1.0


@dataclass(frozen=True)
class Offer:
    """A model by name: the checkpoint whose engine writes for it, and what belongs to it."""

    checkpoint: str
    adapter: str | None
    """Folder of its LoRA adapter; the engine knows it by the model's name."""
    calibration: Calibration | None


api = FastAPI(
    title="inbol_ray",
    docs_url=None,
    redoc_url=None,
    responses={400: {"description": "The request is wrong"}, 401: {"description": "API key missing or wrong"}},
)
CHAT_SCHEMA = ChatRequest.model_json_schema(ref_template="#/components/schemas/{model}")
CHAT_PARTS = CHAT_SCHEMA.pop("$defs")


def _describe_api() -> dict:
    """FastAPI's document, with the parts of the chat request that it does not know of."""
    document = FastAPI.openapi(api)
    document.setdefault("components", {}).setdefault("schemas", {}).update(CHAT_PARTS)
    return document


api.openapi = _describe_api


@api.exception_handler(RequestError)
async def _request_error(_request: Request, error: RequestError) -> Response:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.body(), error.status, headers)


@api.exception_handler(HTTPException)
async def _http_error(request: Request, error: HTTPException) -> Response:
    return await _request_error(request, RequestError(error.status_code, str(error.detail)))


@api.exception_handler(Exception)
async def _unforeseen_error(request: Request, _error: Exception) -> Response:
    return await _request_error(request, RequestError(500, "internal error"))


# `serve.ingress` pickles the routes at once, so that all they use stands above it.
@serve.ingress(api)
class Replica:
    """Wrapped by `serve.deployment` in `app.py`.

    Raises ConfigError for keys that cannot be read, and CheckpointError.
    """

    async def __init__(
        self,
        serving: dict,
        offers: Mapping[str, Offer],
        engines: Mapping[str, Mapping[str, str]],
        engine: dict,
        seed: int,
        created: int,
        conditions: Conditions,
    ) -> None:
        self._config = ServingConfig(**serving)
        self._keys = load_keys(self._config.api_keys_file)
        self._offers, self._created, self._conditions = offers, created, conditions
        self._images = ImageSource(self._config.image_origins, self._config.max_body_bytes)
        self._metrics = ServingMetrics()
        self._probed: dict[str, tuple[float, bool]] = {}
        self._dials: dict[str, ModelDial] = {}
        self.reconfigure({})
        self._engines = Engines(engines, EngineConfig(**engine), seed, self._config)

    def reconfigure(self, user_config: dict) -> None:
        """Serve calls this with `user_config`: new dial settings by model, `{name: {target_risk: 0.1}}`, no restart."""
        for name, offer in self._offers.items():
            model = self._config.models[name]
            model = type(model)(**(model.model_dump() | user_config.get(name, {})))
            self._dials[name] = make_dial(model, offer.calibration, self._conditions)

    def check_health(self) -> None:
        """Serve calls this, and replaces a replica whose check raises."""
        self._engines.check()

    def __del__(self) -> None:
        if hasattr(self, "_engines"):
            self._engines.close()

    @api.get("/", include_in_schema=False)
    async def page(self) -> Response:
        return HTMLResponse(page_html(), headers=page_headers())

    @api.get("/healthz")
    async def healthz(self) -> dict:
        """The process is alive; says nothing of the models."""
        return {"status": "ok"}

    @api.get("/readyz", responses={503: {"description": "A model cannot answer now"}})
    async def readyz(self) -> Response:
        """200 once every engine of the replica that is asked has just written a token."""
        checkpoints = list(dict.fromkeys(offer.checkpoint for offer in self._offers.values()))
        ready = dict(zip(checkpoints, await asyncio.gather(*map(self._probe, checkpoints)), strict=True))
        models = {name: ready[offer.checkpoint] for name, offer in self._offers.items()}
        return JSONResponse({"ready": all(models.values()), "models": models}, 200 if all(models.values()) else 503)

    @api.get("/v1/models")
    async def models(self, request: Request) -> dict:
        self._authorise(request)
        return {"object": "list", "data": [self._model_card(name) for name in self._offers]}

    @api.get("/v1/models/{name:path}", responses={404: {"description": "No such model"}})
    async def model(self, request: Request, name: str) -> dict:
        self._authorise(request)
        return self._model_card(self._known(name))

    @api.post(
        "/v1/chat/completions",
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": CHAT_SCHEMA}}}},
    )
    async def chat_completions(self, request: Request) -> Response:
        started = time.perf_counter()
        name, status = "", 500
        self._metrics.begin_request()
        try:
            self._authorise(request)
            async with asyncio.timeout(self._config.request_timeout_s):
                asked = parse_request(await self._body(request))
                name = self._known(asked.model or next(iter(self._offers)))
                work = await self._work(name, asked)
                if asked.stream:
                    response = await self._start_stream(name, asked, work)
                else:
                    response = await self._respond(name, work)
            status = response.status_code
            return response
        except TimeoutError:
            status = 504
            raise RequestError(504, "the request timed out", retry_after_s=RETRY_AFTER_S) from None
        except RequestError as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            status = 499
            raise
        finally:
            self._metrics.end_request(name, status, time.perf_counter() - started)

    def _authorise(self, request: Request) -> None:
        client = request.client.host if request.client else None
        if self._keys.accepts(request.headers.get("authorization"), client):
            return
        if not self._keys:
            raise RequestError(403, "without API keys this server answers its own machine only")
        raise RequestError(401, "the API key is missing or wrong")

    async def _body(self, request: Request) -> bytes:
        limit = self._config.max_body_bytes
        too_large = RequestError(413, f"the body exceeds {limit} bytes")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > limit:
            raise too_large
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise too_large
        return bytes(body)

    def _known(self, name: str) -> str:
        if name not in self._offers:
            raise RequestError(404, "no such model; GET /v1/models lists them", param="model")
        return name

    async def _work(self, name: str, asked: ChatRequest) -> Work:
        dialogue, dial = read_dialogue(asked.messages), self._dials[name]
        max_tokens = asked.max_completion_tokens or asked.max_tokens
        options = ReplyOptions(
            max_tokens or self._config.max_tokens,
            asked.temperature,
            asked.top_p,
            tuple([asked.stop] if isinstance(asked.stop, str) else asked.stop or ()),
            asked.seed,
        )
        rule = dial.rule(asked.inbol, self._config.max_samples)
        if rule.target_risk is not None:
            options = dial.hold(options, max_tokens, dialogue)
        images = [await self._images.read(url) for url in dialogue.image_urls]
        prompt = write_prompt(dialogue, dial.prompts)
        return Work(prompt, images, options, rule, name if self._offers[name].adapter else None)

    async def _respond(self, name: str, work: Work) -> Response:
        events = [event async for event in self._engines.answer(self._offers[name].checkpoint, work, stream=False)]
        self._metrics.observe_reply(name, events[-1])
        return JSONResponse(completion(name, events, work.rule))

    async def _start_stream(self, name: str, asked: ChatRequest, work: Work) -> Response:
        """The response begins with the first event, so that faults before it are plain HTTP errors."""
        events = self._engines.answer(self._offers[name].checkpoint, work, stream=True)
        first = await anext(events)
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        return StreamingResponse(self._stream(name, work, first, events, usage), media_type="text/event-stream")

    async def _stream(
        self, name: str, work: Work, first: Event, events: AsyncIterator[Event], include_usage: bool
    ) -> AsyncIterator[str]:
        chunks = ChunkWriter(name, include_usage)
        yield chunks.opening()
        event: Event | None = first
        try:
            async with aclosing(events), asyncio.timeout(self._config.request_timeout_s):
                while event is not None:
                    if isinstance(event, End):
                        self._metrics.observe_reply(name, event)
                    for chunk in chunks.write(event, work.rule):
                        yield chunk
                    event = await anext(events, None)
            yield DONE
        except TimeoutError:
            yield sse(RequestError(504, "the request timed out").body())
        except RequestError as error:  # the status line is gone: clients raise on an error in the stream
            yield sse(error.body())

    async def _probe(self, checkpoint: str) -> bool:
        """Whether its engine can write; asked at most once in _PROBE_LIFETIME_S."""
        asked_at, ready = self._probed.get(checkpoint, (-_PROBE_LIFETIME_S, False))
        if time.monotonic() - asked_at >= _PROBE_LIFETIME_S:
            ready = await self._engines.probe(checkpoint)
            self._probed[checkpoint] = (time.monotonic(), ready)
        return ready

    def _model_card(self, name: str) -> dict:
        dial = self._dials[name]
        calibration = None if dial.obstacles else dial.calibration  # what holds for no request here is not offered
        signals = calibration.signals if calibration else {}
        card = {
            "target_risk": dial.target_risk,
            "threshold": dial.threshold,
            "answer_suffix": dial.prompts.answer_suffix,
            "system": dial.prompts.system,
            "calibrated": {signal: fitted.model_dump() for signal, fitted in signals.items()},
            "calibrated_for": [kind.model_dump() for kind in calibration.kinds] if calibration else [],
            "not_calibrated_because": list(dial.obstacles),
        }
        return {"id": name, "object": "model", "created": self._created, "owned_by": "inbol_ray", "inbol": card}
