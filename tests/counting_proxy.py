"""Stands before a server on this machine and counts what is asked of it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from servers import Server

PASSED_ON = ("authorization", "content-type")


@dataclass
class Counted:
    """A server behind its counter."""

    server: Server
    url: str = ""
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    """The path and the body of each request, in order of arrival."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    """As the server counted them."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def requests(self) -> int:
        return len(self.asked)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens

    def dollars(self, input_price: float, output_price: float) -> float:
        """What a server would charge at these prices for a million tokens."""
        return (self.prompt_tokens * input_price + self.output_tokens * output_price) / 1e6

    def clear(self) -> None:
        self.asked.clear()
        self.prompt_tokens = self.output_tokens = 0

    def prompts(self) -> list[str]:
        """What was asked of the model: the bodies of requests for an answer."""
        return [body.decode() for path, body in self.asked if path.endswith("/completions")]


@contextmanager
def counted(server: Server) -> Iterator[Counted]:
    """The server behind a counter, at an address of its own."""
    counter = Counted(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

        def do_GET(self) -> None:
            self.pass_on(b"")

        def do_POST(self) -> None:
            self.pass_on(self.rfile.read(int(self.headers["content-length"])))

        def pass_on(self, body: bytes) -> None:
            with counter.lock:
                counter.asked.append((self.path, body))
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            place = urlsplit(server.url).netloc
            with closing(http.client.HTTPConnection(place, timeout=60)) as connection:
                connection.request(self.command, self.path, body or None, headers)
                answer = connection.getresponse()
                content = answer.read()
            with counter.lock:
                counter.prompt_tokens += _count(content, "prompt_tokens")
                counter.output_tokens += _count(content, "completion_tokens")
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    class Threads(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    proxy = Threads(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    counter.url = f"http://127.0.0.1:{proxy.server_port}/v1"
    try:
        yield counter
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join(5)


def _count(content: bytes, name: str) -> int:
    try:
        return int(json.loads(content)["usage"][name])
    except (ValueError, TypeError, KeyError):
        return 0
