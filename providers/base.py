"""The seam between a search and a model: what is asked, what comes back, who answers.

A `Provider` takes many `ScoreRequest`s and yields `ScoredUnit`s as each is known. A unit
is what was measured together (for a local model: one demonstration block and the items
decoded after it). It is stored as a whole or not at all, so a run that is killed and
resumed repeats whole units and measures the same numbers to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from elicit.cache.errors import ElicitError, InputError
from elicit.cache.keys import identity_digest, segment_digest


class ProviderError(ElicitError):
    """A model could not answer. The call failed; no score stands in for it."""


class ModelError(InputError):
    """The model named does not exist, is damaged, or can't do what is asked of it."""


class PromptTooLong(InputError):
    """A prompt does not fit the model's context."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt's text, digested once: a demonstration, or the item to label."""

    text: str
    digest: bytes = field(repr=False)

    @staticmethod
    def of(text: str) -> Segment:
        return Segment(text, segment_digest(text))


Prompt = tuple[Segment, ...]
"""The segments of a prompt in order; its text is theirs joined. The last one is the item."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What probability does the model give to each label as the text after the prompt?"""

    prompt: Prompt
    labels: tuple[str, ...]


Evidence = Literal["exact", "top_k", "decision", "sampled"]


@dataclass(frozen=True, slots=True)
class LabelScores:
    """One natural-log probability a label, and how it is known.

    `log_probs[i]` is log P(label i as text | prompt), summed over the label's tokens and not
    normalised over the labels. Under `evidence="top_k"`, a label in `bounded` has an upper
    bound there, not a number. `samples` is n for `evidence="sampled"`, else 0.
    """

    log_probs: tuple[float, ...]
    evidence: Evidence = "exact"
    bounded: tuple[int, ...] = ()
    samples: int = 0

    def __post_init__(self) -> None:
        # No default ever stands in for a score: a NaN or a probability above one is a bug
        # or a damaged model, and must not enter the store.
        for value in self.log_probs:
            if math.isnan(value) or value > 1e-3:
                raise ProviderError(f"not a log-probability: {value!r} in {self.log_probs!r}")

    @property
    def coverage(self) -> float:
        """Total probability of all labels, 0 to 1. Low: the prompt does not ask for these."""
        return min(1.0, math.fsum(math.exp(value) for value in self.log_probs))


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer took. Token counts are of the model's tokeniser."""

    requests: int = 0
    """Prompts answered by the model."""
    forwarded_tokens: int = 0
    """Tokens that went through the model."""
    prompt_tokens: int = 0
    """Tokens that would have, had each prompt been evaluated alone."""
    cached: int = 0
    """Prompts answered from the store."""
    cost_usd: float | None = None
    """Money, where the provider charges and its price is known."""

    def __add__(self, other: Usage) -> Usage:
        costs = [c for c in (self.cost_usd, other.cost_usd) if c is not None]
        return Usage(
            self.requests + other.requests,
            self.forwarded_tokens + other.forwarded_tokens,
            self.prompt_tokens + other.prompt_tokens,
            self.cached + other.cached,
            sum(costs) if costs else None,
        )


@dataclass(frozen=True, slots=True)
class ScoredUnit:
    """Scores measured together: `(index of the request, its scores)`, and what they took."""

    scores: tuple[tuple[int, LabelScores], ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Identity:
    """A model and everything that can change a score it gives."""

    provider: str
    model: str
    """A name that means the same anywhere, not a path: for a file, its content hash."""
    endpoint: str = ""
    revision: str = ""
    parameters: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        return {
            "provider": self.provider,
            "model": self.model,
            "endpoint": self.endpoint,
            "revision": self.revision,
            "parameters": dict(self.parameters),
        }

    def digest(self) -> bytes:
        return identity_digest(self.as_dict())


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can tell, found out rather than assumed."""

    evidence: Evidence
    context_tokens: int | None
    """Longest prompt with its label, in tokens; None where unknown."""
    deterministic: bool
    """The same request gives the same bits, whatever was asked before."""


class Provider(Protocol):
    """Scores labels. Implementations are plain classes; nothing is inherited."""

    @property
    def name(self) -> str:
        """As the user wrote it: `llama-cpp:model.gguf`, `tiny`, ..."""

    @property
    def identity(self) -> Identity: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def score(self, requests: Sequence[ScoreRequest]) -> Iterator[ScoredUnit]:
        """Yield every request's scores exactly once, or raise `ElicitError`.

        Requests that share a prefix should be adjacent where the caller knows them.
        """

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        """Tokens each prompt would take alone, without scoring; None where unknown."""

    def close(self) -> None:
        """Free what the model holds. A second call does nothing."""
