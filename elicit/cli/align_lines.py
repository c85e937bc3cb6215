"""What `elicit align` prints: lines while it works, and its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from elicit.align.stages import StageEvent
from elicit.cli.output import notes, out
from elicit.cli.progress import SECONDS_BETWEEN_LINES
from elicit.evaluation import Estimate

if TYPE_CHECKING:
    from elicit.align.report import Report


class Lines:
    """A line for the beginning and the end of each stage; between them one now and then, and
    one for the last thing that it told."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], None] = lambda line: notes.print(
            line, markup=False, highlight=False, soft_wrap=True
        ),
    ) -> None:
        self._clock, self._write = clock, write
        self._last = clock()
        self._kept: str | None = None

    def __call__(self, event: StageEvent) -> None:
        if event.found:
            return
        line = f"{event.stage}: {event.message}"
        if event.record is not None:
            if self._kept is not None:
                self._show(self._kept)
            self._show(f"{line} ({event.record.seconds:.0f} s)")
        elif event.begins or self._clock() - self._last >= SECONDS_BETWEEN_LINES:
            self._show(line)
        else:
            self._kept = line

    def _show(self, line: str) -> None:
        self._last = self._clock()
        self._kept = None
        self._write(line)


def caveats(found: Report, *, asks_what_is_right: bool) -> list[str]:
    """What a reader of the figures has to know."""
    told = []
    if asks_what_is_right and found.known < found.held_out:
        told.append(
            f"the right answer is known to {found.known} of {found.held_out} held-out prompts; "
            "what is right is measured on these alone (column `known` of --questions)"
        )
    if found.equal_answers:
        told.append(
            f"{found.equal_answers} items compare an answer with itself; nothing is learnt "
            "from them"
        )
    return told


def print_report(found: Report, policies: Mapping[str, str]) -> None:
    """Print tables of it, matches, and the name of each policy."""
    table = Table("trained from", "of its labels right", "reward model", "policy, right")
    table.add_row("(the start)", "", "", _percent(found.start.right))
    for who, measure in found.by.items():
        table.add_row(
            who,
            _percent(measure.labels),
            _percent(measure.reward),
            _percent(measure.policy.right),
        )
    out.print(table)
    habits = Table("policy", "tokens", "repeated words", "commonest answer", "empty")
    written = {"(the start)": found.start, **{n: m.policy for n, m in found.by.items()}}
    for who, policy in written.items():
        told = policy.habits
        cells = [f"{told.tokens:.1f}", *map("{:.0%}".format, (told.repeated, told.commonest))]
        habits.add_row(who, *cells, f"{told.empty:.0%}")
    out.print(habits)
    for pair, judges in found.matches.items():
        for judge, match in judges.items():
            out.print(
                f"{pair}, judged by {judge}: wins {match.win_rate.percent()}, ties "
                f"{match.ties:.0%}, ties count half",
                markup=False,
                soft_wrap=True,
            )
    for who, model in policies.items():
        out.print(f"{who}: {model}", markup=False, soft_wrap=True)


def _percent(estimate: Estimate | None) -> str:
    return "" if estimate is None else estimate.percent()
