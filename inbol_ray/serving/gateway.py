"""The Ray Serve ingress: HTTP in OpenAI's dialect -> Work for an engine -> a response, whole or streamed.

It knows keys, limits and models, and never touches a GPU. Whatever goes wrong behind it becomes a JSON error that a
client can act on: 4xx for the request's own faults, 429 and 503 with Retry-After for what a later try may mend.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator
from starlette.exceptions import HTTPException

from inbol_ray.calibration.thresholds import Calibration
from inbol_ray.config.serving import ServingConfig
from inbol_ray.prompts import dialogue_prompt
from inbol_ray.sampling.chat_engine import ReplyOptions
from inbol_ray.serving.answer import End, Event, Fault, Work
from inbol_ray.serving.dial import ModelDial
from inbol_ray.serving.image_url import ImageSource
from inbol_ray.serving.keys import load_keys
from inbol_ray.serving.metrics import ServingMetrics
from inbol_ray.serving.page import page_headers, page_html
from inbol_ray.serving.response import DONE, ChunkWriter, completion, sse
from inbol_ray.serving.schema import ChatRequest, ImagePart, RequestError, TextPart, parse_request

MAX_IMAGES = 1
RETRY_AFTER_S = 1
PROBE_TIMEOUT_S = 5.0
_PROBE_LIFETIME_S = 1.0
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Offer:
    """A model by name: where its engine is found and what belongs to it."""

    engine: str
    """Key of the engine deployment; models on one checkpoint share it."""
    checkpoint: str
    adapter: str | None
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


def _fault(fault: Fault) -> RequestError:
    return RequestError(fault.status, fault.message, retry_after_s=RETRY_AFTER_S if fault.status == 503 else None)


@contextmanager
def _cancelling(call: DeploymentResponse | DeploymentResponseGenerator) -> Iterator[None]:
    """Stops the engine's work where nobody waits for it any more: after a time-out, or when the client hangs up."""
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        call.cancel()
        raise


async def _retryable(call: Awaitable[Answer]) -> Answer:
    """The result of a call to an engine. Raises RequestError: 429 for a full queue, 503 for an engine that is gone."""
    try:
        return await call
    except BackPressureError:
        raise RequestError(429, "the server is busy; try again", retry_after_s=RETRY_AFTER_S) from None
    except (RayError, DeploymentUnavailableError) as error:
        if isinstance(error, RayTaskError) and not isinstance(error.cause, RayError):
            raise  # a fault of ours, not of the cluster
        raise RequestError(503, "the model is being restarted; try again", retry_after_s=RETRY_AFTER_S) from None


# `serve.ingress` pickles the routes at once, so that all they use stands above it.
@serve.ingress(api)
class Gateway:
    """Wrapped by `serve.deployment` in `app.py`. Raises ConfigError for keys and calibrations that cannot be read."""

    def __init__(
        self, serving: dict, offers: dict[str, Offer], engines: dict[str, DeploymentHandle], created: int
    ) -> None:
        self._config = ServingConfig(**serving)
        self._keys = load_keys(self._config.api_keys_file)
        self._offers, self._engines, self._created = offers, engines, created
        self._images = ImageSource(self._config.image_origins, self._config.max_body_bytes)
        self._metrics = ServingMetrics()
        self._probed: dict[str, tuple[float, bool]] = {}
        self._dials: dict[str, ModelDial] = {}
        self.reconfigure({})

    def reconfigure(self, user_config: dict) -> None:
        """Serve calls this with `user_config`: new dial settings by model, `{name: {target_risk: 0.1}}`, no restart."""
        for name, offer in self._offers.items():
            model = self._config.models[name]
            model = type(model)(**(model.model_dump() | user_config.get(name, {})))
            self._dials[name] = ModelDial(offer.calibration, model.target_risk, model.threshold)

    @api.get("/", include_in_schema=False)
    async def page(self) -> Response:
        return HTMLResponse(page_html(), headers=page_headers())

    @api.get("/healthz")
    async def healthz(self) -> dict:
        """The gateway is alive; says nothing of the models."""
        return {"status": "ok"}

    @api.get("/readyz", responses={503: {"description": "A model cannot answer now"}})
    async def readyz(self) -> Response:
        """200 once every model's engine has just written a token."""
        ready = dict(zip(self._engines, await asyncio.gather(*map(self._probe, self._engines)), strict=True))
        models = {name: ready[offer.engine] for name, offer in self._offers.items()}
        return JSONResponse({"ready": all(models.values()), "models": models}, 200 if all(models.values()) else 503)

    @api.get("/metrics")
    async def metrics(self, request: Request) -> Response:
        self._authorise(request)
        return Response(self._metrics.render(), media_type=CONTENT_TYPE_LATEST)

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
        urls = [part.image_url.url for turn in asked.messages for part in turn.parts() if isinstance(part, ImagePart)]
        if len(urls) > MAX_IMAGES:
            raise RequestError(400, f"at most {MAX_IMAGES} image a request; found {len(urls)}", param="messages")
        if any(isinstance(part, ImagePart) for turn in asked.messages[1:] for part in turn.parts()):
            raise RequestError(400, "the image belongs to the first message", param="messages")
        turns = []
        for user, reply in zip(asked.messages[::2], [*asked.messages[1::2], None], strict=True):
            texts = [part.text for part in user.parts() if isinstance(part, TextPart)]
            said = "\n".join(part.text for part in reply.parts()) if reply else None
            turns.append(("\n".join(texts), sum(isinstance(part, ImagePart) for part in user.parts()), said))
        max_tokens = asked.max_completion_tokens or asked.max_tokens
        options = ReplyOptions(
            max_tokens or self._config.max_tokens,
            asked.temperature,
            asked.top_p,
            tuple([asked.stop] if isinstance(asked.stop, str) else asked.stop or ()),
        )
        rule = self._dials[name].rule(asked.inbol, self._config.max_samples)
        if rule.target_risk is not None:
            options = self._dials[name].hold(options, max_tokens)
        images = [await self._images.read(url) for url in urls]
        return Work(dialogue_prompt(turns), images, options, rule, self._offers[name].adapter)

    async def _respond(self, name: str, work: Work) -> Response:
        engine = self._engines[self._offers[name].engine]
        call = engine.reply.remote(work)
        with _cancelling(call):
            events = await _retryable(call)
        if isinstance(events[0], Fault):
            raise _fault(events[0])
        self._metrics.observe_reply(name, events[-1])
        return JSONResponse(completion(name, events, work.rule))

    async def _start_stream(self, name: str, asked: ChatRequest, work: Work) -> Response:
        """The response begins with the first event, so that faults before it are plain HTTP errors."""
        engine = self._engines[self._offers[name].engine]
        events = aiter(engine.options(stream=True).stream.remote(work))
        with _cancelling(events):
            first = await _retryable(anext(events))
        if isinstance(first, Fault):
            raise _fault(first)
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        return StreamingResponse(self._stream(name, work, first, events, usage), media_type="text/event-stream")

    async def _stream(
        self, name: str, work: Work, first: Event, events: AsyncIterator[Event], include_usage: bool
    ) -> AsyncIterator[str]:
        chunks = ChunkWriter(name, include_usage)
        yield chunks.opening()
        event: Event | None = first
        try:
            async with asyncio.timeout(self._config.request_timeout_s):
                with _cancelling(events):
                    while event is not None:
                        if isinstance(event, Fault):
                            raise _fault(event)
                        if isinstance(event, End):
                            self._metrics.observe_reply(name, event)
                        for chunk in chunks.write(event, work.rule):
                            yield chunk
                        event = await _retryable(anext(events, None))
            yield DONE
        except TimeoutError:
            yield sse(RequestError(504, "the request timed out").body())
        except RequestError as error:  # the status line is gone: clients raise on an error in the stream
            yield sse(error.body())

    async def _probe(self, engine: str) -> bool:
        """Whether the engine can write; asked at most once in _PROBE_LIFETIME_S. A full queue is at work, so it can."""
        now = time.monotonic()
        asked_at, ready = self._probed.get(engine, (-_PROBE_LIFETIME_S, False))
        if now - asked_at >= _PROBE_LIFETIME_S:
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    ready = await self._engines[engine].probe.remote()
            except BackPressureError:
                ready = True
            except Exception:  # whatever the reason, it cannot answer
                ready = False
            self._probed[engine] = (time.monotonic(), ready)
        return ready

    def _model_card(self, name: str) -> dict:
        dial = self._dials[name]
        signals = dial.calibration.signals if dial.calibration else {}
        card = {
            "target_risk": dial.target_risk,
            "threshold": dial.threshold,
            "calibrated": {signal: fitted.model_dump() for signal, fitted in signals.items()},
        }
        return {"id": name, "object": "model", "created": self._created, "owned_by": "inbol_ray", "inbol": card}
