"""The library's front door: label a task, get labels back."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from elicit.cache.errors import InputError
from elicit.cache.location import default_path
from elicit.cache.runs import Run, RunStore
from elicit.cache.store import ScoreStore
from elicit.providers.base import Usage
from elicit.providers.cached import CachedProvider
from elicit.providers.registry import open_model
from elicit.providers.usage import Meter
from elicit.run import Outcome, Progress, agreement, drive, outcome_of
from elicit.scorer import FloatArray, IntArray
from elicit.settings import RunSettings, resolve, settings_from
from elicit.task import Task

CachePath = str | Path | Literal[False] | None
"""A store's file; None for the default one, False for none that outlasts the call."""


@dataclass(frozen=True)
class Result:
    """Labels elicited for a task."""

    task: Task
    run: Run
    outcome: Outcome

    @property
    def labels(self) -> IntArray:
        """(n_items,), one index into `task.labels` an item."""
        return self.outcome.best.labels

    @property
    def log_odds(self) -> FloatArray:
        """(n_items,), in nats: each label against the best other."""
        return self.outcome.best.log_odds

    @property
    def usage(self) -> Usage:
        """Spent by this call; what came from the store is `usage.cached`."""
        return self.outcome.usage

    def rows(self) -> Iterator[dict[str, object]]:
        """One row an item: id, label, log-odds."""
        for item, label, odds in zip(
            self.task.items, self.labels.tolist(), self.log_odds.tolist(), strict=True
        ):
            yield {"id": item.id, "label": self.task.labels[label], "log_odds": odds}

    def save(self, path: str | Path) -> Path:
        """Write the rows as JSON Lines, in one step: all of them or no file."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for row in self.rows():
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        os.replace(name, path)
        return path

    def summary(self) -> dict[str, object]:
        """What `--json` prints."""
        best = self.outcome.best
        names = [self.task.labels[label] for label in self.labels.tolist()]
        return {
            "run": self.run.name,
            "model": self.run.model,
            "items": len(self.task.items),
            "labels": {name: names.count(name) for name in self.task.labels},
            "objective": best.objective,
            "inconsistency": best.inconsistency,
            "agreement": agreement(self.outcome.chains),
            "mean_coverage": self.outcome.mean_coverage,
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
            place = Path(path) if path is not None else default_path()
        yield stack.enter_context(closing(ScoreStore(place)))


@contextmanager
def metered(model: str, store: ScoreStore, max_tokens: int | None) -> Iterator[Meter]:
    """A model behind the store and a budget, closed at the end."""
    with closing(open_model(model)) as provider:
        yield Meter(CachedProvider(provider, store), max_tokens=max_tokens)


def label(
    task: Task,
    model: str,
    *,
    seed: int | None = None,
    name: str | None = None,
    cache: CachePath = None,
    max_tokens: int | None = None,
    task_path: str = "",
    settings: RunSettings | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    **options: object,
) -> Result:
    """Find the labels that the model itself finds mutually predictable and consistent.

    `options` are the settings of `elicit run`, by name. `settings` replaces them all. With
    `cache=False` nothing is kept: no score is read or stored, and the run can't be resumed.

    Raises:
        ElicitError: bad input, a model that can't answer, or a budget reached; see its text.
    """
    given = dict(options) if seed is None else {**options, "seed": seed}
    chosen = settings or resolve(("argument", given), ("task", task.settings)).settings
    with open_store(cache) as store, metered(model, store, max_tokens) as meter:
        runs = RunStore(store)
        run = runs.create(
            name,
            task_digest=task.digest(),
            task_path=task_path or task.name,
            model=model,
            method=chosen.method,
            settings={**chosen.as_dict(), "items": len(task.items)},
            seed=chosen.seed,
            chains=chosen.chains,
        )
        outcome = drive(run, runs, task, meter, chosen, on_progress)
        return Result(task, runs.get(run.name), outcome)


def resume(
    name: str,
    load: Callable[[str, int], Task],
    *,
    cache: str | Path | None = None,
    max_tokens: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Result:
    """Go on with a run as if it had never stopped. `load(path, items)` reads its task.

    Raises:
        InputError: there is no such run, or its task has changed since.
    """
    with open_store(cache) as store:
        runs = RunStore(store)
        run = runs.get(name)
        stored: Mapping[str, object] = run.settings
        task = load(run.task_path, int(str(stored["items"])))
        if task.digest() != run.task_digest:
            raise InputError(
                f"run {name!r}: the task {run.task_path} has changed since it began; "
                "start a new run (scores of unchanged prompts are kept)"
            )
        if run.result is not None:
            return Result(task, run, outcome_of(run))
        settings = settings_from({k: v for k, v in stored.items() if k != "items"})
        with metered(run.model, store, max_tokens) as meter:
            outcome = drive(run, runs, task, meter, settings, on_progress)
            return Result(task, runs.get(name), outcome)
