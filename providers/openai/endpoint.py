"""In what the servers of one wire format differ, and the SDK's client as elicit uses it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import httpx2
from openai import OpenAI

from elicit.cache.errors import InputError
from elicit.providers.base import Identity, ModelError
from elicit.providers.hosted_settings import MOST_REASONING, Scorer
from elicit.providers.openai.token_ids import TokenLookup
from elicit.providers.opening import OPENAI
from elicit.providers.prices import Price
from elicit.providers.transport import PLACEHOLDER

MOST_QUESTIONS = 400
"""Questions that one call of the decisions endpoint may ask."""

_HEADERS = "OPENAI_CUSTOM_HEADERS"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model, where it answers, and what is known of the server.

    Raises:
        InputError: a number that can't be one.
    """

    provider: str
    """As in a model's name (`openai`, `vllm`), for its identity and its price."""
    model: str
    base_url: str = OPENAI
    key_variable: str | None = None
    """The environment variable that holds the key, to name it in errors."""
    revision: str = ""
    """The snapshot that the name stands for, as the server's replies name it; empty where it
    is not known. Any other name in a reply is an error."""
    price: Price | None = None
    context_tokens: int | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    """Fields that every request must have. They are part of the model's identity."""
    completions_k: int = 5
    """Likeliest tokens to ask completions for; 0 where the server tells none."""
    chat_k: int = 20
    """The same for chat."""
    count_in_logprobs: bool = False
    """Chat takes that number as `logprobs` itself, not as `top_logprobs`."""
    length_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """What chat calls the most tokens of an answer. Servers other than OpenAI's mostly know
    `max_tokens` alone, and take the other for no bound at all."""
    keeps_leading_space: bool = True
    """Whether token strings keep the space that they begin with. Where they do not, tokens
    and labels are compared without it."""
    label_token_ids: TokenLookup | None = None
    """Tells the ids of labels that are one token (`" True"`, `"True"`), for vLLM's
    `logprob_token_ids`. They are asked for by id where all labels of a request have one."""
    keeps_prefix: bool = True
    """Whether the server keeps a prompt prefix that it has read, so that the first prompt of
    a context should be answered before the others are sent."""
    takes_cache_key: bool = False
    """Whether chat takes OpenAI's `prompt_cache_key`."""
    items_per_call: int = MOST_QUESTIONS
    """Questions in one call of the decisions endpoint, 1 to 400."""
    samples: int = 8
    """Draws a prompt where the scorer is `samples`."""
    reasoning_tokens: int = 0
    """Room for thinking before a drawn answer, which is billed as far as it is used."""

    def __post_init__(self) -> None:
        bounds = {
            "completions_k": (self.completions_k, 0, 10_000),
            "chat_k": (self.chat_k, 0, 10_000),
            "items_per_call": (self.items_per_call, 1, MOST_QUESTIONS),
            "samples": (self.samples, 1, 10_000),
            "reasoning_tokens": (self.reasoning_tokens, 0, MOST_REASONING),
        }
        for name, (value, least, most) in bounds.items():
            if not least <= value <= most:
                raise InputError(f"{name} is {value}: a whole number from {least} to {most:,}")


def identity(endpoint: Endpoint, scorer: Scorer) -> Identity:
    """The model and everything about the endpoint that can change a score.

    `samples` is no part of it, since each draw is a score of its own.
    """
    parameters: dict[str, str | int | float | bool | None] = {"scorer": scorer}
    if scorer in {"completions", "chat"}:
        parameters["top_k"] = (
            endpoint.completions_k if scorer == "completions" else endpoint.chat_k
        )
        parameters["token_ids"] = bool(endpoint.label_token_ids)
        parameters["keeps_leading_space"] = endpoint.keeps_leading_space
    if scorer == "samples":
        parameters["reasoning_tokens"] = endpoint.reasoning_tokens
    if endpoint.extra:
        parameters["extra"] = json.dumps(endpoint.extra, sort_keys=True)
    return Identity(
        endpoint.provider, endpoint.model, endpoint.base_url, endpoint.revision, parameters
    )


def sdk_client(endpoint: Endpoint, client: httpx2.Client) -> OpenAI:
    """The SDK over an HTTP client that knows the key (`transport.open_client`): no retries,
    and nothing from the environment but the organisation and project that OpenAI bills.

    Raises:
        ModelError: the environment adds headers of its own, which the SDK can't be told to
            leave out.
    """
    if os.environ.get(_HEADERS):
        raise ModelError(
            f"{_HEADERS} is set: headers that it adds may change a model's answers without "
            "the score store knowing, and may hold a key that would not be kept out of errors; "
            "unset it for elicit"
        )
    sdk = OpenAI(
        api_key=PLACEHOLDER,
        admin_api_key="",
        webhook_secret="",
        base_url=endpoint.base_url,
        max_retries=0,
        http_client=client,
    )
    if endpoint.base_url != OPENAI:
        sdk.organization = sdk.project = None
    return sdk
