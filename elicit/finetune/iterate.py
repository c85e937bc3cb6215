"""Label a part, tune the model on it, label the next part with the tuned model, and so on.

After each part the model is tuned anew from the one it began as, on all labels so far. Each
step is a run or a job in the store under a name that says which: what was interrupted goes on,
what is done is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elicit.cache.errors import InputError
from elicit.cache.jobs import JobEvent, JobStore
from elicit.cache.runs import Run, RunStore
from elicit.cache.store import ScoreStore
from elicit.constraints import UNLABELLED, Rules
from elicit.finetune.examples import examples_of
from elicit.finetune.local import form_of, local_job, model_of, tuned_here
from elicit.labelling import metered
from elicit.outcome import Outcome, outcome_of
from elicit.providers.base import Usage
from elicit.providers.registry import lasting_name
from elicit.providers.usage import Account, Limits
from elicit.run import Progress, begin, drive, settings_of
from elicit.scorer import IntArray
from elicit.settings import RunSettings
from elicit.task import Task


@dataclass(frozen=True, slots=True)
class Turn:
    """One part labelled, and the model tuned after it."""

    run: str
    model: str
    """That labelled the part."""
    items: IntArray
    """(m,): the part, as numbers of the task's items."""
    job: str
    tuned: str
    """The model tuned on all labels up to here."""


@dataclass(frozen=True, slots=True)
class Iterated:
    """What came of all parts."""

    labels: IntArray
    """(n_items,), one index into the task's labels an item; `UNLABELLED` = abstained."""
    turns: tuple[Turn, ...]
    usage: Usage
    """Spent by this call."""

    @property
    def model(self) -> str:
        """The model tuned on the labels of all parts."""
        return self.turns[-1].tuned


def iterate(
    task: Task,
    model: str,
    store: ScoreStore,
    folder: Path,
    *,
    parts: int = 2,
    name: str | None = None,
    settings: RunSettings | None = None,
    tuning: Mapping[str, float | int | str] | None = None,
    base: Path | None = None,
    limits: Limits | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_event: Callable[[JobEvent], None] = lambda _: None,
) -> Iterated:
    """Label a task in `parts` turns by a model of this machine, tuned after each.

    Args:
        folder: where the jobs' files are kept.
        name: what the runs and jobs are called, `NAME-part-1`; after the task if left out.
        tuning: settings of the tuning, see `LoraSettings`.
        base: see `local_job`.

    Raises:
        ElicitError: bad input, a model that can't answer or be tuned, or a budget reached; the
            same call goes on from there.
    """
    chosen = settings or RunSettings()
    rules = task.rules()
    if not 2 <= parts <= int(rules.parts().max()) + 1:
        raise InputError(
            f"--parts: must be from 2 to {int(rules.parts().max()) + 1}, the groups of items "
            f"that may be labelled apart, not {parts}"
        )
    # Before anything is paid for.
    local_job(model, "", base, tuning or {})
    account = Account(limits)
    rendered = task.render(chosen.writing_for(form_of(model)))
    ids = [item.id for item in task.items]
    labels = np.full(rules.n_items, UNLABELLED, np.int64)
    jobs, turns, asked = JobStore(store), [], model
    for number, items in enumerate(parts_of(rules, parts, chosen.seed), 1):
        run = f"{name or task.name}-part-{number}"
        part = task.some(items.tolist(), run)
        outcome = _labelled(store, part, asked, run, chosen, account, on_progress)
        labels[items] = outcome.answer.labels
        examples = examples_of(rendered, ids, labels)
        wanted = local_job(model, run, base, tuning or {})
        job = tuned_here(jobs, wanted, examples, folder, on_event)
        made = model_of(job)
        turns.append(Turn(run, asked, items, job.name, made))
        asked = made
    return Iterated(labels, tuple(turns), account.spent)


def parts_of(rules: Rules, count: int, seed: int) -> list[IntArray]:
    """Items in `count` parts of about equal size, drawn by seed, each (m,) in order; items that
    a rule or a group ties together are in the same one."""
    tied = rules.parts()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(4,)))
    order = rng.permutation(int(tied.max()) + 1)
    ends = np.bincount(tied)[order].cumsum()
    turn_of = np.empty(order.size, np.int64)
    # By its middle, so that no part is empty where there are enough.
    middles = (ends - np.bincount(tied)[order] / 2) * count / rules.n_items
    turn_of[order] = np.minimum(middles.astype(np.int64), count - 1)
    return [np.flatnonzero(turn_of[tied] == turn) for turn in range(count)]


def _check_same(run: Run, part: Task, model: str, settings: RunSettings) -> None:
    differs = {
        "items": run.task_digest != part.digest(),
        "model": run.model != lasting_name(model),
        "settings": settings_of(run) != settings,
    }
    what = [name for name, is_other in differs.items() if is_other]
    if what:
        raise InputError(
            f"run {run.name!r} is of other {' and '.join(what)}: choose another name (--name), "
            "or give the model, settings, --limit and --parts that it was begun with"
        )


def _labelled(
    store: ScoreStore,
    part: Task,
    model: str,
    name: str,
    settings: RunSettings,
    account: Account,
    on_progress: Callable[[Progress], None],
) -> Outcome:
    runs = RunStore(store)
    run = runs.find(name)
    if run is not None:
        _check_same(run, part, model, settings)
    if run is not None and run.result is not None:
        return outcome_of(run)
    with metered(model, store, account=account) as meter:
        if run is None:
            run = begin(runs, part, meter, model, settings, name)
        return drive(run, runs, part, meter, on_progress)
