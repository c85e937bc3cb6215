"""A run's settings as they are shown, and the command that makes it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from elicit.cache.runs import Run
from elicit.organism import tasks_path
from elicit.report.facts import Setting
from elicit.settings import RunSettings
from elicit.task import Task

_FLAGS = ("method", "seed", "chains", "prior", "abstain")
"""Settings that `elicit run` has an option for."""


def settings_shown(settings: RunSettings) -> tuple[Setting, ...]:
    """Every setting that decides the run."""
    usual = _flat(RunSettings(method=settings.method))
    return tuple(
        Setting(name, str(value), value == usual[name])
        for name, value in _flat(settings).items()
    )


def command_of(run: Run, settings: RunSettings, task: Task) -> str:
    """What to type, or to call where the task is in no file, to make the run again."""
    chosen = _flat(settings)
    usual = _flat(RunSettings())
    said = {name: value for name, value in chosen.items() if value != usual.get(name)}
    said |= {"method": settings.method, "seed": settings.seed}
    if not run.task_path:
        options = "".join(f", {name}={value!r}" for name, value in said.items())
        return f"elicit.label(task, model={run.model!r}{options})"
    parts = ["elicit", "run", task_name(run.task_path), "--model", run.model]
    for name, value in said.items():
        known = (f"--{name}", str(value)) if name in _FLAGS else ("--set", f"{name}={value}")
        parts += known
    if task.beyond:
        parts += ["--limit", str(len(task.items))]
    return shlex.join(parts)


def _flat(settings: RunSettings) -> Mapping[str, object]:
    """Name → value of the run's settings and of those of its method."""
    own = {k: v for k, v in asdict(settings).items() if not isinstance(v, dict)}
    return own | asdict(settings.search)


def task_name(path: str) -> str:
    """A task file as `elicit run` takes it: an embedded one by its name."""
    embedded = Path(path).parent == tasks_path().resolve()
    return Path(path).stem if embedded else path
