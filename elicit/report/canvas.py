"""What charts are drawn on: axes, a title, and room for what is between them.

A chart is SVG that stands in the page: no script, no font, no style of its own. Colours are
classes that the page's style sheet gives a colour in each theme. It is an image with a title
and a description; its figures stand beside it as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from elicit.report.axes import Pair, Scale, ticks, told

WIDTH, HEIGHT = 340, 220
"""Of a chart, in its own units: letters are readable at the width of a phone."""
LEFT, RIGHT, TOP, BOTTOM = 46, 22, 26, 40
"""Margins."""
MOST_POINTS = 400
"""Of one line; of more, see `thinned`."""
MOST_FIGURES = 16
"""Rows that the table of a curve has."""


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


@dataclass(slots=True)
class Canvas:
    """The pieces of a chart, and where its values lie."""

    x: Scale
    y: Scale
    parts: list[Markup] = field(default_factory=list)

    def add(self, template: str, **values: object) -> None:
        """A piece of SVG; the values are escaped."""
        self.parts.append(Markup(template).format(**values))

    def path(self, points: Sequence[Pair]) -> str:
        """A line through values, as SVG writes it."""
        places = [f"{self.x(a):g} {self.y(b):g}" for a, b in points]
        return "M" + "L".join(places)

    def axes(
        self, x_name: str, y_name: str, *, whole_x: bool = False, whole_y: bool = False
    ) -> None:
        """Both axes with their names and ticks, whole numbers where asked for."""
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
        """The whole, as an image; `key` is its own in the page."""
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


def canvas_of(x: Pair, y: Pair) -> Canvas:
    """Nothing is drawn yet; x and y are what lies within the margins."""
    return Canvas(
        Scale(*x, LEFT, WIDTH - RIGHT),
        Scale(*y, HEIGHT - BOTTOM, TOP),
    )
