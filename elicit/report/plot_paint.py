"""How each plot of a run is painted on matplotlib's axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from elicit.report.facts import RunFacts
from elicit.report.plot_data import Quantity, Table, column
from elicit.report.plot_names import drawn_name, strong_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#F0E442",
    "#000000",
)
"""Told apart with any colour vision (M. Okabe and K. Ito, "Color universal design", 2008)."""
GREY = "#999999"
DASHES = ("--", "-.", ":", (0, (3, 1, 1, 1, 1, 1)))
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++++", "oooo")
"""Beside the colours, for prints without any."""
LEGEND_CHARACTERS = 56
"""That a line of the legend has room for, with 6 for each handle."""
LEGEND_LINE = 0.14
"""Inches that a plot is higher by for each line of its legend after the first."""
MOST_NAMED = 8
"""Chains, or labels, told apart in one plot; of more, chains are the answer and the others,
and the rarest labels are one."""
MARKED = 30
"""Points up to which each gets a mark."""


def curves(facts: RunFacts, quantity: Quantity, title: str, axes: Axes) -> None:
    """A quantity of each chain against iterations; the answer, or the best so far, strong."""
    strong = strong_name(facts)
    many = len(facts.chains) > MOST_NAMED
    named: dict[str, Line2D] = {}
    # Among few the answer lies under the broken lines of the others, which may be the same as
    # it; over many it is drawn last.
    chains = sorted(enumerate(facts.chains), key=lambda pair: pair[1].answered == many)
    for number, chain in chains:
        values: tuple[float, ...] = getattr(chain.curve, quantity)
        if not values:
            continue
        (line,) = axes.plot(
            chain.curve.iterations,
            values,
            color=("black" if chain.answered else GREY) if many else COLOURS[number],
            linestyle="-" if many or chain.answered else DASHES[number % len(DASHES)],
            linewidth=1.8 if chain.answered else 0.9,
            marker="o" if len(values) <= MARKED else "",
            clip_on=False,
        )
        if many:
            named[strong if chain.answered else "other chains"] = line
        else:
            named[f"chain {number + 1}{f' ({strong})' if chain.answered else ''}"] = line
    axes.set_xlabel("round" if facts.method == "bootstrap" else "iteration")
    axes.set_ylabel(title)
    _whole_numbers(axes, x=True, y=quantity == "inconsistency")
    if len(facts.chains) > 1:
        _legend(axes, sorted(named.items()))


def agreement(facts: RunFacts, table: Table, axes: Axes) -> None:
    """Items by how many chains agree on their label."""
    chains, items = column(table.rows, 0), column(table.rows, 1)
    axes.bar(chains, items, width=0.8, color=COLOURS[0])
    axes.set_xlim(0.4, len(facts.chains) + 0.6)
    axes.set_xlabel(f"chains that gave the commonest label, of {len(facts.chains)}")
    axes.set_ylabel("items")
    axes.grid(visible=False, axis="x")
    _whole_numbers(axes, x=True, y=True)
    if facts.agreement is not None:
        told = f"mean agreement of two chains: {facts.agreement:.3f}"
        axes.set_title(told, fontsize=7, loc="left")


def confidence(facts: RunFacts, table: Table, x: str, axes: Axes) -> None:
    """Items by label and by how sure it is, on axis `x`; stacked, so that the outline is the
    histogram of all items."""
    rows = table.rows
    left = sorted({float(row[2]) for row in rows})
    width = float(rows[0][3]) - left[0]
    by_label = {
        label: [float(row[4]) for row in rows if row[0] == label]
        for label in range(len(facts.label_names))
    }
    commonest = sorted(by_label, key=lambda label: -sum(by_label[label]))
    kept = commonest if len(commonest) <= MOST_NAMED else commonest[: MOST_NAMED - 1]
    heights = [
        (drawn_name(facts.label_names[label], label), by_label[label]) for label in sorted(kept)
    ]
    rest = [by_label[label] for label in commonest if label not in kept]
    if rest:
        sums = [sum(place) for place in zip(*rest, strict=True)]
        heights.append((f"{len(rest)} other labels", sums))
    bottom = [0.0] * len(left)
    named: list[tuple[str, Any]] = []
    for (name, height), colour, hatch in zip(heights, COLOURS, HATCHES, strict=False):
        bars = axes.bar(
            left,
            height,
            width=width,
            bottom=bottom,
            align="edge",
            color=colour,
            edgecolor="white",
            linewidth=0.4,
            hatch=hatch,
        )
        named.append((name, bars))
        bottom = [a + b for a, b in zip(bottom, height, strict=True)]
    axes.set_xlabel(x)
    axes.set_ylabel("items")
    axes.grid(visible=False, axis="x")
    _whole_numbers(axes, y=True)
    _legend(axes, named)


def calibration(table: Table, axes: Axes) -> None:
    """Accuracy against confidence, bin by bin."""
    x, y, low, high = (column(table.rows, place) for place in range(4))
    (even,) = axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=0.9)
    spread = [
        [b - a for a, b in zip(low, y, strict=True)],
        [b - a for a, b in zip(y, high, strict=True)],
    ]
    bins = axes.errorbar(x, y, yerr=spread, fmt="o-", capsize=2, color=COLOURS[0])
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel("mean probability of the label given")
    axes.set_ylabel("accuracy")
    _legend(axes, [("95 % interval", bins), ("calibrated", even)])


def risk_coverage(table: Table, axes: Axes) -> None:
    """Error among the surest items against their share."""
    x, y, low, high = (column(table.rows, place) for place in range(4))
    marker = "o" if len(x) <= MARKED else ""
    band = axes.fill_between(x, low, high, color=COLOURS[0], alpha=0.2, linewidth=0)
    (line,) = axes.plot(x, y, color=COLOURS[0], marker=marker, clip_on=False)
    axes.set(xlim=(0, 1.02), ylim=(0, None))
    axes.set_xlabel("coverage: share of the items with gold, surest first")
    axes.set_ylabel("error among these")
    _legend(axes, [("error", line), ("95 % interval", band)])


def _whole_numbers(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    from matplotlib.ticker import MaxNLocator

    for wanted, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        if wanted:
            axis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    if y:
        axes.set_ylim(bottom=0)


def _legend(axes: Axes, named: Sequence[tuple[str, Any]]) -> None:
    """Names and what they stand for, above the axes in as many columns as there is room for."""
    lengths = [len(name) + 6 for name, _ in named]
    fits = sum(lengths) <= LEGEND_CHARACTERS
    columns = len(named) if fits else max(1, LEGEND_CHARACTERS // max(lengths))
    figure = axes.figure.figure
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * ((len(named) - 1) // columns))
    legend = figure.legend(
        [handle for _, handle in named],
        # A handle named with "_" at the beginning would be left out.
        [str(place) for place in range(len(named))],
        loc="outside upper center",
        ncols=columns,
    )
    for text, (name, _) in zip(legend.get_texts(), named, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
