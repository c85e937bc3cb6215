"""Internal Coherence Maximization: simulated annealing (arXiv 2506.10139, Algorithms 1, 2).

Starts from a few randomly labelled items. Each iteration draws an item, labels it with
what the model predicts from all other labelled items, repairs inconsistencies one pair at
a time, and keeps the result by the Metropolis rule on `U(D) = α·P(D) − I(D)`. Where the
model's probabilities are known from samples only, the rule allows for their noise (see
`schedule`); the choice of the best of several candidates does not, and favours lucky ones.

With `ahead` > 1 iterations are worked on before those in front of them are decided, in the
hope that these change nothing. The law: the sequence of states is the same for every
`ahead`. What an iteration proposes depends on the labelling it starts from and on draws of
its own, which a seed from the search's generator begins; decisions are taken one by one, and
the first that changes the labelling throws away what was worked out behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED
from elicit.objective import Value
from elicit.predictability import Labelling
from elicit.search.problem import Asking, Problem, together
from elicit.search.schedule import accepts, temperature
from elicit.search.state import State, Step

SEEDS = 2**63
"""Bound on the seeds of iterations."""


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
    priority: float = 100.0
    """Weight of drawing an unlabelled item that is related to a labelled one; others have 1."""
    repairs: int = 10
    """M: inconsistent pairs repaired a proposal, at most."""
    ahead: int = 1
    """Iterations worked on in one batch, at most. More of them keep a rate limit or a GPU
    full and change no result; what was asked for in vain is paid for."""

    def __post_init__(self) -> None:
        for name, least in (("iterations", 0), ("initial", 0), ("repairs", 0), ("ahead", 1)):
            if getattr(self, name) < least:
                raise InputError(f"setting {name}: must be at least {least}")
        for name in ("initial_temperature", "minimum_temperature", "priority"):
            value = getattr(self, name)
            if not (0 < value < float("inf")):
                raise InputError(f"setting {name}: must be a positive number, not {value}")
        if not 0 <= self.cooling < float("inf"):
            raise InputError(f"setting cooling: must not be negative, not {self.cooling}")

    def iterations_for(self, n_items: int) -> int:
        return self.iterations or 4 * n_items


@dataclass(frozen=True, slots=True)
class _Proposal:
    """What one iteration would do, and the draw that decides."""

    item: int
    label: int
    labelling: Labelling
    value: Value
    draw: float


def icm(
    problem: Problem,
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
    if state is None:
        (state,) = together(problem.scorer, [_start(problem, settings, rng)])
        yield state
    else:
        rng = state.generator()
    width = 1
    while (left := settings.iterations_for(problem.pool.size) - state.iteration) > 0:
        before = state.labelling
        # A decision uses up its seed; those looked at ahead of it stay where they are.
        seeds = deepcopy(rng).integers(SEEDS, size=min(width, left)).tolist()
        computations = [
            _propose(problem, settings, before, np.random.default_rng(seed)) for seed in seeds
        ]
        for proposal in together(problem.scorer, computations):
            rng.integers(SEEDS)
            state = _decide(problem, settings, state, proposal, rng)
            yield state
            if state.labelling is not before:
                break
        width = min(2 * width, settings.ahead) if state.labelling is before else 1


def _start(problem: Problem, settings: ICMSettings, rng: np.random.Generator) -> Asking[State]:
    """Label K random items at random and repair what contradicts."""
    scorer = problem.scorer
    count = min(settings.initial, problem.pool.size)
    items = rng.choice(problem.pool, size=count, replace=False).tolist()
    labels = rng.integers(scorer.n_labels, size=count).tolist()
    labelling = Labelling.empty(scorer.n_items).updated(dict(zip(items, labels, strict=True)))
    (value,) = yield from problem.values([labelling])
    labelling, value = yield from _repair(problem, settings, labelling, value, rng)
    return State.of(labelling, value, temperature=settings.initial_temperature, rng=rng)


def _propose(
    problem: Problem, settings: ICMSettings, current: Labelling, draws: np.random.Generator
) -> Asking[_Proposal]:
    item = _draw(problem, settings, current, draws)
    (predicted,) = yield [problem.plan(current, np.array([item]))]
    label = int((predicted[0] + problem.objective.leaning(current)).argmax())
    proposal = current.updated({item: label})
    (value,) = yield from problem.values([proposal])
    proposal, value = yield from _repair(problem, settings, proposal, value, draws)
    return _Proposal(item, label, proposal, value, draws.random())


def _decide(
    problem: Problem,
    settings: ICMSettings,
    state: State,
    proposal: _Proposal,
    rng: np.random.Generator,
) -> State:
    """The state after a proposal is accepted or rejected."""
    n = state.iteration + 1
    heat = temperature(
        n,
        initial=settings.initial_temperature,
        minimum=settings.minimum_temperature,
        cooling=settings.cooling,
    )
    current = state.labelling
    delta = proposal.value.objective - state.objective
    noise = problem.noise(current, proposal.labelling)
    accepted = accepts(delta, heat, proposal.draw, noise)
    flips = int((proposal.labelling.labels != current.labels).sum())
    return State.of(
        proposal.labelling if accepted and flips else current,
        proposal.value if accepted else state.value,
        iteration=n,
        temperature=heat,
        accepted=state.accepted + accepted,
        rng=rng,
        step=Step(proposal.item, proposal.label, flips, delta, accepted),
    )


def _draw(
    problem: Problem, settings: ICMSettings, current: Labelling, draws: np.random.Generator
) -> int:
    """An item at random; unlabelled ones related to labelled ones have the priority weight."""
    known = current.labels != UNLABELLED
    weights = np.ones(problem.scorer.n_items)
    weights[problem.objective.rules.related_to(known) & ~known] = settings.priority
    cumulative = np.cumsum(weights[problem.pool])
    place = np.searchsorted(cumulative, draws.random() * cumulative[-1], side="right")
    return int(problem.pool[place])


def _repair(
    problem: Problem,
    settings: ICMSettings,
    labelling: Labelling,
    value: Value,
    draws: np.random.Generator,
) -> Asking[tuple[Labelling, Value]]:
    """Algorithm 2: up to M inconsistent pairs, each given its best consistent labels.

    A pair is drawn, every consistent assignment of it is tried, and the best replaces the
    labelling if U rises. It ends early where nothing is inconsistent any more.
    """
    rules = problem.objective.rules
    tried: set[tuple[int, ...]] = set()
    for _ in range(settings.repairs):
        violations = rules.violations(labelling.labels)
        if not violations:
            break
        items = violations[int(draws.integers(len(violations)))]
        if items in tried:  # drawn again and nothing has changed since: as fruitless as then
            continue
        tried.add(items)
        candidates = [
            labelling.updated(dict(zip(items, labels, strict=True)))
            for labels in rules.consistent_assignments(items, labelling.labels)
        ]
        values = yield from problem.values(candidates)
        best = max(range(len(values)), key=lambda i: values[i].objective, default=None)
        if best is not None and values[best].objective > value.objective:
            labelling, value = candidates[best], values[best]
            tried.clear()
    return labelling, value
