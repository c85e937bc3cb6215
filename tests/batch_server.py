"""OpenAI's Batch API as far as elicit uses it, behind an HTTP transport, with a bill.

It outlives the programs that ask it. Every reply is one that the SDK's own models validate,
but for a state that a test invents.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any

import httpx2
from openai.types import Batch, Completion, FileObject
from openai.types.chat import ChatCompletion

LAG = 50.0
"""Seconds after which a new batch is in the list."""


def yes_log_prob(text: str) -> float:
    """The model: what it gives to `yes` after a prompt."""
    return math.log((1 + hashlib.sha256(text.encode()).digest()[0]) / 300)


def completion(text: str) -> dict[str, Any]:
    """A chat completion's body, with the two labels among the 20 likeliest tokens."""
    yes = yes_log_prob(text)
    top = [("yes", yes), ("no", math.log(1 - math.exp(yes) - 1e-4))]
    top += [(f"x{i}", -13.0 - i) for i in range(18)]
    tokens = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in top]
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4.1-nano-2025-04-14",
        "choices": [
            {
                "index": 0,
                "finish_reason": "length",
                "message": {"role": "assistant", "content": "yes", "refusal": None},
                "logprobs": {"content": [{**tokens[0], "top_logprobs": tokens}]},
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21},
    }
    ChatCompletion.model_validate(body)
    return body


def text_completion(top: Mapping[str, float]) -> dict[str, Any]:
    """A completion's body, with the likeliest tokens after the prompt."""
    first = next(iter(top))
    body = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "gpt-4.1-nano-2025-04-14",
        "choices": [
            {
                "index": 0,
                "finish_reason": "length",
                "text": first,
                "logprobs": {
                    "tokens": [first],
                    "token_logprobs": [top[first]],
                    "top_logprobs": [dict(top)],
                    "text_offset": [0],
                },
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21},
    }
    Completion.model_validate(body)
    return body


@dataclass
class Held:
    """A batch that the server holds."""

    id: str
    input_file: str
    metadata: Mapping[str, str]
    made: float
    created_at: int
    polls: int = 0
    ended: str = ""
    files: dict[str, str] = field(default_factory=dict)


@dataclass
class BatchServer:
    """A test changes what it does through its fields, and reads what it did."""

    ends: Callable[[int], str] = lambda _count: "completed"
    """From the number of a batch, from 0, to the state it ends in."""
    outcome: Callable[[int, str, str], str] = lambda _count, _id, _text: "answered"
    """From batch, custom id and prompt to `answered`, `twice`, `missing`, `garbled`, `useless`
    (an answer without choices), or, for a line of the error file, the HTTP status with perhaps
    a code, or the code alone."""
    complete: Callable[[str], Mapping[str, float]] | None = None
    """Where it serves completions: from a prompt to the likeliest tokens after it."""
    running: tuple[str, ...] = ("validating", "in_progress")
    """States told before the end, a poll each."""
    now: float = 0.0
    billed: Counter[str] = field(default_factory=Counter)
    """How often each request, by its custom id, was paid for."""
    batches: list[Held] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    singly: list[str] = field(default_factory=list)
    """Prompts asked outside batches."""
    turn: threading.RLock = field(default_factory=threading.RLock)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        with self.turn:
            return self._handled(request)

    def _handled(self, request: httpx2.Request) -> httpx2.Response:  # noqa: PLR0911  one a call of the API
        path = request.url.path.removeprefix("/v1")
        self.calls.append(f"{request.method} {path}")
        match request.method, path.strip("/").split("/"):
            case "POST", ["files"]:
                return self._upload(request)
            case "GET", ["files", name, "content"]:
                return httpx2.Response(200, content=self.files[name])
            case "POST", ["completions"] if self.complete is not None:
                prompt = json.loads(request.content)["prompt"]
                self.singly.append(prompt)
                return httpx2.Response(200, json=text_completion(self.complete(prompt)))
            case "POST", ["batches"]:
                return self._create(json.loads(request.content))
            case "GET", ["batches"]:
                listed = [b for b in reversed(self.batches) if self.now - b.made >= LAG]
                page = [self._told(held, held.ended or "in_progress") for held in listed]
                return httpx2.Response(
                    200, json={"object": "list", "data": page, "has_more": False}
                )
            case "GET", ["batches", name]:
                return httpx2.Response(200, json=self._poll(self._held(name)))
            case "POST", ["batches", name, "cancel"]:
                held = self._held(name)
                self._end(held, "cancelled")
                return httpx2.Response(200, json=self._told(held, "cancelling"))
        return httpx2.Response(404, json={"error": {"message": f"no {path}"}})

    def _held(self, name: str) -> Held:
        return next(held for held in self.batches if held.id == name)

    def _upload(self, request: httpx2.Request) -> httpx2.Response:
        form = message_from_bytes(
            b"content-type: %b\n\n%b"
            % (request.headers["content-type"].encode(), request.content)
        )
        parts = [part for part in form.walk() if not part.is_multipart()]
        fields = {part.get_param("name", header="content-disposition"): part for part in parts}
        assert fields["purpose"].get_payload() == "batch"
        content = fields["file"].get_payload(decode=True)
        assert isinstance(content, bytes)
        name = f"file-{len(self.files)}"
        self.files[name] = content
        told = FileObject(
            id=name,
            bytes=len(content),
            created_at=int(time.time()),
            filename=str(fields["file"].get_filename()),
            object="file",
            purpose="batch",
            status="processed",
        )
        return httpx2.Response(200, json=told.model_dump())

    def _create(self, asked: dict[str, Any]) -> httpx2.Response:
        assert asked["completion_window"] == "24h"
        held = Held(
            f"batch_{len(self.batches)}",
            asked["input_file_id"],
            asked["metadata"],
            self.now,
            int(time.time()),
        )
        self.batches.append(held)
        return httpx2.Response(200, json=self._told(held, "validating"))

    def _poll(self, held: Held) -> dict[str, Any]:
        held.polls += 1
        if not held.ended and held.polls <= len(self.running):
            return self._told(held, self.running[held.polls - 1])
        if not held.ended:
            self._end(held, self.ends(self.batches.index(held)))
        return self._told(held, held.ended)

    def _end(self, held: Held, state: str) -> None:
        """Answer the requests, last first, and write the bill."""
        held.ended = state
        if state == "failed":
            return
        written: dict[str, list[str]] = {"output": [], "error": []}
        for raw in reversed(self.files[held.input_file].splitlines()):
            file, lines = self._lines(self.batches.index(held), json.loads(raw))
            written[file] += lines
        for kind, lines in written.items():
            if lines:
                name = held.files[kind] = f"file-{held.id}-{kind}"
                self.files[name] = "".join(line + "\n" for line in lines).encode()

    def _lines(self, count: int, asked: dict[str, Any]) -> tuple[str, list[str]]:
        assert (asked["method"], asked["url"]) == ("POST", self._url)
        request_id, text = asked["custom_id"], self._prompt(asked["body"])
        outcome = self.outcome(count, request_id, text)
        line: dict[str, Any] = {"id": "r", "custom_id": request_id, "response": None}
        if outcome[0].isdigit():
            status, _, code = outcome.partition(" ")
            body = {"error": {"message": f"refused with {status}", "code": code or None}}
            line["response"] = {"status_code": int(status), "request_id": "r", "body": body}
            return "error", [json.dumps({**line, "error": None})]
        if outcome.startswith("batch_"):
            line["error"] = {"code": outcome, "message": "not in time"}
            return "error", [json.dumps(line)]
        self.billed[request_id] += 1
        answer = self._answer(text)
        if outcome == "useless":
            answer["choices"] = []
        line["response"] = {"status_code": 200, "request_id": "r", "body": answer}
        whole = json.dumps({**line, "error": None}, ensure_ascii=False)
        copies = {
            "missing": [],
            "twice": [whole, whole],
            "garbled": [whole[:-9]],
        }
        return "output", copies.get(outcome, [whole])

    @property
    def _url(self) -> str:
        return "/v1/completions" if self.complete else "/v1/chat/completions"

    def _prompt(self, body: Mapping[str, Any]) -> str:
        return str(body["prompt"] if self.complete else body["messages"][-1]["content"])

    def _answer(self, text: str) -> dict[str, Any]:
        return text_completion(self.complete(text)) if self.complete else completion(text)

    def _counted(self, held: Held, kind: str) -> int:
        return len(self.files[held.files[kind]].splitlines()) if kind in held.files else 0

    def _told(self, held: Held, state: str) -> dict[str, Any]:
        told = {
            "id": held.id,
            "object": "batch",
            "completion_window": "24h",
            "created_at": held.created_at,
            "endpoint": self._url,
            "input_file_id": held.input_file,
            "status": state,
            "metadata": dict(held.metadata),
            "output_file_id": held.files.get("output") if state == held.ended else None,
            "error_file_id": held.files.get("error") if state == held.ended else None,
            "request_counts": {
                "completed": self._counted(held, "output"),
                "failed": self._counted(held, "error"),
                "total": len(self.files[held.input_file].splitlines()),
            },
            "errors": {"object": "list", "data": self.errors} if state == "failed" else None,
        }
        known = Batch.model_json_schema()["properties"]["status"]["enum"]
        Batch.model_validate({**told, "status": state if state in known else "in_progress"})
        return told
