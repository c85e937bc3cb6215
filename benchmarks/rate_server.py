"""A server of completions that keeps a rate limit, states it, and counts what reaches it.

    python benchmarks/rate_server.py --rate 6000 --latency 1.0

It prints its address, serves until its standard input ends, and then prints its own count:
of requests, of refusals, of the most at once and of the most in any window. Every prompt gets
the same answer, after the latency. The limit is that of a token bucket which holds a second's
worth of it, the strictest way in which a rate a minute is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from rate_servers import Bucket

MINUTE = 60.0
TOP = {" yes": -0.5, " no": -1.2, " True": -3.0, " False": -3.5}


@dataclass(frozen=True)
class Count:
    """What reached the server."""

    requests: int
    refused: int
    most_at_once: int
    most_in_1_s: int
    most_in_60_s: int
    connections: int
    seconds: float


@dataclass
class RateServer:
    """Rates are requests a minute."""

    rate: int
    latency: float
    at_once: int = 0
    most_at_once: int = 0
    connections: int = 0
    arrivals: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.rate, MINUTE, capacity=self.rate / MINUTE)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
                writer.write(await self.reply())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def reply(self) -> bytes:
        now = time.monotonic()
        self.arrivals.append(now)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        accepted = self.bucket.arrive(1, now)
        try:
            if accepted:
                await asyncio.sleep(self.latency)
        finally:
            self.at_once -= 1
        state = self.bucket.state(time.monotonic())
        stated = {
            "x-ratelimit-limit-requests": str(state.limit),
            "x-ratelimit-remaining-requests": str(state.remaining),
            "x-ratelimit-reset-requests": f"{round((state.reset_seconds or 0) * 1000)}ms",
        }
        return _http(200, _ANSWER, stated) if accepted else _http(429, _REFUSAL, stated)

    def count(self) -> Count:
        first, last = self.arrivals[0], self.arrivals[-1]
        return Count(
            requests=len(self.arrivals),
            refused=self.bucket.refused,
            most_at_once=self.most_at_once,
            most_in_1_s=most_within(self.arrivals, 1.0),
            most_in_60_s=most_within(self.arrivals, MINUTE),
            connections=self.connections,
            seconds=round(last - first, 2),
        )


def most_within(times: Sequence[float], window: float) -> int:
    """The most of the rising `times` that lie in a half-open window, wherever it begins."""
    most, begin = 0, 0
    for end, moment in enumerate(times, 1):
        while moment - times[begin] >= window:
            begin += 1
        most = max(most, end - begin)
    return most


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _http(status: int, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} {'OK' if status == 200 else 'Too Many Requests'}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


_REFUSAL = json.dumps({"error": {"message": "rate limit", "type": "requests"}}).encode()
_ANSWER = json.dumps(
    {
        "id": "cmpl-0",
        "object": "text_completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "text": " yes",
                "finish_reason": "length",
                "logprobs": {
                    "text_offset": [0],
                    "tokens": [" yes"],
                    "token_logprobs": [TOP[" yes"]],
                    "top_logprobs": [TOP],
                },
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
    }
).encode()


async def run(rate: int, latency: float) -> None:
    state = RateServer(rate, latency)
    server = await asyncio.start_server(state.serve, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(json.dumps(asdict(state.count())), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", type=int, default=6_000, help="requests a minute")
    parser.add_argument("--latency", type=float, default=1.0, help="seconds")
    a = parser.parse_args()
    asyncio.run(run(a.rate, a.latency))


if __name__ == "__main__":
    main()
