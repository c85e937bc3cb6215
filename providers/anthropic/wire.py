"""Anthropic's Messages API as a `Wire`: each call draws one label.

The API tells no probabilities. So a request is one draw, told from the others of its prompt
by `sample`, and `SampledProvider` makes an estimate of many. The model is not told to be
more or less random than it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import httpx2
from anthropic import Anthropic, APIStatusError

from elicit.cache.errors import InputError
from elicit.providers.anthropic.answer import says_too_long, too_long
from elicit.providers.anthropic.asking import Asking, Served
from elicit.providers.anthropic.body import THINKING
from elicit.providers.anthropic.faults import classify, says_withheld, told
from elicit.providers.anthropic.sdk import sdk_client
from elicit.providers.base import Capabilities, Identity, Prompt, ScoreRequest, Usage
from elicit.providers.chat import excerpt
from elicit.providers.contexts import characters, context_digest
from elicit.providers.faults import Fault
from elicit.providers.garbled import Garbled, headers_of, paid, spent
from elicit.providers.hosted import Call, Reply
from elicit.providers.opening import ANTHROPIC
from elicit.providers.prices import Price
from elicit.providers.withheld import Withheld, unless_withheld

_log = logging.getLogger(__name__)

SAMPLES = 8
"""Draws a prompt."""

COUNTED = 3
"""Prompts that the server is asked to count in the life of a wire; it counts for free."""


def open_wire(
    model: str,
    client: httpx2.Client,
    *,
    samples: int = SAMPLES,
    price: Price | None = None,
    base_url: str = ANTHROPIC,
    revision: str = "",
    context_tokens: int | None = None,
    can_skip_thinking: bool = True,
) -> AnthropicWire:
    """A model of Anthropic's. Nothing is sent.

    Args:
        client: knows the key, and sends it as `Authorization: Bearer` or `x-api-key`.
        samples: draws a prompt, at least 1.
        revision: the snapshot that the name stands for, as `model_facts` tells; so are
            `context_tokens` and `can_skip_thinking`.

    Raises:
        ModelError: see `sdk_client`.
        InputError: fewer than 1 sample.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}: at least 1 draw a prompt")
    thinks = not can_skip_thinking
    parameters: dict[str, str | int | float | bool | None] = {
        "answer": "json_schema",
        "thinking": THINKING if thinks else 0,
    }
    return AnthropicWire(
        sdk_client(client, base_url),
        Asking(model, thinks, price, Served(model, revision)),
        Identity("anthropic", model, base_url, revision, parameters),
        Capabilities(
            "sampled", context_tokens, deterministic=False, form="chat", samples=samples
        ),
    )


class AnthropicWire:
    """See `Wire`. `client` and `asking` also serve its batches."""

    def __init__(
        self, client: Anthropic, asking: Asking, identity: Identity, capabilities: Capabilities
    ) -> None:
        self.client = client
        self.asking = asking
        self.identity = identity
        self.capabilities = capabilities
        self._counted = 0

    def calls(self, requests: Sequence[ScoreRequest]) -> Sequence[Call]:
        """One call a request. Calls that share what stands before the item share a prefix."""
        made: list[Call] = []
        context: Prompt | None = None
        labels: tuple[str, ...] | None = None
        prefix, shared = b"", 0
        for index, request in enumerate(requests):
            if request.prompt[:-1] != context or request.labels != labels:
                context, labels = request.prompt[:-1], request.labels
                prefix, shared = context_digest(context, labels), characters(context)
            expected = self.asking.expected(request, shared)
            once = partial(self._send, index, request, expected)
            sending = partial(unless_withheld, once, [(index, request)])
            made.append(Call(expected, sending, prefix if context else None))
        return made

    def classify(self, error: Exception) -> Fault | None:
        return classify(error)

    def headers(self, error: Exception) -> Mapping[str, str] | None:
        return headers_of(error)

    def spent(self, error: Exception) -> Usage:
        return spent(error)

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        """By the ratio of tokens to characters, which the server counts on a few prompts."""
        if requests and not self.asking.ratio.known:
            by_length = sorted(requests, key=lambda request: characters(request.prompt))
            places = {0, len(by_length) // 2, len(by_length) - 1}
            for place in sorted(places)[: COUNTED - self._counted]:
                self._counted += 1
                self._count(by_length[place])
        if not self.asking.ratio.known:
            return None
        return [self.asking.ratio.tokens(characters(request.prompt)) for request in requests]

    def close(self) -> None:
        self.client.close()

    def _send(self, index: int, request: ScoreRequest, expected: Usage) -> Reply:
        try:
            raw = self.client.messages.with_raw_response.create(**self.asking.body(request))
        except APIStatusError as error:
            words = told(error)
            if says_too_long(error.type, words):
                raise too_long(request, words) from None
            if says_withheld(error):
                raise Withheld(words, dict(error.response.headers)) from None
            error.add_note(excerpt(request.prompt))
            raise
        except UnicodeEncodeError:
            raise unwritable(request) from None
        headers = dict(raw.headers)
        # A reply that does not say what it took is billed all the same.
        with paid(expected):
            try:
                message = raw.parse()
            except ValueError as error:
                raise Garbled("the reply is cut short or damaged: not JSON", headers) from error
            return self.asking.reply(index, request, message, headers)

    def _count(self, request: ScoreRequest) -> None:
        body: dict[str, Any] = {**self.asking.body(request)}
        del body["max_tokens"]
        try:
            reply: object = self.client.messages.count_tokens(**body)
        except UnicodeEncodeError:
            raise unwritable(request) from None
        except Exception as error:
            fault = classify(error)
            if fault is None:
                raise
            _log.info("%s: tokens can't be counted: %s", self.identity.model, fault.message)
            return
        counted = getattr(reply, "input_tokens", None)
        if isinstance(counted, int) and counted > 0:
            self.asking.ratio.learn(characters(request.prompt), counted)


def unwritable(request: ScoreRequest) -> InputError:
    return InputError(
        f"{excerpt(request.prompt)}: the prompt has half of a surrogate pair in it, which "
        "can't be sent; mend the item or its demonstrations"
    )
