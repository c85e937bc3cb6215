"""The tokens of texts that are joined, from those that they have apart where that is the same.

Texts are tokenised one by one and remembered, which is thousands of times cheaper. Their
tokens are put together only where every two neighbours join to the tokens they have apart;
any other texts are tokenised whole. So the tokens depend on the joined text alone, never on
what was asked before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from elicit.providers.llama_cpp.batch import Tokens

REMEMBERED = 200_000
SHORT = 8
"""Characters below which a segment might join with both its neighbours at once, which no
two of them would show."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Joined:
    """Tokenises joined texts. `tokenize` adds no BOS and leaves control tokens text."""

    def __init__(self, tokenize: Callable[[str], list[int]]) -> None:
        self._tokenize = tokenize
        self._tokens: OrderedDict[str, Tokens] = OrderedDict()
        self._joins: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Tokens of the texts, joined."""
        if len(texts) == 1:
            return self.remembered(texts[0])
        if not self.separable(texts):
            return self.whole("".join(texts))
        return tuple(token for text in texts for token in self.remembered(text))

    def separable(self, texts: Sequence[str]) -> bool:
        """Whether the texts, joined, have the tokens they have apart."""
        pieces = [text for text in texts if text]
        return all(len(piece) >= SHORT for piece in pieces[1:-1]) and all(
            self._joins_cleanly(left, right) for left, right in pairwise(pieces)
        )

    def remembered(self, text: str) -> Tokens:
        """Tokens of one text."""
        tokens = self._tokens.get(text)
        if tokens is None:
            tokens = self.whole(text) if text else ()
            _remember(self._tokens, text, tokens)
        return tokens

    def whole(self, text: str) -> Tokens:
        """Tokens of one text, not remembered."""
        return tuple(self._tokenize(text))

    def _joins_cleanly(self, left: str, right: str) -> bool:
        known = self._joins.get((left, right))
        if known is None:
            apart = self.remembered(left) + self.remembered(right)
            known = self.whole(left + right) == apart
            _remember(self._joins, (left, right), known)
        return known


def _remember(memory: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    memory[key] = value
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
