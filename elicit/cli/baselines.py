"""`elicit baselines`: what a task's labels are worth without a search."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from elicit.baseline_table import Baseline, BaselineTable, baseline_table
from elicit.cli.options import (
    AsJson,
    Batch,
    Cache,
    Limit,
    MaxCost,
    MaxRequests,
    MaxTokens,
    Model,
    Set,
    TaskName,
    limits_of,
)
from elicit.cli.output import notes, out, print_json, told_usage
from elicit.cli.progress import shown_progress
from elicit.cli.tasks import open_task, task_file
from elicit.cli.values import resolved
from elicit.gold import load_gold
from elicit.labelling import metered, open_store


def baselines(
    task: TaskName,
    model: Model = "tiny",
    shots: Annotated[int, typer.Option(min=1, help="Demonstrations of few-shot.")] = 32,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the demonstrations.")] = 5,
    limit: Limit = None,
    settings: Set = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    batch: Batch = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Zero-shot, calibrated, random and golden few-shot. Repeated, it costs nothing."""
    loaded = open_task(task, limit)
    gold = load_gold(task_file(task), [item.id for item in loaded.items])
    chosen = resolved(task, loaded, settings).settings
    limits = limits_of(max_cost, max_requests, max_tokens)
    with (
        shown_progress(notes, loaded.name) as display,
        open_store(cache) as store,
        metered(model, store, limits, display.usage, batch=batch) as meter,
    ):
        writing = chosen.writing_for(meter.capabilities.form)
        found = baseline_table(
            loaded, loaded.render(writing), meter, gold=gold, shots=shots, seeds=seeds
        )
    if as_json:
        print_json(found.as_dict())
        return
    out.print(_table(loaded.name, loaded.labels, found))
    out.print(told_usage(found.usage), markup=False)


def _table(name: str, labels: tuple[str, ...], found: BaselineTable) -> Table:
    table = Table(title=f"{name}: {found.items} items, {found.seeds} seeds")
    table.add_column("labels from")
    table.add_column("accuracy (95 % interval)", justify="right")
    for label in labels:
        table.add_column(label, justify="right")
    table.add_column("coverage", justify="right")
    for row in found.rows:
        table.add_row(
            row.name, _accuracy(row), *map("{:.0%}".format, row.shares), _coverage(row)
        )
    return table


def _accuracy(row: Baseline) -> str:
    return "no gold labels" if row.accuracy is None else row.accuracy.percent()


def _coverage(row: Baseline) -> str:
    return "" if row.mean_coverage is None else f"{row.mean_coverage:.3f}"
