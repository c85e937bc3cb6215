"""Asks a wire for a request's body, and lets it read an answer that came another way.

The wire itself makes the body and reads the answer, through its SDK, so a batch asks and
tells what single calls do, to the last field; only nothing is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import httpx2

from elicit.providers.base import ModelError, ScoreRequest, Usage
from elicit.providers.garbled import paid
from elicit.providers.hosted import Reply
from elicit.providers.hosted_settings import Scorer
from elicit.providers.openai.wire import OpenAIWire, open_wire
from elicit.providers.prices import Price


class Replay:
    """A wire's twin that sends nothing and counts batch prices. Threads take turns."""

    def __init__(self, wire: OpenAIWire, scorer: Scorer) -> None:
        endpoint = wire.asking.endpoint
        self._asked: list[bytes] = []
        self._answer = httpx2.Response(503)
        self._turn = threading.Lock()
        self._wire = open_wire(
            replace(endpoint, price=batch_price(endpoint.price)),
            scorer,
            httpx2.Client(transport=httpx2.MockTransport(self._handle)),
            wire.asking.ratio,
        )

    def expected(self, request: ScoreRequest) -> Usage:
        (call,) = self._wire.calls([request])
        return call.expected

    def body(self, request: ScoreRequest) -> bytes:
        """The JSON that a call about the request would send.

        Raises:
            InputError, ModelError: the request can't be sent, as in a call.
        """
        with self._turn:
            try:
                self._sent(request, httpx2.Response(503))
            except Exception:
                if not self._asked:
                    raise
            return self._asked[0]

    def reply(self, request: ScoreRequest, answer: httpx2.Response) -> Reply:
        """What a call about the request would make of that answer, its index 0.

        Raises:
            ModelError: it would ask a second time, which a batch can't.
            And whatever the call would raise, for `classify`; all for `spent`.
        """
        with self._turn:
            reply = self._sent(request, answer)
        if reply.further is None:
            return reply
        with paid(reply.usage):
            raise ModelError(
                f"the labels {request.labels} have several tokens, about which the model is "
                "asked one by one, and a batch asks once: choose labels of one token each, or "
                "run without --batch"
            )

    def _sent(self, request: ScoreRequest, answer: httpx2.Response) -> Reply:
        self._asked = []
        self._answer = answer
        (call,) = self._wire.calls([request])
        return call.send()

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        self._asked.append(request.read())
        return self._answer


def batch_price(price: Price | None) -> Price | None:
    """The price of requests in a batch; None where it is unknown."""
    if price is None or price.batch is None:
        return None
    scaled: Callable[[float], float] = price.batch.__mul__
    long = price.long
    if long is not None:
        long = replace(
            long,
            input=scaled(long.input),
            cached_input=scaled(long.cached_input),
            cache_write=scaled(long.cache_write),
            output=scaled(long.output),
        )
    return replace(
        price,
        input=scaled(price.input),
        cached_input=scaled(price.cached_input),
        cache_write=scaled(price.cache_write),
        output=scaled(price.output),
        long=long,
    )
