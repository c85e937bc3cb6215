"""`elicit finetune`: tune a model on the labels of a run, here or at a provider."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from elicit.cache.errors import ElicitError, InputError
from elicit.cache.jobs import Job, JobEvent, JobStore
from elicit.cache.runs import Run, RunStore
from elicit.cache.store import ScoreStore
from elicit.cli.options import AsJson, Cache, assignments
from elicit.cli.output import notes, out, print_facts, print_json
from elicit.cli.tasks import open_task
from elicit.finetune.backends import ALIGN, HOSTED, check_name, open_tuning
from elicit.finetune.hosted import HostedTuning
from elicit.finetune.jobs import (
    Wanted,
    cancelled,
    job_for,
    looked_at,
    submission_of,
    submitted,
    watched,
)
from elicit.finetune.local import LOCAL, form_of, is_there, local_job, tuned, write_merged
from elicit.finetune.notices import notice
from elicit.finetune.of_run import examples_of_run
from elicit.labelling import open_store, task_path_of
from elicit.providers.base import Form
from elicit.providers.registry import FACTORIES, hosted_prefixes, lasting_name
from elicit.run import settings_of


class JobFailed(ElicitError):
    """A job ended without a model."""


def finetune(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A finished run, or a job to go on with."),
    ] = None,
    backend: Annotated[
        str, typer.Option(help=f"{LOCAL}, on this machine, or {', '.join(HOSTED)}.")
    ] = LOCAL,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The model to start from, if not that of the run."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(help="Folder with a local model in Hugging Face's form."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Times that each label is shown.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides every draw.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other setting, NAME=VALUE.")
    ] = None,
    job_name: Annotated[str | None, typer.Option("--job", help="What to call the job.")] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Keep files here, not beside the store.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait until a hosted job ends; show its curve.")
    ] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks.")] = 10.0,
    again: Annotated[
        bool, typer.Option("--again", help="Begin a new job though there is an equal one.")
    ] = False,
    merged: Annotated[
        Path | None,
        typer.Option(help="Write the tuned model here as a whole: GGUF, Hugging Face, card."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take it from a process on a machine that is gone.")
    ] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the job NAME.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List the jobs.")] = False,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Tune a model on a run's labels. Given again, it goes on with the job that there is: no
    file is sent twice and no job paid for twice."""
    with open_store(cache) as store:
        jobs = JobStore(store)
        if show:
            _print_list(jobs.all(), as_json=as_json)
            return
        if name is None:
            raise InputError("name a finished run, or a job (--list shows them)")
        if cancel:
            job = _cancelled(jobs, jobs.get(name), force=force)
        else:
            chosen = _Choice(backend, model, base, given_settings(epochs, seed, settings))
            job = jobs.find(name) or _begun(
                store,
                name,
                chosen,
                out_folder or store.path.parent / "tuned",
                job_name,
                again=again,
            )
            asked = (chosen != _Choice(LOCAL, None, None, {}), out_folder, job_name, again)
            if job.name == name and any(asked):
                raise InputError(
                    f"{name!r} is a job, which goes on as it was begun: leave out all but "
                    f"--watch, --every, --merged and --force, or name its run ({job.source})"
                )
            job = _gone_on(jobs, job, every if watch else None, force=force)
        events = jobs.events(job)
    if merged is not None:
        notes.print(f"merged: {write_merged(job, merged)}", markup=False, soft_wrap=True)
    _print_job(job, events, as_json=as_json)
    if job.state == "failed":
        raise JobFailed(
            f"job {job.name!r} failed: {job.said}. Begin a new one by its run: elicit finetune "
            f"{job.source}"
        )


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a user said of the job to begin."""

    backend: str
    model: str | None
    base: Path | None
    settings: Mapping[str, float | int | str]

    def model_for(self, run: Run) -> str:
        """The model to start from, as the backend names it."""
        if self.backend == LOCAL:
            return lasting_name(self.model or run.model)
        prefix, _, rest = (self.model or run.model).partition(":")
        if prefix == self.backend and rest:
            return rest.partition("?")[0]
        if self.model is not None and prefix not in (*hosted_prefixes(), *FACTORIES):
            return self.model.partition("?")[0]
        raise InputError(
            f"{self.model or run.model} is no model of {self.backend}: name the one to start "
            "from, as the provider calls it (--model)"
        )


def _begun(
    store: ScoreStore,
    name: str,
    choice: _Choice,
    folder: Path,
    job_name: str | None,
    *,
    again: bool,
) -> Job:
    """The job of a run's labels: the one there is, or a new one. What its backend would refuse
    is refused before there is a record of it."""
    check_name(choice.backend, LOCAL)
    run = RunStore(store).find(name)
    if run is None:
        raise InputError(
            f"no run and no job {name!r} in {store.path}. `elicit runs` and `elicit finetune "
            "--list` list them."
        )
    model = choice.model_for(run)
    if choice.backend == LOCAL:
        wanted = local_job(model, run.name, choice.base, choice.settings)
    else:
        wanted = Wanted(choice.backend, model, run.name, choice.settings)
    form: Form = form_of(model) if choice.backend == LOCAL else "chat"
    writing = settings_of(run).writing_for(form)
    task = open_task(task_path_of(run), int(run.settings["items"]))
    examples = examples_of_run(run, task, writing)
    jobs = JobStore(store)
    if choice.backend == LOCAL:
        return job_for(jobs, wanted, examples, folder, job_name, again=again, sound=is_there)
    with closing(open_tuning(choice.backend)) as tuning, store.transaction():
        job = job_for(jobs, wanted, examples, folder, job_name, again=again)
        if job.state == "created":
            tuning.check(submission_of(job))
    told = notice(choice.backend, model)
    if told is not None:
        notes.print(f"note: {told}", markup=False, soft_wrap=True)
    return job


def given_settings(
    epochs: int | None, seed: int | None, assigned: list[str] | None
) -> dict[str, float | int | str]:
    """The settings of a tuning that were given as options."""
    flags = {"epochs": epochs, "seed": seed}
    given: dict[str, float | int | str] = {k: v for k, v in flags.items() if v is not None}
    return given | {key: _number(str(value)) for key, value in assignments(assigned).items()}


def _number(text: str) -> float | int | str:
    """A number where the text is one; what it must be, the backend knows."""
    for kind in (int, float):
        try:
            found = kind(text)
        except ValueError:
            continue
        if not math.isfinite(found):
            raise InputError(f"--set: {text} is no number that a setting can have")
        return found
    return text


def _gone_on(jobs: JobStore, job: Job, every: float | None, *, force: bool) -> Job:
    """A job taken as far as it goes: to its end for a local one, or a watched one."""
    if job.backend == LOCAL and not is_there(job):
        raise InputError(
            f"job {job.name!r} is done, and its adapter is gone from {job.folder}: tune on the "
            f"run's labels again (elicit finetune {job.source})"
        )
    if not job.is_open:
        return job
    if job.backend == ALIGN:
        raise InputError(
            f"job {job.name!r} is an alignment; go on with: elicit align {job.source}, and the "
            "options that it was begun with"
        )
    with jobs.claim(job, force=force) as held:
        if not held.is_open:
            return held
        if held.backend == LOCAL:
            try:
                return tuned(jobs, held, tell)
            except KeyboardInterrupt:
                notes.print(f"interrupted; go on with: elicit finetune {job.name}")
                raise
        with closing(_opened(held)) as tuning:
            begun = submitted(jobs, held, tuning)
            if every is None:
                return looked_at(jobs, begun, tuning, tell)
            try:
                return watched(jobs, begun, tuning, tell, every)
            except KeyboardInterrupt:
                again = f"elicit finetune {job.name} --watch"
                notes.print(f"interrupted; the job goes on at {job.backend}: {again}")
                raise


def _cancelled(jobs: JobStore, job: Job, *, force: bool) -> Job:
    if not job.is_open:
        raise InputError(f"job {job.name!r} is {job.state}: there is nothing to end")
    with jobs.claim(job, force=force) as held:
        if not held.is_open:
            return held
        if held.backend in (LOCAL, ALIGN):
            return jobs.update(held, "cancelled", said="by its user")
        with closing(_opened(held)) as tuning:
            return cancelled(jobs, held, tuning, tell)


def _opened(job: Job) -> HostedTuning:
    return open_tuning(job.backend)


def tell(event: JobEvent) -> None:
    """One plain line for each thing that is said of a job."""
    at = time.strftime("%H:%M:%S", time.localtime(event.at))
    notes.print(f"{at} {event.message}", markup=False, highlight=False, soft_wrap=True)


def _facts(job: Job) -> dict[str, object]:
    facts: dict[str, object] = {
        "job": job.name,
        "backend": job.backend,
        "base": job.model,
        "labels of": job.source,
        "state": job.state,
        "said": job.said or None,
    }
    return facts | dict(job.result or {})


def _print_job(job: Job, events: Sequence[JobEvent], *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(job) | {"events": [asdict(event) for event in events]})
        return
    print_facts(_facts(job))
    if job.is_open:
        notes.print(f"go on with: elicit finetune {job.name} --watch", markup=False)


def _print_list(jobs: Sequence[Job], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(job) for job in jobs])
        return
    table = Table("job", "backend", "base", "labels of", "state")
    # To be copied whole.
    table.add_column("model", overflow="fold")
    for job in jobs:
        model = str((job.result or {}).get("model", ""))
        cells = (job.name, job.backend, job.model, job.source, job.state, model)
        table.add_row(*map(escape, cells))
    out.print(table)
