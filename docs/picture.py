"""Draw the README's picture: `elicit demo --json | python docs/picture.py > docs/demo.svg`."""

from __future__ import annotations

import json
import sys
from html import escape

WIDTH, ROW, LEFT, SCALE = 640, 44, 190, 3.9


def bar(index: int, name: str, value: float, low: float, high: float) -> str:
    """One row: name, bar, interval as a line, figure."""
    y = 20 + index * ROW
    ours = name.endswith("no labels")
    x0, x1, end = (LEFT + 100 * v * SCALE for v in (low, high, value))
    middle = y + 12
    return (
        f'<text x="{LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="24" rx="3" '
        f'fill="{"#2f6f9f" if ours else "#a9b4bd"}"/>'
        f'<line x1="{x0:.1f}" x2="{x1:.1f}" y1="{y + 21}" y2="{y + 21}" stroke="#d2691e" '
        f'stroke-width="2"/>'
        f'<text x="{LEFT + 6}" y="{middle + 4}" fill="#fff" font-weight="bold">'
        f"{100 * value:.1f} %</text>"
    )


def main() -> None:
    demo = json.load(sys.stdin)
    rows = [
        bar(i, name, e["value"], e["low"], e["high"])
        for i, (name, e) in enumerate(demo["accuracy"].items())
    ]
    height = 40 + ROW * len(rows)
    caption = (
        f"accuracy on {demo['items']} held-out claims, {demo['seeds']} seeds; "
        "the line is the 95 % interval over seeds"
    )
    sys.stdout.write(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="13" role="img" aria-label="{escape(caption)}">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(rows)}'
        f'<text x="{WIDTH / 2}" y="{height - 8}" text-anchor="middle" fill="#555" '
        f'font-size="12">{escape(caption)}</text></svg>\n'
    )


if __name__ == "__main__":
    main()
