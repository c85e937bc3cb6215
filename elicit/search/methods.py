"""The search methods by their settings, so that whoever drives one needs to know none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from elicit.constraints import Rules
from elicit.objective import Predictability
from elicit.scorer import Scorer
from elicit.search.bootstrap import BootstrapSettings, bootstrap
from elicit.search.icm import ICMSettings, icm
from elicit.search.state import State

MethodSettings = ICMSettings | BootstrapSettings


def search(
    scorer: Scorer,
    rules: Rules,
    predict: Predictability,
    settings: MethodSettings,
    rng: np.random.Generator,
    state: State | None = None,
) -> Iterator[State]:
    """The states of the method these settings are of; see it for what it raises."""
    if isinstance(settings, BootstrapSettings):
        return bootstrap(scorer, rules, predict, settings, rng, state)
    return icm(scorer, rules, predict, settings, rng, state)


def most_iterations(settings: MethodSettings, n_items: int) -> int:
    """Iterations after which the method ends at the latest."""
    if isinstance(settings, BootstrapSettings):
        return settings.rounds
    return settings.iterations_for(n_items)
