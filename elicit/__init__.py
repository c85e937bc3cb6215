"""Label data with a language model and no labels at all."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elicit.cache.errors import ElicitError
    from elicit.constraints import Constraint, Custom
    from elicit.labelling import Result, label, resume
    from elicit.prompt import Template
    from elicit.providers.base import Usage
    from elicit.providers.usage import BudgetReached, Limits
    from elicit.task import Item, Task
    from elicit.task_file import load_task

__all__ = [
    "BudgetReached",
    "Constraint",
    "Custom",
    "ElicitError",
    "Item",
    "Limits",
    "Result",
    "Task",
    "Template",
    "Usage",
    "label",
    "load_task",
    "resume",
]
__version__ = "0.1.0"

# Imported when first asked for: the command line lists its commands without numpy or scipy.
_PLACES = {
    "BudgetReached": "providers.usage",
    "Constraint": "constraints",
    "Custom": "constraints",
    "ElicitError": "cache.errors",
    "Item": "task",
    "Limits": "providers.usage",
    "Result": "labelling",
    "Task": "task",
    "Template": "prompt",
    "Usage": "providers.base",
    "label": "labelling",
    "load_task": "task_file",
    "resume": "labelling",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'elicit' has no attribute {name!r}")
    found: object = getattr(import_module(f"elicit.{_PLACES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
