"""One rule for tokens: what is scored is the tokenisation of the joined text.

So a request's tokens depend on the request alone, never on what was asked before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elicit.providers.base import ModelError, Prompt, ScoreRequest
from elicit.providers.llama_cpp.batch import TokenPrompt, Tokens, common_prefix
from elicit.providers.llama_cpp.joined import Joined


@dataclass(frozen=True, slots=True)
class _Shown:
    """Demonstrations, and their tokens."""

    segments: Prompt
    separable: bool
    tokens: Tokens


class Tokeniser:
    """Turns requests into tokens. `tokenize` adds no BOS; `bos` is None where none is due."""

    def __init__(self, tokenize: Callable[[str], list[int]], bos: int | None) -> None:
        self._joined = Joined(tokenize)
        self._bos = () if bos is None else (bos,)
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
            self._joined.separable((last, question, label)) for label in labels
        )
        if separable:
            made = TokenPrompt(
                index,
                shown.tokens + self._joined.remembered(question),
                len(shown.tokens),
                tuple(self._joined.remembered(label) for label in labels),
            )
        else:
            made = self._whole(index, shown, question, labels)
        return checked(made, request.labels)

    def _demonstrations(self, segments: Prompt) -> _Shown:
        """Neighbouring requests mostly share them, so the last ones are kept."""
        if self._shown is None or self._shown.segments != segments:
            texts = [segment.text for segment in segments]
            separable = self._joined.separable(texts)
            tokens = (
                tuple(token for text in texts for token in self._joined.remembered(text))
                if separable
                else self._joined.whole("".join(texts))
            )
            self._shown = _Shown(segments, separable, self._bos + tokens)
        return self._shown

    def _whole(
        self, index: int, shown: _Shown, question: str, labels: Sequence[str]
    ) -> TokenPrompt:
        text = "".join(segment.text for segment in shown.segments) + question
        alone = self._bos + self._joined.whole(text)
        joined = [self._bos + self._joined.whole(text + label) for label in labels]
        return cut_at_labels(index, shown.tokens, alone, joined)


def cut_at_labels(
    index: int, trunk: Tokens, alone: Tokens, labelled: Sequence[Tokens]
) -> TokenPrompt:
    """A prompt from its tokens `alone` and with each label: the labels' tokens are those from
    the first that a label changes. It shares what `trunk` has in common with it."""
    cut = min(common_prefix(alone, tokens) for tokens in labelled)
    shared = max(0, min(common_prefix(trunk, alone), cut - 1))
    return TokenPrompt(index, alone[:cut], shared, tuple(t[cut:] for t in labelled))


def checked(prompt: TokenPrompt, labels: Sequence[str]) -> TokenPrompt:
    """Refuse labels that tokens can't tell apart."""
    if len(prompt.prompt) <= prompt.shared:
        raise ModelError("the item's text has no tokens; give it some text before the label")
    meant = prompt.meant or range(len(labels))
    for i, tokens in zip(meant, prompt.labels, strict=True):
        for j, other in zip(meant, prompt.labels, strict=True):
            if i != j and other[: len(tokens)] == tokens:
                raise ModelError(
                    f"label {labels[i]!r} begins label {labels[j]!r} in this model's tokens; "
                    "choose verbalizers of which none begins another, or end each with a mark"
                )
    return prompt
