"""Label data with a language model and no labels at all."""

from elicit.cache.errors import ElicitError
from elicit.constraints import Constraint, Custom
from elicit.labelling import Result, label
from elicit.prompt import Template
from elicit.providers.usage import Limits
from elicit.task import Item, Task
from elicit.task_file import load_task

__all__ = [
    "Constraint",
    "Custom",
    "ElicitError",
    "Item",
    "Limits",
    "Result",
    "Task",
    "Template",
    "label",
    "load_task",
]
__version__ = "0.1.0"
