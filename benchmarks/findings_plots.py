"""Plots of the findings: small SVG files, readable on light and on dark pages.

Backgrounds are transparent and lines are mid-tones; equal measurements give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from findings_measures import CHAINS
from findings_results import Results
from findings_table import SIZES, column, growth
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import RcKeyType
from scipy import stats

from elicit.scorer import FloatArray

INK = "#808080"
COLOURS = ("#3d8fd1", "#d9822b", "#3aa76d", "#b565c4", "#c9a227")
MARKS = ("o", "s", "^", "D", "v")
NAMES = {"icm": "ICM, 32 demonstrations", "bootstrap": "bootstrap"}
STYLE: dict[RcKeyType, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "elicit",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.markersize": 3,
    "lines.linewidth": 1.4,
}


def draw_all(results: Results, folder: Path) -> list[Path]:
    """Write every plot for which something was measured; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    plots = {
        "accuracy-iterations": _iterations,
        "accuracy-tokens": _tokens,
        "accuracy-chains": _chains,
        "growth": _growth,
    }
    written = []
    for name, plot in plots.items():
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(7.2, 3.0), layout="constrained")
            left, right = figure.subplots(1, 2)
            plot(results, left, right)
            for axes in (left, right):
                if axes.get_legend_handles_labels()[1]:
                    axes.legend()
            path = folder / f"findings-{name}.svg"
            figure.savefig(path, metadata={"Date": None})
            written.append(path)
    return written


def _traces(results: Results, method: str, size: int) -> FloatArray | None:
    """(seeds, points, 3): iteration, accuracy, tokens. Shorter ones stay where they ended."""
    traces = [values["trace"] for values in results.all(f"{method} {size}").values()]
    if not traces:
        return None
    longest = max(len(trace) for trace in traces)
    return np.array([trace + [trace[-1]] * (longest - len(trace)) for trace in traces], float)


def _iterations(results: Results, left: Axes, right: Axes) -> None:
    _growing(results, left, "icm", lambda traces, size: traces[0, :, 0] / size)
    _growing(results, right, "bootstrap", lambda traces, _: np.arange(float(len(traces[0]))))
    left.set_xlabel("iterations an item")
    right.set_xlabel("rounds")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))


def _tokens(results: Results, left: Axes, right: Axes) -> None:
    for axes, method in ((left, "icm"), (right, "bootstrap")):
        _growing(results, axes, method, lambda traces, _: traces[:, :, 2].mean(axis=0))
        axes.set_xscale("log")
        axes.set_xlabel("forwarded tokens, mean over seeds")


def _growing(
    results: Results, axes: Axes, method: str, x: Callable[[FloatArray, int], FloatArray]
) -> None:
    """Accuracy on tasks of every size, against what `x` makes of their traces and size."""
    for number, size in enumerate(SIZES):
        traces = _traces(results, method, size)
        if traces is not None:
            _band(axes, x(traces, size), traces[:, :, 1], number, f"{size} items")
    axes.set_title(NAMES[method], fontsize=9)
    axes.set_ylabel("accuracy, %")


def _chains(results: Results, left: Axes, right: Axes) -> None:
    for axes, method in ((left, "icm"), (right, "bootstrap")):
        counts = np.arange(1, CHAINS + 1)
        found = [column(results, "chains", f"{method} {k}") for k in counts.tolist()]
        if found[0]:
            _band(axes, counts.astype(float), np.array(found).T, 0, "best by objective")
        title = "ICM" if method == "icm" else "bootstrap from random labels"
        axes.set_title(f"{title}, 32 items", fontsize=9)
        axes.set_xlabel("chains")
        axes.set_ylabel("accuracy, %")


def _growth(results: Results, left: Axes, right: Axes) -> None:
    for axes, key in ((left, "iterations to nearly"), (right, "tokens to nearly")):
        for number, method in enumerate(NAMES):
            found = growth(results, method, key)
            if found is None:
                continue
            sizes, values, exponent = found
            name = f"{NAMES[method]}: exponent {exponent.split(' ')[0]}"
            colour = COLOURS[number]
            axes.plot(sizes, values, MARKS[number], color=colour, alpha=0.5)
            slope, intercept, *_ = np.polyfit(np.log(sizes), np.log(values), 1)
            ends = np.array([min(sizes), max(sizes)], float)
            axes.plot(ends, np.exp(intercept) * ends**slope, color=colour, label=name)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(SIZES, [str(size) for size in SIZES])
        axes.set_xlabel("items")
    left.set_ylabel("iterations to 95 %")
    right.set_ylabel("forwarded tokens to 95 %")


def _band(axes: Axes, x: FloatArray, shares: FloatArray, number: int, name: str) -> None:
    """The mean over seeds, (seeds, points), with its 95 % t-interval."""
    mean = 100 * shares.mean(axis=0)
    colour = COLOURS[number]
    axes.plot(x, mean, color=colour, marker=MARKS[number], label=name)
    n = shares.shape[0]
    if n > 1:
        half = 100 * stats.t.ppf(0.975, n - 1) * shares.std(axis=0, ddof=1) / np.sqrt(n)
        low, high = np.maximum(mean - half, 0), np.minimum(mean + half, 100)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
