"""Labels as the continuation of a text: the completions endpoint.

A call asks for one token after the prompt and for the k likeliest in its place. Where a label
has more than one token, the prompt is asked about again with the label's beginning, as long
as that may make a number of a bound. Each such further request is a call of its own
(`Reply.further`): it waits for its turn and is put to the budget like any other. For the
first call of a prompt as much is set aside as the most that one with its labels has taken,
so that none is begun which the budget would not let end.

`temperature` and `top_p` are 1: whether a server reports log-probabilities from before or
after it applies them, those of the model come back. The token that is drawn is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

from openai.types import Completion

from elicit.providers.base import ScoreRequest, Usage
from elicit.providers.chat import plain_text
from elicit.providers.garbled import paid
from elicit.providers.hosted import Call, Reply
from elicit.providers.openai.answers import alternatives, declined, only_choice, scored
from elicit.providers.openai.asking import Asking, one_call_each
from elicit.providers.openai.labels import Position, Told, label_scores, worth_asking
from elicit.providers.openai.told import Reading, reading
from elicit.providers.withheld import unless_withheld

MOST_FURTHER = 16
"""Further requests for one prompt. Labels that would need more keep their bounds."""


def continued(request: ScoreRequest) -> tuple[str, list[tuple[bytes, ...]]]:
    """What is sent, and how each label goes on from there.

    A space at the prompt's end belongs to the label's first token, and goes with it.
    """
    text = plain_text(request.prompt)
    item = request.prompt[-1].text
    space = item[len(item.rstrip(" ")) :]
    return text[: len(text) - len(space)], [
        ((space + label).encode(errors="surrogatepass"),) for label in request.labels
    ]


@dataclass(slots=True)
class _CallsSeen:
    """The most calls that a prompt with these labels has taken. Threads share it."""

    most: dict[tuple[str, ...], int] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def of(self, labels: tuple[str, ...]) -> int:
        return self.most.get(labels, 1)

    def seen(self, labels: tuple[str, ...], calls: int) -> None:
        with self.lock:
            self.most[labels] = max(calls, self.of(labels))


@dataclass(frozen=True, slots=True)
class Completions:
    asking: Asking
    _calls: _CallsSeen = field(default_factory=_CallsSeen)

    def calls(self, requests: Sequence[ScoreRequest]) -> list[Call]:
        return one_call_each(
            self.asking,
            requests,
            lambda _labels: 1,
            partial(self._send, {}, b""),
            self._calls.of,
        )

    def _send(
        self, told: Told, end: bytes, index: int, request: ScoreRequest, expected: Usage
    ) -> Reply:
        """Ask what comes after the prompt and `end`, given what was `told` before."""
        prompt, spellings = continued(request)
        endpoint = self.asking.endpoint
        how, labels = reading(endpoint, endpoint.completions_k, spellings)
        answer, usage, headers = self._ask(
            prompt + end.decode(), request, how, requests=expected.requests
        )
        if isinstance(answer, str):
            return Reply((), usage, headers, ((index, answer),))
        told = {**told, end: answer}
        may_ask = not (how.loose or how.ids) and len(told) <= MOST_FURTHER
        beginning = worth_asking(labels, told) if may_ask else None
        if beginning is not None:
            self._calls.seen(request.labels, len(told) + 1)
            length = len(prompt) + len(beginning)
            more = self.asking.expected(0, length, 1, requests=0)
            once = partial(self._send, told, beginning, index, request, more)
            further = Call(more, partial(unless_withheld, once, [(index, request)]))
            return Reply((), usage, headers, further=further)
        scores = label_scores(labels, told, loose=how.loose)
        return scored(index, request, scores, usage, headers)

    def _ask(
        self, text: str, request: ScoreRequest, how: Reading, *, requests: int
    ) -> tuple[Position | str, Usage, Mapping[str, str]]:
        """What may come after a text, or why that was not answered."""
        sdk, endpoint = self.asking.sdk, self.asking.endpoint
        expected = self.asking.expected(0, len(text), 1, requests=requests)
        reply, headers = self.asking.fetch(
            lambda: sdk.completions.with_raw_response.create(
                model=endpoint.model,
                prompt=text,
                max_tokens=1,
                logprobs=how.k,
                temperature=1.0,
                top_p=1.0,
                extra_body={**how.fields, **endpoint.extra},
            ),
            Completion,
            expected,
            request,
        )
        usage = self.asking.used(reply.usage, len(text), expected, requests=requests)
        with paid(usage):
            self.asking.check_model(reply.model, headers)
            choice = only_choice(reply, headers)
            why = declined(choice, request)
            if why is not None:
                return why, usage, headers
            drawn = getattr(choice, "text", "")
            (_, position), *_ = alternatives(choice, drawn, request, how, headers)
        return position, usage, headers
