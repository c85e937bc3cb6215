"""What a model is tuned on: the labels of a finished run."""

from __future__ import annotations

from elicit.cache.runs import Run
from elicit.finetune.examples import Example, examples_of
from elicit.prompt import Writing
from elicit.run_labels import check_same_task, labels_of_run
from elicit.task import Task


def examples_of_run(run: Run, task: Task, writing: Writing) -> tuple[Example, ...]:
    """An example for each item of the task that the run gave a label, its prompt written for
    the model to be tuned.

    Raises:
        InputError: the run is not finished or gave no label, or the task has changed since.
    """
    check_same_task(run, task)
    ids = [item.id for item in task.items]
    return examples_of(task.render(writing), ids, labels_of_run(run, task))
