"""`elicit align`: a reward model from elicited comparisons, a policy, and head-to-head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elicit.align.align_settings import AlignSettings
from elicit.align.comparisons import GOLDEN, HUMAN
from elicit.align.given_settings import SEARCH, by_part, made_of
from elicit.align.plot import check_drawing, draw_curves
from elicit.align.questions import read_questions
from elicit.cache.errors import InputError
from elicit.cache.jobs import Job, JobStore
from elicit.cli.align_lines import Lines, caveats, print_report
from elicit.cli.options import AsJson, Cache, Model, Seed, TaskName, assignments
from elicit.cli.output import notes, print_json
from elicit.cli.tasks import embedded_tasks, open_task, task_file
from elicit.cli.values import resolved
from elicit.finetune.local import check_packages
from elicit.gold import load_gold, load_human
from elicit.labelling import open_store
from elicit.providers.registry import local_model
from elicit.scorer import IntArray
from elicit.task import Task


def align(
    task: TaskName = "preferences",
    questions: Annotated[
        Path | None,
        typer.Option(
            help="Prompts that the policy answers: rows with `question`, maybe `known` (the "
            "right answer, for the report alone), `said` (what the start learns to say) and "
            "`kind` (as large a share of each is held out). What is right is measured on "
            "held-out prompts with `known`: name those of the comparisons too."
        ),
    ] = None,
    model: Model = "tiny",
    beside: Annotated[
        bool,
        typer.Option(help="Train from human and gold labels too, where the task names them."),
    ] = True,
    seed: Seed = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any other setting, as held_out=0.2, policy.steps=40 or search.method=icm.",
        ),
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
    chosen = settings_of(task, loaded, settings, seed)
    others = _outside(task, loaded)
    local_model(model)
    if plots is not None:
        check_drawing(plots)
    check_packages("trl", "accelerate", "datasets", extra="align")
    # Only here: every other command has to do without what they need.
    from elicit.align.job import Wanted, aligned, record_of

    wanted = Wanted(loaded, asked, others if beside else {}, chosen, model)
    with open_store(cache) as store:
        jobs = JobStore(store)
        folder = out_folder or store.path.parent / "aligned"
        job = record_of(jobs, wanted, name, folder)
        _say_what_is_not_used(job, name, out_folder)
        with jobs.claim(job, force=force) as held:
            try:
                made, found = aligned(jobs, held, wanted, others.get(GOLDEN), cache, Lines())
            except KeyboardInterrupt:
                notes.print("interrupted; give the same again to go on")
                raise
    if as_json:
        print_json({"job": job.name, "policies": made} | found.as_dict())
    else:
        print_report(found, made)
    for line in caveats(found, asks_what_is_right=bool(asked.known)):
        notes.print(f"note: {line}", markup=False, soft_wrap=True)
    if plots is not None:
        drawn = draw_curves({who: m.curve for who, m in found.by.items()}, plots)
        notes.print(f"curves: {drawn}", markup=False, soft_wrap=True)


def settings_of(
    name: str, task: Task, assigned: list[str] | None, seed: int | None
) -> AlignSettings:
    """Settings by name, those of a part behind its name and a dot. Those of the search, and the
    seed, are joined with the task file's and the environment's, as those of every run.

    Raises:
        InputError: there is no such setting, or its value can't be.
    """
    parts = by_part({key: str(value) for key, value in assignments(assigned).items()})
    given = [f"{key}={value}" for key, value in parts[SEARCH].items()]
    decides = parts[""].get("seed", seed)
    try:
        search = resolved(name, task, given, seed=decides)
    except InputError as error:
        raise InputError(f"settings of the search: {error}") from error
    return made_of(parts, search.settings)


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


def _say_what_is_not_used(job: Job, name: str | None, folder: Path | None) -> None:
    """An equal alignment may be there, under another name and elsewhere."""
    unused = [
        option
        for option, asked, there in (
            ("--name", name, job.name),
            ("--out", folder and folder.resolve(), Path(job.folder).parent),
        )
        if asked is not None and asked != there
    ]
    if unused:
        notes.print(
            f"note: there is an equal alignment, {job.name}, in {job.folder}, which is gone "
            f"on with; {' and '.join(unused)} have no effect",
            markup=False,
            soft_wrap=True,
        )
