"""Labels as the continuation of a text: the completions endpoint.

A call asks for one token after the prompt and for the k likeliest in its place. Where a label
has more than one token, the prompt is sent again with the label's beginning, as long as that
may make a number of a bound: such further requests are part of the same call, are counted,
and are kept when the call is tried again.

`temperature` and `top_p` are 1: whether a server reports log-probabilities from before or
after it applies them, those of the model come back. The token that is drawn is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

from openai.types import Completion

from elicit.providers.base import ScoreRequest, Usage
from elicit.providers.chat import plain_text
from elicit.providers.hosted import Call, Reply
from elicit.providers.openai.answers import alternatives, declined, only_choice, scored
from elicit.providers.openai.asking import Asking, Send, one_call_each
from elicit.providers.openai.labels import Position, label_scores, worth_asking
from elicit.providers.openai.told import Reading, reading

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


@dataclass(frozen=True, slots=True)
class _Answer:
    """To the prompt with a label's beginning; `position` is None where it was declined."""

    position: Position | None
    why: str
    usage: Usage
    headers: Mapping[str, str]


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
            self.asking, requests, lambda _labels: 1, self._sender, self._calls.of
        )

    def _sender(self) -> Send:
        answers: dict[bytes, _Answer] = {}
        return lambda index, request, _expected: self._send(index, request, answers)

    def _send(self, index: int, request: ScoreRequest, answers: dict[bytes, _Answer]) -> Reply:
        prompt, spellings = continued(request)
        endpoint = self.asking.endpoint
        how, labels = reading(endpoint, endpoint.completions_k, spellings)
        told: dict[bytes, Position] = {}
        end: bytes | None = b""
        while end is not None:
            if end not in answers:
                answers[end] = self._ask(prompt, end.decode(), request, how)
            answer = answers[end]
            if answer.position is None:
                break
            told[end] = answer.position
            may_ask = not (how.loose or how.ids) and len(told) <= MOST_FURTHER
            end = worth_asking(labels, told) if may_ask else None
        self._calls.seen(request.labels, len(answers))
        usage = sum((each.usage for each in answers.values()), Usage())
        if answer.position is None:
            return Reply((), usage, answer.headers, ((index, answer.why),))
        scores = label_scores(labels, told, loose=how.loose)
        return scored(index, request, scores, usage, answer.headers)

    def _ask(self, prompt: str, end: str, request: ScoreRequest, how: Reading) -> _Answer:
        sdk, endpoint = self.asking.sdk, self.asking.endpoint
        reply, headers = self.asking.fetch(
            lambda: sdk.completions.with_raw_response.create(
                model=endpoint.model,
                prompt=prompt + end,
                max_tokens=1,
                logprobs=how.k,
                temperature=1.0,
                top_p=1.0,
                extra_body={**how.fields, **endpoint.extra},
            ),
            Completion,
            request,
        )
        self.asking.check_model(reply.model)
        requests, length = (0 if end else 1), len(prompt) + len(end)
        expected = self.asking.expected(0, length, 1, requests=requests)
        usage = self.asking.used(reply.usage, length, expected, requests=requests)
        choice = only_choice(reply, headers)
        why = declined(choice, request)
        if why is not None:
            return _Answer(None, why, usage, headers)
        text = getattr(choice, "text", "")
        (_, position), *_ = alternatives(choice, text, request, how, headers)
        return _Answer(position, "", usage, headers)
