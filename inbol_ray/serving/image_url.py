"""`image_url` -> encoded bytes: data URIs, and hosts that the operator allows.

A fetch cannot be turned against the operator's own network: the host must be on the list, the name is resolved once
by `PublicResolver`, only public addresses pass, and the connection goes to those very addresses. Redirects are errors.
"""

import asyncio
import base64
import binascii
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver

from inbol_ray.serving.schema import RequestError

FETCH_TIMEOUT_S = 10.0
_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)
_CHUNK_BYTES = 1 << 16


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet; IPv4 inside IPv6 is judged as IPv4."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.version == 6:
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is not None:
            parsed = inner
        elif parsed in ipaddress.ip_network("64:ff9b::/96"):  # NAT64
            parsed = ipaddress.ip_address(int(parsed) & 0xFFFFFFFF)
    return parsed.is_global and not parsed.is_multicast


class PublicResolver(AbstractResolver):
    """Resolves a name, and fails unless every address it has is acceptable."""

    def __init__(self, accept: Callable[[str], bool] = is_public, resolver: AbstractResolver | None = None) -> None:
        self._accept, self._resolver = accept, resolver or ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list:
        found = await self._resolver.resolve(host, port, family)
        if not found or not all(self._accept(entry["host"]) for entry in found):
            raise OSError("not a public address")
        return found

    async def close(self) -> None:
        await self._resolver.close()


class ImageSource:
    """Reads images for requests. `origins` are those of `serving.image_origins`."""

    def __init__(self, origins: Sequence[str], max_bytes: int, resolver: AbstractResolver | None = None) -> None:
        self._origins = {_origin(url) for url in origins}
        self._max_bytes = max_bytes
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def read(self, url: str) -> bytes:
        """Raises RequestError: 400 for a URL that is not acceptable, 413 for a file that is too large."""
        if url[:5].lower() == "data:":
            return read_data_uri(url)
        if _origin(url) not in self._origins:
            raise RequestError(400, "image_url must be a data:image/...;base64 URI or on an allowed host")
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                return await self._fetch(url)
        except RequestError:
            raise
        except (TimeoutError, OSError, ValueError, aiohttp.ClientError):
            raise RequestError(400, "image_url could not be fetched") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _fetch(self, url: str) -> bytes:
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=self._resolver or PublicResolver(), use_dns_cache=False)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False)
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise RequestError(400, f"image_url could not be fetched: its host replied {response.status}")
            data = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                data += chunk
                if len(data) > self._max_bytes:
                    raise RequestError(413, f"the image at image_url exceeds {self._max_bytes} bytes")
            return bytes(data)


def read_data_uri(url: str) -> bytes:
    """Raises RequestError (400)."""
    head = _DATA_URI.match(url)
    if head is None:
        raise RequestError(400, "a data URI must start with data:image/TYPE;base64,")
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(400, "the data URI is not valid base64") from None


def _origin(url: str) -> tuple[str, str, int] | None:
    """(scheme, host, port); None for what is no plain http(s) URL, credentials and odd characters included."""
    if not url.isascii() or any(char <= " " or char in "\\\x7f" for char in url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)
