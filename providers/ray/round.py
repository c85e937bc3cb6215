"""One call for scores: units go to workers, answers come as they are known.

Which worker takes a unit changes nothing in its scores, so work is dealt by need: at first by
what it should take, then from who has most left to who has nothing.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elicit.cache.errors import ElicitError
from elicit.providers.base import (
    Budget,
    Halted,
    ProviderError,
    ScoredUnit,
    Scoring,
    Usage,
)
from elicit.providers.llama_cpp.batch import Unit
from elicit.providers.llama_cpp.planner import usage_of
from elicit.providers.llama_cpp.settings import LlamaSettings
from elicit.providers.ray.dealing import Costs, Piece, Post, deal, tokens_of
from elicit.providers.ray.workers import Died, Place, Workers, answer
from elicit.providers.usage import BudgetReached

if TYPE_CHECKING:
    from ray import ObjectRef

DEPTH = 2
"""Units that a worker was sent at once: one that it decodes and one that waits for it."""
TRIES = 3
"""Workers that may end over one unit."""
GRACE = 2.0
"""Seconds that what is under way is waited for when nothing more is wanted. It costs no money,
so what takes longer is given up."""


@dataclass(frozen=True, slots=True)
class _Sent:
    place: Place
    actor: object
    unit: int
    expected: Usage


class Round:
    """Scores `units` by `workers`, within a budget."""

    def __init__(
        self,
        workers: Workers,
        units: Sequence[Unit],
        budget: Budget,
        settings: LlamaSettings,
    ) -> None:
        self._workers = workers
        self._units = units
        self._budget = budget
        self._costs = Costs(settings.chunk, settings.trunks)
        self._pieces = [Piece(self._costs.number(u.trunk), u.cost) for u in units]
        self._undealt = list(range(len(units)))
        self._queues: dict[int, deque[int]] = {p.number: deque() for p in workers.places}
        self._sent: dict[ObjectRef[ScoredUnit], _Sent] = {}
        self._tries: Counter[int] = Counter()
        self._failure: ElicitError | None = None
        self._until = float("inf")
        """When what is under way is given up."""

    def scored(self) -> Scoring:
        """As `Provider.score`.

        Raises:
            ElicitError: what was under way was yielded first.
        """
        try:
            while self._on():
                for ref in self._arrived():
                    unit = self._taken(ref)
                    if unit is not None:
                        try:
                            yield unit
                        except Halted:
                            self._until = min(self._until, time.monotonic() + GRACE)
        finally:
            for sent in self._sent.values():
                self._budget.settle(sent.expected, Usage())
        if self._failure is not None:
            raise self._failure

    @property
    def _stopping(self) -> bool:
        return self._failure is not None or self._until < float("inf")

    def _on(self) -> bool:
        """Send what can be sent; whether there is anything to wait for."""
        if not self._stopping:
            self._send()
        if self._stopping:
            return bool(self._sent)
        return bool(self._sent or self._left())

    def _left(self) -> bool:
        return bool(self._undealt) or any(self._queues.values())

    def _arrived(self) -> Sequence[ObjectRef[ScoredUnit]]:
        """What has been answered, once something has; workers that have opened are taken up."""
        import ray

        opening = {p.opening: p for p in self._workers.places if p.opening is not None}
        left = self._until - time.monotonic()
        refs = [*self._sent, *(() if self._stopping else opening)]
        done, _ = ray.wait(refs, timeout=max(0.0, left) if left < float("inf") else None)
        if not done:
            self._give_up()
        for ref in done:
            if ref in opening:
                self._open(opening[ref])
        return [ref for ref in done if ref in self._sent]

    def _open(self, place: Place) -> None:
        try:
            self._workers.opened(place)
        except Died:
            self._bury(place)
        except ElicitError as error:
            self._failure = error

    def _taken(self, ref: ObjectRef[ScoredUnit]) -> ScoredUnit | None:
        """The scores of a unit; None if it failed or is to be asked for again."""
        sent = self._sent.pop(ref)
        used = Usage()
        try:
            scored: ScoredUnit = answer(ref)
            used = scored.usage
        except Died:
            self._ask_again(sent)
            return None
        except ElicitError as error:
            self._failure = self._failure or error
            return None
        finally:
            self._budget.settle(sent.expected, used)
        return scored

    def _ask_again(self, sent: _Sent) -> None:
        self._undealt = sorted([*self._undealt, sent.unit])
        self._tries[sent.unit] += 1
        if self._tries[sent.unit] >= TRIES:
            self._failure = self._failure or ProviderError(
                f"the processes of {TRIES} workers ended over the same prompts: was there no "
                "memory left? What was answered is kept; use fewer workers"
            )
        # The first to tell of a worker's end; others that it was sent come after.
        if sent.place.actor is sent.actor:
            self._bury(sent.place)

    def _bury(self, place: Place) -> None:
        """Deal again what a worker was to do, and start another in its place."""
        queue = self._queues[place.number]
        self._undealt = sorted([*self._undealt, *queue])
        queue.clear()
        self._workers.replace(place)
        if all(other.gone for other in self._workers.places):
            self._failure = self._failure or ProviderError(
                f"the processes of all {len(self._workers.places)} workers ended, again and "
                "again. What was answered is kept; use fewer workers, or none"
            )

    def _send(self) -> None:
        """Give every worker that is ready as much as it takes and the budget allows."""
        ready = [place for place in self._workers.places if place.ready]
        if not ready:
            return
        self._deal(ready)
        # Each its first before any its second.
        for depth in range(1, DEPTH + 1):
            for place in ready:
                while len(self._of(place)) < depth:
                    number = self._next(place, ready)
                    if number is None:
                        break
                    if not self._post(place, number):
                        return

    def _deal(self, ready: Sequence[Place]) -> None:
        if not self._undealt:
            return
        numbers, self._undealt = self._undealt, []
        hands = deal(
            [self._pieces[n] for n in numbers],
            {place.number: self._post_of(place) for place in ready},
            self._costs,
        )
        for place, hand in hands.items():
            self._queues[place] += [numbers[n] for n in hand]

    def _next(self, place: Place, ready: Sequence[Place]) -> int | None:
        """The next unit of a worker: of its own, or of the one that has most left."""
        queue = self._queues[place.number]
        others = [p for p in ready if p is not place and self._queues[p.number]]
        if not queue and others:
            most = max(others, key=lambda p: self._post_of(p).ahead)
            self._share(most, place)
        return queue.popleft() if queue else None

    def _share(self, giver: Place, taker: Place) -> None:
        """Deal what one has left to both, if it pays."""
        numbers = list(self._queues[giver.number])
        self._queues[giver.number].clear()
        posts = {place.number: self._post_of(place) for place in (giver, taker)}
        hands = deal([self._pieces[n] for n in numbers], posts, self._costs)
        for place, hand in hands.items():
            self._queues[place] += [numbers[n] for n in hand]

    def _post(self, place: Place, number: int) -> bool:
        """Send a unit; False if the budget does not allow it now or at all."""
        unit, piece = self._units[number], self._pieces[number]
        decoded, memory = self._costs.after(self._costs.memory(place.held), piece.trunk)
        expected = usage_of(unit, len(unit.trunk) - decoded)
        try:
            self._budget.reserve(expected)
        except BudgetReached as reached:
            self._queues[place.number].appendleft(number)
            # What is under way may take less than was set aside for it.
            if not self._sent:
                self._failure = reached
            return False
        place.held = self._costs.trunks(memory)
        ref = self._workers.send(place, unit)
        self._sent[ref] = _Sent(place, place.actor, number, expected)
        return True

    def _post_of(self, place: Place) -> Post:
        """Where a worker stands behind all that it was sent and dealt."""
        queue = [self._pieces[n] for n in self._queues[place.number]]
        sent = sum(s.expected.forwarded_tokens for s in self._of(place))
        tokens, held = tokens_of(queue, self._costs.memory(place.held), self._costs)
        return Post(held, sent + tokens)

    def _of(self, place: Place) -> list[_Sent]:
        return [sent for sent in self._sent.values() if sent.place is place]

    def _give_up(self) -> None:
        for sent in self._sent.values():
            self._budget.settle(sent.expected, Usage())
        self._sent.clear()
