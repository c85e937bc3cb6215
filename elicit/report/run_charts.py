"""Which charts a run has: its search, its chains, how sure its labels are, and how right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from elicit.report import charts, gold_curves
from elicit.report.axes import Pair
from elicit.report.canvas import Chart
from elicit.report.charts import Line, Series
from elicit.report.facts import MISSING, Curve, RunFacts
from elicit.report.plot_data import (
    BINS,
    agreement_table,
    confident_items,
    probability_counts,
)
from elicit.report.plot_names import strong_name

WINDOWS = 40
"""Stretches of the search, at most, that means are told of."""
LEAST = 10
"""Iterations of such a stretch: of fewer a mean says little."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Proposals that were taken, of those that were decided."""

    accepted: int
    decided: int


def search_charts(facts: RunFacts) -> tuple[Chart, ...]:
    """Objective, inconsistency, labels changed and, where the method has them, temperature and
    proposals taken against iterations."""
    x = "round" if facts.method == "bootstrap" else "iteration"
    drawn = [
        charts.lines("objective", "Objective", x, "U", _curves(facts, lambda c: c.objective)),
        charts.lines(
            "inconsistency",
            "Inconsistent pairs",
            x,
            "pairs",
            _curves(facts, lambda c: c.inconsistency),
            from_zero=True,
            whole=True,
        ),
    ]
    if any(any(chain.curve.temperature) for chain in facts.chains):
        drawn.append(
            charts.lines(
                "temperature",
                "Temperature",
                x,
                "T",
                _curves(facts, lambda c: c.temperature),
                from_zero=True,
            )
        )
    drawn.append(_changes(facts, x))
    if facts.method == "icm":
        drawn.append(
            charts.lines(
                "accepted",
                "Proposals taken",
                x,
                "share",
                _lines(facts, lambda curve: _means(curve.iterations, curve.accepted, LEAST)),
                from_zero=True,
                top=1.0,
            )
        )
    return tuple(chart for chart in drawn if chart is not None)


def taken(curve: Curve) -> Taken:
    """Of a chain's whole search."""
    decided = [accepted for accepted in curve.accepted if accepted is not None]
    return Taken(sum(decided), len(decided))


def agreement_chart(facts: RunFacts) -> Chart | None:
    """Items by how many chains gave the label that most chains gave; None for one chain."""
    table = agreement_table(facts)
    if table is None:
        return None
    counts = tuple(int(items) for _, items in table.rows)
    edges = [k + 0.5 for k in range(len(counts) + 1)]
    name = "chains that gave the commonest label"
    return charts.histogram(
        "agreement", "Agreement", name, edges, [Series("items", "plain", counts)], whole=True
    )


def confidence_charts(facts: RunFacts) -> tuple[Chart, ...]:
    """Items by the probability of their label: by label, and by right and wrong."""
    sure = confident_items(facts)
    by_label = [
        Series(name, charts.label_class(k), probability_counts(i for i in sure if i.label == k))
        for k, name in enumerate(facts.label_names)
    ]
    edges = [place / BINS for place in range(BINS + 1)]
    x = "probability of the label"
    drawn = [charts.histogram("confidence", "Confidence by label", x, edges, by_label)]
    told = [i for i in sure if i.gold != MISSING]
    if facts.gold is not None and told:
        right = [i for i in told if i.label == i.gold]
        wrong = [i for i in told if i.label != i.gold]
        pair = [
            Series("as in gold", "right", probability_counts(right)),
            Series("against gold", "wrong", probability_counts(wrong)),
        ]
        drawn.append(charts.histogram("right", "Confidence, right and wrong", x, edges, pair))
    return tuple(chart for chart in drawn if chart is not None)


def gold_charts(facts: RunFacts) -> tuple[Chart, ...]:
    """Calibration and risk against coverage; none without gold."""
    if facts.gold is None:
        return ()
    found = facts.gold.evaluation
    drawn = (
        gold_curves.calibration("calibration", found.calibration),
        gold_curves.risk_coverage("risk", found.risk_coverage),
    )
    return tuple(chart for chart in drawn if chart is not None)


def _changes(facts: RunFacts, x: str) -> Chart | None:
    """The first labels are left out: they are all labels at once, and no change."""
    rounds = facts.method == "bootstrap"
    return charts.lines(
        "changed",
        "Labels changed",
        x,
        f"labels {'a' if rounds else 'an'} {x}",
        _lines(
            facts,
            lambda c: _means(c.iterations[1:], c.changed[1:], 1 if rounds else LEAST),
        ),
        from_zero=True,
        whole=rounds,
    )


def _curves(facts: RunFacts, of: Callable[[Curve], Sequence[float]]) -> list[Line]:
    return _lines(facts, lambda curve: zip(curve.iterations, of(curve), strict=True))


def _lines(facts: RunFacts, of: Callable[[Curve], Iterable[Pair]]) -> list[Line]:
    """One a chain, without what is not finite."""
    strong = strong_name(facts)
    return [
        Line(
            f"{f'{strong}, ' if chain.answered else ''}chain {number}",
            tuple((float(x), float(y)) for x, y in of(chain.curve) if math.isfinite(y)),
            chain.answered,
        )
        for number, chain in enumerate(facts.chains, 1)
    ]


def _means(
    iterations: Sequence[int], values: Sequence[float | None], least: int
) -> Iterator[Pair]:
    """The mean of the known values of each stretch of `least` iterations or more, at the end of
    the stretch."""
    size = max(least, math.ceil(len(iterations) / WINDOWS))
    for begin in range(0, len(iterations), size):
        known = [value for value in values[begin : begin + size] if value is not None]
        if known:
            last = iterations[begin : begin + size][-1]
            yield float(last), sum(known) / len(known)
