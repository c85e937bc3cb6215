"""`elicit demo`: the embedded model labels an embedded task."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from elicit.cli.options import AsJson, Cache
from elicit.cli.output import notes, out, print_json
from elicit.cli.progress import shown_progress
from elicit.cli.tasks import embedded_tasks
from elicit.demo import demonstrate


def demo(
    seeds: Annotated[int, typer.Option(min=1, help="Independent searches.")] = 5,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """The embedded model labels an embedded task; compares it with its baselines."""
    with shown_progress(notes, "demo") as progress:
        result = demonstrate(
            embedded_tasks()["claims"], seeds=seeds, cache=cache, on_progress=progress.progress
        )
    if as_json:
        print_json(result.as_dict())
        return
    table = Table(title=f"claims: {result.items} items, {result.seeds} seeds")
    table.add_column("labels from")
    table.add_column("accuracy (95 % interval over seeds)", justify="right")
    for name, accuracy in result.accuracy.items():
        table.add_row(name, accuracy.percent() if result.seeds > 1 else f"{accuracy.value:.1%}")
    out.print(table)
    out.print(
        f"{result.usage.forwarded_tokens:,} tokens forwarded "
        f"({result.usage.prompt_tokens:,} without sharing), "
        f"{result.usage.cached:,} scores from the cache"
    )
