"""Charts as SVG that stands in the page: no script, no font, no style of its own.

Colours are classes that the page's style sheet gives a colour in each theme. A chart is an
image with a title and a description; its figures stand beside it as a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from elicit.calibration import Point
from elicit.report.axes import Pair, Scale, apart, limits, thinned, ticks, told

WIDTH, HEIGHT = 340, 220
"""Of a chart, in its own units: letters are readable at the width of a phone."""
LEFT, RIGHT, TOP, BOTTOM = 46, 22, 26, 40
"""Margins."""
MOST_POINTS = 400
"""Of one line; of more, see `thinned`."""
MOST_IN_ALL = 4_000
"""Of all lines of a chart."""
MOST_FIGURES = 16
"""Rows that the table of a curve has."""
DASHES = ("", "6 3", "2 3", "9 3 2 3")
"""Of lines that are not the strong one."""
MOST_NAMED = 8
"""Lines that have their name at their end."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart and its figures."""

    title: str
    svg: Markup
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: tuple[tuple[str, str], ...] = ()
    """The legend: a class and what it stands for."""
    note: str = ""
    """What the reader must know to read it right."""


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


@dataclass(slots=True)
class _Canvas:
    """The pieces of a chart, and where its values lie."""

    x: Scale
    y: Scale
    parts: list[Markup] = field(default_factory=list)

    def add(self, template: str, **values: object) -> None:
        self.parts.append(Markup(template).format(**values))

    def path(self, points: Sequence[Pair]) -> str:
        places = [f"{self.x(a):g} {self.y(b):g}" for a, b in points]
        return "M" + "L".join(places)

    def axes(
        self, x_name: str, y_name: str, *, whole_x: bool = False, whole_y: bool = False
    ) -> None:
        bottom = HEIGHT - BOTTOM
        for value in ticks(self.y.low, self.y.high, whole=whole_y):
            self.add(
                '<path class="grid" d="M{a} {y}H{b}"/>'
                '<text class="tick" x="{t}" y="{y}" dy="4" text-anchor="end">{told}</text>',
                a=LEFT,
                b=WIDTH - RIGHT,
                t=LEFT - 6,
                y=self.y(value),
                told=told(value),
            )
        for value in ticks(self.x.low, self.x.high, whole=whole_x):
            self.add(
                '<path class="notch" d="M{x} {y}v4"/>'
                '<text class="tick" x="{x}" y="{t}" text-anchor="middle">{told}</text>',
                x=self.x(value),
                y=bottom,
                t=bottom + 16,
                told=told(value),
            )
        self.add(
            '<path class="axis" d="M{a} {y}H{b}"/>'
            '<text class="name" x="{m}" y="{n}" text-anchor="middle">{x}</text>'
            '<text class="name" x="2" y="13">{name}</text>',
            a=LEFT,
            b=WIDTH - RIGHT,
            y=bottom,
            m=(LEFT + WIDTH - RIGHT) / 2,
            n=HEIGHT - 5,
            x=x_name,
            name=y_name,
        )

    def drawn(self, key: str, title: str, description: str) -> Markup:
        return Markup(
            '<svg class="chart" viewBox="0 0 {w} {h}" role="img" '
            'aria-labelledby="{k}-t" aria-describedby="{k}-d"><title id="{k}-t">{title}</title>'
            '<desc id="{k}-d">{told}</desc>{parts}</svg>'
        ).format(
            w=WIDTH,
            h=HEIGHT,
            k=key,
            title=title,
            told=description,
            parts=Markup("").join(self.parts),
        )


def _canvas(x: Pair, y: Pair) -> _Canvas:
    return _Canvas(
        Scale(*x, LEFT, WIDTH - RIGHT),
        Scale(*y, HEIGHT - BOTTOM, TOP),
    )


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
    canvas = _canvas((min(xs), right), (low, high if top is None else top))
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


def _one_line(canvas: _Canvas, number: int, line: Line, most: int) -> None:
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


def _names(canvas: _Canvas, shown: Sequence[Line]) -> None:
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
    key: str, title: str, x_name: str, edges: Sequence[float], series: Sequence[Series]
) -> Chart | None:
    """Bars of counts, those of one bin on top of each other; None where all are 0. There is
    one edge more than bins."""
    heights = [sum(bars) for bars in zip(*(s.counts for s in series), strict=True)]
    if not any(heights):
        return None
    canvas = _canvas((edges[0], edges[-1]), (0.0, max(heights) * 1.05))
    canvas.axes(x_name, "items", whole_y=True)
    for place, (left, right) in enumerate(zip(edges, edges[1:], strict=False)):
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
        (f"{left:.4g} to {right:.4g}", *(str(one.counts[place]) for one in series))
        for place, (left, right) in enumerate(zip(edges, edges[1:], strict=False))
        if heights[place]
    )
    description = "; ".join(f"{one.name}: {sum(one.counts)} items" for one in series)
    svg = canvas.drawn(key, title, f"Items by {x_name}. {description}.")
    keys = tuple((one.css, one.name) for one in series)
    return Chart(title, svg, (x_name, *(one.name for one in series)), rows, keys)


def calibration(key: str, points: Sequence[Point]) -> Chart | None:
    """Confidence against accuracy, with intervals; None without points."""
    kept = _finite(points)
    if not kept:
        return None
    title = "Calibration"
    left = min(0.5, *(p.x for p in kept)) if len(kept) > 1 else min(0.5, kept[0].x)
    low = min(left, *(p.low for p in kept)) if len(kept) > 1 else min(left, kept[0].low)
    canvas = _canvas((left, 1.0), (low, 1.0))
    canvas.axes("confidence", "accuracy")
    canvas.add('<path class="ideal" d="{d}"/>', d=canvas.path([(left, left), (1.0, 1.0)]))
    for p in kept:
        canvas.add(
            '<path class="whisker" d="M{x} {a}V{b}M{l} {a}h6M{l} {b}h6"/>',
            x=canvas.x(p.x),
            a=canvas.y(p.low),
            b=canvas.y(p.high),
            l=round(canvas.x(p.x) - 3, 1),
        )
    if len(kept) > 1:
        canvas.add(
            '<path class="line strong" d="{d}"/>', d=canvas.path([(p.x, p.y) for p in kept])
        )
    for p in kept:
        canvas.add(
            '<circle class="mark" cx="{x}" cy="{y}" r="3.5"/>', x=canvas.x(p.x), y=canvas.y(p.y)
        )
    svg = canvas.drawn(key, title, f"Accuracy against confidence in {len(kept)} bins.")
    return Chart(
        title,
        svg,
        ("confidence", "accuracy", "95 % interval", "items"),
        _point_rows(kept),
        note="Bins hold equally many items; on the dashed line confidence is as good as its "
        "word. Intervals take items to be independent.",
    )


def risk_coverage(key: str, points: Sequence[Point]) -> Chart | None:
    """Error among the surest items against their share, with a band; None without points."""
    kept = _finite(points)
    if not kept:
        return None
    title = "Risk and coverage"
    top = max(p.high for p in kept) or 1.0
    canvas = _canvas((0.0, 1.0), (0.0, top))
    canvas.axes("share of the items, surest first", "error among them")
    risk = thinned([(p.x, p.y) for p in kept], MOST_POINTS)
    above = thinned([(p.x, p.high) for p in kept], MOST_POINTS)
    below = thinned([(p.x, p.low) for p in kept], MOST_POINTS)
    if len(kept) > 1:
        canvas.add('<path class="band" d="{d}Z"/>', d=canvas.path([*above, *below[::-1]]))
        canvas.add('<path class="line strong" d="{d}"/>', d=canvas.path(risk))
    else:
        canvas.add(
            '<circle class="mark" cx="{x}" cy="{y}" r="3.5"/>',
            x=canvas.x(kept[0].x),
            y=canvas.y(kept[0].y),
        )
    note = "The band is a 95 % interval, which takes items to be independent."
    if len(kept) > MOST_POINTS:
        note += f" Of {len(kept):,} points at most {MOST_POINTS} are drawn, the extremes among them."
    every = max(1, math.ceil(len(kept) / MOST_FIGURES))
    some = [*kept[:-1:every], kept[-1]]
    svg = canvas.drawn(
        key, title, f"Error from {kept[0].y:.1%} among the surest to {kept[-1].y:.1%} in all."
    )
    columns = ("coverage", "error", "95 % interval", "items")
    return Chart(title, svg, columns, _point_rows(some), note=note)


def _finite(points: Sequence[Point]) -> list[Point]:
    return [p for p in points if all(map(math.isfinite, (p.x, p.y, p.low, p.high)))]


def _point_rows(points: Sequence[Point]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (f"{p.x:.3f}", f"{p.y:.3f}", f"{p.low:.3f} to {p.high:.3f}", str(p.n)) for p in points
    )


def shares(parts: Sequence[tuple[str, str, float]]) -> Markup:
    """One bar of a class, a name and a share each; the shares are of 1. It is a picture of
    what stands beside it in words, and hidden from screen readers."""
    drawn, left = [], 0.0
    for css, name, share in parts:
        if share > 0:
            drawn.append(
                Markup(
                    '<rect class="bar {}" x="{}" width="{}" height="10"><title>{}</title></rect>'
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
