"""The search methods by their settings, so that whoever drives one needs to know none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from elicit.search.bootstrap import BootstrapSettings, bootstrap
from elicit.search.icm import ICMSettings, icm
from elicit.search.problem import Problem
from elicit.search.state import State

MethodSettings = ICMSettings | BootstrapSettings


def search(
    problem: Problem,
    settings: MethodSettings,
    rng: np.random.Generator,
    state: State | None = None,
) -> Iterator[State]:
    """The states of the method these settings are of; see it for what it raises."""
    if isinstance(settings, BootstrapSettings):
        return bootstrap(problem, settings, rng, state)
    return icm(problem, settings, rng, state)


def most_iterations(settings: MethodSettings, n_items: int) -> int:
    """Iterations after which the method ends at the latest, on a pool of so many items."""
    if isinstance(settings, BootstrapSettings):
        return settings.rounds
    return settings.iterations_for(n_items)
