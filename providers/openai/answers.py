"""From a choice of a reply to what it tells, or to why it tells nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elicit.providers.base import LabelScores, ModelError, ScoreRequest, Usage
from elicit.providers.chat import excerpt
from elicit.providers.garbled import Garbled
from elicit.providers.hosted import Reply
from elicit.providers.openai.labels import Position, Unclear, Untold
from elicit.providers.openai.told import Malformed, Reading, positions


def only_choice(reply: object, headers: Mapping[str, str]) -> Any:
    """The one choice of a completion.

    Raises:
        Garbled: there is none, or more than the one asked for.
    """
    choices = getattr(reply, "choices", None)
    if not isinstance(choices, list) or len(choices) != 1:
        raise Garbled("the reply has no answer, or several", headers)
    return choices[0]


def declined(choice: object, request: ScoreRequest) -> str | None:
    """Why the model or its filter gave no answer; None where it did. It would do so again, so
    it is not asked again."""
    said = getattr(getattr(choice, "message", None), "refusal", None)
    if isinstance(said, str) and said:
        return f"{excerpt(request.prompt)}: the model declined to answer ({said:.200})"
    if getattr(choice, "finish_reason", None) == "content_filter":
        return f"{excerpt(request.prompt)}: the server's content filter withheld the answer"
    return None


def alternatives(
    choice: object,
    text: object,
    request: ScoreRequest,
    how: Reading,
    headers: Mapping[str, str],
) -> list[tuple[bytes, Position]]:
    """What was told of each generated token; of one at least.

    Raises:
        Garbled: numbers that are no log-probabilities, or an answer that ended before its
            first token, for which some servers tell nothing. Another draw may go on.
        ModelError: the server tells no log-probabilities, or the model thinks first and so has
            none for its answer; and would not the next time.
    """
    try:
        made = positions(getattr(choice, "logprobs", None), how)
    except Malformed as error:
        raise Garbled(f"{excerpt(request.prompt)}: {error}", headers) from error
    if made is not None:
        return made
    message = getattr(choice, "message", None)
    if not text and message is not None and getattr(choice, "finish_reason", None) == "length":
        raise ModelError(
            "the model thinks before it answers, so nothing is told of its first words: ask it "
            "by ?scorer=samples, or choose another model"
        )
    if not text:
        raise Garbled(
            f"{excerpt(request.prompt)}: the answer ended before it began, and no "
            "log-probabilities came with it",
            headers,
            "end the prompt so that a label must follow",
        )
    raise ModelError(
        "the server answers without log-probabilities: ask it by another ?scorer= (samples "
        "needs none), or choose another model"
    )


def scored(
    index: int,
    request: ScoreRequest,
    scores: LabelScores | Untold | Unclear,
    usage: Usage,
    headers: Mapping[str, str],
) -> Reply:
    if isinstance(scores, LabelScores):
        return Reply(((index, scores),), usage, headers)
    told = _untold(scores) if isinstance(scores, Untold) else _unclear(scores, request.labels)
    return Reply((), usage, headers, ((index, f"{excerpt(request.prompt)}: {told}"),))


def _untold(scores: Untold) -> str:
    return (
        "no label is among the likeliest answers, so all labels have a coverage of "
        f"{scores.at_most:.2g} at most (let the prompt ask for them, or choose labels that the "
        "model would say)"
    )


def _unclear(scores: Unclear, labels: Sequence[str]) -> str:
    label, at_most = labels[scores.label], f"{scores.at_most:.2g}"
    if scores.begins is None:
        return (
            f"label {label!r} is not among the likeliest answers, but may have up to {at_most} "
            f"of the probability, more than any label that is ({scores.best:.2g}): let the "
            "prompt ask for the labels, or choose labels that the model would say"
        )
    begins = scores.begins.decode(errors="replace")
    return (
        f"label {label!r} begins with the common token {begins!r} and may have up to {at_most} "
        f"of the probability, more than any label is known to have ({scores.best:.2g}): choose "
        "verbalizers that differ from other answers at their first token, or ?scorer=samples"
    )
