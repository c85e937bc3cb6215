"""Many items in one call: OpenAI's decisions endpoint, which tells label probabilities itself.

A call is one context and up to 400 items: the demonstrations are its input, each item is a
question of the type `choice` about it, and the answer is a probability for each label. That
a question is answered as if it were alone is what the API promises; `elicit doctor` compares
items asked alone with the same items asked together.

Probabilities come as decimal numbers. One that is exactly 0 was rounded, so its label has an
upper bound: half a unit of the last decimal of the call's longest number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import groupby

from openai.types import Decision
from openai.types.decision import (
    Answer,
    AnswerAnswerResourceChoice,
    AnswerAnswerResourceRefusal,
)
from openai.types.decision_create_params import (
    InputUnionMember1,
    QuestionQuestionParamChoice,
)
from openai.types.decision_input_text_param import DecisionInputTextParam
from pydantic import ValidationError

from elicit.providers.base import LabelScores, ModelError, Prompt, ScoreRequest, Usage
from elicit.providers.chat import Message, excerpt, messages
from elicit.providers.contexts import characters, context_digest
from elicit.providers.garbled import Garbled, paid
from elicit.providers.hosted import Call, Reply
from elicit.providers.openai.asking import Asking, cache_key
from elicit.providers.withheld import unless_withheld

FEWEST_LABELS, MOST_LABELS = 2, 255
OFF_ONE = 0.02
"""How far an answer's probabilities may be from 1 in all, beyond their own rounding."""

Batch = Sequence[tuple[int, ScoreRequest]]


@dataclass(frozen=True, slots=True)
class Decisions:
    asking: Asking

    def calls(self, requests: Sequence[ScoreRequest]) -> list[Call]:
        """One call a context and `items_per_call` items; only neighbours share a call.

        Raises:
            ModelError: fewer than 2 labels or more than 255; nothing stands before an item;
                a plain text prompt.
        """
        return [self._call(batch) for batch in self._batches(requests)]

    def _batches(self, requests: Sequence[ScoreRequest]) -> Iterator[Batch]:
        most = self.asking.endpoint.items_per_call
        runs = groupby(enumerate(requests), key=lambda pair: _context(pair[1]))
        for _, run in runs:
            together = list(run)
            for begin in range(0, len(together), most):
                yield together[begin : begin + most]

    def _call(self, batch: Batch) -> Call:
        first = batch[0][1]
        if not FEWEST_LABELS <= len(first.labels) <= MOST_LABELS:
            raise ModelError(
                f"the decisions endpoint takes {FEWEST_LABELS} to {MOST_LABELS} labels, not "
                f"{len(first.labels)}; ask the model by another ?scorer="
            )
        if not first.prompt[:-1]:
            raise ModelError(
                "the decisions endpoint needs an instruction or demonstrations before the "
                "item; write the task's prompts in a form of a chat"
            )
        messages(first.prompt)
        shared, own = characters(first.prompt[:-1]), _own_characters(batch)
        expected = self.asking.expected(shared, own, len(batch), requests=len(batch))
        context = context_digest(first.prompt[:-1], first.labels)
        keep = self.asking.endpoint.keeps_prefix
        once = partial(self._send, batch, shared + own, expected)
        sending = partial(unless_withheld, once, batch)
        return Call(expected, sending, context if keep else None)

    def _send(self, batch: Batch, length: int, expected: Usage) -> Reply:
        sdk, endpoint = self.asking.sdk, self.asking.endpoint
        first = batch[0][1]
        reply, headers = self.asking.fetch(
            lambda: sdk.decisions.with_raw_response.create(
                model=endpoint.model,
                input=context_input(first.prompt),
                questions=[_question(i, request) for i, (_, request) in enumerate(batch)],
                prompt_cache_key=cache_key(first.prompt[:-1], first.labels),
                prompt_cache_options={"mode": "explicit", "ttl": "30m"},
                extra_body=dict(endpoint.extra),
            ),
            Decision,
            expected,
            *(request for _, request in batch),
        )
        usage = self.asking.used(
            reply.usage,
            length,
            expected,
            requests=len(batch),
            reading="input_tokens",
            writing="output_tokens",
        )
        with paid(usage):
            self.asking.check_model(reply.model, headers)
            return _reply(batch, _checked(reply, len(batch), headers), usage, headers)


def context_input(prompt: Prompt) -> list[InputUnionMember1]:
    """What stands before the item, as messages. The last text that can bear one has a mark up
    to which the server keeps what it has read; an assistant's can't."""
    *before, last = messages(prompt)
    shown = [*before, Message(last.role, last.shared)] if last.shared else before
    marked = max(
        (place for place, message in enumerate(shown) if message.role != "assistant"),
        default=None,
    )
    return [_message(message, mark=place == marked) for place, message in enumerate(shown)]


def _context(request: ScoreRequest) -> tuple[Prompt, tuple[str, ...]]:
    return request.prompt[:-1], request.labels


def _own_characters(batch: Batch) -> int:
    return sum(len(r.prompt[-1].text) + sum(map(len, r.labels)) for _, r in batch)


def _message(message: Message, *, mark: bool) -> InputUnionMember1:
    if message.role == "assistant":
        return {"role": "assistant", "content": message.text}
    text: DecisionInputTextParam = {"type": "input_text", "text": message.text}
    if mark:
        text["prompt_cache_breakpoint"] = {"mode": "explicit"}
    if message.role == "system":
        return {"role": "system", "content": [text]}
    return {"role": "user", "content": [text]}


def _question(place: int, request: ScoreRequest) -> QuestionQuestionParamChoice:
    return {
        "type": "choice",
        "name": f"q{place}",
        "instructions": request.prompt[-1].text,
        "choices": [{"value": label} for label in request.labels],
    }


def _checked(reply: Decision, questions: int, headers: Mapping[str, str]) -> list[Answer]:
    """The answers, of the types that the SDK promises, one a question and in its order.

    Raises:
        Garbled: they are not. It might be so by accident, and nothing of it can be used.
    """
    try:
        answers = Decision.model_validate(reply.to_dict(warnings=False)).answers
    except ValidationError as error:
        raise Garbled("the reply is not what its API promises", headers) from error
    if len(answers) != questions:
        raise Garbled(f"{len(answers):,} answers to {questions:,} questions", headers)
    for place, answer in enumerate(answers):
        if answer.name != f"q{place}":
            raise Garbled(
                f"answer {place} is to {answer.name!r:.40}, not to 'q{place}'", headers
            )
    return answers


def _reply(
    batch: Batch, answers: Sequence[Answer], usage: Usage, headers: Mapping[str, str]
) -> Reply:
    zero = math.log(0.5) - _decimals(answers) * math.log(10)
    scores: list[tuple[int, LabelScores]] = []
    unanswered: list[tuple[int, str]] = []
    for (index, request), answer in zip(batch, answers, strict=True):
        if isinstance(answer, AnswerAnswerResourceRefusal):
            unanswered.append(
                (index, f"{excerpt(request.prompt)}: the model declined to answer")
            )
        elif isinstance(answer, AnswerAnswerResourceChoice):
            scores.append((index, _scores(answer, request, zero, headers)))
        else:
            raise Garbled(f"an answer of the type {answer.type!r} to a choice", headers)
    return Reply(tuple(scores), usage, headers, tuple(unanswered))


def _scores(
    answer: AnswerAnswerResourceChoice,
    request: ScoreRequest,
    zero: float,
    headers: Mapping[str, str],
) -> LabelScores:
    told = {entry.value: entry.probability for entry in answer.probabilities}
    if len(told) != len(answer.probabilities) or told.keys() != set(request.labels):
        raise Garbled(f"{excerpt(request.prompt)}: the answer is not about its labels", headers)
    values = [told[label] for label in request.labels]
    total = math.fsum(values)
    allowed = OFF_ONE + len(values) * math.exp(zero)
    if not (all(0 <= value <= 1 for value in values) and abs(total - 1) <= allowed):
        raise Garbled(
            f"{excerpt(request.prompt)}: probabilities that are none: {values!r:.80}", headers
        )
    return LabelScores(
        tuple(math.log(value) if value else zero for value in values),
        "decision",
        tuple(place for place, value in enumerate(values) if not value),
    )


def _decimals(answers: Sequence[Answer]) -> int:
    """The most decimals that a probability of the call has."""
    exponents = [
        -int(Decimal(repr(entry.probability)).normalize().as_tuple().exponent)
        for answer in answers
        if isinstance(answer, AnswerAnswerResourceChoice)
        for entry in answer.probabilities
        if math.isfinite(entry.probability)
    ]
    return max([0, *exponents])
