"""The seam between a search and a model: what is asked, what comes back, who answers.

A `Provider` takes many `ScoreRequest`s and yields `ScoredUnit`s as each is known. A unit
is what was measured together (for a local model: one demonstration block and the items
decoded after it). It is stored as a whole or not at all, so a run that is killed and
resumed repeats whole units and measures the same numbers to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, Protocol, get_args

from elicit.cache.errors import ElicitError, InputError
from elicit.cache.keys import identity_digest, segment_digest


class ProviderError(ElicitError):
    """A model could not answer. The call failed; no score stands in for it."""


class ModelError(InputError):
    """The model named does not exist, is damaged, or can't do what is asked of it."""


class PromptTooLong(InputError):
    """A prompt does not fit the model's context."""


Role = Literal["", "system", "user", "assistant"]
"""Who says a segment in a chat; nobody in plain text."""


def as_role(text: str) -> Role:
    """The role of that name.

    Raises:
        ValueError: there is none.
    """
    for role in get_args(Role):
        if role == text:
            known: Role = role
            return known
    raise ValueError(f"no role {text!r} in a chat")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt, digested once: an instruction, a demonstration, the item."""

    text: str
    digest: bytes = field(repr=False)
    role: Role = ""

    @staticmethod
    def of(text: str, role: Role = "") -> Segment:
        return Segment(text, segment_digest(text, role), role)


Prompt = tuple[Segment, ...]
"""The segments of a prompt in order; the last one is the item. Neighbours of one role are
joined: a plain prompt is one text, a chat prompt a message for each turn."""

Form = Literal["text", "chat"]
"""How a model wants its prompts: as one text that the label continues, or as a chat that the
label answers. A `text` prompt has no roles, every segment of a `chat` prompt has one."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What probability does the model give to each label as the text after the prompt?

    Requests that differ in `sample` alone are independent draws, for a model that answers
    with labels and not with their probabilities; any other ignores it.
    """

    prompt: Prompt
    labels: tuple[str, ...]
    sample: int = 0


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
    """Tokens that went through the model: read or written, and not read from a prompt cache."""
    prompt_tokens: int = 0
    """Tokens that would have, had each prompt been evaluated alone; for a hosted model the
    tokens of the prompts as it counted them."""
    cached: int = 0
    """Prompts answered from the store."""
    cost_usd: float | None = None
    """Money, where the provider charges and its price is known."""
    calls: int = 0
    """Requests sent to a server, those that failed included."""
    cache_read_tokens: int = 0
    """Tokens that a server read from its prompt cache."""
    cache_write_tokens: int = 0
    """Tokens that a server wrote to its prompt cache; they are among the forwarded ones."""
    output_tokens: int = 0
    """Tokens that a server generated; they are among the forwarded ones."""
    unpriced_calls: int = 0
    """Calls of a server whose price is unknown: `cost_usd` lacks them."""

    def __add__(self, other: Usage) -> Usage:
        return self._joined(other, 1)

    def __sub__(self, other: Usage) -> Usage:
        return self._joined(other, -1)

    def _joined(self, other: Usage, sign: int) -> Usage:
        counts = {
            f.name: getattr(self, f.name) + sign * getattr(other, f.name)
            for f in fields(self)
            if f.name != "cost_usd"
        }
        if self.cost_usd is None and other.cost_usd is None:
            return Usage(**counts)
        cost = (self.cost_usd or 0.0) + sign * (other.cost_usd or 0.0)
        return Usage(**counts, cost_usd=cost)

    @property
    def spent_tokens(self) -> int:
        """What a budget in tokens counts: all that were read or written, cached or not."""
        return self.forwarded_tokens + self.cache_read_tokens


class Halted(Exception):
    """Thrown into the generator of `Provider.score` by who stores what it yields: begin
    nothing more, yield what is under way, and end. A provider that does not know it ends at
    once, which is right where nothing is under way."""


class Budget(Protocol):
    """What may still be spent. Whoever is about to spend asks first."""

    def reserve(self, expected: Usage, *, wait: bool = False) -> None:
        """Set aside what the next step will take at most.

        With `wait`, what others have set aside is waited for where it alone is in the way:
        they mostly take less. Whoever waits must have set nothing aside himself.

        Raises:
            BudgetReached: it would pass a bound. Nothing is set aside.
        """

    def settle(self, expected: Usage, actual: Usage) -> None:
        """Put what was really spent in place of what was set aside for it."""


class _Unbounded:
    def reserve(self, expected: Usage, *, wait: bool = False) -> None: ...

    def settle(self, expected: Usage, actual: Usage) -> None: ...


UNBOUNDED: Budget = _Unbounded()


@dataclass(frozen=True, slots=True)
class ScoredUnit:
    """Scores measured together: `(index of the request, its scores)`, and what they took."""

    scores: tuple[tuple[int, LabelScores], ...]
    usage: Usage


Scoring = Generator[ScoredUnit, None, None]
"""What `Provider.score` gives: units as each is known, and an end that can be asked for."""


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
    form: Form = "text"
    samples: int = 0
    """Draws asked for each prompt where `evidence` is `sampled`, else 0."""
    items_per_call: int = 1
    """Items that share one request to a server, at most, if they share their demonstrations."""
    contexts_at_once: int = 1
    """Demonstrations that it works behind at the same time: more of them in one batch are
    answered sooner, fewer leave some of it idle."""


class Provider(Protocol):
    """Scores labels. Implementations are plain classes; nothing is inherited."""

    @property
    def name(self) -> str:
        """As the user wrote it: `llama-cpp:model.gguf`, `tiny`, ..."""

    @property
    def identity(self) -> Identity: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED, /) -> Scoring:
        """Yield every request's scores exactly once, or raise `ElicitError`.

        Requests that share a prefix should be adjacent where the caller knows them. Where
        the budget or a prompt stops it, all that was paid for is yielded first.
        """

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        """Tokens each prompt would take alone, without scoring; None where unknown."""

    def close(self) -> None:
        """Free what the model holds. A second call does nothing."""
