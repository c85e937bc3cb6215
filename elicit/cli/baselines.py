"""`elicit baselines`: what a task's labels are worth without a search."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer
from rich.table import Table

from elicit.baseline_table import Baseline, BaselineTable, baseline_table
from elicit.cache.runs import Run, RunStore
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
from elicit.cli.tasks import open_task, task_file, tell_reworded
from elicit.cli.values import resolved
from elicit.gold import load_gold, load_human
from elicit.labelling import metered, open_store
from elicit.providers.base import Usage
from elicit.providers.usage import Account, Meter
from elicit.run_labels import labels_of_run
from elicit.scorer import IntArray
from elicit.task import Task


def baselines(
    task: TaskName,
    model: Model = "tiny",
    chat_model: Annotated[
        str | None,
        typer.Option("--chat-model", help="Another model, asked zero-shot in a form of chat."),
    ] = None,
    shots: Annotated[int, typer.Option(min=1, help="Demonstrations of few-shot.")] = 32,
    many: Annotated[
        int, typer.Option(min=1, help="Demonstrations of many-shot, at most.")
    ] = 128,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the demonstrations.")] = 5,
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help="A finished run to compare; may be given again."),
    ] = None,
    limit: Limit = None,
    settings: Set = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    batch: Batch = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """What the model says without a search: alone and after random, gold and human labels.
    Finished runs stand beside it.

    Repeated, it costs nothing.
    """
    loaded = open_task(task, limit)
    ids = [item.id for item in loaded.items]
    gold, human = load_gold(task_file(task), ids), load_human(task_file(task), ids)
    chosen = resolved(task, loaded, settings).settings
    limits = limits_of(max_cost, max_requests, max_tokens)
    with (
        shown_progress(notes, loaded.name) as display,
        open_store(cache) as store,
        ExitStack() as models,
    ):
        kept = RunStore(store)
        runs = {name: _labels_of(kept.get(name), loaded, task) for name in run or ()}
        account = Account(limits)
        meters: list[Meter] = []

        def told(_: Usage) -> None:
            display.usage(sum((meter.usage for meter in meters), Usage()))

        def opened(name: str) -> Meter:
            """A model under the one budget of this command."""
            own = metered(name, store, on_usage=told, batch=batch, account=account)
            meters.append(models.enter_context(own))
            return meters[-1]

        meter = opened(model)
        chat = None if chat_model is None else opened(chat_model)
        writing = chosen.writing_for(meter.capabilities.form)
        found = baseline_table(
            loaded,
            loaded.render(writing),
            meter,
            gold=gold,
            human=human,
            shots=shots,
            many=many,
            seeds=seeds,
            runs=runs,
            chat=chat,
            chat_rendered=None if chat is None else loaded.render(chosen.writing_for("chat")),
        )
    if as_json:
        print_json(found.as_dict())
        return
    out.print(_table(loaded.name, loaded.labels, found))
    out.print(told_usage(found.usage), markup=False)


def _labels_of(run: Run, task: Task, source: str) -> IntArray:
    tell_reworded(run, task, source)
    return labels_of_run(run, task)


def _table(name: str, labels: tuple[str, ...], found: BaselineTable) -> Table:
    table = Table(
        title=f"{name}: {found.items} items, {found.seeds} seeds",
        caption="calibrated: less each label's mean log-probability over the items (batch "
        "calibration, arXiv 2309.17249)",
    )
    table.add_column("labels from")
    table.add_column("accuracy (95 % interval)", justify="right")
    for label in labels:
        table.add_column(label, justify="right")
    table.add_column("coverage", justify="right")
    for row in found.rows:
        table.add_row(
            row.name,
            _accuracy(row, found.gold_items),
            *map("{:.0%}".format, row.shares),
            _coverage(row),
        )
    return table


def _accuracy(row: Baseline, gold_items: int) -> str:
    if not gold_items:
        told = "no gold labels"
    elif row.accuracy is None:
        told = "no item with gold has a label"
    else:
        told = row.accuracy.percent()
    return told if row.answered == 1 else f"{told}, {row.answered:.0%} answered"


def _coverage(row: Baseline) -> str:
    return "" if row.mean_coverage is None else f"{row.mean_coverage:.3f}"
