"""Tuning on this machine: a job's examples to an adapter that llama.cpp applies.

A job is one process's work from its first step to its last; killed, the next one goes on
from the last checkpoint in the job's folder, to the same adapter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from elicit.cache.errors import ElicitError, InputError
from elicit.cache.jobs import Job, JobEvent, JobStore
from elicit.finetune.examples import Example, load
from elicit.finetune.jobs import EXAMPLES, Wanted, job_for
from elicit.finetune.lora_settings import LoraSettings
from elicit.providers.base import Form
from elicit.providers.registry import local_model, open_model

if TYPE_CHECKING:
    from elicit.finetune.lora_trainer import Step

LOCAL = "local-lora"
"""The backend's name."""
MADE = "model"
"""The folder, within a job's, of what was made."""
BASE = "base"
"""The setting that names a folder with the model in Hugging Face's form."""


def check_packages(*more: str, extra: str = "lora") -> None:
    """Refuse what can't be done for want of a package, before anything is begun."""
    for package in ("torch", "transformers", "peft", "gguf", "llama_cpp", *more):
        if find_spec(package) is None:
            raise InputError(
                f"tuning on this machine needs some packages ({package}): "
                f"pip install 'elicit-lm[local,{extra}]'"
            )


def form_of(model: str) -> Form:
    """How a local model wants its prompts."""
    with closing(open_model(model)) as provider:
        return provider.capabilities.form


def local_job(
    model: str, source: str, base: Path | None, settings: Mapping[str, float | int | str]
) -> Wanted:
    """What is to be tuned here, refused before anything is done if it can't be.

    Raises:
        InputError: the model is no local one, a setting is unknown or unusable, or a package
            is missing.
    """
    base_model = local_model(model)
    check_packages()
    from elicit.finetune.huggingface_form import check_same_model
    from elicit.providers.llama_cpp.content_hash import content_hash
    from elicit.providers.llama_cpp.model import check_gguf

    chosen = LoraSettings.parse(settings)
    kept: dict[str, float | int | str] = asdict(chosen)
    check_gguf(base_model.file)
    if base is not None:
        if not base.is_dir():
            raise InputError(f"--base {base}: there is no such folder")
        check_same_model(base_model.file, base)
        kept[BASE] = str(base.resolve())
    decides = {
        **chosen.decides(),
        "model": content_hash(base_model.file),
        "read": base_model.settings,
        BASE: kept.get(BASE, ""),
    }
    return Wanted(LOCAL, model, source, kept, decides)


def is_there(job: Job) -> bool:
    """Whether a local job that is done still has its adapter."""
    from elicit.finetune.lora import ADAPTER

    return job.state != "done" or (Path(job.folder) / MADE / ADAPTER).exists()


def write_merged(job: Job, out: Path) -> Path:
    """Write the model of a local job that is done with its adapter merged in, as GGUF and as a
    Hugging Face folder, with its card.

    Raises:
        InputError: the job is no local one or not done, its adapter is gone, or the folder
            can't be written.
    """
    if job.backend != LOCAL or job.state != "done" or not is_there(job):
        raise InputError(
            f"job {job.name!r} ({job.backend}, {job.state}) has no adapter to merge: name a "
            f"{LOCAL} job that is done"
        )
    from elicit.finetune.merged import merged

    file = local_model(job.model).file
    try:
        return merged(Path(job.folder) / MADE, file, _form(job, file), out)
    except OSError as error:
        raise InputError(f"--merged {out}: can't be written: {error.strerror}") from error


def _form(job: Job, gguf: Path) -> Path:
    """The Hugging Face form of a job's model: as its user gave it, or made beside the jobs."""
    from elicit.finetune.huggingface_form import huggingface_form

    given = job.settings.get(BASE)
    return Path(given) if given else huggingface_form(gguf, Path(job.folder).parent / "forms")


def tuned(jobs: JobStore, job: Job, on_event: Callable[[JobEvent], None]) -> Job:
    """Tune the model of a job, from where it was left, and record the adapter.

    Raises:
        ElicitError: the model can't be tuned; the job can be gone on with.
    """
    from elicit.finetune.lora import train
    from elicit.providers.llama_cpp.settings import LlamaSettings

    folder = Path(job.folder)
    model = local_model(job.model)
    settings = {name: value for name, value in job.settings.items() if name != BASE}

    def told(now: Step) -> None:
        said = f"step {now.step} of {now.steps}, loss {now.loss:.4f} nats"
        event = JobEvent(f"step-{now.step}", time.time(), said, now.step, now.loss)
        for new in jobs.add_events(job, [event]):
            on_event(new)

    job = jobs.update(job, "running")
    try:
        made = train(
            load(folder / EXAMPLES),
            model.file,
            _form(job, model.file),
            folder / MADE,
            LoraSettings.parse(settings),
            told,
            reading=LlamaSettings.parse(model.settings),
        )
    except ElicitError as error:
        jobs.note(job, str(error))
        raise
    took = made.took
    result = {
        "model": model.tuned(made.adapter),
        "examples": took.examples,
        "steps": took.steps,
        "tokens": took.tokens,
        "loss": took.losses[-1],
        "seconds": round(took.seconds, 1),
        "peak_mib": round(took.peak_memory / 2**20),
    }
    return jobs.update(job, "done", result=result)


def tuned_here(
    jobs: JobStore,
    wanted: Wanted,
    examples: Sequence[Example],
    folder: Path,
    on_event: Callable[[JobEvent], None] = lambda _: None,
) -> Job:
    """The job of this model and these examples, done: the one there is, gone on with where it
    was left, or a new one within `folder`.

    Raises:
        InputError: another process works on it, or it was ended.
        ElicitError: see `tuned`.
    """
    job = job_for(jobs, wanted, examples, folder, sound=is_there)
    with jobs.claim(job) as held:
        job = tuned(jobs, held, on_event) if held.is_open else held
    if job.result is None:
        raise InputError(f"job {job.name!r} was {job.state}; give the same again")
    return job


def model_of(job: Job) -> str:
    """The name of the model that a job made, which every command takes."""
    if job.result is None:
        raise ValueError(f"job {job.name} is {job.state}")
    return str(job.result["model"])
