"""One rule for tokens: what is scored is the tokenisation of the joined text.

Segments are tokenised one by one and remembered, which is thousands of times cheaper. A
request is put together from them only where every two neighbours join to the tokens they
have apart; any other request is tokenised whole. So a request's tokens depend on the
request alone, never on what was asked before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from elicit.providers.base import ModelError, Prompt, ScoreRequest
from elicit.providers.llama_cpp.batch import TokenPrompt, Tokens, common_prefix

REMEMBERED = 200_000
SHORT = 8
"""Characters below which a segment might join with both its neighbours at once, which no
two of them would show."""

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Shown:
    """Demonstrations, and their tokens."""

    segments: Prompt
    separable: bool
    tokens: Tokens


class Tokeniser:
    """Turns requests into tokens. `tokenize` adds no BOS; `bos` is None where none is due."""

    def __init__(self, tokenize: Callable[[str], list[int]], bos: int | None) -> None:
        self._tokenize = tokenize
        self._bos = () if bos is None else (bos,)
        self._tokens: OrderedDict[str, Tokens] = OrderedDict()
        self._joins: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self._shown: _Shown | None = None

    def encode(self, requests: Sequence[ScoreRequest]) -> list[TokenPrompt]:
        """Tokens of every request; see `providers.base` for what it raises.

        Raises:
            ModelError: two labels can't be told apart by this model's tokens.
        """
        return [self._encode(i, request) for i, request in enumerate(requests)]

    def _encode(self, index: int, request: ScoreRequest) -> TokenPrompt:
        shown, text = self._demonstrations(request.prompt[:-1]), request.prompt[-1].text
        # "…claim is " and "True" join to " True": the space belongs to the label.
        question = text.rstrip(" ")
        labels = [text[len(question) :] + label for label in request.labels]
        last = shown.segments[-1].text if shown.segments else ""
        separable = shown.separable and all(
            self._separable((last, question, label)) for label in labels
        )
        if separable:
            made = TokenPrompt(
                index,
                shown.tokens + self._remembered(question),
                len(shown.tokens),
                tuple(self._remembered(label) for label in labels),
            )
        else:
            made = self._whole(index, shown, question, labels)
        return _checked(made, request.labels)

    def _demonstrations(self, segments: Prompt) -> _Shown:
        """Neighbouring requests mostly share them, so the last ones are kept."""
        if self._shown is None or self._shown.segments != segments:
            texts = [segment.text for segment in segments]
            separable = self._separable(texts)
            tokens = (
                tuple(token for text in texts for token in self._remembered(text))
                if separable
                else tuple(self._tokenize("".join(texts)))
            )
            self._shown = _Shown(segments, separable, self._bos + tokens)
        return self._shown

    def _whole(
        self, index: int, shown: _Shown, question: str, labels: Sequence[str]
    ) -> TokenPrompt:
        """The labels' tokens are those from the first that a label changes."""
        text = "".join(segment.text for segment in shown.segments) + question
        alone = self._bos + tuple(self._tokenize(text))
        joined = [self._bos + tuple(self._tokenize(text + label)) for label in labels]
        cut = min(common_prefix(alone, tokens) for tokens in joined)
        shared = max(0, min(common_prefix(shown.tokens, alone), cut - 1))
        return TokenPrompt(index, alone[:cut], shared, tuple(t[cut:] for t in joined))

    def _separable(self, texts: Sequence[str]) -> bool:
        """Whether the texts, joined, have the tokens they have apart."""
        pieces = [text for text in texts if text]
        return all(len(piece) >= SHORT for piece in pieces[1:-1]) and all(
            self._joins_cleanly(left, right) for left, right in pairwise(pieces)
        )

    def _joins_cleanly(self, left: str, right: str) -> bool:
        known = self._joins.get((left, right))
        if known is None:
            apart = self._remembered(left) + self._remembered(right)
            known = tuple(self._tokenize(left + right)) == apart
            _remember(self._joins, (left, right), known)
        return known

    def _remembered(self, text: str) -> Tokens:
        tokens = self._tokens.get(text)
        if tokens is None:
            tokens = tuple(self._tokenize(text)) if text else ()
            _remember(self._tokens, text, tokens)
        return tokens


def _remember(memory: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    memory[key] = value
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)


def _checked(prompt: TokenPrompt, labels: Sequence[str]) -> TokenPrompt:
    """Refuse labels that tokens can't tell apart."""
    if len(prompt.prompt) <= prompt.shared:
        raise ModelError("the item's text has no tokens; give it some text before the label")
    for i, tokens in enumerate(prompt.labels):
        for j, other in enumerate(prompt.labels):
            if i != j and other[: len(tokens)] == tokens:
                raise ModelError(
                    f"label {labels[i]!r} begins label {labels[j]!r} in this model's tokens; "
                    "choose verbalizers of which none begins another, or end each with a mark"
                )
    return prompt
