"""Image URLs against a real HTTP server that redirects, stalls and lies, and a resolver that rebinds."""

import asyncio
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiohttp.abc import AbstractResolver

from inbol_ray.serving import image_url
from inbol_ray.serving.image_url import ImageSource, PublicResolver, is_public
from inbol_ray.serving.schema import RequestError

LIMIT = 10_000


class Handler(BaseHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/image")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/missing" else 200)
        self.end_headers()
        self.wfile.write(b"x" * (LIMIT + 1 if self.path == "/large" else 100))

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    Handler.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


class Names(AbstractResolver):
    """Says in turn what each look-up of any name gives."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.lookups = list(answers), 0

    async def resolve(self, host, port=0, family=socket.AF_INET):
        self.lookups += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address in found
        ]

    async def close(self):
        pass


def read(url: str, origins: list[str], resolver: AbstractResolver) -> bytes:
    async def run() -> bytes:
        source = ImageSource(origins, LIMIT, resolver)
        try:
            return await source.read(url)
        finally:
            await source.close()

    return asyncio.run(run())


def anywhere(*answers: list[str]) -> PublicResolver:
    return PublicResolver(lambda _: True, Names(*answers))


def test_an_allowed_host_is_fetched(port):
    origin = f"http://images.test:{port}"
    assert read(f"{origin}/image", [origin], anywhere(["127.0.0.1"])) == b"x" * 100


@pytest.mark.parametrize(("path", "status"), [("redirect", 400), ("missing", 400), ("large", 413)])
def test_what_a_host_replies_is_not_trusted(port, path, status):
    origin = f"http://images.test:{port}"
    with pytest.raises(RequestError) as raised:
        read(f"{origin}/{path}", [origin], anywhere(["127.0.0.1"]))
    assert raised.value.status == status and Handler.asked == [f"/{path}"]


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["169.254.169.254"], ["::1"]])
def test_a_name_that_leads_inside_is_not_connected_to(port, addresses):
    origin = f"http://images.test:{port}"
    with pytest.raises(RequestError, match="could not be fetched"):
        read(f"{origin}/image", [origin], PublicResolver(resolver=Names(addresses)))
    assert Handler.asked == []


def test_a_name_is_resolved_once_so_it_cannot_be_rebound(port):
    """Public when checked, private when connected to: there is no second look-up to lie in."""
    origin = f"http://images.test:{port}"
    names = Names(["93.184.216.34"], ["127.0.0.1"])
    checked: list[str] = []
    resolver = PublicResolver(lambda address: not checked.append(address), names)

    async def run():
        source = ImageSource([origin], LIMIT, resolver)
        task = asyncio.create_task(source.read(f"{origin}/image"))
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await source.close()

    asyncio.run(run())
    assert names.lookups == 1 and checked == ["93.184.216.34"] and Handler.asked == []


def test_a_host_that_stalls_is_given_up(monkeypatch):
    monkeypatch.setattr(image_url, "FETCH_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = f"http://images.test:{silent.getsockname()[1]}"
        with pytest.raises(RequestError, match="could not be fetched"):
            read(f"{origin}/image", [origin], anywhere(["127.0.0.1"]))


@pytest.mark.parametrize(
    "url",
    [
        "http://images.test:81/a",
        "https://images.test/a",
        "http://images.test@127.0.0.1/a",
        "http://user:pw@images.test/a",
        "http://images.test\\@127.0.0.1/a",
        "http://images.test./a",
        "http://images.test:99999/a",
        "http://[images.test/a",
        "http://127.0.0.1/a",
        "//images.test/a",
        "http://images.t\u0435st/a",
        "http://images.test\n/a",
    ],
)
def test_only_the_very_origin_passes(url):
    with pytest.raises(RequestError, match="allowed host"):
        read(url, ["http://images.test"], anywhere(["127.0.0.1"]))


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("fd00::1", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(address) is public
