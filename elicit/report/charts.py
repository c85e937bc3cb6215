"""Lines, bars and shares, as charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from elicit.report.axes import Pair, apart, limits, thinned
from elicit.report.canvas import (
    BOTTOM,
    HEIGHT,
    MOST_FIGURES,
    MOST_POINTS,
    TOP,
    Canvas,
    Chart,
    canvas_of,
)

MOST_IN_ALL = 4_000
"""Of all lines of a chart."""
DASHES = ("", "6 3", "2 3", "9 3 2 3")
"""Of lines that are not the strong one."""
MOST_NAMED = 8
"""Lines that have their name at their end."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart, `name` at its end. `strong` is drawn over the others."""

    name: str
    points: tuple[Pair, ...]
    """In order of x, finite."""
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """Bars of one colour, one count a bin."""

    name: str
    css: str
    counts: tuple[int, ...]


def lines(
    key: str,
    title: str,
    x_name: str,
    y_name: str,
    drawn: Sequence[Line],
    *,
    from_zero: bool = False,
    whole: bool = False,
    top: float | None = None,
) -> Chart | None:
    """Lines over whole numbers; None where no line has a point. `key` is the chart's own in
    the page; `whole` is whether y is counted."""
    shown = [line for line in drawn if line.points]
    if not shown:
        return None
    most = min(MOST_POINTS, max(8, MOST_IN_ALL // len(shown)))
    xs = [x for line in shown for x, _ in line.points]
    ys = [y for line in shown for _, y in line.points]
    low, high = limits(ys, from_zero=from_zero)
    right = max(xs) if max(xs) > min(xs) else min(xs) + 1
    canvas = canvas_of((min(xs), right), (low, high if top is None else top))
    canvas.axes(x_name, y_name, whole_x=True, whole_y=whole)
    for number, line in sorted(enumerate(shown), key=lambda pair: pair[1].strong):
        _one_line(canvas, number, line, most)
    if len(shown) > 1:
        _names(canvas, shown)
    rows = [
        (line.name, f"{x:g}", f"{y:.4g}")
        for line in shown
        for x, y in thinned(line.points, max(6, MOST_FIGURES // len(shown)))
    ]
    description = "; ".join(
        f"{line.name}: from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"
        for line in shown[:MOST_NAMED]
    )
    points = max(len(line.points) for line in shown)
    note = ""
    if points > most:
        note = (
            f"Of the {points:,} points of a line at most {most} are drawn: the first, the last "
            "and the extremes of each stretch."
        )
    svg = canvas.drawn(key, title, f"{y_name} against {x_name}. {description}.")
    return Chart(title, svg, ("line", x_name, y_name), tuple(rows), note=note)


def _one_line(canvas: Canvas, number: int, line: Line, most: int) -> None:
    kept = thinned(line.points, most)
    css = "line strong" if line.strong else f"line tone{number % 3}"
    if len(kept) == 1:
        x, y = kept[0]
        canvas.add(
            '<circle class="{css} dot" cx="{x}" cy="{y}" r="3"/>',
            css=css,
            x=canvas.x(x),
            y=canvas.y(y),
        )
        return
    canvas.add(
        '<path class="{css}" stroke-dasharray="{dash}" d="{d}"/>',
        css=css,
        dash="none" if line.strong else DASHES[number % len(DASHES)] or "none",
        d=canvas.path(kept),
    )


def _names(canvas: Canvas, shown: Sequence[Line]) -> None:
    """The lines' names at their ends; of many lines the strong one's alone."""
    named = [line for line in shown if line.strong or len(shown) <= MOST_NAMED]
    ends = [canvas.y(line.points[-1][1]) for line in named]
    for line, y in zip(named, apart(ends, 12, TOP, HEIGHT - BOTTOM), strict=True):
        canvas.add(
            '<text class="end{css}" x="{x}" y="{y}" dy="4">{name}</text>',
            css=" strong" if line.strong else "",
            y=round(y, 1),
            x=canvas.x(line.points[-1][0]) + 5,
            name=line.name.rpartition(" ")[2],
        )


def histogram(
    key: str,
    title: str,
    x_name: str,
    edges: Sequence[float],
    series: Sequence[Series],
    *,
    whole: bool = False,
) -> Chart | None:
    """Bars of counts, those of one bin on top of each other; None where all are 0. There is
    one edge more than bins; `whole` is whether a bin is of the one whole number in it."""
    heights = [sum(bars) for bars in zip(*(s.counts for s in series), strict=True)]
    if not any(heights):
        return None
    canvas = canvas_of((edges[0], edges[-1]), (0.0, max(heights) * 1.05))
    canvas.axes(x_name, "items", whole_x=whole, whole_y=True)
    for place, (left, right) in enumerate(pairwise(edges)):
        bottom = 0
        for one in series:
            count = one.counts[place]
            if count:
                y, base = canvas.y(bottom + count), canvas.y(bottom)
                canvas.add(
                    '<rect class="bar {css}" x="{x}" y="{y}" width="{w}" height="{h}"/>',
                    css=one.css,
                    x=canvas.x(left),
                    y=y,
                    h=round(base - y, 1),
                    w=round(canvas.x(right) - canvas.x(left), 1),
                )
            bottom += count
    rows = tuple(
        (
            f"{(left + right) / 2:g}" if whole else f"{left:.4g} to {right:.4g}",
            *(str(one.counts[place]) for one in series),
        )
        for place, (left, right) in enumerate(pairwise(edges))
        if heights[place]
    )
    description = "; ".join(f"{one.name}: {sum(one.counts)} items" for one in series)
    svg = canvas.drawn(key, title, f"Items by {x_name}. {description}.")
    keys = tuple((one.css, one.name) for one in series)
    return Chart(title, svg, (x_name, *(one.name for one in series)), rows, keys)


def shares(parts: Sequence[tuple[str, str, float]]) -> Markup:
    """One bar of a class, a name and a share each; the shares are of 1. It is a picture of
    what stands beside it in words, and hidden from screen readers."""
    drawn, left = [], 0.0
    for css, name, share in parts:
        if share > 0:
            drawn.append(
                Markup(
                    '<rect class="bar {}" x="{}" width="{}" height="10">'
                    "<title>{}</title></rect>"
                ).format(css, round(left, 2), round(100 * share, 2), f"{name}: {share:.1%}")
            )
        left += 100 * share
    return Markup(
        '<svg class="shares" viewBox="0 0 100 10" preserveAspectRatio="none" '
        'aria-hidden="true">{}</svg>'
    ).format(Markup("").join(drawn))


def label_class(number: int) -> str:
    """The class that colours a label; `none` for what has no label."""
    return "none" if number < 0 else f"l{number % 12}"
