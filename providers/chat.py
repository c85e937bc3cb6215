"""A chat prompt as messages: neighbouring segments of one role are one message."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from elicit.providers.base import ModelError, Prompt, Role


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat: what it shares with the prompts of other items, then its own.

    Only the last message has something of its own, the item; where `shared` is not empty
    there, the demonstrations stand before the item in one message.
    """

    role: Role
    shared: str
    own: str = ""

    @property
    def text(self) -> str:
        return self.shared + self.own


def messages(prompt: Prompt) -> tuple[Message, ...]:
    """The messages of a chat prompt, in order.

    Raises:
        ModelError: a segment has no role: the prompt was written for another kind of model.
    """
    for segment in prompt:
        if not segment.role:
            raise ModelError(
                "a chat model was given a plain text prompt: write the task's prompts in a "
                'form of a chat (Task.render("block") or "turns")'
            )
    *context, item = prompt
    made = [
        Message(role, "".join(segment.text for segment in group))
        for role, group in groupby(context, key=lambda segment: segment.role)
    ]
    shared = made.pop().shared if made and made[-1].role == item.role else ""
    return (*made, Message(item.role, shared, item.text))


def plain_text(prompt: Prompt) -> str:
    """The text of a plain prompt: its segments joined.

    Raises:
        ModelError: a segment has a role: the prompt was written for a chat.
    """
    if any(segment.role for segment in prompt):
        raise ModelError(
            "a model that continues text was given a chat prompt: write the task's prompts as "
            'plain text (Task.render("text"))'
        )
    return "".join(segment.text for segment in prompt)


def excerpt(prompt: Prompt, length: int = 60) -> str:
    """The item's text, quoted and cut, to name it in an error."""
    text = " ".join(prompt[-1].text.split())
    return repr(text if len(text) <= length else text[: length - 3] + "...")
