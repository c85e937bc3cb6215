"""`ngram:FILE`: a model of bytes for elicit, by counts in a text file and in demonstrations.

The probability of a byte after a context is interpolated over the last 0 to 5 bytes (Witten and
Bell's method C), down to one in 256 for all. A label's probability is the product over its
bytes, so it is exact, and those of all texts of one length sum to one.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    ModelError,
    Prompt,
    ScoredUnit,
    ScoreRequest,
    Scoring,
    Usage,
)

ORDER = 6
"""Bytes of context are one less at most."""

Counts = defaultdict[bytes, Counter[int]]
"""Which bytes followed a context, and how often."""


def open_model(rest: str) -> NgramProvider:
    """The entry point: from what follows `ngram:` to a provider."""
    path = Path(rest)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ModelError(f"ngram:{rest}: {path} can't be read: {error.strerror}") from error
    return NgramProvider(rest, text)


def learn(counts: Counts, text: bytes) -> None:
    """Add what follows what in `text`."""
    for i in range(len(text)):
        for length in range(min(ORDER, i + 1)):
            counts[text[i - length : i]][text[i]] += 1


def probability(tables: Sequence[Counts], context: bytes, byte: int) -> float:
    """Of the next byte, by the counts of all tables together."""
    p = 1 / 256
    for length in range(min(ORDER, len(context) + 1)):
        last = context[len(context) - length :]
        found = [table[last] for table in tables if last in table]
        if not found:
            break
        total = sum(seen.total() for seen in found)
        kinds = len(set().union(*found))
        p = (sum(seen[byte] for seen in found) + kinds * p) / (total + kinds)
    return p


def log_probability(tables: Sequence[Counts], context: bytes, text: bytes) -> float:
    """Natural log of the probability that `text` follows."""
    return math.fsum(
        math.log(probability(tables, context + text[:i], byte)) for i, byte in enumerate(text)
    )


class NgramProvider:
    """Implements `elicit.providers.base.Provider`."""

    def __init__(self, rest: str, text: bytes) -> None:
        self.name = f"ngram:{rest}"
        # The store finds a score again by this: whatever could change one belongs in it.
        self.identity = Identity(
            "ngram", hashlib.sha256(text).hexdigest(), parameters={"order": ORDER}
        )
        self.capabilities = Capabilities("exact", context_tokens=None, deterministic=True)
        self._trained: Counts = defaultdict(Counter)
        learn(self._trained, text)

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int]:
        """Its tokens are bytes."""
        return [
            len(_bytes(r.prompt)) + max(len(x.encode()) for x in r.labels) for r in requests
        ]

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED, /) -> Scoring:
        """A unit for each run of requests with the same demonstrations, counted once."""
        by_context = groupby(enumerate(requests), lambda pair: pair[1].prompt[:-1])
        for shown, pairs in by_context:
            unit = list(pairs)
            tokens = sum(self.count_tokens([request for _, request in unit]))
            expected = Usage(len(unit), forwarded_tokens=tokens, prompt_tokens=tokens)
            budget.reserve(expected)
            scores = tuple(self._scored(shown, unit))
            budget.settle(expected, expected)
            yield ScoredUnit(scores, expected)

    def _scored(
        self, shown: Prompt, unit: Sequence[tuple[int, ScoreRequest]]
    ) -> Iterator[tuple[int, LabelScores]]:
        counts: Counts = defaultdict(Counter)
        learn(counts, _bytes(shown))
        for index, request in unit:
            context = _bytes(request.prompt)
            values = (
                log_probability((self._trained, counts), context, label.encode())
                for label in request.labels
            )
            yield index, LabelScores(tuple(values))

    def close(self) -> None:
        self._trained.clear()


def _bytes(prompt: Prompt) -> bytes:
    return "".join(segment.text for segment in prompt).encode()
