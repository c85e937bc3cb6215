"""How long a search will take yet, told from the pace of this process's recent steps.

What comes from the store says nothing about what must be asked, and a run that is taken up
again, or given again, often begins with a stretch of it. So the clock starts with the first
step for which the model was asked; before, and wherever nothing was asked in the recent past,
the time left is unknown and said to be so. From then on steps count whether the model was
asked or not, as repeated questions are part of a search's pace.
"""

from __future__ import annotations

from collections import deque

RECENT = 30.0
"""Seconds of the recent past that the pace is taken from, more where steps are slower."""
SMOOTHED = 4
"""Steps that the pace is taken from at least, where as many were made."""
FEWEST_STEPS = 2
FEWEST_SECONDS = 2.0
"""Below either no time is promised."""
SPACING = 0.25
"""Seconds between the moments kept, so that they are few however fast the steps are."""
OVERDUE = 4.0
"""Steps that the next one may take the time of before the time left is unknown again."""


class Pace:
    """Steps a second over the recent past; times are seconds of any clock that rises."""

    def __init__(self) -> None:
        self._moments: deque[tuple[float, int, int]] = deque()
        self._steps = 0
        self._last: tuple[float, int, int] | None = None

    def step(self, now: float, asked: int) -> None:
        """A step was made. `asked` is how many prompts the model has answered so far, those of
        earlier steps included."""
        before = self._last
        self._steps += 1
        self._last = (now, self._steps, asked)
        if not self._moments:
            # The step that first asks was under way since the one before it.
            if asked and before is not None:
                self._moments.append(before)
            elif asked:
                self._moments.append(self._last)
            return
        if now - self._moments[-1][0] >= SPACING:
            self._moments.append(self._last)
        while len(self._moments) > 1:
            next_oldest, steps, _ = self._moments[1]
            if now - next_oldest <= RECENT or self._steps - steps < SMOOTHED:
                break
            self._moments.popleft()

    def seconds_left(self, now: float, steps: int) -> float | None:
        """For so many more steps, or None where it can't be told."""
        if not self._moments or self._last is None:
            return None
        begun, first, asked_first = self._moments[0]
        last, newest, asked = self._last
        done, took = newest - first, last - begun
        if done < FEWEST_STEPS or took < FEWEST_SECONDS or asked == asked_first:
            return None
        each = took / done
        since = now - last
        if since > max(OVERDUE * each, RECENT):
            return None
        # Of the step under way what is gone is taken off, as long as it is not overdue.
        return max(0.0, steps * each - min(since, each))


def told_time(seconds: float) -> str:
    """A time in words, in one unit, of which there are at least two where it is not seconds."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{round(seconds / size):,} {unit}"
    return f"{round(seconds)} s"


def told_elapsed(seconds: float) -> str:
    """`0:07`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
