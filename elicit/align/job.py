"""An alignment as a job in the store: one record, which any process takes up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from elicit.align.align_settings import AlignSettings
from elicit.align.comparisons import ELICITED
from elicit.align.pipeline import Alignment, align
from elicit.align.policy import ADAPTER
from elicit.align.questions import Questions
from elicit.align.report import Report, report
from elicit.align.stages import StageEvent
from elicit.align.start import Model
from elicit.cache.jobs import Job, JobStore
from elicit.cache.keys import json_digest
from elicit.finetune.huggingface_form import huggingface_form
from elicit.finetune.jobs import found_or_made
from elicit.labelling import CachePath
from elicit.providers.registry import lasting_name, local_model
from elicit.scorer import IntArray
from elicit.task import Task


def record_of(
    jobs: JobStore,
    task: Task,
    asked: Questions,
    others: Mapping[str, IntArray],
    settings: AlignSettings,
    model: str,
    name: str | None,
    folder: Path,
) -> Job:
    """The record of this alignment: the one there is, or a new one with a folder of its own
    within `folder`.

    Raises:
        InputError: the name is taken.
    """
    parts = {
        "task": task.digest(),
        "questions": [asked.prompts, asked.said, asked.known],
        "others": {who: labels.tolist() for who, labels in others.items()},
        "settings": settings.as_dict(),
        "model": lasting_name(model),
    }
    return found_or_made(
        jobs,
        json_digest(parts),
        folder,
        name,
        backend="align",
        model=lasting_name(model),
        source=task.name,
        settings=settings.as_dict(),
    )


def aligned(
    jobs: JobStore,
    job: Job,
    task: Task,
    asked: Questions,
    others: Mapping[str, IntArray],
    gold: IntArray | None,
    settings: AlignSettings,
    model: str,
    cache: CachePath,
    on_event: Callable[[StageEvent], None],
) -> tuple[dict[str, str], Report]:
    """Go through the stages of an alignment that are not done; who labelled → the policy's
    name, and what is measured. `gold`, (n_items,), serves the report alone.

    Raises:
        ElicitError: see `align`; the same call goes on.
    """
    jobs.update(job, "running")
    folder = Path(job.folder)
    file = local_model(model).file
    base = Model(file, huggingface_form(file, folder.parent / "forms"))
    done = align(
        folder, base, task, asked, others, settings, model=model, cache=cache, on_event=on_event
    )
    found = report(done, task, settings, others, gold, asked.known or None)
    made = {who: _policy_name(done, who) for who in done.by}
    jobs.update(job, "done", result={"model": made[ELICITED], "policies": made})
    return made, found


def _policy_name(done: Alignment, who: str) -> str:
    """The name by which every command takes a policy."""
    return f"llama-cpp:{done.start.gguf}+{done.by[who].policy.folder / ADAPTER}"
