"""Anthropic's API for tests: requests are kept, replies are what the SDK's models allow."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
from anthropic.types import Message
from anthropic.types.shared import ErrorResponse

from elicit.providers.base import ScoreRequest, Segment
from elicit.providers.redact import Secret
from elicit.providers.transport import open_client

MODEL = "claude-sonnet-5-5"
URL = "https://api.anthropic.com"
KEY = "sk-ant-api03-not-a-key-of-anyone"

Json = dict[str, Any]
React = Callable[[Json, int], httpx2.Response]
"""From a body and how many requests came before it to a reply."""


@dataclass
class Server:
    """Answers each message call as `react` says."""

    react: React
    bodies: list[Json] = field(default_factory=list)
    requests: list[httpx2.Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else {}
        with self.lock:
            before = len(self.bodies)
            self.bodies.append(body)
            self.requests.append(request)
        return self.react(body, before)

    def client(self) -> httpx2.Client:
        return open_client(URL, Secret(KEY), inner=httpx2.MockTransport(self))


def usage(fresh: int = 20, written: int = 0, read: int = 0, output: int = 7) -> Json:
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": output,
    }


def message(
    text: str,
    *,
    model: str = MODEL,
    stop_reason: str = "end_turn",
    thought: str = "",
    used: Json | None = None,
    **more: object,
) -> Json:
    """A message that the SDK's own model accepts."""
    content: list[Json] = [{"type": "text", "text": text}] if text else []
    if thought:
        content.insert(0, {"type": "thinking", "thinking": thought, "signature": "s"})
    made = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": used or usage(),
        **more,
    }
    Message.model_validate(made)
    return made


def labelled(label: str, **more: Any) -> Json:
    return message(json.dumps({"label": label}), **more)


def ok(body: Mapping[str, Any], **headers: str) -> httpx2.Response:
    return httpx2.Response(200, json=dict(body), headers={"request-id": "req_7", **headers})


def error(
    status: int, type_: str, text: str, code: str | None = None, **headers: str
) -> httpx2.Response:
    """An error whose body the SDK's own model accepts."""
    body: Json = {
        "type": "error",
        "error": {"type": type_, "message": text},
        "request_id": "req_7",
    }
    ErrorResponse.model_validate(body)
    if code is not None:
        body["error"]["details"] = {"error_code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, json=body, headers={"request-id": "req_7", **named})


def block_request(item: str = "Moss is a plant.", sample: int = 0) -> ScoreRequest:
    """A prompt whose demonstrations stand before the item in one message."""
    return ScoreRequest(
        (
            Segment.of("Answer with one of: no, yes", "system"),
            Segment.of("Iron is a plant. no\n\n", "user"),
            Segment.of("Fern is a plant. yes\n\n", "user"),
            Segment.of(item, "user"),
        ),
        ("no", "yes"),
        sample,
    )


def turns_request(item: str = "Moss is a plant.") -> ScoreRequest:
    """A prompt whose demonstrations are questions with the model's answers."""
    return ScoreRequest(
        (
            Segment.of("Answer with one of: no, yes", "system"),
            Segment.of("Iron is a plant.", "user"),
            Segment.of("no", "assistant"),
            Segment.of(item, "user"),
        ),
        ("no", "yes"),
    )


def bare_request(item: str = "Moss is a plant.") -> ScoreRequest:
    """A prompt that shares nothing with another."""
    return ScoreRequest((Segment.of(item, "user"),), ("no", "yes"))
