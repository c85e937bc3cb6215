"""A server of completions on this machine that answers right, or fails in one of eight ways.

It speaks OpenAI's completions with `logprobs`, answers from the embedded model, and draws by
seed which requests fail and how. It counts the answers that it gave in full, which are those
a provider would bill for.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from elicit.organism import model_path
from elicit.providers.base import ScoreRequest, Segment
from elicit.providers.registry import open_model

ANSWERS = (" False", " True", " yes", " no")
"""What it tells the log-probabilities of: the labels of the embedded tasks, and those of the
question that a hosted model is asked first."""
HANG_SECONDS = 1.5
"""How long a request hangs; the client must give up sooner."""
FAILURES = (
    "429 with Retry-After",
    "429 without",
    "500",
    "529",
    "closed before the reply",
    "cut in the middle of the body",
    "truncated JSON",
    "hangs",
)


@dataclass
class Chaos:
    """What the server did. `share` of the requests fail, drawn by `seed`."""

    share: float
    seed: int = 0
    latency: float = 0.0
    """Seconds that a full answer takes at least."""
    model: str = "tiny"
    url: str = ""
    outcomes: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    """Full answers by prompt."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._known: dict[str, tuple[float, ...]] = {}
        # One thread: the others of this machine are the client's.
        self._provider = open_model(f"llama-cpp:{model_path()}?threads=1")

    def begin(self, share: float, seed: int = 0, latency: float = 0.0) -> None:
        """Count from nothing. What was answered before is answered again, and at once."""
        with self.lock:
            self.share, self.seed, self.latency = share, seed, latency
            self._rng = random.Random(seed)
            self.outcomes.clear()
            self.answered.clear()

    def close(self) -> None:
        self._provider.close()

    def drawn(self) -> str:
        """How the next request ends."""
        with self.lock:
            fails = self._rng.random() < self.share
            outcome = self._rng.choice(FAILURES) if fails else "answered"
            self.outcomes[outcome] += 1
            return outcome

    def log_probs(self, prompt: str) -> tuple[float, ...]:
        with self.lock:
            if prompt not in self._known:
                request = ScoreRequest((Segment.of(prompt),), ANSWERS)
                [unit] = self._provider.score([request])
                self._known[prompt] = unit.scores[0][1].log_probs
            return self._known[prompt]


def completion(chaos: Chaos, prompt: str) -> bytes:
    values = chaos.log_probs(prompt)
    top = {**dict(zip(ANSWERS, values, strict=True)), " never": -30.0}
    best = max(top, key=top.__getitem__)
    logprobs = {
        "text_offset": [len(prompt)],
        "tokens": [best],
        "token_logprobs": [top[best]],
        "top_logprobs": [top],
    }
    words = len(prompt.split()) + 1
    return json.dumps(
        {
            "id": "cmpl-0",
            "object": "text_completion",
            "created": 0,
            "model": chaos.model,
            "choices": [
                {"index": 0, "text": best, "finish_reason": "length", "logprobs": logprobs}
            ],
            "usage": {
                "prompt_tokens": words,
                "completion_tokens": 1,
                "total_tokens": words + 1,
            },
        }
    ).encode()


def _handler(chaos: Chaos) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            prompt = str(body["prompt"])
            match chaos.drawn():
                case "answered":
                    time.sleep(chaos.latency)
                    self.reply(200, completion(chaos, prompt))
                    with chaos.lock:
                        chaos.answered[prompt] += 1
                case "429 with Retry-After":
                    self.reply(429, _error("slow down"), {"retry-after-ms": "20"})
                case "429 without":
                    self.reply(429, _error("slow down"))
                case "500":
                    self.reply(500, _error("broken"))
                case "529":
                    self.reply(529, _error("overloaded"))
                case "closed before the reply":
                    self.hang_up()
                case "cut in the middle of the body":
                    whole = completion(chaos, prompt)
                    self.reply(200, whole[: len(whole) // 2], {}, len(whole))
                    self.hang_up()
                case "truncated JSON":
                    self.reply(200, completion(chaos, prompt)[:-20])
                case "hangs":
                    time.sleep(HANG_SECONDS)
                    self.hang_up()

        def reply(
            self,
            status: int,
            body: bytes,
            headers: dict[str, str] | None = None,
            length: int | None = None,
        ) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body) if length is None else length))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def hang_up(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    return Handler


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "server_error"}}).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gave up is no news."""


@contextmanager
def chaos_server(share: float, seed: int = 0) -> Iterator[Chaos]:
    """A server of which `share` of the requests fail, on a free port of this machine."""
    chaos = Chaos(share, seed)
    server = _Server(("127.0.0.1", 0), _handler(chaos))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    chaos.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield chaos
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
        chaos.close()
