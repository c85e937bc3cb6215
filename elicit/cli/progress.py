"""Shows a search as it goes: a few lines that change on a terminal, a line now and then
elsewhere. Events cost next to nothing: what they tell is kept, and drawn a few times a second.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from elicit.cli.progress_lines import Seen
from elicit.cli.sparkline import levels_for
from elicit.providers.base import Usage
from elicit.run import Progress

SECONDS_BETWEEN_LINES = 5.0
DRAWN_A_SECOND = 8


class Display:
    """Takes what a search tells of itself."""

    def __init__(self, seen: Seen, changed: Callable[[], None]) -> None:
        self._seen = seen
        self._changed = changed

    def progress(self, event: Progress) -> None:
        """A search made a step."""
        self._seen.progress(event)
        self._changed()

    def usage(self, usage: Usage) -> None:
        """Something was spent, within a step."""
        self._seen.usage(usage)
        self._changed()


@contextmanager
def shown_progress(
    console: Console, title: str, clock: Callable[[], float] = time.monotonic
) -> Iterator[Display]:
    """A display to tell of events. An interrupt is told what to do next, a warning from
    below is a line of its own. `clock` gives seconds."""
    warnings = _Warnings(console)
    logging.getLogger("elicit").addHandler(warnings)
    seen = Seen(title, clock)
    try:
        with _shown(console, seen, clock) as changed:
            yield Display(seen, changed)
    except KeyboardInterrupt:
        console.print("interrupted; `elicit runs` shows what can be resumed", soft_wrap=True)
        raise
    finally:
        logging.getLogger("elicit").removeHandler(warnings)


class _Warnings(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)


class _Panel:
    """The lines that are drawn, at the width that the terminal has at that moment."""

    def __init__(self, seen: Seen, levels: str) -> None:
        self._seen = seen
        self._levels = levels

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # The last column is left free: some terminals begin a new line after it.
        lines = self._seen.lines(max(1, options.max_width - 1), self._levels)
        for place, (words, curve) in enumerate(lines):
            text = Text(words, style="" if place else "bold", no_wrap=True, overflow="crop")
            yield text.append(curve, "cyan")


@contextmanager
def _shown(
    console: Console, seen: Seen, clock: Callable[[], float]
) -> Iterator[Callable[[], None]]:
    if not console.is_interactive or console.is_dumb_terminal:
        yield _lines(console, seen, clock)
        return
    panel = _Panel(seen, levels_for(console.encoding))
    with Live(
        panel,
        console=console,
        refresh_per_second=DRAWN_A_SECOND,
        transient=True,
        # What is piped on is no part of the terminal.
        redirect_stdout=sys.stdout.isatty(),
    ):
        yield lambda: None


def _lines(console: Console, seen: Seen, clock: Callable[[], float]) -> Callable[[], None]:
    last = clock()

    def show() -> None:
        nonlocal last
        if clock() - last >= SECONDS_BETWEEN_LINES:
            last = clock()
            console.print(seen.line(), soft_wrap=True, highlight=False, markup=False)

    return show
