"""What the findings measure of cost: leave-one-out beside the cheap ways, and growing tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from findings_items import MANY, draw
from findings_measures import Lab, Measure

from elicit.objective import Objective
from elicit.pieces import Pieces, pieces_by_tokeniser
from elicit.predictability import Folds, Labelling, Plan
from elicit.run import Progress, finish
from elicit.scorer import IntArray
from elicit.search.icm import ICMSettings, icm
from elicit.search.problem import Problem

SMALL, LARGE = 32, 256
"""Items on which leave-one-out is run to its end, and those on which it is only counted."""
FEW = 32
"""Demonstrations of ICM on growing tasks: with all of them an iteration takes ever longer."""
ITERATIONS_AN_ITEM = 2
"""Of ICM on growing tasks; the default is four, of which the second half changes little."""
NEARLY = 0.95
POINTS = 24
"""Of a trace that are kept."""


@dataclass
class AlsoByLeaveOneOut:
    """Plans by folds, and counts what leave-one-out would forward for the same labellings.

    Neighbouring prompts share all up to the first demonstration that differs, to the token:
    no provider forwards less. A proposal's own prompt counts without its demonstrations.
    """

    inner: Folds
    pieces: Pieces
    tokens: float = 0.0
    seen: set[bytes] = field(default_factory=set)

    def plan(self, labelling: Labelling, items: IntArray) -> Plan:
        own = self.pieces.question_tokens[items]
        parts = (labelling.labels, labelling.order, items)
        key = b"|".join(part.tobytes() for part in parts)
        if key not in self.seen:
            self.seen.add(key)
            self.tokens += float(own.sum())
            if items.size > 1:
                self.tokens += self._demonstrations(labelling)
        return self.inner.plan(labelling, items)

    def _demonstrations(self, labelling: Labelling) -> float:
        order = labelling.order
        shown = self.pieces.shown_tokens[order, labelling.labels[order]]
        before = np.concatenate([[0.0], np.cumsum(shown)[:-1]])
        # The prompt that leaves out the k-th shares with the one before it what stands before
        # the (k-1)-th.
        shared = np.concatenate([[0.0], before[:-1]])
        return float((shown.sum() - shown - shared).sum())


def loo(lab: Lab, seed: int) -> dict[str, Any]:
    """Accuracy and forwarded tokens of each method on the same few items."""
    items = draw("claims", SMALL, seed)
    ways: dict[str, dict[str, Any]] = {
        "icm by loo": {"method": "icm", "predictability": "loo"},
        "icm by folds": {"method": "icm", "predictability": "folds"},
        "bootstrap": {"method": "bootstrap"},
    }
    found: dict[str, Any] = {}
    for name, options in ways.items():
        result = lab.label(items, seed, **options)
        found[name] = items.accuracy(result.labels)
        found[f"{name}, tokens"] = result.usage.forwarded_tokens
    return found


def annealed(n_items: int) -> Measure:
    """ICM by folds with few demonstrations on so many items: accuracy after each iteration."""

    def measure(lab: Lab, seed: int) -> dict[str, Any]:
        iterations = ITERATIONS_AN_ITEM * n_items
        return _traced(
            lab, n_items, seed, "icm", iterations=iterations, demonstrations=str(FEW)
        )

    return measure


def bootstrapped(n_items: int) -> Measure:
    """Bootstrap on so many items: accuracy after each round."""

    def measure(lab: Lab, seed: int) -> dict[str, Any]:
        return _traced(lab, n_items, seed, "bootstrap", demonstrations="fit")

    return measure


def _traced(lab: Lab, n_items: int, seed: int, method: str, **options: Any) -> dict[str, Any]:
    items = draw(MANY, n_items, seed)
    trace = []

    def note(event: Progress) -> None:
        right = items.accuracy(event.state.labelling.labels)
        trace.append((event.state.iteration, right, event.usage.forwarded_tokens))

    result = lab.label(items, seed, method, on_progress=note, **options)
    final = items.accuracy(result.labels)
    first = next((t for t in trace if t[1] >= NEARLY * final), trace[-1])
    kept = sorted(set(np.linspace(0, len(trace) - 1, POINTS).round().astype(int).tolist()))
    return {
        "accuracy": final,
        "tokens": result.usage.forwarded_tokens,
        "iterations to nearly": first[0],
        "tokens to nearly": first[2],
        "trace": [trace[k] for k in kept],
    }


def whole(lab: Lab, seed: int) -> dict[str, Any]:
    """ICM by folds on `LARGE` items, with what leave-one-out would forward on its path, and
    bootstrap on the same items."""
    items = draw(MANY, LARGE, seed)
    settings = ICMSettings(iterations=ITERATIONS_AN_ITEM * LARGE)
    with lab.scorer(items) as (scorer, meter):
        pieces = pieces_by_tokeniser(scorer.rendered, meter)
        if pieces is None:
            raise AssertionError("a local model counts tokens")
        watched = AlsoByLeaveOneOut(Folds(), pieces)
        problem = Problem.of(scorer, Objective(items.task.rules(), watched))
        *_, last = icm(problem, settings, np.random.default_rng(seed))
        tokens, by_loo = meter.usage.forwarded_tokens, watched.tokens
        found = {"icm": items.accuracy(finish(problem, last).labels)}
    result = lab.label(items, seed, "bootstrap")
    return found | {
        "icm tokens": tokens,
        "icm tokens by loo": by_loo,
        "bootstrap": items.accuracy(result.labels),
        "bootstrap tokens": result.usage.forwarded_tokens,
    }
