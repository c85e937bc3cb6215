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
    usual = _flat(RunSettings(method=settings.method))
    # What the task file sets is said as well: it may have been set otherwise by hand.
    told = {"method", "seed", *task.settings}
    said = {k: v for k, v in chosen.items() if k in told or v != usual[k]}
    if not run.task_path:
        options = "".join(f", {name}={value!r}" for name, value in said.items())
        return f"elicit.label(task, model={run.model!r}{options})"
    parts = ["elicit", "run", _quoted(shown_task(run.task_path))]
    parts += ["--model", shlex.quote(shown_model(run.model))]
    for name, value in said.items():
        known = (f"--{name}", str(value)) if name in _FLAGS else ("--set", f"{name}={value}")
        parts += map(shlex.quote, known)
    if task.beyond:
        parts += ["--limit", str(len(task.items))]
    return " ".join(parts)


def _flat(settings: RunSettings) -> Mapping[str, object]:
    """Name → value of the run's settings and of those of its method."""
    own = {k: v for k, v in asdict(settings).items() if not isinstance(v, dict)}
    return own | asdict(settings.search)


def shown_task(path: str) -> str:
    """A task file as `elicit run` takes it: an embedded one by its name, another by a path that
    tells as little of this machine as it can."""
    embedded = Path(path).parent == tasks_path().resolve()
    return Path(path).stem if embedded else _shown_path(path)


def shown_model(name: str) -> str:
    """A model's name as `--model` takes it, its files by such paths."""
    prefix, colon, rest = name.partition(":")
    if prefix != "llama-cpp" or rest.startswith("hf:"):
        return name
    return f"{prefix}{colon}" + "+".join(_shown_path(path) for path in rest.split("+"))


def _shown_path(path: str) -> str:
    """From the working folder, if it is within that, or from the user's own."""
    for folder, start in ((Path.cwd(), ""), (Path.home(), "~/")):
        if Path(path).is_relative_to(folder):
            return start + Path(path).relative_to(folder).as_posix()
    return path


def _quoted(path: str) -> str:
    """For a shell, which is to see the user's folder."""
    if path.startswith("~/"):
        return "~/" + shlex.quote(path.removeprefix("~/"))
    return shlex.quote(path)
