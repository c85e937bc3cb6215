"""What can be said of a run's labels from the run alone: the diagnosis's own rules, without
what a diagnosis scores beside."""

from __future__ import annotations

from elicit.agreement import mean_adjusted_rand, mean_agreement, mean_agreement_up_to_names
from elicit.outcome import Outcome
from elicit.salience import Evidence, chain_facts
from elicit.settings import RunSettings
from elicit.surface_labels import surface_of
from elicit.task import Task
from elicit.verdict import Finding, findings


def seen_in(outcome: Outcome, task: Task, settings: RunSettings) -> tuple[Finding, ...]:
    """Warnings and notes on the chain with the highest objective. None for a record of before
    log-probabilities were kept."""
    if any(chain.log_probs is None for chain in outcome.chains):
        return ()
    best = outcome.best
    # From one beginning a deterministic search agrees with itself whatever it finds.
    alike = settings.method == "bootstrap" and settings.bootstrap.start == "zero_shot"
    chains = (best,) if alike else outcome.chains
    found = next(k for k, chain in enumerate(chains) if chain is best)
    labels = [chain.labels for chain in chains]
    n_labels = len(task.labels)
    facts = chain_facts(chains, n_labels, found)
    texts = [segment.text for segment in task.render().questions]
    evidence = Evidence(
        label_names=task.labels,
        chains=facts,
        found=found,
        agreement=mean_agreement(labels),
        agreement_up_to_names=mean_agreement_up_to_names(labels, n_labels),
        adjusted_rand=mean_adjusted_rand(labels),
        objective=best.objective,
        predictability=facts[found].information.predictability,
        comparisons=(),
        surface=surface_of(task, texts, best.labels, settings.seed),
        mean_coverage=outcome.mean_coverage,
    )
    return findings(evidence)
