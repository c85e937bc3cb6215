"""What all ways to ask have in common: sending, billing, and who answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from openai import APIStatusError, OpenAI

from elicit.cache.errors import InputError
from elicit.providers.base import (
    Prompt,
    PromptTooLong,
    ProviderError,
    ScoreRequest,
    Usage,
)
from elicit.providers.billing import TokenRatio, billed
from elicit.providers.chat import excerpt
from elicit.providers.contexts import characters, context_digest
from elicit.providers.garbled import Garbled, cut, paid
from elicit.providers.hosted import Call, Reply
from elicit.providers.openai.endpoint import Endpoint
from elicit.providers.openai.faults import message_in, says_too_long, says_withheld, told
from elicit.providers.withheld import Withheld, unless_withheld

Parsed = TypeVar("Parsed")
Parsed_co = TypeVar("Parsed_co", covariant=True)


class Raw(Protocol[Parsed_co]):
    """The SDK's raw response."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    def parse(self) -> Parsed_co: ...


@dataclass(frozen=True, slots=True)
class Asking:
    endpoint: Endpoint
    sdk: OpenAI
    ratio: TokenRatio = field(default_factory=TokenRatio)

    def fetch(
        self,
        send: Callable[[], Raw[Parsed]],
        kind: type[Parsed],
        expected: Usage,
        *asked: ScoreRequest,
    ) -> tuple[Parsed, Mapping[str, str]]:
        """Send once. Of the reply it is known what it is and which model gave it, not what is
        in it, as the SDK builds what it is sent without checking it.

        Raises:
            PromptTooLong: the prompt does not fit the model's context; names the item.
            InputError: the prompt can't be written in UTF-8.
            Withheld: the server's content policy turns it away.
            Garbled: the reply is not what was asked for at all. It is billed like any other,
                so `expected` is what it is taken to have cost.
            ProviderError: another model answered.
        """
        try:
            raw = send()
        except APIStatusError as error:
            if says_too_long(error):
                raise _too_long(asked, told(error)) from None
            if says_withheld(error):
                raise Withheld(told(error), dict(error.response.headers)) from None
            error.add_note(_named(asked))
            raise
        except UnicodeEncodeError:
            raise InputError(
                f"{_named(asked)}: the prompt has half of a surrogate pair in it, which can't "
                "be sent; mend the item or its demonstrations"
            ) from None
        headers = dict(raw.headers)
        with paid(expected):
            try:
                reply = raw.parse()
            except (ValueError, RecursionError) as error:
                raise Garbled(
                    "the reply is cut short or damaged: not JSON", headers, _ADDRESS
                ) from error
            if not isinstance(reply, kind):
                raise Garbled(f"the reply is no {kind.__name__}", headers, _ADDRESS)
            failure = getattr(reply, "error", None)
            if failure is not None:
                words = cut(message_in(failure) or str(failure))
                raise Garbled(f"the reply is an error: {words}", headers)
        return reply, headers

    def check_model(self, name: object, headers: Mapping[str, str]) -> None:
        """Hold the server to the snapshot that the identity names, where it names one.

        Raises:
            Garbled: the reply does not say which model gave it.
            ProviderError: another model answered. Trying again would mix the two.
        """
        endpoint = self.endpoint
        if not endpoint.revision or name == endpoint.revision:
            return
        if not isinstance(name, str) or not name:
            raise Garbled("the reply does not name its model", headers)
        raise ProviderError(
            f"{endpoint.model} was answered by {name:.80}, not by {endpoint.revision}: the two "
            "don't mix in one run. Ask the model anew (elicit doctor --again, with the same "
            "--model) and start a new run; old scores are kept."
        )

    def expected(
        self, shared: int, own: int, output_tokens: int, *, requests: int = 1, calls: int = 1
    ) -> Usage:
        """What calls of so many characters will take. `shared` ones may be written to the
        server's prompt cache, which costs no less than reading them."""
        one = billed(
            self.endpoint.price,
            requests=requests,
            fresh_tokens=self.ratio.tokens(own),
            cache_write_tokens=self.ratio.tokens(shared) if shared else 0,
            output_tokens=output_tokens,
        )
        more = billed(
            self.endpoint.price,
            requests=0,
            fresh_tokens=self.ratio.tokens(shared + own),
            output_tokens=output_tokens,
        )
        return sum([more] * (calls - 1), one)

    def used(
        self,
        usage: object,
        characters: int,
        expected: Usage,
        *,
        requests: int = 1,
        reading: str = "prompt_tokens",
        writing: str = "completion_tokens",
    ) -> Usage:
        """What a reply says that it took, under the names of its API. Where a server does
        not count, what was expected stands, so that no budget is passed unseen."""
        prompt, output = _count(usage, reading), _count(usage, writing)
        if prompt is None:
            return expected
        details = getattr(usage, f"{reading}_details", None)
        cached = min(prompt, _count(details, "cached_tokens") or 0)
        written = min(prompt - cached, _count(details, "cache_write_tokens") or 0)
        self.ratio.learn(characters, prompt)
        return billed(
            self.endpoint.price,
            requests=requests,
            fresh_tokens=prompt - cached - written,
            cached_tokens=cached,
            cache_write_tokens=written,
            output_tokens=output or 0,
        )


Send = Callable[[int, ScoreRequest, Usage], Reply]
"""From a request's index, the request and what it is expected to take to what came of it."""


def one_call_each(
    asking: Asking,
    requests: Sequence[ScoreRequest],
    output_tokens: Callable[[tuple[str, ...]], int],
    send: Send,
    calls: Callable[[tuple[str, ...]], int] = lambda _labels: 1,
) -> list[Call]:
    """A call for each request."""
    made: list[Call] = []
    context: Prompt | None = None
    labels: tuple[str, ...] | None = None
    prefix, shared = b"", 0
    for index, request in enumerate(requests):
        if request.prompt[:-1] != context or request.labels != labels:
            context, labels = request.prompt[:-1], request.labels
            prefix, shared = context_digest(context, labels), characters(context)
        expected = asking.expected(
            shared,
            len(request.prompt[-1].text),
            output_tokens(request.labels),
            calls=calls(request.labels),
        )
        keep = asking.endpoint.keeps_prefix and bool(context)
        once = partial(send, index, request, expected)
        sending = partial(unless_withheld, once, [(index, request)])
        made.append(Call(expected, sending, prefix if keep else None))
    return made


def cache_key(context: Prompt, labels: tuple[str, ...]) -> str:
    """OpenAI's `prompt_cache_key`, of at most 64 characters."""
    return context_digest(context, labels).hex()[:64]


_ADDRESS = "check the endpoint's address, which mostly ends in /v1; or try again later"


def _too_long(asked: Sequence[ScoreRequest], why: str) -> PromptTooLong:
    fewer = "fewer demonstrations, or take the item out of the data"
    if len(asked) > 1:
        fewer = "fewer demonstrations, or ask about one item a call (?scorer=chat)"
    return PromptTooLong(
        f"{_named(asked)}: the prompt does not fit the model's context: {why.rstrip('.')}. "
        f"Use {fewer}."
    )


def _named(asked: Sequence[ScoreRequest]) -> str:
    item = excerpt(asked[0].prompt)
    return item if len(asked) == 1 else f"{item} and {len(asked) - 1:,} more items in one call"


def _count(source: object, name: str) -> int | None:
    value = getattr(source, name, None)
    return value if isinstance(value, int) and value >= 0 else None
