"""Will elicitation work here? Several searches from random labels, and what they show.

No gold label is needed, and none can be reached. The searches are runs in the store: a
diagnosis that was interrupted goes on, and one that is repeated costs nothing. Starts are
random: from zero-shot labels a deterministic search agrees with itself whatever it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from elicit.agreement import (
    mean_adjusted_rand,
    mean_agreement,
    mean_agreement_up_to_names,
)
from elicit.association import Ties, associations
from elicit.cache.errors import InputError
from elicit.cache.keys import json_digest
from elicit.cache.runs import RunStore
from elicit.constraints import UNLABELLED
from elicit.labelling import CachePath, metered, open_store
from elicit.outcome import Chain, Outcome, outcome_of
from elicit.predictability import Labelling
from elicit.prior import parse_prior
from elicit.providers.base import Usage
from elicit.providers.usage import Limits, Meter
from elicit.repair import repair
from elicit.run import SEARCHES, Progress, begin, drive, pool_of
from elicit.salience import Comparison, Evidence, Verdict, chain_facts, settled
from elicit.scorer import IntArray, Scorer
from elicit.search.problem import Problem, together
from elicit.settings import RunSettings
from elicit.surface import features_of
from elicit.task import Task
from elicit.verdict import Finding, findings, verdict

COMPARED_ITEMS = 256
"""Items, drawn by seed, whose labels are compared with permuted and random ones."""
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
            outcome = _searched(runs, task, meter, model, searched, on_progress)
            found, facts = chain_facts(outcome.chains, len(task.labels))
            if settled(facts, found):
                break
        best = outcome.chains[found]
        compared = _compared(task, meter, searched, best, comparisons)
        usage = meter.usage
    texts = [segment.text for segment in task.render().questions]
    drawn = np.random.default_rng(np.random.SeedSequence(chosen.seed, spawn_key=(2,)))
    labels = [chain.labels for chain in outcome.chains]
    own, *others = compared
    evidence = Evidence(
        label_names=task.labels,
        chains=facts,
        found=found,
        agreement=mean_agreement(labels),
        agreement_up_to_names=mean_agreement_up_to_names(labels, len(task.labels)),
        adjusted_rand=mean_adjusted_rand(labels),
        objective=own.objective,
        predictability=own.predictability[0],
        comparisons=tuple(others),
        surface=tuple(
            associations(features_of(task, texts), best.labels, task.labels, tied(task), drawn)
        ),
        mean_coverage=outcome.mean_coverage,
    )
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
) -> Outcome:
    """The outcome of the run of these searches: begun, taken up again, or read."""
    parts = [task.digest(), meter.identity.digest().hex(), settings.as_dict(), SEARCHES]
    name = f"diagnose-{json_digest(parts)[:16]}"
    run = runs.find(name) or begin(runs, task, meter, model, settings, name)
    return drive(run, runs, task, meter, on_progress) if run.result is None else outcome_of(run)


def _compared(
    task: Task, meter: Meter, settings: RunSettings, best: Chain, count: int
) -> list[Comparison]:
    """The reported labelling, then permuted, random and constant ones, all over the same items.
    Random ones satisfy the constraints, permuted ones have the shares."""
    rules = task.rules()
    scorer = Scorer(task.render(settings.writing_for(meter.capabilities.form)), meter)
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(1,)))
    objective = settings.objective_for(scorer, rules, rng)
    pool = pool_of(replace(settings, pool=COMPARED_ITEMS), rules)
    items = pool[best.labels[pool] != UNLABELLED]
    own = best.labels[items]
    shape = (rules.n_items, rules.n_labels)
    kinds = {
        "found": [own],
        "permuted": [reordered(own, rng) for _ in range(count)],
        "random": [repair(rng.random(shape), rules)[items] for _ in range(count)],
    }
    for number, name in enumerate(task.labels):
        kinds[f"all {name}"] = [np.full(items.size, number, np.int64)]
    labellings = []
    for given in (labels for group in kinds.values() for labels in group):
        everything = np.full(rules.n_items, UNLABELLED, np.int64)
        everything[items] = given
        labellings.append(Labelling(everything, _dealt(items, given, settings.folds, rng)))
    (scored,) = together(scorer, [Problem.of(scorer, objective).values(labellings)])
    values = iter(scored)
    found = []
    for kind, group in kinds.items():
        own_values = [next(values) for _ in group]
        mean = float(np.mean([value.objective for value in own_values]))
        found.append(Comparison(kind, mean, tuple(v.predictability for v in own_values)))
    return found


def reordered(labels: IntArray, rng: np.random.Generator) -> IntArray:
    """Labels permuted, and not into themselves, which few items are often. Those of one label
    only can't be."""
    drawn: IntArray = rng.permutation(labels)
    while (drawn == labels).all() and np.ptp(labels) > 0:
        drawn = rng.permutation(labels)
    return drawn


def _dealt(items: IntArray, labels: IntArray, folds: int, rng: np.random.Generator) -> IntArray:
    """Items in an order drawn at random under which every fold gets its share of each label.

    Else it is luck whether the few items with a rare label see another one at all.
    """
    drawn = rng.permutation(items.size)
    sorted_ones = drawn[np.argsort(labels[drawn], kind="stable")]
    whole = items.size // folds * folds
    hands = rng.permutation(sorted_ones[:whole].reshape(-1, folds))
    order = np.concatenate([rng.permuted(hands, axis=1).ravel(), sorted_ones[whole:]])
    dealt: IntArray = items[order]
    return dealt


def tied(task: Task) -> Ties:
    """Items of one group, or tied by a constraint, and those that must have the same label."""
    rules = task.rules()
    groups = [
        ("group", item.group) if item.group is not None else ("part", str(part))
        for item, part in zip(task.items, rules.parts().tolist(), strict=True)
    ]
    index = {key: number for number, key in enumerate(dict.fromkeys(groups))}
    differ = ~np.eye(rules.n_labels, dtype=bool)
    equal = ~rules.allowed[:, differ].any(axis=1)
    shape = (rules.n_items, rules.n_items)
    graph = csr_array((np.ones(equal.sum()), tuple(rules.pairs[equal].T)), shape=shape)
    _, alike = connected_components(graph, directed=False)
    return Ties(np.array([index[key] for key in groups], np.int64), alike.astype(np.int64))


def _surest(task: Task, texts: Sequence[str], best: Chain, label: int) -> tuple[Shown, ...]:
    own = np.flatnonzero(best.labels == label)
    order = own[np.argsort(-best.log_odds[own], kind="stable")][:SUREST]
    return tuple(
        Shown(task.items[i].id, texts[i].strip(), float(best.log_odds[i]))
        for i in order.tolist()
    )
