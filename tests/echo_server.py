"""A server that tells whoever asks the key it was asked with, wherever a reply has room.

The first part of an address's path says how it answers; see `WAYS`.
"""

from __future__ import annotations

import base64
import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, urlsplit

WAYS = (
    "answers",
    "later",
    "e400",
    "e401",
    "e404",
    "e429",
    "e500",
    "redirects",
    "drops",
    "cuts",
    "html",
    "nonsense",
)
"""`later` answers `GOOD` times and then reports errors; `drops` ends the connection before the
reply, `cuts` within it; `nonsense` is an answer whose numbers are the key."""
GOOD = 8

LABELS = ("yes", "no", "True", "False")


@dataclass
class Echo:
    url: str = ""
    """Its root, without a slash at the end."""
    received: list[tuple[str, str]] = field(default_factory=list)
    """The path and the credentials of each request."""
    sent: bytearray = field(default_factory=bytearray)
    """All replies: what a key must be found in, if it is looked for as it should be."""
    lock: threading.Lock = field(default_factory=threading.Lock)


def echoes(key: str) -> str:
    """The key in the three ways in which servers repeat one."""
    encoded = base64.b64encode(f"user:{key}".encode()).decode()
    return f"{key} {quote(key, safe='')} {encoded}"


@contextmanager
def echo_server(trap: str = "") -> Iterator[Echo]:
    """On a free port of this machine. Redirects lead to the root `trap`, key and all."""
    echo = Echo()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

        def do_GET(self) -> None:
            self.react({})

        def do_POST(self) -> None:
            self.react(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def react(self, body: dict[str, Any]) -> None:
            bearer = self.headers.get("authorization", "").removeprefix("Bearer ")
            key = bearer or self.headers.get("x-api-key", "")
            _, way, *rest = urlsplit(self.path).path.split("/")
            with echo.lock:
                echo.received.append((self.path, key))
                asked = sum(path.startswith("/later/") for path, _ in echo.received)
            if way == "later":
                way = "answers" if asked <= GOOD else ("e400" if asked % 2 else "e500")
            kind, said = "application/json", echoes(key)
            status = int(way[1:]) if way[0] == "e" and way[1:].isdecimal() else 200
            content = json.dumps(_answer("/".join(rest), body, said)).encode()
            headers: dict[str, str] = {}
            if status != 200:
                content = json.dumps(_error(status, said)).encode()
                headers["retry-after-ms"] = "1"
            elif way == "redirects":
                status = 307
                headers["location"] = f"{trap}{self.path}?key={quote(key, safe='')}"
            elif way == "html":
                kind, content = "text/html", f"<b>{said}</b>".encode()
            elif way == "nonsense":
                content = json.dumps({"choices": said, "content": said, "usage": said}).encode()
            elif way == "drops":
                self.hang_up()
                return
            self.send_response(status, f"told {key}")
            for name, value in {
                "content-type": kind,
                "content-length": str(len(content)),
                "x-request-id": key,
                "request-id": key,
                "x-echo": said,
                "set-cookie": f"session={key}",
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if way == "cuts":
                content = content[: len(content) * 3 // 4]
            self.wfile.write(content)
            with echo.lock:
                echo.sent += content
            if way == "cuts":
                self.hang_up()

        def hang_up(self) -> None:
            self.wfile.flush()
            self.close_connection = True

    class Threads(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that gave up is no news."""

    server = Threads(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    echo.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield echo
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _error(status: int, said: str) -> dict[str, Any]:
    return {
        "type": "error",
        "request_id": said,
        "error": {"type": f"error_{status} {said}", "code": said, "message": f"no: {said}"},
    }


def _answer(path: str, body: dict[str, Any], said: str) -> dict[str, Any]:
    """What each API answers, as its SDK takes it, with the key in every free place."""
    log_prob = math.log(0.2)
    names = [f"{space}{label}" for space in ("", " ") for label in LABELS]
    model, usage = f"model {said}", {"prompt_tokens": 20, "completion_tokens": 1}
    common: dict[str, Any] = {"id": said, "model": model, "created": 1, "note": said}
    if path.endswith("chat/completions"):
        tops = [{"token": n, "logprob": log_prob - 3 * (n[0] == " ")} for n in names]
        tops.append({"token": said, "logprob": -9.0})
        return common | {
            "object": "chat.completion",
            "usage": usage,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": said},
                    "logprobs": {
                        "content": [{"token": "yes", "logprob": -1.0, "top_logprobs": tops}]
                    },
                }
            ],
        }
    if path.endswith("completions"):
        top = {name: log_prob for name in names if name[0] == " "} | {said: -9.0}
        return common | {
            "object": "text_completion",
            "usage": usage,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "length",
                    "text": said,
                    "logprobs": {"tokens": [said], "top_logprobs": [top]},
                }
            ],
        }
    if path.endswith("messages"):
        schema = body["output_config"]["format"]["schema"]
        label = schema["properties"]["label"]["enum"][0]
        return common | {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": json.dumps({"label": label})}],
            "stop_reason": "end_turn",
            "stop_sequence": said,
            "usage": {"input_tokens": 20, "output_tokens": 1},
        }
    return common | {"type": "model", "id": model, "display_name": said, "created_at": said}
