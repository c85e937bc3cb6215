"""Chat requests as tokens: those of the file's template applied to the whole chat.

What demonstrations share is told from their own chat with two different items behind it, so
it depends on them alone. A label may be answered with a space before it or without, as by
hosted chat models; both spellings count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from elicit.providers.base import Prompt, ScoreRequest, Segment
from elicit.providers.chat import messages
from elicit.providers.llama_cpp.batch import TokenPrompt, Tokens, common_prefix
from elicit.providers.llama_cpp.chat_template import (
    ChatTemplate,
    Said,
    with_instruction_in_user,
)
from elicit.providers.llama_cpp.control import ControlTokeniser, Marks
from elicit.providers.llama_cpp.vocab import checked, cut_at_labels

_PROBES = ("0", "x")
"""Two items that have no token in common."""


@dataclass(frozen=True, slots=True)
class _Shown:
    context: Prompt
    role: str
    tokens: Tokens


class ChatTokeniser:
    """Turns chat requests into tokens.

    Args:
        merge: put the instruction into the first user message.
    """

    def __init__(
        self, template: ChatTemplate, tokeniser: ControlTokeniser, *, merge: bool
    ) -> None:
        self._template = template
        self._tokeniser = tokeniser
        self._merge = merge
        self._shown: _Shown | None = None

    def encode(self, requests: Sequence[ScoreRequest]) -> list[TokenPrompt]:
        """Tokens of every request.

        Raises:
            ModelError: a plain text prompt; the template refuses it; two labels can't be told
                apart by this model's tokens.
        """
        return [self._encode(i, request) for i, request in enumerate(requests)]

    def _encode(self, index: int, request: ScoreRequest) -> TokenPrompt:
        text, marks = self._written(request.prompt, request.labels)
        spellings = [
            (number, spelling)
            for number, label in enumerate(request.labels)
            for spelling in (label.strip(), f" {label.strip()}")
        ]
        alone, *answered = self._tokeniser.encode(
            text, [spelling for _, spelling in spellings], marks
        )
        every = cut_at_labels(index, self._trunk(request.prompt), alone, answered)
        numbers = [number for number, _ in spellings]
        answers = _apart(list(zip(numbers, every.labels, strict=True)))
        made = replace(
            every,
            labels=tuple(tokens for _, tokens in answers),
            meant=tuple(number for number, _ in answers),
        )
        return checked(made, request.labels)

    def _trunk(self, prompt: Prompt) -> Tokens:
        """The tokens that begin every chat of these demonstrations. Neighbouring requests
        mostly share them, so the last ones are kept."""
        *context, item = prompt
        shown = self._shown
        if shown is None or shown.context != tuple(context) or shown.role != item.role:
            one, other = (self._alone((*context, Segment.of(p, item.role))) for p in _PROBES)
            shown = _Shown(tuple(context), item.role, one[: common_prefix(one, other)])
            self._shown = shown
        return shown.tokens

    def _alone(self, prompt: Prompt) -> Tokens:
        text, marks = self._written(prompt, ())
        (tokens,) = self._tokeniser.encode(text, (), marks)
        return tokens

    def _written(self, prompt: Prompt, labels: Sequence[str]) -> tuple[str, Marks]:
        """The chat as the template has it, with marks."""
        messages(prompt)  # It refuses plain text.
        said = [
            (role, [segment.text for segment in segments])
            for role, segments in groupby(prompt, key=lambda segment: segment.role)
        ]
        texts, marks = self._tokeniser.marked(
            [texts for _, texts in said], labels, self._template.source
        )
        chat: list[Said] = [(role, text) for (role, _), text in zip(said, texts, strict=True)]
        if self._merge:
            chat = with_instruction_in_user(chat)
        return self._template.render(chat), marks


def _apart(answers: Sequence[tuple[int, Tokens]]) -> list[tuple[int, Tokens]]:
    """The spellings that no other of the same label begins: its probability is in that one's.

    Of two that are the same, the first is kept.
    """
    return [
        (number, tokens)
        for place, (number, tokens) in enumerate(answers)
        if not any(
            number == other and tokens[: len(begins)] == begins
            for at, (other, begins) in enumerate(answers)
            if at != place and (begins != tokens or at < place)
        )
    ]
