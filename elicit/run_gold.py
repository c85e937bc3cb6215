"""A finished run's labels against the gold column of a task file."""

from __future__ import annotations

from pathlib import Path

from elicit.cache.errors import InputError
from elicit.cache.runs import Run
from elicit.evaluate import evaluate
from elicit.evaluation import AgainstGold
from elicit.gold import load_gold
from elicit.outcome import outcome_of, result_of
from elicit.task import Task


def against_gold(run: Run, task: Task, path: Path, source: str) -> AgainstGold:
    """Compare a run's answer with the gold column of the task file at `path`, which is `task`.
    `source` is what the user calls it.

    Raises:
        InputError: the run is not finished, the file names no gold column, or no item has both
            a label and a gold label.
    """
    ids = result_of(run)["ids"]
    gold = load_gold(path, ids)
    if gold is None:
        raise InputError(f"{source}: names no gold column; add gold = ... to [data]")
    answer = outcome_of(run).answer
    cluster_of = {item.id: item.cluster for item in task.items}
    found = evaluate(
        answer.labels,
        answer.log_odds,
        gold,
        [cluster_of.get(i, ("item", i)) for i in ids],
        answer.log_probs,
        n_labels=len(task.labels),
    )
    return AgainstGold(source, found, gold)
