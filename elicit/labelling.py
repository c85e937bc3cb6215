"""The library's front door: label a task, get labels back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from elicit.agreement import mean_agreement
from elicit.cache.errors import InputError
from elicit.cache.findings import Findings
from elicit.cache.location import store_path
from elicit.cache.runs import Run, RunStore
from elicit.cache.store import ScoreStore
from elicit.constraints import UNLABELLED
from elicit.outcome import Outcome, outcome_of
from elicit.prior import parse_prior
from elicit.providers.base import Provider, Usage
from elicit.providers.cached import CachedProvider
from elicit.providers.registry import in_batches, open_model
from elicit.providers.sampled import SampledProvider
from elicit.providers.usage import Account, Limits, Meter
from elicit.run import Progress, begin, drive, settings_of
from elicit.run_labels import changed_task
from elicit.run_record import RunRecord, record_of
from elicit.scorer import FloatArray, IntArray
from elicit.settings import RunSettings, resolve
from elicit.task import Task
from elicit.task_file import load_task
from elicit.verdict import Finding
from elicit.whole_file import save, write_whole

CachePath = str | Path | Literal[False] | None
"""A store's file; None for the default one, False for none that outlasts the call."""


@dataclass(frozen=True)
class Result:
    """Labels elicited for a task."""

    task: Task
    record: RunRecord
    outcome: Outcome

    @property
    def run(self) -> Run:
        return self.record.run

    @property
    def labels(self) -> IntArray:
        """(n_items,), one index into `task.labels` an item; -1 = abstained."""
        return self.outcome.answer.labels

    @property
    def log_odds(self) -> FloatArray:
        """(n_items,), in nats: each label against the best other."""
        return self.outcome.answer.log_odds

    @property
    def log_probs(self) -> FloatArray | None:
        """(n_items, n_labels), normalised natural logs: how the model predicts each item from
        the labels of the others. None of a run made before they were kept."""
        return self.outcome.answer.log_probs

    @property
    def inconsistency(self) -> int:
        """Inconsistencies left among the labels, those abstained from included."""
        return self.outcome.answer.inconsistency

    @property
    def usage(self) -> Usage:
        """Spent by this call; what came from the store is `usage.cached`."""
        return self.outcome.usage

    def rows(self) -> Iterator[dict[str, object]]:
        """One row an item: id, label (None = abstained), log-odds."""
        for item, label, odds in zip(
            self.task.items, self.labels.tolist(), self.log_odds.tolist(), strict=True
        ):
            name = None if label == UNLABELLED else self.task.labels[label]
            yield {"id": item.id, "label": name, "log_odds": odds}

    def save(self, path: str | Path) -> Path:
        """Write the rows as JSON Lines, in one step: all of them or no file.

        Raises:
            InputError: the file can't be written there.
        """
        path = Path(path)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows())
        try:
            # A lone surrogate of the data becomes the escape that JSON has for it.
            write_whole(path, lines.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise InputError(
                f"{path}: can't be written: {error.strerror}. The labels are kept: "
                f"`elicit resume {self.run.name} --out FOLDER`."
            ) from error
        return path

    def report(self, path: str | Path) -> Path:
        """Write one HTML file that shows the run and needs nothing else. `elicit report` adds
        what gold labels say.

        Raises:
            InputError: the file can't be written there.
        """
        from elicit.report.gather import gather
        from elicit.report.page import page

        path = Path(path)
        save(path, page(gather(self.record, self.task)).encode())
        return path

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Warnings, which speak against the labels, and notes, which do not: what the run alone
        shows, with what to do. `elicit diagnose` looks further."""
        from elicit.report.seen import seen_in

        return seen_in(self.outcome, self.task, settings_of(self.run))

    def summary(self) -> dict[str, object]:
        """What `--json` prints."""
        names = [row["label"] for row in self.rows()]
        return {
            "run": self.run.name,
            "model": self.run.model,
            "items": len(self.task.items),
            "labels": {name: names.count(name) for name in self.task.labels},
            "abstained": names.count(None),
            "objective": self.outcome.best.objective,
            "inconsistency": self.inconsistency,
            "agreement": mean_agreement([chain.labels for chain in self.outcome.chains]),
            "mean_coverage": self.outcome.mean_coverage,
            "bounded_share": self.outcome.bounded_share,
            "warnings": [asdict(f) for f in self.findings if f.kind == "warning"],
            "usage": asdict(self.usage),
        }


@contextmanager
def open_store(path: CachePath) -> Iterator[ScoreStore]:
    """The store at `path` or the default place; if False, one that is deleted at the end."""
    with ExitStack() as stack:
        if path is False:
            folder = stack.enter_context(TemporaryDirectory(prefix="elicit-"))
            place = Path(folder) / "scores.db"
        else:
            place = store_path(path)
        yield stack.enter_context(closing(ScoreStore(place)))


@contextmanager
def metered(
    model: str,
    store: ScoreStore,
    limits: Limits | None = None,
    on_usage: Callable[[Usage], None] = lambda _: None,
    *,
    batch: bool = False,
    account: Account | None = None,
) -> Iterator[Meter]:
    """A model behind the store and a budget, closed at the end. `on_usage` is told what was
    used so far, whenever something was; with `batch`, a hosted model is asked through its
    provider's batch endpoint. Models that share an `account` share its budget, in place of
    `limits`."""
    account = account or Account(limits)
    before = account.spent
    with closing(open_model(model, Findings(store), account)) as provider:
        asked = in_batches(provider, store) if batch else provider
        kept: Provider = CachedProvider(asked, store)
        if provider.capabilities.evidence == "sampled":
            kept = SampledProvider(kept)
        yield Meter(kept, account, on_usage, account.spent - before)


def check_batch(method: str, *, batch: bool, stored: bool = True) -> None:
    """Refuse batches where they make no sense.

    Raises:
        InputError: annealing would wait a day for each step; or there is no store to go on
            from.
    """
    if batch and (method == "icm" or not stored):
        raise InputError(
            "a batch is for the rounds of bootstrap and needs the store to go on from: give "
            '--method bootstrap (method="bootstrap") and no --no-cache, or leave --batch out'
        )


def label(
    task: Task,
    model: str,
    *,
    seed: int | None = None,
    name: str | None = None,
    cache: CachePath = None,
    limits: Limits | None = None,
    settings: RunSettings | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_usage: Callable[[Usage], None] = lambda _: None,
    batch: bool = False,
    **options: object,
) -> Result:
    """Find the labels that the model itself finds mutually predictable and consistent.

    `options` are the settings of `elicit run`, by name. `settings` replaces them all. `limits`
    bound what this call spends; a run that reaches one is resumed for free. With `batch`, a
    hosted model is asked through its provider's batch endpoint: half the price, up to a day,
    for the rounds of `bootstrap` only. With `cache=False` nothing is kept: no score is read
    or stored, and the run can't be resumed.

    Raises:
        ElicitError: bad input, a model that can't answer, or a budget reached; see its text.
    """
    given = dict(options) if seed is None else {**options, "seed": seed}
    chosen = settings or resolve(("argument", given), ("task", task.settings)).settings
    check_batch(chosen.method, batch=batch, stored=cache is not False)
    parse_prior(chosen.prior, task.labels)
    with (
        open_store(cache) as store,
        metered(model, store, limits, on_usage, batch=batch) as meter,
    ):
        runs = RunStore(store)
        run = begin(runs, task, meter, model, chosen, name, batch=batch)
        outcome = drive(run, runs, task, meter, on_progress)
        return Result(task, record_of(runs, runs.get(run.name)), outcome)


def task_path_of(run: Run) -> str:
    """The task file of a run.

    Raises:
        InputError: its task was made in Python and is in no file.
    """
    if not run.task_path:
        raise InputError(
            f"run {run.name!r}: its task was made in Python. Call elicit.label with it again: "
            "every score it has paid for comes from the store."
        )
    return run.task_path


def resume(
    name: str,
    load: Callable[[str, int], Task] = load_task,
    *,
    cache: str | Path | None = None,
    limits: Limits | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_usage: Callable[[Usage], None] = lambda _: None,
    force: bool = False,
) -> Result:
    """Go on with a run as if it had never stopped. `load(path, items)` reads its task.

    `force` takes it over from a process on another machine, which can't be asked whether
    it is alive.

    Raises:
        InputError: there is no such run, or its task or model has changed since.
    """
    with open_store(cache) as store:
        runs = RunStore(store)
        run = runs.get(name)
        task = load(task_path_of(run), int(run.settings["items"]))
        if task.digest() != run.task_digest:
            raise changed_task(run, task)
        if run.result is not None:
            return Result(task, record_of(runs, run), replace(outcome_of(run), usage=Usage()))
        batch = bool(run.settings.get("batch"))
        with metered(run.model, store, limits, on_usage, batch=batch) as meter:
            outcome = drive(run, runs, task, meter, on_progress, force=force)
            return Result(task, record_of(runs, runs.get(name)), outcome)
