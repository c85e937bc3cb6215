"""Begins jobs and takes them up again, whoever began them.

A job is named by what it is tuned on, from which model and how: the same asked again is the
same job. Where a process died between asking a provider and hearing from it, the next one
finds the intent in the record and asks whether it was made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elicit.cache.errors import InputError
from elicit.cache.jobs import Job, JobEvent, JobStore
from elicit.cache.keys import json_digest
from elicit.finetune.examples import Example, digest_of, save
from elicit.finetune.hosted import HostedTuning, Status, Submission
from elicit.finetune.sft_file import RULES, write_examples

EXAMPLES = "examples.jsonl"
"""The file of a job's folder that has what it is tuned on, as scoring asks it."""
TRAINING = "training.jsonl"
"""The same in the provider's format."""
LISTED_AFTER = 60.0
"""Seconds after which every provider lists what was made."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model to be tuned: from which one, on which run's labels, how."""

    backend: str
    model: str
    """As elicit names it for a local model, as the provider does for a hosted one."""
    source: str
    """The run whose labels it is tuned on."""
    settings: Mapping[str, float | int | str] = field(default_factory=dict)
    decides: Mapping[str, object] | None = None
    """What the result depends on beside the examples; the model's name and the settings where
    None."""

    def digest(self, examples: Sequence[Example]) -> str:
        """64 hexadecimal digits that name the model that comes of it."""
        how = {"model": self.model, **self.settings} if self.decides is None else self.decides
        parts = [self.backend, dict(how), digest_of(examples)]
        return json_digest(parts)


def job_for(
    jobs: JobStore,
    wanted: Wanted,
    examples: Sequence[Example],
    folder: Path,
    name: str | None = None,
    *,
    again: bool = False,
    sound: Callable[[Job], bool] = lambda _: True,
) -> Job:
    """The job that tunes this model: the one there is, or a new one; its examples are in its
    own folder within `folder`.

    One that failed, was cancelled or is not `sound` is not taken up. With `again` a new one is
    begun in any case.

    Raises:
        InputError: the name is taken, or its folder can't be written.
    """

    def prepare(place: Path) -> None:
        save(place / EXAMPLES, examples)
        if wanted.backend in RULES:
            write_examples(place / TRAINING, examples, RULES[wanted.backend])

    return found_or_made(
        jobs,
        wanted.digest(examples),
        folder,
        name,
        backend=wanted.backend,
        model=wanted.model,
        source=wanted.source,
        settings=wanted.settings,
        prepare=prepare,
        again=again,
        sound=sound,
    )


def found_or_made(
    jobs: JobStore,
    digest: str,
    folder: Path,
    name: str | None,
    *,
    backend: str,
    model: str,
    source: str,
    settings: Mapping[str, object],
    prepare: Callable[[Path], None] = lambda _: None,
    again: bool = False,
    sound: Callable[[Job], bool] = lambda _: True,
    option: str = "--job",
) -> Job:
    """The job of that digest, or a new one in a folder of its own within `folder`, for which
    `prepare` writes what it needs: both are there, or neither. `option` is the one that names
    a job. See `job_for`."""
    with jobs.store.transaction():
        known = None if again else jobs.of_digest(digest)
        if known is not None and sound(known):
            return known
        chosen = name or _free_name(jobs, f"{source[:80]}-{backend}")
        place = (folder / chosen).resolve()
        job = jobs.create(
            chosen,
            backend=backend,
            model=model,
            source=source,
            settings=settings,
            digest=digest,
            folder=str(place),
            option=option,
        )
        prepare(place)
    return job


def submission_of(job: Job) -> Submission:
    """What the provider of a hosted job is asked for."""
    # Another store's job of equal digest is another job: the time tells them apart.
    tag = f"{job.digest[:12]}-{int(job.created * 1000):x}"
    return Submission(tag, job.model, Path(job.folder) / TRAINING, job.settings)


def unlisted_for(job: Job) -> float:
    """Seconds until what the job's last intent made is surely listed by its provider."""
    since = 0.0 if job.intended is None else time.time() - job.intended
    # A clock that was set back must not make anybody wait for hours.
    return min(LISTED_AFTER, max(0.0, LISTED_AFTER - since))


def submitted(jobs: JobStore, job: Job, tuning: HostedTuning) -> Job:
    """Send the file and begin the job, as far as that has not been done.

    Raises:
        ElicitError: the provider refuses or can't be asked. What was made is recorded, what
            may have been made is looked for the next time.
    """
    submission = submission_of(job)
    if job.state == "created":
        tuning.check(submission)
        file = tuning.uploaded(submission) if job.intent == "upload" else None
        if file is None:
            job = jobs.intend(job, "upload")
            file = tuning.upload(submission)
        job = jobs.update(job, "uploaded", file=file)
    if job.state == "uploaded":
        file = job.file
        if file is None:
            raise AssertionError("a file that was uploaded has an id")
        remote = None
        if job.intent == "create":
            remote = tuning.created(submission, file, unlisted_for(job))
        if remote is None:
            job = jobs.intend(job, "create")
            remote = tuning.create(submission, file)
        job = jobs.update(job, "running", remote=remote)
    return job


def looked_at(
    jobs: JobStore, job: Job, tuning: HostedTuning, on_event: Callable[[JobEvent], None]
) -> Job:
    """A job of the provider's as it stands there; new events are kept, and told."""
    return _told(jobs, job, tuning.look(_remote(job)), on_event)


def cancelled(
    jobs: JobStore, job: Job, tuning: HostedTuning, on_event: Callable[[JobEvent], None]
) -> Job:
    """End a job at its provider, and its record.

    Raises:
        ElicitError: the provider refuses or can't be asked.
    """
    if job.remote is None and job.intent == "create" and job.file is not None:
        found = tuning.created(submission_of(job), job.file, unlisted_for(job))
        if found is not None:
            job = jobs.update(job, "running", remote=found)
    if job.remote is None:
        return jobs.update(job, "cancelled", said="before it was begun")
    ended = _told(jobs, job, tuning.cancel(job.remote), on_event)
    if ended.state == "failed":
        return jobs.update(ended, "cancelled", said=ended.said)
    return ended


def watched(
    jobs: JobStore,
    job: Job,
    tuning: HostedTuning,
    on_event: Callable[[JobEvent], None],
    every: float = 10.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Job:
    """Look at a job until it ends."""
    while job.is_open:
        job = looked_at(jobs, job, tuning, on_event)
        if job.is_open:
            sleep(every)
    return job


def _told(
    jobs: JobStore, job: Job, status: Status, on_event: Callable[[JobEvent], None]
) -> Job:
    for event in jobs.add_events(job, status.events):
        on_event(event)
    if status.state != "done":
        state = status.state if status.is_over else "running"
        return jobs.update(job, state, said=status.said)
    result = {"model": status.model, "trained_tokens": status.trained_tokens}
    return jobs.update(job, "done", said=status.said, result=result)


def _remote(job: Job) -> str:
    if job.remote is None:
        raise InputError(f"job {job.name!r} was not begun at {job.backend}")
    return job.remote


def _free_name(jobs: JobStore, stem: str) -> str:
    """The stem, or with the first number from 2 that makes a name no job has."""
    names = {job.name for job in jobs.all()}
    if stem not in names:
        return stem
    number = 2
    while f"{stem}-{number}" in names:
        number += 1
    return f"{stem}-{number}"
