"""Shows a search as it goes: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from elicit.providers.base import Usage
from elicit.run import Progress

SECONDS_BETWEEN_LINES = 5.0


class Display:
    """What is known of a search so far; whoever shows it is told when that changes."""

    def __init__(self, show: Callable[[Progress | None, Usage], None]) -> None:
        self._show = show
        self._newest: Progress | None = None

    def progress(self, event: Progress) -> None:
        """A search made a step."""
        self._newest = event
        self._show(event, event.usage)

    def usage(self, usage: Usage) -> None:
        """Something was spent, within a step."""
        self._show(self._newest, usage)


@contextmanager
def shown_progress(console: Console, title: str) -> Iterator[Display]:
    """A display to tell of events. An interrupt is told what to do next, a warning from
    below is a line of its own."""
    warnings = _Warnings(console)
    logging.getLogger("elicit").addHandler(warnings)
    try:
        with _shown(console, title) as show:
            yield Display(show)
    except KeyboardInterrupt:
        console.print("interrupted; `elicit runs` shows what can be resumed")
        raise
    finally:
        logging.getLogger("elicit").removeHandler(warnings)


class _Warnings(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _shown(console: Console, title: str) -> Iterator[Callable[[Progress | None, Usage], None]]:
    if not console.is_terminal:
        yield _lines(console, title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, facts="")

        def show(event: Progress | None, usage: Usage) -> None:
            bar.update(
                task,
                total=None if event is None else event.iterations,
                completed=0 if event is None else event.state.iteration,
                facts=_facts(event, usage),
            )

        yield show


def _facts(event: Progress | None, usage: Usage) -> str:
    parts = []
    if event is not None:
        s = event.state
        parts.append(
            f"chain {event.chain + 1}/{event.chains}  U {s.objective:.2f}  "
            f"T {s.temperature:.2f}  accepted {s.accepted}"
        )
    if usage.calls:
        parts.append(f"{usage.calls:,} requests")
    parts.append(f"{usage.spent_tokens:,} tokens  {usage.cached:,} cached")
    if usage.cost_usd is not None:
        parts.append(f"${usage.cost_usd:.4f}")
    return "  ".join(parts)


def _lines(console: Console, title: str) -> Callable[[Progress | None, Usage], None]:
    last = time.monotonic()

    def show(event: Progress | None, usage: Usage) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            done = "begins" if event is None else f"{event.state.iteration}/{event.iterations}"
            facts = _facts(event, usage)
            console.print(f"{title}: {done}  {facts}", soft_wrap=True, highlight=False)

    return show
