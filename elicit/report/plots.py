"""Plots of a run for papers: SVG and PNG by matplotlib, the numbers beside them as CSV.

Only what the facts hold is drawn: without gold there is no calibration, without a
temperature no schedule, and with one chain no agreement.

The same facts give the same bytes: nothing of the user's matplotlib settings, of the day or
of the fonts installed goes in. Letters are drawn as outlines in the font that matplotlib
brings along, so that a figure looks the same in any viewer and in any paper; a character
that the font lacks is drawn as a box, with the label's number before it to find it by.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elicit.cache.errors import InputError
from elicit.report import plot_paint as paint
from elicit.report.facts import RunFacts
from elicit.report.plot_data import (
    Quantity,
    Table,
    agreement_table,
    confidence_table,
    curve_table,
    odds_table,
    point_table,
)
from elicit.report.plot_names import FONT, one_line
from elicit.whole_file import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 3.4
"""Inches: a column of a paper."""
DPI = 300
QUANTITIES: Mapping[Quantity, str] = {
    "objective": "objective U = α·P − I",
    "temperature": "temperature, in units of U",
    "inconsistency": "inconsistent pairs",
}
"""What is drawn against iterations, and what its axis is called."""
RC: Mapping[Any, object] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 8.0,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": [FONT],
    "font.size": 8.0,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "elicit",
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
}
"""What differs from matplotlib's own defaults; the user's settings are not read."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot, not drawn yet: `paint` puts its table on axes."""

    stem: str
    """Of the names of its files."""
    table: Table
    paint: Callable[[Axes], None]
    height: float = 2.3
    """Inches."""


def draw(facts: RunFacts, folder: Path) -> list[Path]:
    """Draw what is known of a run into a folder, which is made where it is missing.

    Returns:
        The files, for each plot `STEM.svg`, `STEM.png` (300 dots an inch, 3.4 inches wide:
        a column of a paper) and `STEM.csv`. The stems are `objective`, `temperature`,
        `inconsistency`, `agreement`, `confidence`, `log-odds`, `calibration` and
        `risk-coverage`; what can't be drawn is left out. Each file appears whole.

    Raises:
        InputError: matplotlib is not installed, or a file can't be written.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("drawing needs matplotlib: pip install 'elicit-lm[plots]'") from error
    files = []
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        for plot in plots_of(facts):
            figure = Figure(figsize=(WIDTH, plot.height), layout="constrained")
            axes = figure.subplots()
            plot.paint(axes)
            title = f"{one_line(facts.name)}: {plot.stem}"
            svg, png = io.BytesIO(), io.BytesIO()
            unsaid = {"Date": None, "Creator": None, "Title": title}
            figure.savefig(svg, format="svg", metadata=unsaid)
            figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
            for ending, content in (
                ("svg", svg.getvalue()),
                ("png", png.getvalue()),
                ("csv", plot.table.as_csv()),
            ):
                files.append(folder / f"{plot.stem}.{ending}")
                save(files[-1], content)
    return files


def plots_of(facts: RunFacts) -> Iterator[Plot]:
    """The plots that the facts have everything for."""
    for quantity, title in QUANTITIES.items():
        curves = curve_table(facts, quantity)
        if curves is not None:
            yield Plot(quantity, curves, partial(paint.curves, facts, quantity, title))
    votes = agreement_table(facts)
    if votes is not None:
        yield Plot("agreement", votes, partial(paint.agreement, facts, votes))
    confidences = confidence_table(facts)
    if confidences is not None:
        x = "probability of the label"
        yield Plot("confidence", confidences, partial(paint.confidence, facts, confidences, x))
    odds = odds_table(facts)
    if odds is not None:
        x = "log-odds of the label against the best other, nats"
        yield Plot("log-odds", odds, partial(paint.confidence, facts, odds, x))
    if facts.gold is None:
        return
    evaluation = facts.gold.evaluation
    bins = point_table(evaluation.calibration, "confidence", "accuracy")
    if bins is not None:
        yield Plot("calibration", bins, partial(paint.calibration, bins), height=WIDTH)
    risks = point_table(evaluation.risk_coverage, "coverage", "error")
    if risks is not None:
        yield Plot("risk-coverage", risks, partial(paint.risk_coverage, risks))
