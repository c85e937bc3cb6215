"""How one model is asked and its answers read: what single calls and batches share."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from anthropic.types import Message
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from elicit.providers.anthropic.answer import drawn
from elicit.providers.anthropic.body import body, max_tokens
from elicit.providers.base import ProviderError, ScoreRequest, Usage
from elicit.providers.billing import TokenRatio, billed
from elicit.providers.contexts import characters
from elicit.providers.garbled import Garbled, paid
from elicit.providers.hosted import Reply
from elicit.providers.prices import Price

_DATED = re.compile(r"-\d{8}")


class Served:
    """Holds a server to one snapshot of a model. Threads may share it."""

    def __init__(self, model: str, revision: str = "") -> None:
        self._model = model
        self._revision = revision
        self._lock = threading.Lock()

    def check(self, name: str) -> None:
        """Compare what answered with what is meant: the revision; where none is known, the
        model itself or the first of its dated snapshots that answered.

        Raises:
            ProviderError: it is another model.
        """
        with self._lock:
            dated = name.removeprefix(self._model)
            if not self._revision and dated != name and _DATED.fullmatch(dated):
                self._revision = name
            if name in {self._model, self._revision}:
                return
        raise ProviderError(
            f"{self._model} was answered by {name:.80}, not by "
            f"{self._revision or self._model}: the two don't mix in one run. Ask the model "
            "anew (elicit doctor --again, with the same --model) and start a new run; old "
            "scores are kept."
        )


@dataclass(frozen=True, slots=True)
class Asking:
    model: str
    thinks: bool
    """It can't be kept from thinking; see `body`."""
    price: Price | None
    served: Served
    ratio: TokenRatio = field(default_factory=TokenRatio)

    def body(self, request: ScoreRequest) -> MessageCreateParamsNonStreaming:
        return body(self.model, request, thinks=self.thinks)

    def expected(self, request: ScoreRequest, shared: int, *, batch: bool = False) -> Usage:
        """What a request takes at most: `shared` characters are written to the prompt cache,
        which costs more than reading them."""
        return billed(
            self._price(batch),
            requests=1,
            fresh_tokens=self.ratio.tokens(len(request.prompt[-1].text)),
            cache_write_tokens=self.ratio.tokens(shared) if shared else 0,
            output_tokens=max_tokens(request.labels, thinks=self.thinks),
            batch=batch,
        )

    def reply(
        self,
        index: int,
        request: ScoreRequest,
        message: object,
        headers: Mapping[str, str],
        *,
        batch: bool = False,
    ) -> Reply:
        """What an answer says.

        Raises:
            Garbled, PromptTooLong: see `drawn`.
            ProviderError: another model answered.
            All carry what the answer took, where it says so; see `spent`.
        """
        # The SDK builds what it is sent without checking it, so any of this may be missing.
        if not (isinstance(message, Message) and isinstance(message.model, str)):
            raise Garbled("the reply is no message", headers)
        usage = self._usage(message, headers, batch=batch)
        with paid(usage):
            if not message.model:
                raise Garbled("the reply does not name its model", headers)
            self.served.check(message.model)
            told = drawn(message, request, headers)
        self.ratio.learn(characters(request.prompt), usage.prompt_tokens)
        if isinstance(told, str):
            return Reply((), usage, headers, ((index, told),))
        return Reply(((index, told),), usage, headers)

    def _usage(self, message: Message, headers: Mapping[str, str], *, batch: bool) -> Usage:
        used = message.usage
        fresh, output, read, written = (
            _count(getattr(used, name, None))
            for name in (
                "input_tokens",
                "output_tokens",
                "cache_read_input_tokens",
                "cache_creation_input_tokens",
            )
        )
        if fresh is None or output is None:
            raise Garbled("the reply does not say how many tokens it took", headers)
        return billed(
            self._price(batch),
            requests=1,
            fresh_tokens=fresh,
            cached_tokens=read or 0,
            cache_write_tokens=written or 0,
            output_tokens=output,
            batch=batch,
        )

    def _price(self, batch: bool) -> Price | None:
        """None also where the price of a batch is unknown: then it is said, not guessed."""
        if batch and self.price is not None and self.price.batch is None:
            return None
        return self.price


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
