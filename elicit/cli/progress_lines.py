"""What is known of a search while it runs, and how that is said in lines of a given width."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from elicit.cli.sparkline import BLOCKS, History, sparkline
from elicit.cli.time_left import Pace, told_elapsed, told_time
from elicit.constraints import UNLABELLED
from elicit.providers.base import Usage
from elicit.run import Progress
from elicit.search.state import State

WIDE = 72
"""Columns from which the search's facts and its curve share a line."""
WIDEST = 110
"""Columns used at most: a line that is far from full survives a window made narrower."""
TO_COME = "."
"""A column of the curve that the search has not come to."""

Part = tuple[str, ...]
"""A fact in ever shorter words; where the last are none, it may be left out."""


class Seen:
    """What events told of a search so far. One thread may tell while another asks."""

    def __init__(self, title: str, clock: Callable[[], float]) -> None:
        self.title = "".join(c if c.isprintable() else " " for c in title)
        self._clock = clock
        self._begun = clock()
        self._lock = threading.Lock()
        self._newest: Progress | None = None
        self._usage = Usage()
        self._history = History()
        self._pace = Pace()
        self._flips = 0
        self._resumed = False

    def progress(self, event: Progress) -> None:
        """A search made a step."""
        state, before = event.state, self._newest
        with self._lock:
            if event.usage.requests < self._usage.requests:
                self._pace = Pace()  # another run, whose counts begin anew
            if (
                before is None
                or before.chain != event.chain
                or before.state.iteration >= state.iteration
            ):
                self._history, self._flips = History(), 0
                self._resumed = state.iteration > 0
            else:
                self._flips += _flipped(before.state, state)
            self._history.add(state.iteration, state.objective)
            self._pace.step(self._clock(), event.usage.requests)
            self._newest, self._usage = event, event.usage

    def usage(self, usage: Usage) -> None:
        """Something was spent, within a step."""
        with self._lock:
            self._usage = usage

    def line(self) -> str:
        """All that is known, on one line of any length."""
        with self._lock:
            facts = [*self._place(), *self._search(), *self._spent(), self._left()]
        return f"{self.title}: {_joined([part[0] for part in facts])}"

    def lines(self, width: int, levels: str = BLOCKS) -> list[tuple[str, str]]:
        """Three lines, four on a narrow terminal, of `width` characters at most: the words of
        each, and the curve that comes after them."""
        width = min(width, WIDEST)
        with self._lock:
            title: Part = (self.title[:40], self.title[:16], self.title[:8])
            head = fitted([title, *self._place(), self._elapsed(), self._left()], width)
            search, spent = fitted(self._search(), width), fitted(self._spent(), width)
            if self._newest is None:
                return [(head, ""), (spent, "")]
            if width < WIDE:
                value = f"U {self._newest.state.objective:.2f}"
                rest = fitted(self._search()[1:], width)
                curve = self._curve(width - len(value) - 2, levels)
                return [(head, ""), (f"{value}  "[:width], curve), (rest, ""), (spent, "")]
            curve = self._curve(width - len(search) - 2, levels)
            return [(head, ""), (f"{search}  "[:width], curve), (spent, "")]

    def _curve(self, room: int, levels: str) -> str:
        """The objective over the whole search, where there is room for it."""
        if self._newest is None or room < 2:
            return ""
        values = self._history.columns(room, self._newest.iterations)
        curve = sparkline(values, levels).rstrip()
        return curve + TO_COME * (room - len(curve))

    def _place(self) -> Iterator[Part]:
        event = self._newest
        if event is None:
            yield ("begins",)
            return
        if event.chains > 1:
            place = f"{event.chain + 1}/{event.chains}"
            yield (f"chain {place}", place)
        done, most = event.state.iteration, event.iterations
        if event.state.rounds is None:
            yield (f"iteration {done:,}/{most:,}", f"{done}/{most}")
        else:
            yield (f"round {done} of at most {most}", f"round {done}/{most}")

    def _search(self) -> list[Part]:
        if self._newest is None:
            return []
        state = self._newest.state
        parts: list[Part] = [(f"U {state.objective:8.2f}", f"U {state.objective:.2f}")]
        if state.rounds is not None:
            if state.step is not None:
                moved = f"{state.step.flips:,}"
                parts.append((f"{moved} labels changed in the last round", f"flips {moved}"))
            return parts
        parts.append((f"T {state.temperature:5.2f}", f"T {state.temperature:.2f}"))
        if state.iteration:
            share = state.accepted / state.iteration
            parts.append((f"accepted {share:4.0%}", f"acc. {share:.0%}"))
        since = " since resumed" if self._resumed else ""
        parts.append((f"flips {self._flips:,}{since}", f"flips {self._flips}"))
        return parts

    def _spent(self) -> list[Part]:
        usage = self._usage
        answered = usage.requests + usage.cached
        share = f"{usage.cached / answered:.0%}" if answered else "0%"
        parts: list[Part] = [
            (f"{usage.spent_tokens:,} tokens", f"{_short(usage.spent_tokens)} tokens"),
            (f"{answered:,} prompts", f"{_short(answered)} prompts", ""),
            (f"{share} from the cache ({usage.cached:,})", f"{share} cached"),
        ]
        if usage.cost_usd is not None:
            parts.insert(0, (f"${usage.cost_usd:.4f}",))
        elif usage.unpriced_calls:
            parts.insert(0, ("price unknown", "$?"))
        if usage.calls:
            parts.append((f"{usage.calls:,} requests sent", ""))
        return parts

    def _elapsed(self) -> Part:
        gone = told_elapsed(self._clock() - self._begun)
        return (f"{gone} gone", gone, "")

    def _left(self) -> Part:
        unknown: Part = ("time left unknown", "left: ?")
        event = self._newest
        if event is None:
            return unknown
        steps = event.chains * event.iterations
        steps -= event.chain * event.iterations + event.state.iteration
        seconds = self._pace.seconds_left(self._clock(), steps)
        if seconds is None:
            return unknown
        told = told_time(seconds)
        if event.state.rounds is not None:
            return (f"at most about {told} left", f"<{told} left")
        return (f"about {told} left", f"~{told} left")


def _flipped(before: State, after: State) -> int:
    """Labels that changed to another; an item's first is none."""
    was, now = before.labelling.labels, after.labelling.labels
    return int(((was != now) & (was != UNLABELLED)).sum())


def fitted(parts: Sequence[Part], width: int) -> str:
    """The parts on a line of `width` characters at most: the later ones are shortened first,
    and left out first where even the shortest words are too long."""
    level = [0] * len(parts)

    def text() -> str:
        return _joined([part[n] for part, n in zip(parts, level, strict=True)])

    while len(text()) > width:
        for place in reversed(range(len(parts))):
            if level[place] + 1 < len(parts[place]):
                level[place] += 1
                break
        else:
            return text()[:width]
    return text()


def _joined(words: Sequence[str]) -> str:
    return "  ".join(word for word in words if word)


def _short(count: int) -> str:
    """`950`, `12.3k`, `4.56M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
