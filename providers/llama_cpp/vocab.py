"""One rule for tokens: what is scored is the tokenisation of the joined text.

Segments are tokenised one by one and remembered, which is the same thing for most
vocabularies and thousands of times cheaper. Whether it is the same is checked on samples
of what is asked; where it is not, every prompt is tokenised whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from elicit.providers.base import ModelError, Prompt, ScoreRequest
from elicit.providers.llama_cpp.batch import TokenPrompt, Tokens, common_prefix

SAMPLES = 12
REMEMBERED = 200_000


class Tokeniser:
    """Turns requests into tokens. `exact` is set once samples show that it is needed."""

    def __init__(self, tokenize: Callable[[str], list[int]], bos: int | None) -> None:
        self._tokenize = tokenize
        self._bos = () if bos is None else (bos,)
        self._known: OrderedDict[str, Tokens] = OrderedDict()
        self._demonstrations: tuple[Prompt, Tokens] | None = None
        self.exact = False
        self._checked: set[tuple[str, ...]] = set()

    def encode(self, requests: Sequence[ScoreRequest]) -> list[TokenPrompt]:
        """Tokens of every request; see `providers.base` for what it raises.

        Raises:
            ModelError: two labels can't be told apart by this model's tokens.
        """
        self._check(requests)
        encode = self._joined if self.exact else self._piecewise
        return [encode(i, request) for i, request in enumerate(requests)]

    def _check(self, requests: Sequence[ScoreRequest]) -> None:
        step = max(1, len(requests) // SAMPLES)
        for i in range(0, len(requests), step):
            request = requests[i]
            if self.exact:
                return
            # The first prompts of a label set, and later ones now and then: data may turn.
            if request.labels in self._checked and i:
                continue
            self._checked.add(request.labels)
            pieces, joined = self._piecewise(0, request), self._joined(0, request)
            if _sequences(pieces) != _sequences(joined):
                self.exact = True

    def _piecewise(self, index: int, request: ScoreRequest) -> TokenPrompt:
        demonstrations, question = request.prompt[:-1], request.prompt[-1].text
        if self._demonstrations is None or self._demonstrations[0] != demonstrations:
            tokens = self._bos + tuple(
                token for segment in demonstrations for token in self._remember(segment.text)
            )
            self._demonstrations = (demonstrations, tokens)
        shared = self._demonstrations[1]
        # "…claim is " and "True" join to " True": the space belongs to the label.
        body = question.rstrip(" ")
        space = question[len(body) :]
        labels = tuple(self._remember(space + label) for label in request.labels)
        return _checked(
            TokenPrompt(index, shared + self._remember(body), len(shared), labels),
            request.labels,
        )

    def _joined(self, index: int, request: ScoreRequest) -> TokenPrompt:
        text = "".join(segment.text for segment in request.prompt)
        whole = [self._bos + tuple(self._tokenize(text + label)) for label in request.labels]
        common = min(common_prefix(whole[0], other) for other in whole[1:])
        before = "".join(segment.text for segment in request.prompt[:-1])
        demonstrations = self._bos + tuple(self._tokenize(before)) if before else self._bos
        shared = min(common_prefix(demonstrations, whole[0]), common - 1)
        labels = tuple(tokens[common:] for tokens in whole)
        return _checked(
            TokenPrompt(index, whole[0][:common], max(0, shared), labels), request.labels
        )

    def _remember(self, text: str) -> Tokens:
        tokens = self._known.get(text)
        if tokens is None:
            tokens = tuple(self._tokenize(text)) if text else ()
            self._known[text] = tokens
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return tokens


def _sequences(prompt: TokenPrompt) -> list[Tokens]:
    return [prompt.prompt + label for label in prompt.labels]


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
