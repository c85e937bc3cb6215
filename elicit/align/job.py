"""An alignment as a job in the store: one record, which any process takes up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from elicit.align.align_settings import AlignSettings
from elicit.align.comparisons import ELICITED
from elicit.align.loading import tokeniser
from elicit.align.lock import alone_in
from elicit.align.pipeline import Alignment, align, split_of
from elicit.align.policy import ADAPTER
from elicit.align.questions import Questions
from elicit.align.report import Report, report
from elicit.align.stages import StageEvent
from elicit.align.start import Model, check_stop
from elicit.cache.jobs import Job, JobStore
from elicit.cache.keys import json_digest
from elicit.finetune.backends import ALIGN
from elicit.finetune.huggingface_form import huggingface_form
from elicit.finetune.jobs import found_or_made
from elicit.labelling import CachePath
from elicit.providers.registry import lasting_name, local_model
from elicit.scorer import IntArray
from elicit.task import Task


@dataclass(frozen=True)
class Wanted:
    """An alignment as it is asked for. See `align`."""

    task: Task
    questions: Questions
    others: Mapping[str, IntArray]
    settings: AlignSettings
    model: str

    def digest(self) -> str:
        """64 hexadecimal digits that name what comes of it.

        Known right answers are left out, as is how often checkpoints are written: they decide
        no stage, and the report is made anew whenever a job is asked for.
        """
        asked = self.questions
        parts = {
            "task": self.task.digest(),
            "questions": [asked.prompts, asked.said, asked.kinds],
            "others": {who: labels.tolist() for who, labels in self.others.items()},
            "settings": self.settings.decides(),
            "model": lasting_name(self.model),
        }
        return json_digest(parts)

    def check(self, forms: Path) -> None:
        """Refuse what no stage could work with, before anything is begun.

        Args:
            forms: Where the model's Hugging Face form is kept, or made.

        Raises:
            ElicitError: too few prompts; no model that is tuned here; no stop of one token.
        """
        split_of(self.task, self.questions, self.settings)
        wording = self.settings.wording
        check_stop(self.questions.said, wording)
        tokeniser(huggingface_form(local_model(self.model).file, forms), wording.stop)


def record_of(jobs: JobStore, wanted: Wanted, name: str | None, folder: Path) -> Job:
    """The record of this alignment: the one there is, or a new one with a folder of its own
    within `folder`.

    Raises:
        ElicitError: the name is taken, or see `Wanted.check`; then there is no new record.
    """
    digest = wanted.digest()
    known = jobs.of_digest(digest)
    wanted.check(_forms(folder if known is None else Path(known.folder).parent))
    return found_or_made(
        jobs,
        digest,
        folder,
        name,
        backend=ALIGN,
        model=lasting_name(wanted.model),
        source=wanted.task.name,
        settings=wanted.settings.as_dict(),
        option="--name",
    )


def aligned(
    jobs: JobStore,
    job: Job,
    wanted: Wanted,
    gold: IntArray | None,
    cache: CachePath,
    on_event: Callable[[StageEvent], None],
) -> tuple[dict[str, str], Report]:
    """Go through the stages of an alignment that are not done; who labelled → the policy's
    name, and what is measured. `gold`, (n_items,), serves the report alone.

    Raises:
        ElicitError: see `align`; the same call goes on. Or another process works in the job's
            folder.
    """
    folder = Path(job.folder)
    task, asked, settings = wanted.task, wanted.questions, wanted.settings
    with alone_in(folder):
        if job.is_open:
            jobs.update(job, "running")
        file = local_model(wanted.model).file
        base = Model(file, huggingface_form(file, _forms(folder.parent)))
        done = align(
            folder,
            base,
            task,
            asked,
            wanted.others,
            settings,
            model=wanted.model,
            cache=cache,
            on_event=on_event,
        )
        found = report(done, task, settings, wanted.others, gold, asked.known)
    made = {who: _policy_name(done, who) for who in done.by}
    jobs.update(job, "done", result={"model": made[ELICITED], "policies": made})
    return made, found


def _forms(folder: Path) -> Path:
    """Where the jobs of a folder share the models' Hugging Face forms."""
    return folder / "forms"


def _policy_name(done: Alignment, who: str) -> str:
    """The name by which every command takes a policy."""
    return f"llama-cpp:{done.start.gguf}+{done.by[who].policy.folder / ADAPTER}"
