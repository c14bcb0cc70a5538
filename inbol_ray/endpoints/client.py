"""One server, asked until it replies: Chat -> Reply.

A status 408, 409, 429 or 5xx, a timeout, a broken connection and a response that is no chat completion are tried again.
401, 402, 403 and 404 concern every question and stop the run; any other 4xx rejects this one question. A server that
does not know `logprobs` or `max_tokens` is asked without, or with `max_completion_tokens`, from then on.

The API key is in a header of the requests and nowhere else: a server's error message that repeats it is kept without
it.
"""

import asyncio
import itertools
import os
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from inbol_ray.config.endpoint import EndpointConfig
from inbol_ray.endpoints.waiting import Pace, Sleep, retry_delay_s
from inbol_ray.endpoints.wire import (
    FILTER_CODES,
    Chat,
    MalformedReplyError,
    chat_body,
    chat_messages,
    filtered_reply,
    read_error,
    read_reply,
)
from inbol_ray.errors import ConfigError, EndpointError
from inbol_ray.images import ImageError
from inbol_ray.sampling.vllm_engine import Decoding, Reply

MAX_RESPONSE_BYTES = 16 << 20
RETRIED = frozenset({408, 409, 429})
STOPPING = {
    401: "the API key in {key} is missing or wrong",
    402: "the account of the API key in {key} has no credit",
    403: "the API key in {key} may not use this model",
    404: "it knows no such model, or nothing is at this URL",
}


class NoReplyError(EndpointError):
    """Every try of one question failed; the message is the last failure."""


class EndpointClient:
    """Use it as an async context manager, in one event loop. `sleep` is replaced in tests."""

    def __init__(self, endpoint: EndpointConfig, decoding: Decoding, sleep: Sleep = asyncio.sleep) -> None:
        self._endpoint, self._decoding, self._sleep = endpoint, decoding, sleep
        self._key = read_api_key(endpoint)
        self._pace = Pace(endpoint.requests_per_minute, sleep)
        self._unknown: set[str] = set()
        """Fields that the server does not know."""

    async def __aenter__(self) -> "EndpointClient":
        host = urlsplit(self._endpoint.url)
        self._proxy = None if proxy_bypass(host.hostname) else getproxies().get(host.scheme)
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=aiohttp.ClientTimeout(total=self._endpoint.timeout_s),
            connector=aiohttp.TCPConnector(limit=0),  # as many as the caller asks at the same time
        )
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._session.close()

    async def ask(self, chat: Chat) -> Reply:
        """The server's reply; one with a `reason` where the question cannot be asked, or is rejected.

        Raises NoReplyError when all tries failed, and EndpointError for what concerns every question.
        """
        reply = Reply()
        try:
            messages = await asyncio.to_thread(chat_messages, chat)
        except ImageError as error:
            reply.refuse("unreadable_image", str(error))
            return reply
        tries = itertools.count()
        attempt = next(tries)
        while True:
            await self._pace.wait()
            body = self._adapted(chat_body(self._endpoint, messages, self._decoding))
            retry_after = None
            try:
                status, headers, data = await self._post(body)
                if status == 200:
                    return read_reply(data)
                words, code = self._read_error(data)
            except aiohttp.ClientSSLError as error:
                raise self._stop(f"its certificate is not accepted: {error}") from None
            except MalformedReplyError as error:
                failure = f"{error}: {self._read_error(data)[0]}"
            except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:  # TimeoutError is an OSError
                failure = f"{type(error).__name__}: {error}".rstrip(": ")
            else:
                failure, retry_after = f"status {status}: {words}", headers.get("Retry-After")
                if self._is_adapted(status, words, body):
                    continue
                if 300 <= status < 400:
                    raise self._stop(f"it redirects (status {status}); give the URL where the API is")
                if status in STOPPING:
                    known = STOPPING[status].format(key=self._endpoint.api_key_env or "(api_key_env is null)")
                    raise self._stop(f"{known} ({failure})")
                if code in FILTER_CODES:
                    return filtered_reply()
                if status < 500 and status not in RETRIED:
                    reply.refuse("request_rejected", f"the server rejected the question with {failure}")
                    return reply
            if attempt >= self._endpoint.max_retries:
                raise NoReplyError(failure)
            await self._sleep(retry_delay_s(attempt, retry_after))
            attempt = next(tries)

    async def _post(self, body: dict) -> tuple[int, Mapping[str, str], bytes]:
        url = f"{self._endpoint.url}/chat/completions"
        async with self._session.post(url, json=body, allow_redirects=False, proxy=self._proxy) as response:
            data = bytearray()
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > MAX_RESPONSE_BYTES:
                    raise aiohttp.ClientPayloadError(f"more than {MAX_RESPONSE_BYTES} bytes")
            return response.status, response.headers, bytes(data)

    def _adapted(self, body: dict) -> dict:
        """The request in fields that the server knows."""
        if "logprobs" in self._unknown:
            del body["logprobs"]
        if "max_tokens" in self._unknown:
            body["max_completion_tokens"] = body.pop("max_tokens")
        return body

    def _is_adapted(self, status: int, words: str, body: dict) -> bool:
        """Whether an error names a field of the request that can do without, so that it is to be sent again."""
        named = [field for field in ("logprobs", "max_tokens") if field in body and field in words]
        self._unknown.update(named if status in (400, 403, 422) else ())
        return bool(named) and status in (400, 403, 422)

    def _stop(self, why: str) -> EndpointError:
        return EndpointError(f"{self._endpoint.name}: {why}")

    def _read_error(self, data: bytes) -> tuple[str, str]:
        """`read_error` without the key, which is taken out first: a shortened message could hold a part of it."""
        return read_error(data.replace(self._key.encode(), b"[API key]") if self._key else data)


def read_api_key(endpoint: EndpointConfig) -> str | None:
    """The key that `api_key_env` names, None where that is null.

    Raises ConfigError where the variable is missing, empty, or no key.
    """
    if endpoint.api_key_env is None:
        return None
    key = os.environ.get(endpoint.api_key_env, "").strip()
    if not key:
        raise ConfigError(
            f"api_key_env: the environment variable {endpoint.api_key_env} is not set, or empty, on the machine that "
            f"asks {endpoint.url}; export it where the job's driver runs"
        )
    if not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"api_key_env: the environment variable {endpoint.api_key_env} holds characters that no key has (a line "
            "break or a sign beyond ASCII); export the key alone"
        )
    return key
