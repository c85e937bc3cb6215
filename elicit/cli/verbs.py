"""Every command of `elicit`, where it is, and the sentence that the list of them has.

A command is imported when it is called: to list them, or to complete a name, loads none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand

from elicit.cli.welcome import Welcoming


@dataclass(frozen=True, slots=True)
class Verb:
    """A command: its function, or its sub-application, by name."""

    place: str
    """`module:attribute`."""
    told: str
    """The first sentence of its help, less the full stop."""


VERBS: Mapping[str, Verb] = {
    "demo": Verb("demo:demo", "The embedded model labels an embedded task"),
    "run": Verb("run:run", "Label a task"),
    "resume": Verb("run:resume_run", "Go on with an interrupted run"),
    "estimate": Verb("estimate:estimate", "Count what a run will take, and send nothing"),
    "diagnose": Verb("diagnose:diagnose", "Will this work here?"),
    "baselines": Verb("baselines:baselines", "What the model says without a search"),
    "runs": Verb("runs:runs", "List runs"),
    "report": Verb("report:report", "Write a page that shows a run, or several side by side"),
    "eval": Verb("evaluate:evaluate_run", "Compare a run's labels with gold labels"),
    "tasks": Verb("task_commands:tasks_app", "List the embedded tasks, check or draft a task"),
    "doctor": Verb("doctor:doctor", "Does this model tell label probabilities?"),
    "export": Verb("export:export_run", "Write a run's labels for other programs"),
    "finetune": Verb("finetune:finetune", "Tune a model on a run's labels"),
    "iterate": Verb("iterate:iterate", "Label a part, tune the model on it, label the next"),
    "align": Verb("align:align", "From comparisons to a reward model and a policy"),
    "cache": Verb("cache:app", "Look into the store of scores, check, prune and export it"),
    "batches": Verb("batches:batches", "List submitted batches, or end those that run"),
}


class Later(TyperCommand):
    """A command that is imported once it is called."""

    def __init__(self, name: str, verb: Verb) -> None:
        super().__init__(name=name, help=verb.told, callback=None)
        self._verb = verb

    def loaded(self) -> Any:
        """The command itself, a click command of Typer's."""
        module, attribute = self._verb.place.split(":")
        found = getattr(import_module(f"elicit.cli.{module}"), attribute)
        if not isinstance(found, typer.Typer):
            app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
            app.command(self.name)(found)
            found = app
        command = typer.main.get_command(found)
        command.name = self.name
        return command

    def make_context(self, *args: Any, **extra: Any) -> Any:
        return self.loaded().make_context(*args, **extra)


class Verbs(Welcoming):
    """The commands."""

    def __init__(self, **attrs: Any) -> None:
        commands = {name: Later(name, verb) for name, verb in VERBS.items()}
        super().__init__(**attrs | {"commands": commands})
