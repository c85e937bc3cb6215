"""Where a task loads but is likely not what its author wants."""

from __future__ import annotations

from elicit.task import Task

FEW = 13
"""Fewer items of two labels than these can't show what a diagnosis asks for; see methods.md."""


def task_notes(task: Task) -> list[str]:
    """What to look at again, each with its mend; empty where nothing stands out."""
    rendered = task.render()
    notes = []
    glued = [word for word in task.template.verbalizers if not word[0].isspace()]
    if glued and any(not question.text[-1].isspace() for question in rendered.questions):
        notes.append(
            f"the label {glued[0]!r} follows the prompt with no space between: begin the texts "
            f'in [prompt.verbalizers] with one, as " {glued[0]}"'
        )
    if any(question.text[-1] == " " for question in rendered.questions):
        notes.append(
            "a prompt ends in a space, which most models do not expect before a word: drop it, "
            "and begin the texts in [prompt.verbalizers] with one"
        )
    texts = [question.text for question in rendered.questions]
    same = len(texts) - len(set(texts))
    if same:
        notes.append(
            f"{same} items have the prompt of another item: a model can't tell them apart; "
            "show more in [prompt] item, or drop them"
        )
    if len(texts) < FEW:
        notes.append(
            f"{len(texts)} items are too few for a diagnosis, which wants {FEW} at the least"
        )
    if task.constraints and not len(task.rules().pairs) + len(task.rules().groups):
        notes.append("the constraints bind no two items: look at the fields they name")
    return notes
