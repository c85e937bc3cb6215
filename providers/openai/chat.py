"""Labels as a chat model's answer: the chat endpoint with log-probabilities.

The first token of the answer and the k likeliest in its place tell the labels of one token.
Of a label with more the tokens that follow are told only where the model's own answer goes
that way; a label that begins otherwise has the probability of its beginning for a bound.
An answer may begin with a space, so both spellings count.

`temperature` and `top_p` are 1: whether a server reports log-probabilities from before or
after it applies them, those of the model come back. So the answer itself is a draw. Where
labels have several tokens it decides which of them have numbers, and how tight the bounds of
the others are; but every number and every bound is true whatever was drawn, and no bound of
a score is above its best number (`label_scores`), so the label that wins does not depend on
the draw. A request whose draw leaves the winner open has no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from openai.types.chat import (
    ChatCompletion,
    ChatCompletionAssistantMessageParam,
    ChatCompletionMessageParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionUserMessageParam,
)

from elicit.providers.base import Prompt, ScoreRequest, Usage
from elicit.providers.chat import Message, messages
from elicit.providers.contexts import characters
from elicit.providers.garbled import paid
from elicit.providers.hosted import Call, Reply
from elicit.providers.openai.answers import alternatives, declined, only_choice, scored
from elicit.providers.openai.asking import Asking, cache_key, one_call_each
from elicit.providers.openai.labels import Position, label_scores
from elicit.providers.openai.told import reading

_TOKEN = 4
"""Bytes that a token of a label has at least, roughly: more would be read than needed."""


@dataclass(frozen=True, slots=True)
class Chat:
    asking: Asking

    def calls(self, requests: Sequence[ScoreRequest]) -> list[Call]:
        return one_call_each(self.asking, requests, most_tokens, self._send)

    def _send(self, index: int, request: ScoreRequest, expected: Usage) -> Reply:
        sdk, endpoint = self.asking.sdk, self.asking.endpoint
        how, labels = reading(endpoint, endpoint.chat_k, spelled(request.labels))
        counted = {"logprobs": how.k} if endpoint.count_in_logprobs else {"top_logprobs": how.k}
        reply, headers = self.asking.fetch(
            lambda: sdk.chat.completions.with_raw_response.create(
                model=endpoint.model,
                messages=chat_messages(request.prompt),
                logprobs=True,
                temperature=1.0,
                top_p=1.0,
                extra_body={
                    **counted,
                    endpoint.length_field: most_tokens(request.labels),
                    **how.fields,
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
            choice = only_choice(reply, headers)
            why = declined(choice, request)
            if why is not None:
                return Reply((), usage, headers, ((index, why),))
            text = getattr(getattr(choice, "message", None), "content", None)
            made = alternatives(choice, text, request, how, headers)
        told: dict[bytes, Position] = {}
        done = b""
        for drawn, position in made:
            told.setdefault(done, position)
            done += drawn
        return scored(
            index, request, label_scores(labels, told, loose=how.loose), usage, headers
        )


def spelled(labels: Sequence[str]) -> list[tuple[bytes, ...]]:
    """The ways in which an answer may spell each label."""
    stripped = [label.strip().encode(errors="surrogatepass") for label in labels]
    return [(label, b" " + label) for label in stripped]


def most_tokens(labels: Sequence[str]) -> int:
    """Tokens of an answer that are looked at."""
    return max(
        -(-len(label.strip().encode(errors="surrogatepass")) // _TOKEN) for label in labels
    )


def chat_messages(prompt: Prompt) -> list[ChatCompletionMessageParam]:
    """The messages of a prompt, each with its text as a string.

    Raises:
        ModelError: a plain text prompt.
    """
    return [_message(message) for message in messages(prompt)]


def cache_fields(asking: Asking, request: ScoreRequest) -> dict[str, object]:
    context = request.prompt[:-1]
    if not (asking.endpoint.takes_cache_key and context):
        return {}
    return {"prompt_cache_key": cache_key(context, request.labels)}


def _message(message: Message) -> ChatCompletionMessageParam:
    if message.role == "system":
        return ChatCompletionSystemMessageParam(role="system", content=message.text)
    if message.role == "assistant":
        return ChatCompletionAssistantMessageParam(role="assistant", content=message.text)
    return ChatCompletionUserMessageParam(role="user", content=message.text)
