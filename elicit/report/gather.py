"""From what the store holds of a run to what a report shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
from scipy.special import expit

from elicit.agreement import mean_agreement, mean_agreement_up_to_names
from elicit.constraints import UNLABELLED
from elicit.evaluation import AgainstGold
from elicit.outcome import Answer, Outcome, outcome_of
from elicit.report.facts import (
    MISSING,
    DiagnosisFacts,
    Gold,
    ItemFacts,
    Prompts,
    RunFacts,
)
from elicit.report.prompts import prompts_of
from elicit.report.reproduce import command_of, settings_shown, shown_model, shown_task
from elicit.report.searches import Standing, chains_shown, flips_of, standings
from elicit.report.seen import seen_in
from elicit.run import SEARCHES, settings_of
from elicit.run_labels import changed_task, check_same_task
from elicit.run_record import KeptDiagnosis, RunRecord
from elicit.settings import RunSettings
from elicit.task import Task
from elicit.verdict import Finding


def gather(
    record: RunRecord,
    task: Task,
    gold: AgainstGold | None = None,
    gold_missing: str = "No gold labels were given.",
) -> RunFacts:
    """What a report shows of a run, finished or not. `task` is its task, as it was then;
    `gold_missing` says why there is no gold.

    Raises:
        InputError: the task has changed since the run began.
    """
    run, searches = record.run, record.searches
    settings = settings_of(run)
    outcome = None
    if run.result is not None:
        check_same_task(run, task)
        outcome = outcome_of(run)
    elif task.digest() != run.task_digest:
        raise changed_task(run, task)
    stand = standings(searches, outcome)
    begun = [now for now in stand if now is not None]
    best = _best(stand)
    now = None if best is None else stand[best]
    mixed = settings.combine == "mixture" and len(stand) > 1
    labels = [chain.labels for chain in begun]
    prompts, missing = _prompts(record, task, settings, outcome, best)
    return RunFacts(
        name=run.name,
        task=task.name,
        task_path=shown_task(run.task_path) if run.task_path else "",
        model=shown_model(run.model),
        method=run.method,
        seed=run.seed,
        status=run.status,
        created=run.created,
        updated=run.updated,
        version=version("elicit-lm"),
        label_names=task.labels,
        settings=settings_shown(settings),
        command=command_of(run, settings, task),
        planned_chains=run.chains,
        chains=chains_shown(searches, stand, None if mixed else best, len(task.labels)),
        agreement=mean_agreement(labels),
        agreement_up_to_names=mean_agreement_up_to_names(labels, len(task.labels)),
        objective=None if now is None else now.objective,
        inconsistency=_inconsistency(outcome, now),
        mean_coverage=None if outcome is None else outcome.mean_coverage,
        bounded_share=None if outcome is None else outcome.bounded_share,
        usage={name: float(amount) for name, amount in run.usage.items()},
        usage_known=run.status == "done" or bool(run.usage),
        findings=() if outcome is None else seen_in(outcome, task, settings),
        diagnosis=None if record.diagnosis is None else _diagnosis(record.diagnosis),
        items=_items(record, task, stand, now, outcome, gold),
        prompts=prompts,
        prompts_missing=missing,
        gold=None if gold is None else Gold(gold.source, gold.evaluation),
        gold_missing=gold_missing if gold is None else "",
    )


def _best(stand: Sequence[Standing | None]) -> int | None:
    """Number of the chain with the highest objective so far."""
    begun = [(now.objective, -number) for number, now in enumerate(stand) if now is not None]
    return -max(begun)[1] if begun else None


def _inconsistency(outcome: Outcome | None, now: Standing | None) -> int | None:
    if outcome is not None:
        return outcome.answer.inconsistency
    return None if now is None else now.inconsistency


def _prompts(
    record: RunRecord,
    task: Task,
    settings: RunSettings,
    outcome: Outcome | None,
    best: int | None,
) -> tuple[Prompts | None, str]:
    """The prompts, or why they can't be told."""
    state = None if best is None else record.searches[best].state
    if outcome is None or best is None or state is None:
        return None, "Prompts of the final labels are shown once the run has ended."
    if outcome.writing is None or record.run.settings.get("searches") != SEARCHES:
        return None, "This run was made by another version of elicit, which chose otherwise."
    found = prompts_of(task, settings, best, state.labelling, outcome.writing, outcome.limit)
    if found is None:
        return None, "Each item had demonstrations of its own: too many to be shown here."
    return found, ""


def _items(
    record: RunRecord,
    task: Task,
    stand: Sequence[Standing | None],
    now: Standing | None,
    outcome: Outcome | None,
    gold: AgainstGold | None,
) -> tuple[ItemFacts, ...]:
    n_items, n_labels = len(task.items), len(task.labels)
    nothing = np.full(n_items, UNLABELLED, np.int64)
    answer = None if outcome is None else outcome.answer
    labels = nothing if now is None else now.labels
    if answer is not None:
        labels = answer.labels
    odds = [None] * n_items if answer is None else answer.log_odds.tolist()
    probable = _probabilities(answer, n_items, n_labels)
    broken = {item for items in task.rules().violations(labels) for item in items}
    votes = np.zeros((n_items, n_labels + 1), np.int64)
    for chain in stand:
        if chain is not None:
            votes[np.arange(n_items), chain.labels] += 1
    right = nothing if gold is None else gold.gold
    flips = flips_of(record.searches, n_items)
    texts = [segment.text for segment in task.render().questions]
    return tuple(
        ItemFacts(
            id=item.id,
            group=item.group,
            text=texts[number],
            characters=len(texts[number]),
            label=label if label != UNLABELLED else MISSING,
            probability=probable[number],
            log_odds=odds[number],
            flips=flips[number],
            inconsistent=number in broken,
            votes=tuple(votes[number, :n_labels].tolist()),
            gold=int(right[number]),
        )
        for number, (item, label) in enumerate(zip(task.items, labels.tolist(), strict=True))
    )


def _probabilities(answer: Answer | None, n_items: int, n_labels: int) -> list[float | None]:
    """Of each item's own label; None where it has none, or where it isn't known."""
    if answer is None:
        return [None] * n_items
    labels = answer.labels
    if answer.log_probs is not None:
        own = np.exp(answer.log_probs[np.arange(n_items), labels])
    elif n_labels == 2:
        own = expit(answer.log_odds)
    else:
        return [None] * n_items
    return [
        None if label == UNLABELLED else value
        for label, value in zip(labels.tolist(), own.tolist(), strict=True)
    ]


def _diagnosis(kept: KeptDiagnosis) -> DiagnosisFacts:
    return DiagnosisFacts(
        verdict=str(kept.found["verdict"]),
        findings=tuple(Finding(**finding) for finding in kept.found["findings"]),
        when=kept.when,
    )
