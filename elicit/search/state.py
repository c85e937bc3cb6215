"""What a search is at one instant: small, immutable, and all that is needed to go on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from elicit.objective import Labelling


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
    past: tuple[tuple[str, float], ...] = ()
    """Digest and objective of each labelling so far, the present one last, where a method
    needs to know it again."""

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
                "past": self.past,
            }
        )

    @staticmethod
    def loads(text: str) -> State:
        data = json.loads(text)
        labels = np.array(data.pop("labels"), np.int64)
        order = np.array(data.pop("order"), np.int64)
        past = tuple((digest, objective) for digest, objective in data.pop("past", ()))
        return State(labelling=Labelling(labels, order), past=past, **data)

    def generator(self) -> np.random.Generator:
        """A generator that goes on where this state's left off."""
        rng = np.random.Generator(np.random.PCG64())
        rng.bit_generator.state = self.rng
        return rng
