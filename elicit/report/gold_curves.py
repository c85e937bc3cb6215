"""How right labels are, as charts: calibration, and risk against coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from elicit.calibration import Point
from elicit.report.axes import thinned
from elicit.report.canvas import MOST_FIGURES, MOST_POINTS, Chart, canvas_of


def calibration(key: str, points: Sequence[Point]) -> Chart | None:
    """Confidence against accuracy, with intervals; None without points."""
    kept = _finite(points)
    if not kept:
        return None
    title = "Calibration"
    left = min(0.5, *(p.x for p in kept))
    low = min(left, *(p.low for p in kept))
    canvas = canvas_of((left, 1.0), (low, 1.0))
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
    canvas = canvas_of((0.0, 1.0), (0.0, top))
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
        note += f" Of {len(kept):,} points at most {MOST_POINTS} are drawn, with the extremes."
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
