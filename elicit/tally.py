"""Counts what a model would be sent, without sending anything.

Prompts come in the groups in which a search asks for them: the prompts of one step, those
with the same demonstrations together. A tally puts them into calls as the provider would
and counts tokens, reads from a prompt cache, money and waits. `elicit estimate` counts a
rehearsed search this way, and a benchmark the true one, so that the two are comparable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from elicit.providers.base import Usage
from elicit.providers.held_blocks import giving_way
from elicit.providers.prices import Price
from elicit.providers.prompt_cache import PromptCache
from elicit.scorer import FloatArray, IntArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Hosted:
    """How a hosted model is asked, and what it charges."""

    items_per_call: int = 1
    """Items that share a call, at most, if they share their demonstrations."""
    draws: int = 1
    """Answers drawn for each prompt, each in a call of its own."""
    answer_tokens: float = 1.0
    """Tokens the model writes for each item."""
    concurrency: int = 64
    """Calls under way at once. The first call after some demonstrations is answered before
    the others are sent, so that they read what it wrote; calls after other demonstrations
    that are under way meanwhile don't."""
    cache: PromptCache | None = None
    price: Price | None = None
    batch: bool = False
    """Through a batch API: at its price, and with nothing read from a prompt cache."""


@dataclass(frozen=True, slots=True)
class Local:
    """How a local model decodes: demonstrations once, in chunks cut at fixed positions, and
    several blocks of them kept."""

    chunk: int = 128
    trunks: int = 2


Terms = Hosted | Local


@dataclass(frozen=True, slots=True)
class Group:
    """Prompts of one step with the same demonstrations.

    `pieces`, (m,), numbers what stands before the item, equal numbers for equal text, and
    `tokens`, (m,), are its tokens; `own`, (n,), are the tokens of each item.
    """

    pieces: IntArray
    tokens: FloatArray
    own: FloatArray


@dataclass(frozen=True, slots=True)
class Bill:
    """What was counted, and how often a server is waited for, one wave of concurrent calls
    after another."""

    usage: Usage
    waves: int


class Tally:
    """Adds up groups under the terms of one model."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._count: _HostedCount | _LocalCount = (
            _HostedCount(terms) if isinstance(terms, Hosted) else _LocalCount(terms)
        )

    @property
    def items_per_call(self) -> int:
        """Items that share a call, at most."""
        return self._terms.items_per_call if isinstance(self._terms, Hosted) else 1

    def send(self, groups: Sequence[Group]) -> None:
        """Count the prompts of one step, which all go out before the next step begins."""
        self._count.send([group for group in groups if group.own.size])

    @property
    def bill(self) -> Bill:
        return self._count.bill()


@dataclass(frozen=True, slots=True)
class _Trunk:
    """Demonstrations: what they are, (m,), and the tokens of each, (m,)."""

    pieces: IntArray
    tokens: FloatArray

    @property
    def total(self) -> float:
        return float(self.tokens.sum())

    def kept(self, other: _Trunk, chunk: int) -> float:
        """Tokens of another that need not be decoded after this one."""
        size = min(self.pieces.size, other.pieces.size)
        differs = np.flatnonzero(self.pieces[:size] != other.pieces[:size])
        shared = int(differs[0]) if differs.size else size
        tokens = float(other.tokens[:shared].sum())
        whole = shared == self.pieces.size == other.pieces.size
        return tokens if whole else tokens // chunk * chunk


class _LocalCount:
    """Trunks and branches, as `providers.llama_cpp` holds and decodes them."""

    def __init__(self, terms: Local) -> None:
        self._terms = terms
        self._held: list[_Trunk] = []
        """The least recently used first."""
        self._requests = 0
        self._forwarded = self._alone = 0.0

    def send(self, groups: Sequence[Group]) -> None:
        for group in groups:
            trunk = _Trunk(group.pieces, group.tokens)
            own = float(group.own.sum())
            self._forwarded += trunk.total - self._kept_of(trunk) + own
            self._alone += trunk.total * group.own.size + own
            self._requests += group.own.size
            self._held.append(trunk)

    def _kept_of(self, trunk: _Trunk) -> float:
        """Tokens of a trunk that are there, in the place where it costs least; what was held
        there is gone."""
        kept = [held.kept(trunk, self._terms.chunk) for held in self._held]
        totals = [held.total for held in self._held]
        place = giving_way(trunk.total, totals, kept, self._terms.trunks)
        if place is None:
            return 0.0
        del self._held[place]
        return kept[place]

    def bill(self) -> Bill:
        return Bill(Usage(self._requests, round(self._forwarded), round(self._alone)), 0)


class _HostedCount:
    """Calls, and what of each is read from or written to the prompt cache."""

    def __init__(self, terms: Hosted) -> None:
        self._terms = terms
        self._written = _Beginnings(None if terms.batch else terms.cache)
        self._sums = {False: np.zeros(4), True: np.zeros(4)}
        """Fresh, read, written and answer tokens of calls at the usual and the long price."""
        self._requests = self._calls = self._waves = 0

    def send(self, groups: Sequence[Group]) -> None:
        under_way: deque[tuple[int, Group]] = deque()
        sent, terms = 0, self._terms
        for group in groups:
            while under_way and under_way[0][0] + terms.concurrency <= sent:
                self._written.add(under_way.popleft()[1])
            own = np.add.reduceat(group.own, np.arange(0, group.own.size, terms.items_per_call))
            items = np.diff([*range(0, group.own.size, terms.items_per_call), group.own.size])
            calls = own.size * terms.draws
            late = np.arange(calls) > 0
            cold, warm = self._written.parts(group), self._written.parts(group, again=True)
            read, written = (np.where(late, warm[k], cold[k]) for k in range(2))
            prompt = group.tokens.sum() + np.repeat(own, terms.draws)
            fresh = prompt - read - written
            answers = np.repeat(items, terms.draws) * terms.answer_tokens
            self._add(prompt, np.stack([fresh, read, written, answers], axis=1))
            self._requests += group.own.size * terms.draws
            under_way.append((sent, group))
            sent += calls
        for _, group in under_way:
            self._written.add(group)
        self._calls += sent
        self._waves += -(-sent // terms.concurrency)

    def _add(self, prompt: FloatArray, parts: FloatArray) -> None:
        price = self._terms.price
        long = np.zeros(prompt.size, bool)
        if price is not None and price.long is not None:
            long = prompt > price.long.above
        for which in (False, True):
            self._sums[which] += parts[long == which].sum(axis=0)

    def bill(self) -> Bill:
        total = self._sums[False] + self._sums[True]
        fresh, read, written, answers = (round(v) for v in total.tolist())
        usage = Usage(
            requests=self._requests,
            forwarded_tokens=fresh + written + answers,
            prompt_tokens=fresh + read + written,
            cost_usd=self._cost(),
            calls=self._calls,
            cache_read_tokens=read,
            cache_write_tokens=written,
            output_tokens=answers,
            unpriced_calls=0 if self._terms.price else self._calls,
        )
        return Bill(usage, self._waves)

    def _cost(self) -> float | None:
        price = self._terms.price
        if price is None:
            return None
        total = 0.0
        for which, sums in self._sums.items():
            fresh, read, written, answers = (round(v) for v in sums.tolist())
            total += _flat(price, long=which).cost(
                input_tokens=fresh,
                cached_tokens=read,
                cache_write_tokens=written,
                output_tokens=answers,
                batch=self._terms.batch,
            )
        return total


def _flat(price: Price, *, long: bool) -> Price:
    """The price of prompts of one kind alone, so that it holds for their sum."""
    if not long or price.long is None:
        return replace(price, long=None)
    rates = price.long
    return replace(
        price,
        input=rates.input,
        cached_input=rates.cached_input,
        cache_write=rates.cache_write,
        output=rates.output,
        long=None,
    )


class _Beginnings:
    """The beginnings of prompts that a prompt cache holds. Nothing is ever lost from it."""

    def __init__(self, rule: PromptCache | None) -> None:
        self._rule = rule
        self._held: set[int] = set()

    def parts(self, group: Group, *, again: bool = False) -> tuple[float, float]:
        """Tokens read and tokens written, of what stands before the item. `again` is for a
        prompt that comes after others with the same demonstrations."""
        rule, whole = self._rule, float(group.tokens.sum())
        if rule is None or whole < rule.minimum_tokens:
            return 0.0, 0.0
        if rule.automatic:
            read = self._blocks(group, again) * rule.step_tokens
            return (float(read) if read >= rule.minimum_tokens else 0.0), 0.0
        held = again or self._marks(group)[-1] in self._held
        return (whole, 0.0) if held else (0.0, whole)

    def add(self, group: Group) -> None:
        if self._rule is not None and group.pieces.size:
            marks = self._marks(group)
            self._held.update(marks if self._rule.automatic else marks[-1:])

    def _blocks(self, group: Group, again: bool) -> int:
        """Leading blocks of `step_tokens` that are held."""
        marks = self._marks(group)
        if again:
            return len(marks)
        return next((i for i, mark in enumerate(marks) if mark not in self._held), len(marks))

    def _marks(self, group: Group) -> list[int]:
        """A hash of the pieces up to the end of each block, or of all of them.

        A block ends within a piece; the whole piece is then asked to be equal, which counts
        a little less than is read.
        """
        place = np.arange(1, group.pieces.size + 1, dtype=np.uint64)
        hashes = np.cumsum(_mixed(group.pieces.astype(np.uint64) + place * _GOLDEN))
        if self._rule is None or not self._rule.automatic:
            return [int(hashes[-1])]
        ends = np.cumsum(group.tokens)
        step = self._rule.step_tokens
        blocks = np.arange(step, ends[-1] + 1e-9, step) if ends.size else np.empty(0)
        return [int(mark) for mark in hashes[np.searchsorted(ends, blocks - 1e-9)]]


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: equal values to equal, near ones to far ones."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
