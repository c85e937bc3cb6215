"""What providers that tune models have in common, as real servers on this machine.

`fake_tuning_openai` and `fake_tuning_plain` (Together, Fireworks) keep files and jobs. Each
server ends with the test, and in any case after two minutes.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol, cast
from urllib.parse import parse_qsl, unquote, urlsplit

Json = dict[str, Any]

LIVES = 120.0
"""Seconds after which a server ends by itself."""

KEY = "sk-planted-Zq7kP0uT4xWyLd9r"
"""Of nobody."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    content: bytes

    @property
    def json(self) -> Json:
        return dict(json.loads(self.content))

    @property
    def form(self) -> dict[str, tuple[str | None, bytes]]:
        """The parts of a form by name: a file's name, or None, and the content."""
        kind = self.headers["content-type"].encode()
        whole = message_from_bytes(b"content-type: %b\n\n%b" % (kind, self.content))
        parts = [part for part in whole.walk() if not part.is_multipart()]
        return {
            str(part.get_param("name", header="content-disposition")): (
                part.get_filename(),
                cast("bytes", part.get_payload(decode=True)),
            )
            for part in parts
        }


@dataclass(frozen=True)
class Reply:
    status: int
    body: Json
    headers: dict[str, str] = field(default_factory=dict)


Trouble = Reply | Literal["lost", "unheard"]
"""A reply instead of an answer; or the connection breaks, after what was asked for was done
(`lost`) or before (`unheard`)."""


@dataclass
class Line:
    """What passes between a provider and those who ask it, and what goes wrong with it."""

    troubles: list[tuple[str, Trouble]] = field(default_factory=list, repr=False)
    """`POST /v1/files`: the next such request is in trouble."""
    calls: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set, repr=False)
    """What came as `Authorization`."""
    now: float = 0.0
    """Seconds of a clock that only a client's waiting moves."""

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def count(self, call: str) -> int:
        return self.calls.count(call)

    def trouble(self, call: str) -> Trouble | None:
        for index, (where, trouble) in enumerate(self.troubles):
            if where == call:
                del self.troubles[index]
                return trouble
        return None


class Provider(Protocol):
    @property
    def line(self) -> Line: ...

    def reply(self, request: Request) -> Reply: ...


@contextmanager
def serving(provider: Provider) -> Iterator[str]:
    """The address at which a provider answers, without a path."""
    turn = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20
        # Else each reply waits 40 ms for the client to confirm its first half.
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            url = urlsplit(self.path)
            request = Request(
                self.command,
                unquote(url.path),
                dict(parse_qsl(url.query)),
                {name.lower(): value for name, value in self.headers.items()},
                _body(self),
            )
            with turn:
                reply = _replied(provider, request)
            if reply is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            content = json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815  the names that http.server looks for

        def log_message(self, *_arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    end = threading.Timer(LIVES, server.shutdown)
    end.daemon = True
    end.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        end.cancel()
        server.shutdown()
        server.server_close()
        thread.join(10)


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("transfer-encoding") != "chunked":
        return handler.rfile.read(int(handler.headers.get("content-length") or 0))
    body = b""
    while size := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


def _replied(provider: Provider, request: Request) -> Reply | None:
    line = provider.line
    call = f"{request.method} {request.path}"
    line.calls.append(call)
    line.keys.add(request.headers.get("authorization", ""))
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return error(401, f"Incorrect API key: {request.headers.get('authorization')}", "key")
    trouble = line.trouble(call)
    if isinstance(trouble, Reply):
        return trouble
    if trouble == "unheard":
        return None
    reply = provider.reply(request)
    return None if trouble == "lost" else reply


def error(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    """As OpenAI and Together write errors."""
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return Reply(status, {"error": body}, {n.replace("_", "-"): v for n, v in headers.items()})


@dataclass
class File:
    id: str
    name: str
    content: bytes
    created: int
    deleted: bool = False


@dataclass
class Job:
    id: str
    asked: Json
    created: int
    made: float
    """On the line's clock."""
    left: list[str]
    """States still to come, a look each; the last one stays."""
    why: Json | None = None
    events: list[Json] = field(default_factory=list)

    @property
    def state(self) -> str:
        return self.left[0]

    def step(self) -> None:
        if len(self.left) > 1:
            del self.left[0]
