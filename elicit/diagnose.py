"""Will elicitation work here? Several searches from random labels, and what they show.

No gold label is needed, and none can be reached. The searches are runs in the store: a
diagnosis that was interrupted goes on, and one that is repeated costs nothing. Starts are
random: from zero-shot labels a deterministic search agrees with itself whatever it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from elicit.cache.errors import InputError
from elicit.cache.keys import json_digest
from elicit.cache.runs import Run, RunStore
from elicit.evidence import evidence_of
from elicit.labelling import CachePath, metered, open_store
from elicit.made_up_labels import compared
from elicit.outcome import Chain, Outcome, outcome_of, result_of
from elicit.prior import parse_prior
from elicit.providers.base import Usage
from elicit.providers.usage import Limits, Meter
from elicit.run import SEARCHES, Progress, begin, drive
from elicit.run_record import DIAGNOSES, DIAGNOSIS
from elicit.salience import Evidence, Verdict, chain_facts, chosen_chain, settled
from elicit.scorer import IntArray
from elicit.settings import RunSettings
from elicit.task import Task
from elicit.verdict import Finding, findings, verdict

SUREST = 5
"""Items shown of each label."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An item of which a label is sure."""

    id: str
    text: str
    log_odds: float


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The verdict, what it is read from, and what was found."""

    task: str
    model: str
    items: int
    verdict: Verdict
    findings: tuple[Finding, ...]
    evidence: Evidence
    labels: IntArray
    """(n_items,), of the reported chain: one index into the task's labels an item."""
    surest: tuple[tuple[Shown, ...], ...]
    """For each label its surest items, the surest first."""
    usage: Usage

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.kind == "warning")

    def as_dict(self) -> dict[str, object]:
        """What `--json` prints."""
        e = self.evidence
        told = e.reported.information
        return {
            "task": self.task,
            "model": self.model,
            "items": self.items,
            "verdict": self.verdict,
            "findings": [asdict(finding) for finding in self.findings],
            "labels": dict(zip(e.label_names, e.reported.shares, strict=True)),
            "information": {
                "relative": told.relative,
                "total_nats": told.total,
                "entropy": told.entropy,
                "predictability": told.predictability,
            },
            "agreement": {
                "chains": len(e.chains),
                "found_again": e.again,
                "by_names": e.agreement,
                "up_to_names": e.agreement_up_to_names,
                "adjusted_rand": e.adjusted_rand,
            },
            "objective": e.objective,
            "deviations_over_permuted": e.deviations,
            "rank_among_permuted": e.rank,
            "comparisons": [asdict(comparison) for comparison in e.comparisons],
            "chains": [asdict(chain) for chain in e.chains],
            "surface": [asdict(a) | {"skill": a.skill} for a in e.surface],
            "mean_coverage": e.mean_coverage,
            "surest": {
                name: [asdict(item) for item in items]
                for name, items in zip(e.label_names, self.surest, strict=True)
            },
            "usage": asdict(self.usage),
        }


def diagnose(
    task: Task,
    model: str,
    *,
    settings: RunSettings | None = None,
    chains: int = 4,
    comparisons: int = 10,
    cache: CachePath = None,
    limits: Limits | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_usage: Callable[[Usage], None] = lambda _: None,
) -> Diagnosis:
    """Search from `chains` random starts, and from as many again where these do not settle it;
    then compare what was found with `comparisons` permuted and as many random labellings.

    `settings` are those of the run that is planned; seed and method are taken from them, and
    bootstrap starts at random whatever they say.

    Raises:
        ElicitError: bad input, a model that can't answer, or a budget reached; what was paid
            for is kept, and the same call goes on from there.
    """
    if chains < 2:
        raise InputError(f"--chains: at least 2 are needed to be compared, not {chains}")
    if comparisons < 2:
        raise InputError(f"--comparisons: must be at least 2, not {comparisons}")
    chosen = settings or RunSettings(method="bootstrap")
    parse_prior(chosen.prior, task.labels)
    chosen = replace(chosen, bootstrap=replace(chosen.bootstrap, start="random"))
    with open_store(cache) as store, metered(model, store, limits, on_usage) as meter:
        runs = RunStore(store)
        for count in (chains, 2 * chains):
            searched = replace(chosen, chains=count)
            run, outcome = _searched(runs, task, meter, model, searched, on_progress)
            found = chosen_chain(outcome.chains, len(task.labels))
            facts = chain_facts(outcome.chains, len(task.labels), found)
            if settled(facts, found):
                break
        own, *others = compared(task, meter, searched, outcome.chains[found], comparisons)
        evidence = evidence_of(
            task,
            outcome.chains,
            facts,
            found,
            objective=own.objective,
            predictability=own.predictability[0],
            comparisons=tuple(others),
            seed=chosen.seed,
            mean_coverage=outcome.mean_coverage,
        )
        made = _diagnosed(task, model, evidence, outcome.chains[found], meter.usage)
        # With the searches that it was read from, for whoever reports a run of this task.
        runs.finish(run.id, "done", {**result_of(run), DIAGNOSIS: made.as_dict()})
        return made


def _diagnosed(
    task: Task, model: str, evidence: Evidence, best: Chain, usage: Usage
) -> Diagnosis:
    """What the evidence comes to, where this chain is reported."""
    texts = [segment.text for segment in task.render().questions]
    return Diagnosis(
        task=task.name,
        model=model,
        items=len(task.items),
        verdict=verdict(evidence),
        findings=findings(evidence),
        evidence=evidence,
        labels=best.labels,
        surest=tuple(_surest(task, texts, best, label) for label in range(len(task.labels))),
        usage=usage,
    )


def _searched(
    runs: RunStore,
    task: Task,
    meter: Meter,
    model: str,
    settings: RunSettings,
    on_progress: Callable[[Progress], None],
) -> tuple[Run, Outcome]:
    """The run of these searches: begun, taken up again, or read."""
    parts = [task.digest(), meter.identity.digest().hex(), settings.as_dict(), SEARCHES]
    name = f"{DIAGNOSES}{json_digest(parts)[:16]}"
    run = runs.find(name) or begin(runs, task, meter, model, settings, name)
    if run.result is None:
        drive(run, runs, task, meter, on_progress)
        run = runs.get(name)
    return run, outcome_of(run)


def _surest(task: Task, texts: Sequence[str], best: Chain, label: int) -> tuple[Shown, ...]:
    own = np.flatnonzero(best.labels == label)
    order = own[np.argsort(-best.log_odds[own], kind="stable")][:SUREST]
    return tuple(
        Shown(task.items[i].id, texts[i].strip(), float(best.log_odds[i]))
        for i in order.tolist()
    )
