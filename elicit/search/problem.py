"""What every method works on: a scorer, an objective, and the items to label."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from elicit.constraints import UNLABELLED
from elicit.objective import Objective, Value
from elicit.predictability import Labelling, Plan, predict, predict_all
from elicit.scorer import FloatArray, IntArray, Scorer

Found = TypeVar("Found")
Asking = Generator[list[Plan], list[FloatArray], Found]
"""A computation that yields what it must know and is sent the answers, so that many of them
can be asked for in one batch."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Maximise `objective` over labellings of `pool`."""

    scorer: Scorer
    objective: Objective
    pool: IntArray
    """Numbers of the items that a search labels; the others take no part."""

    @staticmethod
    def of(scorer: Scorer, objective: Objective, pool: IntArray | None = None) -> Problem:
        """The problem of all items, or of some."""
        return Problem(scorer, objective, np.arange(scorer.n_items) if pool is None else pool)

    def plan(self, labelling: Labelling, items: IntArray) -> Plan:
        return self.objective.predictability.plan(labelling, items)

    def predict(self, labelling: Labelling, items: IntArray) -> FloatArray:
        """Label log-probabilities of the items, (len(items), n_labels)."""
        return predict(self.scorer, self.objective.predictability, labelling, items)

    def value(self, labelling: Labelling) -> Value:
        return self.objective.value(labelling, self.predict(labelling, labelling.order))

    def values(self, labellings: Sequence[Labelling]) -> Asking[list[Value]]:
        """The value of each, asked for together."""
        answers = yield [self.plan(each, each.order) for each in labellings]
        return [self.objective.value(*pair) for pair in zip(labellings, answers, strict=True)]

    def noise(self, before: Labelling, after: Labelling) -> float:
        """Var[U(after)] − Var[U(before)]; 0 unless the model is one that is sampled."""
        if self.scorer.provider.capabilities.evidence != "sampled":
            return 0.0
        return self._variance(after) - self._variance(before)

    def _variance(self, labelling: Labelling) -> float:
        plan = self.plan(labelling, labelling.order)
        return self.objective.variance(
            labelling,
            predict_all(self.scorer, [plan])[0],
            plan.variances(self.scorer.variances(plan.asks), self.scorer.n_labels),
        )

    def unlabelled(self, labelling: Labelling) -> IntArray:
        """Items of the pool without a label."""
        found: IntArray = self.pool[labelling.labels[self.pool] == UNLABELLED]
        return found


def together(scorer: Scorer, computations: Sequence[Asking[Found]]) -> list[Found]:
    """Run computations side by side: what all of them wait for is asked in one batch.

    Raises:
        ElicitError: a score could not be had.
    """
    found: dict[int, Found] = {}
    waiting: dict[int, list[Plan]] = {}

    def advance(number: int, answers: list[FloatArray] | None) -> None:
        computation = computations[number]
        try:
            waiting[number] = (
                next(computation) if answers is None else computation.send(answers)
            )
        except StopIteration as end:
            waiting.pop(number, None)
            found[number] = end.value

    for number in range(len(computations)):
        advance(number, None)
    while waiting:
        asked = list(waiting.items())
        answers = iter(predict_all(scorer, [plan for _, plans in asked for plan in plans]))
        for number, plans in asked:
            advance(number, [next(answers) for _ in plans])
    return [found[number] for number in range(len(computations))]
