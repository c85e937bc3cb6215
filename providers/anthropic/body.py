"""From a request to the body of a message call.

The model is held to a JSON object with one field whose value is one of the labels, since
models from 4.6 on take neither a temperature nor the beginning of an answer. None of them
is sent a temperature: the draws are those of its own distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from anthropic.types import MessageParam, TextBlockParam, ThinkingConfigParam
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from elicit.providers.base import ScoreRequest
from elicit.providers.chat import messages
from elicit.providers.one_label import most_tokens, schema

THINKING = 4096
"""Tokens that a model which can't be kept from thinking may take for it."""


def body(
    model: str, request: ScoreRequest, *, thinks: bool = False
) -> MessageCreateParamsNonStreaming:
    """What is sent for one draw. `request.sample` is no part of it.

    What the prompts of other items share ends in a mark up to which the server keeps what
    it has read, so that it need not be read, nor paid for, in full again.

    Args:
        thinks: the model refuses to be told not to think, so it is not told.

    Raises:
        ModelError: a plain text prompt.
    """
    turns = messages(request.prompt)
    blocks = [[_block(text) for text in (turn.shared, turn.own) if text] for turn in turns]
    *shared, _item = chain.from_iterable(blocks)
    if shared:
        shared[-1]["cache_control"] = {"type": "ephemeral"}
    opening = 1 if turns[0].role == "system" else 0
    made: MessageCreateParamsNonStreaming = {
        "model": model,
        "max_tokens": max_tokens(request.labels, thinks=thinks),
        "messages": [
            _message(turn.role, content)
            for turn, content in zip(turns[opening:], blocks[opening:], strict=True)
        ],
        "output_config": {"format": {"type": "json_schema", "schema": schema(request.labels)}},
    }
    if opening:
        made["system"] = blocks[0]
    if not thinks:
        made["thinking"] = _OFF
    return made


def max_tokens(labels: Sequence[str], *, thinks: bool = False) -> int:
    return most_tokens(labels) + (THINKING if thinks else 0)


_OFF: ThinkingConfigParam = {"type": "disabled"}


def _block(text: str) -> TextBlockParam:
    return {"type": "text", "text": text}


def _message(role: str, content: list[TextBlockParam]) -> MessageParam:
    if role == "assistant":
        return {"role": "assistant", "content": content}
    if role == "system":
        return {"role": "system", "content": content}
    return {"role": "user", "content": content}
