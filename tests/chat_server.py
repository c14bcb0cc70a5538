"""A small OpenAI-compatible server on a real socket, that does what a test tells it to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[[int, dict], tuple[int, dict | bytes] | tuple[int, dict | bytes, dict]]
"""(number of the request, from 0; its body) -> (status, body, headers)"""


def completion(text: str | None, *, finish: str = "stop", refusal: str | None = None, logprobs=None, **fields) -> dict:
    message = {"role": "assistant", "content": text, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs}
    return {
        "object": "chat.completion",
        "choices": [choice],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    } | fields


def question_of(body: dict) -> str:
    """The user's text in a request."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


@dataclass
class ChatServer:
    url: str
    bodies: list[dict] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    most_at_once: int = 0

    @property
    def asked(self) -> list[str]:
        return [question_of(body) for body in self.bodies]


@contextmanager
def chat_server(behave: Behaviour) -> Iterator[ChatServer]:
    lock, under_way = threading.Lock(), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(server.bodies)
                server.bodies.append(body)
                server.headers.append(dict(self.headers))
                server.paths.append(self.path)
                under_way.append(number)
                server.most_at_once = max(server.most_at_once, len(under_way))
            try:
                status, content, headers = (*behave(number, body), {})[:3]
            except ConnectionError:  # the test wants the connection to break
                self.close_connection = True
                return
            finally:
                with lock:
                    under_way.remove(number)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(data))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_arguments):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_arguments):  # clients that hang up are part of the tests
            pass

    http = Server(("127.0.0.1", 0), Handler)
    server = ChatServer(f"http://127.0.0.1:{http.server_port}/v1")
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
