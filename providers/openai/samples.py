"""Labels as draws: chat models that tell no probabilities, reasoning models among them.

Each call draws one answer, which the server holds to a JSON object whose one field is one of
the labels; `SampledProvider` makes an estimate of many. No temperature is sent, as reasoning
models take none: the draws are those of the model as it is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openai.types.chat import ChatCompletion
from openai.types.shared_params import ResponseFormatJSONSchema

from elicit.providers.base import LabelScores, ScoreRequest, Usage
from elicit.providers.chat import excerpt
from elicit.providers.contexts import characters
from elicit.providers.garbled import Garbled, paid
from elicit.providers.hosted import Call, Reply
from elicit.providers.one_label import FIELD, label_of, most_tokens, schema
from elicit.providers.openai.answers import declined, only_choice
from elicit.providers.openai.asking import Asking, one_call_each
from elicit.providers.openai.chat import cache_fields, chat_messages
from elicit.providers.sampled import one_draw


@dataclass(frozen=True, slots=True)
class Samples:
    asking: Asking

    def calls(self, requests: Sequence[ScoreRequest]) -> list[Call]:
        return one_call_each(self.asking, requests, self._most_tokens, self._send)

    def _most_tokens(self, labels: tuple[str, ...]) -> int:
        return most_tokens(labels) + self.asking.endpoint.reasoning_tokens

    def _send(self, index: int, request: ScoreRequest, expected: Usage) -> Reply:
        sdk, endpoint = self.asking.sdk, self.asking.endpoint
        reply, headers = self.asking.fetch(
            lambda: sdk.chat.completions.with_raw_response.create(
                model=endpoint.model,
                messages=chat_messages(request.prompt),
                response_format=_one_of(request.labels),
                extra_body={
                    endpoint.length_field: self._most_tokens(request.labels),
                    **cache_fields(self.asking, request),
                    **endpoint.extra,
                },
            ),
            ChatCompletion,
            expected,
            request,
        )
        usage = self.asking.used(reply.usage, characters(request.prompt), expected)
        with paid(usage):
            self.asking.check_model(reply.model, headers)
            room = endpoint.reasoning_tokens
            drawn = _drawn(only_choice(reply, headers), request, headers, room)
        if isinstance(drawn, str):
            return Reply((), usage, headers, ((index, drawn),))
        return Reply(((index, drawn),), usage, headers)


def _drawn(
    choice: object, request: ScoreRequest, headers: Mapping[str, str], reasoning_tokens: int
) -> LabelScores | str:
    """The label that was drawn, or why the model gave none.

    An answer that ran into its bound of tokens is none, and is not tried again: repeating
    until one fits would draw the labels of short answers only.

    Raises:
        Garbled: it ended as an answer ends, and is no label.
    """
    why = declined(choice, request)
    if why is not None:
        return why
    reason = getattr(choice, "finish_reason", None)
    if reason == "length":
        return (
            f"{excerpt(request.prompt)}: the answer was cut off before its label; set "
            f"?reasoning_tokens= above {reasoning_tokens}, or use a model that does not think "
            "first"
        )
    label = label_of(getattr(getattr(choice, "message", None), "content", None))
    if reason != "stop" or label not in request.labels:
        raise Garbled(
            f"{excerpt(request.prompt)}: the answer is not one of the labels", headers
        )
    return one_draw(request.labels.index(label), len(request.labels))


def _one_of(labels: Sequence[str]) -> ResponseFormatJSONSchema:
    return {
        "type": "json_schema",
        "json_schema": {"name": FIELD, "strict": True, "schema": schema(labels)},
    }
