"""Prompts that a server's content policy turns away: no answer for them, others go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from elicit.providers.base import ScoreRequest, Usage
from elicit.providers.chat import excerpt
from elicit.providers.hosted import Reply

CODES = frozenset({"invalid_prompt", "content_policy_violation", "content_filter"})
"""Codes of an error 400 that is about what a prompt says, not about how it is asked."""


class Withheld(Exception):
    """The server refuses to pass a prompt on to the model, and would the next time."""

    def __init__(self, why: str, headers: Mapping[str, str]) -> None:
        super().__init__(why)
        self.headers = headers


def unless_withheld(
    send: Callable[[], Reply], asked: Sequence[tuple[int, ScoreRequest]]
) -> Reply:
    """What comes of a call about those requests. Of several, the server does not say which
    it turned away, so none has an answer."""
    try:
        return send()
    except Withheld as error:
        told = f"the server's content policy turns it away ({error})"
        if len(asked) > 1:
            told = (
                f"the server's content policy turns away a call of {len(asked):,} items, this "
                f"one among them ({error}); ?scorer=chat asks about each alone"
            )
        unanswered = tuple((i, f"{excerpt(request.prompt)}: {told}") for i, request in asked)
        return Reply((), Usage(calls=1), error.headers, unanswered)
