"""Shows a search as it goes: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from elicit.run import Progress

SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def shown_progress(console: Console, title: str) -> Iterator[Callable[[Progress], None]]:
    """A function to call with each event. An interrupt is told what to do next."""
    try:
        with _shown(console, title) as show:
            yield show
    except KeyboardInterrupt:
        console.print("interrupted; `elicit runs` shows what can be resumed")
        raise


@contextmanager
def _shown(console: Console, title: str) -> Iterator[Callable[[Progress], None]]:
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

        def show(event: Progress) -> None:
            bar.update(
                task,
                total=event.iterations,
                completed=event.state.iteration,
                facts=_facts(event),
            )

        yield show


def _facts(event: Progress) -> str:
    s, u = event.state, event.usage
    return (
        f"chain {event.chain + 1}/{event.chains}  U {s.objective:.2f}  T {s.temperature:.2f}  "
        f"accepted {s.accepted}  {u.forwarded_tokens:,} tokens  {u.cached:,} cached"
    )


def _lines(console: Console, title: str) -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(event: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            done = f"{event.state.iteration}/{event.iterations}"
            console.print(f"{title}: {done}  {_facts(event)}", soft_wrap=True, highlight=False)

    return show
