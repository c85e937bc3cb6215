"""The numbers behind charts and plots of a run, as tables: what is drawn and written as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from elicit.calibration import Point
from elicit.report.facts import MISSING, ItemFacts, RunFacts

BINS = 25
"""Of the probability, and of log-odds about as many at most."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet takes for a formula."""

Quantity = Literal["objective", "temperature", "inconsistency"]
Cell = str | int | float


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a plot's data under their column names."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def as_csv(self) -> bytes:
        """UTF-8 with a header; numbers so that reading them back gives the same number."""
        text = io.StringIO(newline="")
        # Lines end in \r\n, or Python 3.11 would leave a cell with a lone \r unquoted.
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        # A lone surrogate of the data can't be encoded, and is written as its escape.
        return text.getvalue().encode("utf-8", "backslashreplace")


def curve_table(facts: RunFacts, quantity: Quantity) -> Table | None:
    """A row for each iteration of each chain, chains counted from 1; None where there is
    nothing to draw, as with a temperature of a method that has none."""
    rows: list[tuple[Cell, ...]] = []
    for number, chain in enumerate(facts.chains, 1):
        values: tuple[float, ...] = getattr(chain.curve, quantity)
        rows += [
            (number, iteration, value)
            for iteration, value in zip(chain.curve.iterations, values, strict=True)
        ]
    shown = [value for *_, value in rows if math.isfinite(float(value))]
    if not shown or (quantity == "temperature" and not any(shown)):
        return None
    return Table(("chain", "iteration", quantity), tuple(rows))


def agreement_table(facts: RunFacts) -> Table | None:
    """Items by how many chains gave the label that most chains gave; None for one chain."""
    most = Counter(max(item.votes) for item in facts.items if any(item.votes))
    if len(facts.chains) < 2 or not most:
        return None
    rows = tuple((count, most[count]) for count in range(1, len(facts.chains) + 1))
    return Table(("chains_agreeing", "items"), rows)


def confident_items(facts: RunFacts) -> list[ItemFacts]:
    """Those whose label has a probability."""
    return [
        item
        for item in facts.items
        if item.label != MISSING
        and item.probability is not None
        and math.isfinite(item.probability)
    ]


def probability_counts(items: Iterable[ItemFacts]) -> tuple[int, ...]:
    """How many of `confident_items` lie in each of `BINS` bins from 0 to 1. A bin holds its
    lower end and the last bin both."""
    counts = [0] * BINS
    for item in items:
        # 0.12 / 0.04 is less than 3 in binary; 0.12 * 25 is 3.
        counts[max(0, min(int((item.probability or 0.0) * BINS), BINS - 1))] += 1
    return tuple(counts)


def confidence_table(facts: RunFacts) -> Table | None:
    """Items by label and by its probability; None where none are known. All labels have the
    bins of `probability_counts`. Labels are counted from 0; for their names see `safe_cell`:
    the number is what programs should read.
    """
    known = confident_items(facts)
    if not known:
        return None
    rows = tuple(
        (label, safe_cell(name), place / BINS, (place + 1) / BINS, count)
        for label, name in enumerate(facts.label_names)
        for place, count in enumerate(probability_counts(i for i in known if i.label == label))
    )
    return Table(("label", "name", "from", "to", "items"), rows)


def odds_table(facts: RunFacts) -> Table | None:
    """Items by label and by its log-odds against the best other, in nats; None where none are
    known. Log-odds tell very sure items apart, whose probabilities all round to 1.

    All labels have the same bins, of one width, with 0 between two of them. A bin holds its
    lower end and the last bin both; what is infinite is in the first or the last. Labels and
    names are as in `confidence_table`.
    """
    known = [
        (item.label, item.log_odds)
        for item in facts.items
        if item.label != MISSING and item.log_odds is not None and not math.isnan(item.log_odds)
    ]
    if not known:
        return None
    finite = [odds for _, odds in known if math.isfinite(odds)] or [0.0]
    width = _bin_width(min(finite), max(finite))
    first, last = math.floor(min(finite) / width), math.ceil(max(finite) / width)
    bins = range(first, max(last, first + 1))
    counts = Counter((label, _place(odds, width, bins)) for label, odds in known)
    rows = tuple(
        (label, safe_cell(name), place * width, (place + 1) * width, counts[label, place])
        for label, name in enumerate(facts.label_names)
        for place in bins
    )
    return Table(("label", "name", "from_nats", "to_nats", "items"), rows)


def point_table(points: Iterable[Point], x: str, y: str) -> Table | None:
    """A row for each point of a curve, with its 95 % interval; None without points."""
    rows = tuple((p.x, p.y, p.low, p.high, p.n) for p in points)
    return Table((x, y, "low", "high", "items"), rows) if rows else None


def safe_cell(name: str) -> str:
    """The name, with an apostrophe before it where a spreadsheet would run it. Names that are
    numbers, as -1 and +1, or a lone sign are none to run, and stay."""
    if not name.startswith(FORMULA) or _harmless(name):
        return name
    return f"'{name}"


def column(rows: Sequence[tuple[Cell, ...]], place: int) -> list[float]:
    """The numbers of a column."""
    return [float(row[place]) for row in rows]


def _bin_width(low: float, high: float) -> float:
    """The least of 1, 2 and 5 times a power of ten by which the range has few bins."""
    least = max((high - low) / BINS, 1e-3)
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= least)


def _place(odds: float, width: float, bins: range) -> int:
    """The number of the bin that the log-odds are in."""
    if math.isinf(odds):
        return bins[-1] if odds > 0 else bins[0]
    return min(max(math.floor(odds / width), bins[0]), bins[-1])


def _harmless(name: str) -> bool:
    if name in FORMULA:
        return True
    try:
        float(name)
    except ValueError:
        return False
    return True
