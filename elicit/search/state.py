"""What a search is at one instant: small, immutable, and all that is needed to go on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from elicit.objective import Value
from elicit.predictability import Labelling
from elicit.scorer import IntArray


@dataclass(frozen=True, slots=True)
class Step:
    """What one iteration did, for the trace.

    `item` was drawn, `label` proposed for it (None where all items were labelled at once),
    `flips` labels would have changed; `delta` is the change of the objective U, and
    `accepted` says whether it was taken.
    """

    item: int | None
    label: int | None
    flips: int
    delta: float
    accepted: bool


@dataclass(frozen=True, slots=True)
class Rounds:
    """What a method that goes in rounds remembers of them."""

    moved: int | None
    """Labels that the last round changed; None before the first."""
    settled: bool
    """Whether it ended there."""
    best: IntArray
    """(n_items,), the best labels so far."""
    objective: float
    """Their objective."""


@dataclass(frozen=True, slots=True)
class State:
    """A labelling with its objective, and the generator that draws what comes next."""

    labelling: Labelling
    iteration: int
    temperature: float
    objective: float
    predictability: float
    inconsistency: int
    accepted: int
    rng: dict[str, Any]
    step: Step | None = None
    rounds: Rounds | None = None

    @staticmethod
    def of(
        labelling: Labelling,
        value: Value,
        *,
        rng: np.random.Generator,
        iteration: int = 0,
        temperature: float = 0.0,
        accepted: int = 0,
        step: Step | None = None,
        rounds: Rounds | None = None,
    ) -> State:
        """The state of a labelling of this value, and of the generator as it stands."""
        return State(
            labelling=labelling,
            iteration=iteration,
            temperature=temperature,
            objective=value.objective,
            predictability=value.predictability,
            inconsistency=value.inconsistency,
            accepted=accepted,
            rng=dict(rng.bit_generator.state),
            step=step,
            rounds=rounds,
        )

    @property
    def value(self) -> Value:
        return Value(self.objective, self.predictability, self.inconsistency)

    def dumps(self) -> str:
        """JSON from which `loads` gives back an equal state, floats to the last bit."""
        return json.dumps(
            {
                "labels": self.labelling.labels.tolist(),
                "order": self.labelling.order.tolist(),
                "iteration": self.iteration,
                "temperature": self.temperature,
                "objective": self.objective,
                "predictability": self.predictability,
                "inconsistency": self.inconsistency,
                "accepted": self.accepted,
                "rng": self.rng,
                "rounds": None
                if self.rounds is None
                else asdict(self.rounds) | {"best": self.rounds.best.tolist()},
            }
        )

    @staticmethod
    def loads(text: str) -> State:
        data = json.loads(text)
        labels = np.array(data.pop("labels"), np.int64)
        order = np.array(data.pop("order"), np.int64)
        rounds = data.pop("rounds")
        if rounds is not None:
            rounds = Rounds(**rounds | {"best": np.array(rounds["best"], np.int64)})
        return State(labelling=Labelling(labels, order), rounds=rounds, **data)

    def generator(self) -> np.random.Generator:
        """A generator that goes on where this state's left off."""
        rng = np.random.Generator(np.random.PCG64())
        rng.bit_generator.state = self.rng
        return rng
