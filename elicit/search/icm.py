"""Internal Coherence Maximization: simulated annealing (arXiv 2506.10139, Algorithms 1, 2).

Starts from a few randomly labelled items. Each iteration draws an item, labels it with
what the model predicts from all other labelled items, repairs inconsistencies one pair at
a time, and keeps the result by the Metropolis rule on `U(D) = α·P(D) − I(D)`. Where the
model's probabilities are known from samples only, the rule allows for their noise (see
`schedule`); the choice of the best of several candidates does not, and favours lucky ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED, Rules
from elicit.objective import (
    Labelling,
    Measure,
    Predictability,
    predictability_score,
    score_variance,
)
from elicit.scorer import Scorer
from elicit.search.schedule import accepts, temperature
from elicit.search.state import State, Step


@dataclass(frozen=True, slots=True)
class ICMSettings:
    """Constants of Algorithms 1 and 2. The defaults are the paper's, where it states one."""

    iterations: int = 0
    """Proposals; 0 stands for four an item."""
    initial: int = 8
    """K: items labelled at random before the first iteration."""
    initial_temperature: float = 10.0
    minimum_temperature: float = 0.01
    cooling: float = 0.99
    """β of the temperature schedule."""
    alpha: float = 50.0
    """α: weight of predictability against one inconsistent pair."""
    priority: float = 100.0
    """Weight of drawing an unlabelled item that is related to a labelled one; others have 1."""
    repairs: int = 10
    """M: inconsistent pairs repaired a proposal, at most."""
    measure: Measure = "mean_log_prob"

    def __post_init__(self) -> None:
        for name, least in (("iterations", 0), ("initial", 0), ("repairs", 0)):
            if getattr(self, name) < least:
                raise InputError(f"setting {name}: must be at least {least}")
        for name in ("initial_temperature", "minimum_temperature", "alpha", "priority"):
            value = getattr(self, name)
            if not (0 < value < float("inf")):
                raise InputError(f"setting {name}: must be a positive number, not {value}")
        if not 0 <= self.cooling < float("inf"):
            raise InputError(f"setting cooling: must not be negative, not {self.cooling}")

    def iterations_for(self, n_items: int) -> int:
        return self.iterations or 4 * n_items


@dataclass(frozen=True, slots=True)
class _Value:
    """U(D) with its parts."""

    objective: float
    predictability: float
    inconsistency: int


@dataclass(frozen=True, slots=True)
class _Problem:
    scorer: Scorer
    rules: Rules
    predict: Predictability
    settings: ICMSettings

    def value(self, labelling: Labelling) -> _Value:
        labels = labelling.labels[labelling.order]
        log_probs = self.predict(self.scorer, labelling, labelling.order)
        p = predictability_score(log_probs, labels, self.settings.measure)
        i = self.rules.count(labelling.labels)
        return _Value(self.settings.alpha * p - i, p, i)

    def noise(self, before: Labelling, after: Labelling) -> float:
        """Var[U(after)] − Var[U(before)]; 0 unless the model is one that is sampled."""
        if self.scorer.provider.capabilities.evidence != "sampled":
            return 0.0
        return self._variance(after) - self._variance(before)

    def _variance(self, labelling: Labelling) -> float:
        labels = labelling.labels[labelling.order]
        log_probs = self.predict(self.scorer, labelling, labelling.order)
        variances = self.predict.variances(self.scorer, labelling, labelling.order)
        settings = self.settings
        return settings.alpha**2 * score_variance(
            log_probs, variances, labels, settings.measure
        )


def icm(
    scorer: Scorer,
    rules: Rules,
    predict: Predictability,
    settings: ICMSettings,
    rng: np.random.Generator,
    state: State | None = None,
) -> Iterator[State]:
    """Yield the state after the start and after each iteration.

    Given a state it has yielded before, it goes on as if it had never stopped; `rng` is
    then taken from the state.

    Raises:
        ElicitError: a score could not be had. The last state yielded is still good.
    """
    problem = _Problem(scorer, rules, predict, settings)
    if state is None:
        state = _start(problem, rng)
        yield state
    else:
        rng = state.generator()
    while state.iteration < settings.iterations_for(scorer.n_items):
        state = _iterate(problem, state, rng)
        yield state


def _start(problem: _Problem, rng: np.random.Generator) -> State:
    """Label K random items at random and repair what contradicts."""
    scorer = problem.scorer
    count = min(problem.settings.initial, scorer.n_items)
    items = rng.choice(scorer.n_items, size=count, replace=False).tolist()
    labels = rng.integers(scorer.n_labels, size=count).tolist()
    labelling = Labelling.empty(scorer.n_items).updated(dict(zip(items, labels, strict=True)))
    labelling, value = _repair(problem, labelling, problem.value(labelling), rng)
    return _state(labelling, value, 0, problem.settings.initial_temperature, 0, rng, None)


def _iterate(problem: _Problem, state: State, rng: np.random.Generator) -> State:
    settings, current = problem.settings, state.labelling
    n = state.iteration + 1
    heat = temperature(
        n,
        initial=settings.initial_temperature,
        minimum=settings.minimum_temperature,
        cooling=settings.cooling,
    )
    item = _draw(problem, current, rng)
    predicted = problem.predict(problem.scorer, current, np.array([item]))
    label = int(predicted[0].argmax())
    proposal = current.updated({item: label})
    proposal, value = _repair(problem, proposal, problem.value(proposal), rng)
    delta = value.objective - state.objective
    accepted = accepts(delta, heat, rng.random(), problem.noise(current, proposal))
    flips = int((proposal.labels != current.labels).sum())
    step = Step(item, label, flips, delta, accepted)
    if not accepted:
        proposal = current
        value = _Value(state.objective, state.predictability, state.inconsistency)
    return _state(proposal, value, n, heat, state.accepted + accepted, rng, step)


def _draw(problem: _Problem, current: Labelling, rng: np.random.Generator) -> int:
    """An item at random; unlabelled ones related to labelled ones have the priority weight."""
    weights = np.ones(problem.scorer.n_items)
    related = problem.rules.related_to(current.labels != UNLABELLED)
    weights[related & (current.labels == UNLABELLED)] = problem.settings.priority
    cumulative = np.cumsum(weights)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _repair(
    problem: _Problem, labelling: Labelling, value: _Value, rng: np.random.Generator
) -> tuple[Labelling, _Value]:
    """Algorithm 2: up to M inconsistent pairs, each given its best consistent labels.

    A pair is drawn, every consistent assignment of it is tried, and the best replaces the
    labelling if U rises. It ends early where nothing is inconsistent any more.
    """
    tried: set[tuple[int, ...]] = set()
    for _ in range(problem.settings.repairs):
        violations = problem.rules.violations(labelling.labels)
        if not violations:
            break
        items = violations[int(rng.integers(len(violations)))]
        if items in tried:  # drawn again and nothing has changed since: as fruitless as then
            continue
        tried.add(items)
        candidates = [
            labelling.updated(dict(zip(items, labels, strict=True)))
            for labels in problem.rules.consistent_assignments(items, labelling.labels)
        ]
        values = [problem.value(candidate) for candidate in candidates]
        best = max(range(len(values)), key=lambda i: values[i].objective, default=None)
        if best is not None and values[best].objective > value.objective:
            labelling, value = candidates[best], values[best]
            tried.clear()
    return labelling, value


def _state(
    labelling: Labelling,
    value: _Value,
    iteration: int,
    heat: float,
    accepted: int,
    rng: np.random.Generator,
    step: Step | None,
) -> State:
    return State(
        labelling=labelling,
        iteration=iteration,
        temperature=heat,
        objective=value.objective,
        predictability=value.predictability,
        inconsistency=value.inconsistency,
        accepted=accepted,
        rng=dict(rng.bit_generator.state),
        step=step,
    )
