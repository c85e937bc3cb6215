"""The books of one `score` in batches: where each request stands, what is set aside for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from elicit.providers.base import Budget, ScoredUnit, ScoreRequest, Usage
from elicit.providers.batches import custom_id
from elicit.providers.hosted import SHOWN, Reply, Unanswered


class Asked:
    """The requests of one `score`: where each stands, and what was set aside for it."""

    def __init__(self, requests: Sequence[ScoreRequest], budget: Budget) -> None:
        self.rest: dict[str, ScoreRequest] = {}
        self._places: dict[str, list[int]] = {}
        self._reserved: dict[str, Usage] = {}
        self._lost: dict[str, str] = {}
        self._refused: list[str] = []
        self._total = len(requests)
        self.budget = budget
        for place, request in enumerate(requests):
            request_id = custom_id(request)
            self._places.setdefault(request_id, []).append(place)
            self.rest[request_id] = request

    def reserve(self, ids: Sequence[str], expected: Callable[[ScoreRequest], Usage]) -> None:
        """Set aside what those will take for which nothing is; all of it, or nothing."""
        new = {i: expected(self.rest[i]) for i in ids if i not in self._reserved}
        if new:
            self.budget.reserve(sum(new.values(), Usage()))
            self._reserved |= new

    def release(self, ids: Collection[str]) -> None:
        """Give back what was set aside for those, which were not answered."""
        for request_id in ids:
            if request_id in self._reserved:
                self.budget.settle(self._reserved.pop(request_id), Usage())

    def answered(self, request_id: str, reply: Reply) -> ScoredUnit:
        """What a batch made of a request."""
        self._settle(request_id, reply.usage)
        return self.known(request_id, reply)

    def known(self, request_id: str, reply: Reply) -> ScoredUnit:
        """What came of a request in another way, which the budget knows of already."""
        del self.rest[request_id]
        self._lost.pop(request_id, None)
        self._refused += [why for _, why in reply.unanswered]
        places = self._places[request_id]
        return ScoredUnit(
            tuple((place, scores) for _, scores in reply.scores for place in places),
            reply.usage,
        )

    def lost(
        self, request_id: str, reason: str, usage: Usage, *, known: bool = True
    ) -> ScoredUnit:
        """Note why a request has no answer yet, and what it took; not `known` where only its
        batch is known."""
        self._settle(request_id, usage)
        if known or request_id not in self._lost:
            self._lost[request_id] = reason
        return ScoredUnit((), usage)

    def _settle(self, request_id: str, usage: Usage) -> None:
        self.budget.settle(self._reserved.pop(request_id, Usage()), usage)

    def check(self, name: str, rounds: int) -> None:
        """Raises: Unanswered: some have no answer."""
        given_up = [f"{reason} (in each of {rounds} batches)" for reason in self._lost.values()]
        reasons = self._refused + given_up
        if reasons:
            more = f" and {len(reasons) - SHOWN:,} more" if len(reasons) > SHOWN else ""
            raise Unanswered(
                f"{name} gave no answer to {len(reasons):,} of {self._total:,} prompts: "
                f"{'; '.join(reasons[:SHOWN])}{more}. What it answered is kept; run again to "
                "ask once more, take those items out of the data, or choose another model."
            )
