"""`elicit align`: a reward model from elicited comparisons, a policy, and head-to-head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from elicit.align.align_settings import AlignSettings
from elicit.align.comparisons import GOLDEN, HUMAN, comparisons_of
from elicit.align.plot import draw_curves
from elicit.align.questions import read_questions
from elicit.align.stages import StageEvent
from elicit.cache.errors import InputError
from elicit.cache.jobs import JobStore
from elicit.cli.finetune import given_settings
from elicit.cli.options import AsJson, Cache, Model, TaskName
from elicit.cli.output import notes, out, print_json
from elicit.cli.tasks import embedded_tasks, open_task, task_file
from elicit.evaluation import Estimate
from elicit.finetune.local import check_packages
from elicit.gold import load_gold, load_human
from elicit.labelling import open_store
from elicit.providers.registry import local_model
from elicit.scorer import IntArray
from elicit.task import Task

if TYPE_CHECKING:
    from elicit.align.report import Report


def align(
    task: TaskName = "preferences",
    questions: Annotated[
        Path | None,
        typer.Option(
            help="Prompts that the policy answers: rows with `question`, maybe `known` (the "
            "right answer, for the report alone) and `said` (what the start learns to say)."
        ),
    ] = None,
    model: Model = "tiny",
    beside: Annotated[
        bool,
        typer.Option(help="Train from human and gold labels too, where the task names them."),
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Decides every draw.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, as policy.steps=40 or held_out=0.2."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Keep its files here, not beside the store.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Draw the policies' curves into this folder.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take it from a process on a machine that is gone.")
    ] = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """From comparisons to a reward model and a policy: comparisons are labelled by a search, a
    reward model is trained on them, a policy optimised against it and measured head to head.
    Given again, it goes on from the last stage that is done."""
    loaded = open_task(task)
    asked = read_questions(_questions_of(task, questions))
    chosen = settings_of(given_settings(None, seed, settings))
    others = _outside(task, loaded)
    trained = others if beside else {}
    local_model(model)
    comparisons_of(loaded)
    check_packages("trl", "accelerate", "datasets", extra="align")
    # Only here: every other command has to do without what they need.
    from elicit.align.job import aligned, record_of

    with open_store(cache) as store:
        jobs = JobStore(store)
        folder = out_folder or store.path.parent / "aligned"
        job = record_of(jobs, loaded, asked, trained, chosen, model, name, folder)
        with jobs.claim(job, force=force):
            gold = others.get(GOLDEN)
            try:
                made, found = aligned(
                    jobs, job, loaded, asked, trained, gold, chosen, model, cache, _tell
                )
            except KeyboardInterrupt:
                notes.print("interrupted; give the same again to go on")
                raise
    if plots is not None:
        drawn = draw_curves({who: m.curve for who, m in found.by.items()}, plots)
        notes.print(f"curves: {drawn}", markup=False, soft_wrap=True)
    if as_json:
        print_json({"job": job.name, "policies": made} | found.as_dict())
        return
    _print(found, made)


def settings_of(given: Mapping[str, float | int | str]) -> AlignSettings:
    """Settings by name, those of a part behind its name and a dot.

    Raises:
        InputError: there is no such setting, or its value can't be.
    """
    chosen = AlignSettings()
    for key, value in given.items():
        chosen = _replaced(chosen, key.split("."), value, key)
    return chosen


def _replaced(settings: Any, path: list[str], value: float | int | str, key: str) -> Any:
    name, *rest = path
    known = {f.name: f.type for f in fields(settings)}
    inner = getattr(settings, name) if name in known else None
    if name not in known or bool(rest) != is_dataclass(inner):
        raise InputError(f"align has no setting {key} (there are {', '.join(known)})")
    if rest:
        return replace(settings, **{name: _replaced(inner, rest, value, key)})
    return replace(settings, **{name: float(value) if known[name] == "float" else value})


def _questions_of(task: str, named: Path | None) -> Path:
    if named is not None:
        return named
    found = task_file(task).with_suffix("").with_suffix(".questions.jsonl")
    if task in embedded_tasks() and found.exists():
        return found
    raise InputError(
        "--questions: name a file of the prompts that the policy answers, with a column "
        "`question`"
    )


def _outside(name: str, task: Task) -> dict[str, IntArray]:
    """Labels that the task file names, by who gave them."""
    ids = [item.id for item in task.items]
    path = task_file(name)
    found = {HUMAN: load_human(path, ids), GOLDEN: load_gold(path, ids)}
    return {who: labels for who, labels in found.items() if labels is not None}


def _tell(event: StageEvent) -> None:
    if event.found:
        return
    took = "" if event.record is None else f" ({event.record.seconds:.0f} s)"
    notes.print(f"{event.stage}: {event.message}{took}", markup=False, soft_wrap=True)


def _print(found: Report, made: Mapping[str, str]) -> None:
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
    policies = {"(the start)": found.start, **{n: m.policy for n, m in found.by.items()}}
    for who, policy in policies.items():
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
    for who, model in made.items():
        out.print(f"{who}: {model}", markup=False, soft_wrap=True)


def _percent(estimate: Estimate | None) -> str:
    return "" if estimate is None else estimate.percent()
