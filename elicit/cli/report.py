"""`elicit report`: a run, or several side by side, as one HTML file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from elicit.cache.errors import InputError
from elicit.cache.runs import Run, RunStore
from elicit.cli.completion import complete_runs, complete_tasks
from elicit.cli.options import AsJson, Cache
from elicit.cli.output import notes, print_facts, print_json
from elicit.cli.tasks import open_task, task_file, tell_reworded
from elicit.evaluation import AgainstGold
from elicit.labelling import open_store, task_path_of
from elicit.report.compare import compare, reworded
from elicit.report.facts import RunFacts
from elicit.report.gather import gather
from elicit.report.page import comparison_page, page
from elicit.report.plots import draw
from elicit.report.reproduce import shown_task
from elicit.run_gold import against_gold
from elicit.run_record import record_of
from elicit.task import Task
from elicit.task_file import read_task_file
from elicit.whole_file import save

SECONDS_BETWEEN_PAGES = 3.0
UNENDED = "running"
"""The state of a run that a process works on: in any other its page changes no more."""


def report(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="A run's name; several are compared.",
            autocompletion=complete_runs,
        ),
    ],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="Write here; NAME.html is the default.")
    ] = None,
    gold: Annotated[
        str | None,
        typer.Option(
            help="Compare with the gold column of this task; the run's own is the "
            "default, if it names one (one run).",
            autocompletion=complete_tasks,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(help="Also draw plots here, as SVG, PNG and CSV (one run)."),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Write the page anew as the run goes on, until it ends (one run)."
        ),
    ] = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Write a page that shows a run, or several side by side, and needs nothing else."""
    several = len(names) > 1
    for option, given in (("--gold", gold), ("--plots", plots), ("--watch", watch)):
        if several and given:
            raise InputError(f"{option} is for one run, and {len(names)} are named")
    if len(set(names)) < len(names):
        raise InputError("a run is named twice: name each once")
    path = out_file or Path(f"{'-and-'.join(names)[:200]}.html")
    if watch:
        if gold is not None:
            task_of_gold(gold)
        _follow(names[0], path, cache)
    facts = [gathered(name, gold, cache) for name in names]
    told: dict[str, object] = {"report": str(path)}
    drawn: list[Path] = []
    if several:
        found = compare(facts)
        if count := reworded(facts):
            notes.print(
                f"note: {count} items are worded otherwise in one of the runs; they are "
                "compared by id",
                soft_wrap=True,
            )
        save(path, comparison_page(found).encode())
        told |= {"runs": len(names), "items": len(found.ids), "differing": found.differing}
    else:
        save(path, page(facts[0]).encode())
        told |= {"run": names[0], "status": facts[0].status}
        drawn = [] if plots is None else draw(facts[0], plots)
    if as_json:
        print_json(told | {"plots": [str(file) for file in drawn]})
        return
    print_facts(told)
    for file in drawn:
        typer.echo(file)


def gathered(name: str, gold: str | None, cache: Path | None) -> RunFacts:
    """What is shown of a run, and how it compares with gold labels where there are any."""
    with open_store(cache) as store:
        runs = RunStore(store)
        run = runs.get(name)
        record = record_of(runs, run)
    task = open_task(task_path_of(run), int(run.settings["items"]))
    if run.result is None:
        return gather(record, task, None, "Labels are compared once the run has ended.")
    if gold is not None:
        return gather(record, task, _gold(run, task_of_gold(gold), task_file(gold), gold))
    file = read_task_file(run.task_path)
    if "gold" not in file.data:
        return gather(record, task, None, "The task names no gold column ([data] gold).")
    try:
        found = _gold(run, task, Path(run.task_path), shown_task(run.task_path))
    except InputError as error:
        # It was not asked for: an empty column, say, is no reason to show nothing.
        notes.print(f"note: no gold labels: {error}", markup=False, soft_wrap=True)
        return gather(record, task, None, str(error))
    return gather(record, task, found)


def task_of_gold(source: str) -> Task:
    """The task file of `--gold`.

    Raises:
        InputError: it can't be read, or names no gold column.
    """
    if "gold" not in read_task_file(task_file(source)).data:
        raise InputError(f"--gold {source}: names no gold column; add gold = ... to [data]")
    return open_task(source)


def _gold(run: Run, task: Task, path: Path, source: str) -> AgainstGold:
    tell_reworded(run, task, source)
    return against_gold(run, task, path, source)


def _follow(name: str, path: Path, cache: Path | None) -> None:
    """Write the page again and again while a process works on the run. However this ends, the
    page that is left does not say that it goes on."""
    facts = gathered(name, None, cache)
    if facts.status != UNENDED:
        return
    notes.print(
        f"{path} follows run {name!r}; Ctrl-C ends this, not the run",
        markup=False,
        soft_wrap=True,
    )
    try:
        while facts.status == UNENDED:
            save(path, page(facts, refresh_seconds=round(SECONDS_BETWEEN_PAGES)).encode())
            time.sleep(SECONDS_BETWEEN_PAGES)
            facts = gathered(name, None, cache)
    finally:
        save(path, page(facts).encode())
