"""What a verdict is read from, gathered from chains of one run."""

from __future__ import annotations

from collections.abc import Sequence

from elicit.agreement import mean_adjusted_rand, mean_agreement, mean_agreement_up_to_names
from elicit.outcome import Chain
from elicit.salience import ChainFacts, Comparison, Evidence
from elicit.surface_labels import surface_of
from elicit.task import Task


def evidence_of(
    task: Task,
    chains: Sequence[Chain],
    facts: tuple[ChainFacts, ...],
    found: int,
    *,
    objective: float,
    predictability: float,
    comparisons: tuple[Comparison, ...],
    seed: int,
    mean_coverage: float | None,
) -> Evidence:
    """The evidence of chains with these facts, of which the one of number `found` is reported,
    with this U and P."""
    labels = [chain.labels for chain in chains]
    n_labels = len(task.labels)
    texts = [segment.text for segment in task.render().questions]
    return Evidence(
        label_names=task.labels,
        chains=facts,
        found=found,
        agreement=mean_agreement(labels),
        agreement_up_to_names=mean_agreement_up_to_names(labels, n_labels),
        adjusted_rand=mean_adjusted_rand(labels),
        objective=objective,
        predictability=predictability,
        comparisons=comparisons,
        surface=surface_of(task, texts, chains[found].labels, seed),
        mean_coverage=mean_coverage,
    )
