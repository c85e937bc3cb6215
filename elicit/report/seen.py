"""What can be said of a run's labels from the run alone: the diagnosis's own rules, without
what a diagnosis scores beside."""

from __future__ import annotations

from elicit.evidence import evidence_of
from elicit.outcome import Outcome
from elicit.salience import chain_facts
from elicit.settings import RunSettings
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
    facts = chain_facts(chains, len(task.labels), found)
    evidence = evidence_of(
        task,
        chains,
        facts,
        found,
        objective=best.objective,
        predictability=facts[found].information.predictability,
        comparisons=(),
        seed=settings.seed,
        mean_coverage=outcome.mean_coverage,
    )
    return findings(evidence)
