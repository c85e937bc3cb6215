"""`elicit iterate`: label a part, tune, label the next with the tuned model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from elicit.cli.finetune import given_settings, tell
from elicit.cli.options import (
    AsJson,
    Cache,
    Limit,
    MaxCost,
    MaxRequests,
    MaxTokens,
    Method,
    Model,
    Prior,
    Seed,
    Set,
    TaskName,
    limits_of,
)
from elicit.cli.output import notes, out, print_facts, print_json, told_usage
from elicit.cli.progress import shown_progress
from elicit.cli.tasks import open_task
from elicit.cli.values import resolved
from elicit.constraints import UNLABELLED
from elicit.finetune.iterate import Iterated
from elicit.finetune.iterate import iterate as iterated
from elicit.labelling import open_store
from elicit.task import Task


def iterate(
    task: TaskName,
    model: Model = "tiny",
    parts: Annotated[int, typer.Option(min=2, help="Turns of labelling and tuning.")] = 2,
    name: Annotated[str | None, typer.Option(help="What to call the runs and jobs.")] = None,
    method: Method = None,
    seed: Seed = None,
    prior: Prior = None,
    limit: Limit = None,
    settings: Set = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Times that each label is shown in tuning.")
    ] = None,
    tuning: Annotated[
        list[str] | None, typer.Option("--tune", help="Any other setting of tuning.")
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Folder with the model in Hugging Face's form.")
    ] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Keep models here, not beside the store.")
    ] = None,
    max_cost: MaxCost = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Label a part, tune the model on it, label the next with the tuned model, and so on. What
    was interrupted goes on when it is given again."""
    loaded = open_task(task, limit)
    chosen = resolved(task, loaded, settings, method=method, seed=seed, prior=prior).settings
    with shown_progress(notes, loaded.name) as progress, open_store(cache) as store:
        found = iterated(
            loaded,
            model,
            store,
            out_folder or store.path.parent / "tuned",
            parts=parts,
            name=name,
            settings=chosen,
            tuning=given_settings(epochs, None, tuning),
            base=base,
            limits=limits_of(max_cost, max_requests, max_tokens),
            on_progress=progress.progress,
            on_event=tell,
        )
    _print(loaded, found, as_json=as_json)


def _print(task: Task, found: Iterated, *, as_json: bool) -> None:
    names = [None if k == UNLABELLED else task.labels[k] for k in found.labels.tolist()]
    turns = [
        {"run": t.run, "items": t.items.size, "model": t.model, "job": t.job, "tuned": t.tuned}
        for t in found.turns
    ]
    if as_json:
        rows = [{"id": i.id, "label": n} for i, n in zip(task.items, names, strict=True)]
        used = asdict(found.usage)
        print_json({"model": found.model, "turns": turns, "usage": used, "rows": rows})
        return
    for turn in turns:
        out.print(
            f"{turn['run']}: {turn['items']} items labelled by {turn['model']}",
            markup=False,
            soft_wrap=True,
        )
    counts = {name: names.count(name) for name in task.labels}
    usage = told_usage(found.usage)
    print_facts({"labels": counts, "model": found.model, "usage": usage})
