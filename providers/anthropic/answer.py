"""From a message to a label, to the reason why there is none, or to an error."""

from __future__ import annotations

from collections.abc import Mapping

from anthropic.types import Message, TextBlock

from elicit.providers.base import LabelScores, PromptTooLong, ScoreRequest
from elicit.providers.chat import excerpt
from elicit.providers.garbled import Garbled
from elicit.providers.one_label import label_of
from elicit.providers.sampled import one_draw


def drawn(
    message: Message, request: ScoreRequest, headers: Mapping[str, str]
) -> LabelScores | str:
    """The label that was drawn, or why the model gave none, in words that quote the item.

    An answer that ran into its bound of tokens is none, and is not tried again: the bound is
    above what any label takes, so thinking or other text came first and would again; and
    repeating until one fits would draw the labels of short answers only.

    Raises:
        Garbled: it ended as an answer ends, and is no label.
        PromptTooLong: the model's context ended before the answer did.
    """
    reason = message.stop_reason
    if reason == "refusal":
        return f"{excerpt(request.prompt)}: {_refused(message)}"
    if reason == "max_tokens":
        return (
            f"{excerpt(request.prompt)}: the answer was longer than any label and was cut off; "
            "use a model that answers without thinking first"
        )
    if reason == "model_context_window_exceeded":
        raise too_long(request, "its context ended before the answer did")
    if reason not in {"end_turn", "stop_sequence"}:
        raise Garbled(f"the answer stopped for an unknown reason: {reason!r:.40}", headers)
    label = label_of(_text(message, headers))
    if label not in request.labels:
        raise Garbled("the answer is not one of the labels", headers)
    return one_draw(request.labels.index(label), len(request.labels))


def too_long(request: ScoreRequest, why: str) -> PromptTooLong:
    return PromptTooLong(
        f"{excerpt(request.prompt)}: the prompt does not fit the model's context: {why}. Use "
        "fewer demonstrations, or take the item out of the data."
    )


def says_too_long(type_: str | None, message: str) -> bool:
    """Whether an API error says that a prompt is too long.

    There is no code for it, so the words must do; where they change, the error is still one
    of bad input, and only lacks the item's name.
    """
    return type_ == "request_too_large" or (
        type_ == "invalid_request_error"
        and ("prompt is too long" in message or "exceed context limit" in message)
    )


def _refused(message: Message) -> str:
    details = message.stop_details
    known = [] if details is None else [details.category, details.explanation]
    said = ": ".join(" ".join(str(part).split())[:200] for part in known if part)
    return f"the model declined to answer ({said})" if said else "the model declined to answer"


def _text(message: Message, headers: Mapping[str, str]) -> str:
    """The answer's text; what the model thought before it is left out."""
    if not isinstance(message.content, list):
        raise Garbled("the answer has no content", headers)
    texts = [block.text for block in message.content if isinstance(block, TextBlock)]
    return "".join(text for text in texts if isinstance(text, str))
