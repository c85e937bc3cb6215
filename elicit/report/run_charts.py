"""Which charts a run has: its search, its chains, how sure its labels are, and how right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from elicit.report import charts, gold_curves
from elicit.report.axes import Pair
from elicit.report.canvas import Chart
from elicit.report.charts import Line, Series
from elicit.report.facts import MISSING, ChainFacts, Curve, ItemFacts, RunFacts
from elicit.report.plot_data import BINS

WINDOWS = 40
"""Stretches of the search, at most, that the share of proposals taken is told of."""
LEAST = 10
"""Iterations of such a stretch: of fewer a share says little."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Proposals that were taken, of those that were decided."""

    accepted: int
    decided: int


def search_charts(facts: RunFacts) -> tuple[Chart, ...]:
    """Objective, temperature, inconsistency and proposals taken against iterations."""
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
    drawn.append(
        charts.lines(
            "accepted",
            "Proposals taken",
            x,
            "share",
            _accept_rates(facts),
            from_zero=True,
            top=1.0,
        )
    )
    return tuple(chart for chart in drawn if chart is not None)


def taken(curve: Curve) -> Taken:
    """Of a chain's whole search."""
    return _taken(curve.accepted)


def agreement_chart(facts: RunFacts) -> Chart | None:
    """Items by how many chains gave the label that most chains gave; None for one chain."""
    n = len(facts.chains)
    if n < 2:
        return None
    most = [max(item.votes) for item in facts.items if any(item.votes)]
    counts = tuple(most.count(votes) for votes in range(1, n + 1))
    edges = [k + 0.5 for k in range(n + 1)]
    name = "chains that gave the commonest label"
    return charts.histogram(
        "agreement", "Agreement", name, edges, [Series("items", "plain", counts)]
    )


def confidence_charts(facts: RunFacts) -> tuple[Chart, ...]:
    """Items by the probability of their label: by label, and by right and wrong."""
    sure = [i for i in facts.items if i.label != MISSING and _known(i.probability)]
    by_label = [
        Series(name, charts.label_class(k), _binned([i for i in sure if i.label == k]))
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
            Series("as in gold", "right", _binned(right)),
            Series("against gold", "wrong", _binned(wrong)),
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


def _known(probability: float | None) -> bool:
    return probability is not None and math.isfinite(probability)


def _binned(items: Sequence[ItemFacts]) -> tuple[int, ...]:
    """Of items whose probability is known. Each bin has its lower end, the last both."""
    counts = [0] * BINS
    for item in items:
        # 0.15 / 0.05 is less than 3 in binary; 0.15 * 20 is 3.
        counts[max(0, min(int((item.probability or 0.0) * BINS), BINS - 1))] += 1
    return tuple(counts)


def _curves(facts: RunFacts, of: Callable[[Curve], Sequence[float]]) -> list[Line]:
    return [
        Line(
            _chain_name(number, chain),
            _finite(zip(chain.curve.iterations, of(chain.curve), strict=True)),
            chain.answered,
        )
        for number, chain in enumerate(facts.chains, 1)
    ]


def _accept_rates(facts: RunFacts) -> list[Line]:
    """The share of proposals taken in each stretch of the search, at the end of the stretch."""
    found = []
    for number, chain in enumerate(facts.chains, 1):
        curve, points = chain.curve, []
        size = max(LEAST, math.ceil(len(curve.iterations) / WINDOWS))
        for begin in range(0, len(curve.iterations), size):
            there = _taken(curve.accepted[begin : begin + size])
            if there.decided:
                last = min(begin + size, len(curve.iterations)) - 1
                points.append((float(curve.iterations[last]), there.accepted / there.decided))
        found.append(Line(_chain_name(number, chain), tuple(points), chain.answered))
    return found


def _taken(accepted: Sequence[bool | None]) -> Taken:
    return Taken(sum(a is True for a in accepted), sum(a is not None for a in accepted))


def _chain_name(number: int, chain: ChainFacts) -> str:
    return f"{'answer, ' if chain.answered else ''}chain {number}"


def _finite(points: Iterable[Pair]) -> tuple[Pair, ...]:
    return tuple((float(x), float(y)) for x, y in points if math.isfinite(y))
