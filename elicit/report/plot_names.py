"""Names as a plot can show them: one short line in the one font that plots have."""

from __future__ import annotations

from elicit.report.facts import RunFacts

FONT = "DejaVu Sans"
"""That matplotlib brings along."""
LONGEST_NAME = 40
"""Characters of a label's name that are drawn."""


def drawn_name(name: str, label: int) -> str:
    """A label's name, with its number before it where characters are lost or none are left.

    The font lacks some characters, for each of which there is a box.
    """
    whole = one_line(name)
    drawn = _drawable(whole)
    if len(drawn) > LONGEST_NAME:
        drawn = drawn[: LONGEST_NAME - 1] + "…"
    return drawn if drawn and drawn == whole else f"{label}: {drawn}"


def one_line(text: str) -> str:
    """The text on one line, without what is not to be seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _drawable(text: str) -> str:
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont(FONT)).get_charmap()
    return "".join(c if ord(c) in known else "□" for c in text)


def strong_name(facts: RunFacts) -> str:
    """What the chain is whose labels are shown."""
    return "answer" if facts.status == "done" else "best so far"
