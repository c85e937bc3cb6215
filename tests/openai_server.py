"""OpenAI's API as tests need it: requests are kept, replies are what the SDK's models allow."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
from openai.types import Completion, Decision
from openai.types.chat import ChatCompletion

from elicit.providers.base import ScoreRequest, Segment
from elicit.providers.hosted import HostedProvider
from elicit.providers.hosted_settings import Scorer
from elicit.providers.limits import Limiter
from elicit.providers.openai import Endpoint, OpenAIWire, open_wire
from elicit.providers.redact import Secret
from elicit.providers.retry import RetryPolicy
from elicit.providers.transport import open_client

MODEL = "gpt-6-luna"
KEY = "sk-proj-not-a-key-of-anyone-0123"

Json = dict[str, Any]
React = Callable[[Json, int], httpx2.Response]
"""From a body and how many requests came before it to a reply."""


@dataclass
class Server:
    """Answers each call as `react` says."""

    react: React
    bodies: list[Json] = field(default_factory=list)
    requests: list[httpx2.Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        with self.lock:
            before = len(self.bodies)
            self.bodies.append(json.loads(request.content))
            self.requests.append(request)
        return self.react(self.bodies[before], before)

    def wire(self, scorer: Scorer, **facts: Any) -> OpenAIWire:
        facts = {"provider": "openai", "model": MODEL, **facts}
        endpoint = Endpoint(**facts)
        transport = httpx2.MockTransport(self)
        client = open_client(endpoint.base_url, Secret(KEY), inner=transport)
        return open_wire(endpoint, scorer, client)

    def provider(self, scorer: Scorer, attempts: int = 3, **facts: Any) -> HostedProvider:
        return HostedProvider(
            f"openai:{MODEL}",
            self.wire(scorer, **facts),
            Limiter(max_concurrency=4),
            RetryPolicy(attempts=attempts, first_wait=0.0),
        )


def ok(body: Mapping[str, Any], **headers: str) -> httpx2.Response:
    return httpx2.Response(200, json=dict(body), headers={"x-request-id": "req_7", **headers})


def error(
    status: int, message: str, code: str | None = None, type_: str = "error", **headers: str
) -> httpx2.Response:
    body = {"error": {"message": message, "type": type_, "param": None, "code": code}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, json=body, headers={"x-request-id": "req_7", **named})


def usage(prompt: int = 20, output: int = 1, cached: int = 0, written: int = 0) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
    }


def completion(
    likeliest: Mapping[str, float] | None,
    drawn: str | None = None,
    *,
    text: str | None = None,
    finish_reason: str = "length",
    **more: object,
) -> Json:
    """A completion of one token; `likeliest` has log-probabilities by token string."""
    drawn = next(iter(likeliest), "") if drawn is None and likeliest else drawn or ""
    logprobs = None
    if likeliest is not None:
        logprobs = {
            "tokens": [drawn],
            "token_logprobs": [likeliest.get(drawn, -20.0)],
            "top_logprobs": [dict(likeliest)],
            "text_offset": [0],
        }
    made = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "text": drawn if text is None else text,
                "finish_reason": finish_reason,
                "logprobs": logprobs,
            }
        ],
        "usage": usage(),
        **more,
    }
    Completion.model_validate(made)
    return made


def position(likeliest: Mapping[str, float], drawn: str) -> Json:
    """One token of a chat's answer; `likeliest` has log-probabilities by token string."""
    tops = [entry(token, value) for token, value in likeliest.items()]
    return {**entry(drawn, likeliest.get(drawn, -20.0)), "top_logprobs": tops}


def entry(token: str, value: float) -> Json:
    return {"token": token, "bytes": list(token.encode()), "logprob": value}


def answer(
    content: Sequence[Json] | None,
    *,
    text: str | None = None,
    refusal: str | None = None,
    finish_reason: str = "stop",
    **more: object,
) -> Json:
    """A chat's answer of tokens that `position` makes."""
    if text is None and content:
        text = "".join(each["token"] for each in content)
    made = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": text, "refusal": refusal},
                "logprobs": None if content is None else {"content": content, "refusal": None},
            }
        ],
        "usage": usage(),
        **more,
    }
    ChatCompletion.model_validate(made)
    return made


def choice(place: int, probabilities: Mapping[str, float]) -> Json:
    """The answer to a question of the decisions endpoint."""
    best = max(probabilities, key=lambda value: probabilities[value])
    return {
        "type": "choice",
        "name": f"q{place}",
        "choice": best,
        "confidence": probabilities[best],
        "probabilities": [{"value": v, "probability": p} for v, p in probabilities.items()],
    }


def refused(place: int) -> Json:
    return {"type": "refusal", "name": f"q{place}"}


def decision(answers: Sequence[Json], **more: object) -> Json:
    made = {
        "model": MODEL,
        "answers": list(answers),
        "usage": {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 102,
        },
        **more,
    }
    Decision.model_validate(made)
    return made


def text_request(
    item: str = "Moss is a plant:", labels: tuple[str, ...] = (" yes", " no")
) -> ScoreRequest:
    shown = (Segment.of("Iron is a plant: no\n"), Segment.of("Fern is a plant: yes\n"))
    return ScoreRequest((*shown, Segment.of(item)), labels)


def block_request(
    item: str = "Moss is a plant.", labels: tuple[str, ...] = ("yes", "no"), sample: int = 0
) -> ScoreRequest:
    """A prompt whose demonstrations stand before the item in one message."""
    return ScoreRequest(
        (
            Segment.of("Answer with one of: yes, no", "system"),
            Segment.of("Iron is a plant. no\n\n", "user"),
            Segment.of("Fern is a plant. yes\n\n", "user"),
            Segment.of(item, "user"),
        ),
        labels,
        sample,
    )


def turns_request(item: str = "Moss is a plant.") -> ScoreRequest:
    """A prompt whose demonstrations are questions with the model's answers."""
    return ScoreRequest(
        (
            Segment.of("Answer with one of: yes, no", "system"),
            Segment.of("Iron is a plant.", "user"),
            Segment.of("no", "assistant"),
            Segment.of(item, "user"),
        ),
        ("yes", "no"),
    )
