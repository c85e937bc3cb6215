"""From a server's token counts to `Usage`, and how many tokens a text will be."""

from __future__ import annotations

import threading

from elicit.providers.base import Usage
from elicit.providers.prices import Price

FIRST_GUESS = 0.3
"""Tokens a character, until a server has counted: what English text has at most, roughly."""


def billed(
    price: Price | None,
    *,
    requests: int,
    fresh_tokens: int,
    cached_tokens: int = 0,
    cache_write_tokens: int = 0,
    output_tokens: int = 0,
    batch: bool = False,
) -> Usage:
    """What one answered call took.

    `fresh_tokens` of the prompts were read at the full rate, `cached_tokens` from the prompt
    cache and `cache_write_tokens` into it: three parts of the whole, none counted twice.
    """
    cost = None
    if price is not None:
        cost = price.cost(
            input_tokens=fresh_tokens,
            cached_tokens=cached_tokens,
            cache_write_tokens=cache_write_tokens,
            output_tokens=output_tokens,
            batch=batch,
        )
    return Usage(
        requests=requests,
        forwarded_tokens=fresh_tokens + cache_write_tokens + output_tokens,
        prompt_tokens=fresh_tokens + cached_tokens + cache_write_tokens,
        cost_usd=cost,
        calls=1,
        cache_read_tokens=cached_tokens,
        cache_write_tokens=cache_write_tokens,
        output_tokens=output_tokens,
        unpriced_calls=0 if price is not None else 1,
    )


class TokenRatio:
    """Tokens a character, learnt from what a server counted. Threads may share it."""

    def __init__(self, characters: int = 0, tokens: int = 0) -> None:
        self._characters = characters
        self._tokens = tokens
        self._lock = threading.Lock()

    @property
    def known(self) -> bool:
        """Whether a server has counted anything yet."""
        return self._characters > 0

    def learn(self, characters: int, tokens: int) -> None:
        with self._lock:
            self._characters += characters
            self._tokens += tokens

    def tokens(self, characters: int) -> int:
        """How many tokens so many characters will be."""
        with self._lock:
            ratio = self._tokens / self._characters if self._characters else FIRST_GUESS
        return round(characters * ratio + 0.5)
