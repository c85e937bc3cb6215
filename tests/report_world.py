"""Facts of runs for tests of the report: small ones, large ones, hostile ones."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elicit.evaluate import evaluate
from elicit.report.compare import compare
from elicit.report.facts import (
    MISSING,
    ChainFacts,
    Comparison,
    Context,
    Curve,
    DiagnosisFacts,
    Gold,
    ItemFacts,
    Prompts,
    RunFacts,
    Setting,
)
from elicit.verdict import Finding

USAGE = {
    "requests": 2400.0,
    "cached": 800.0,
    "forwarded_tokens": 51_200.0,
    "prompt_tokens": 910_000.0,
}


def curve(n: int = 30, seed: int = 0) -> Curve:
    """A search that gets better, with proposals that are sometimes not taken."""
    rng = random.Random(seed)
    return Curve(
        iterations=tuple(range(n)),
        objective=tuple(-40 + 38 * (1 - math.exp(-k / 9)) + rng.random() for k in range(n)),
        inconsistency=tuple(max(0, 9 - k // 3) for k in range(n)),
        temperature=tuple(max(0.01, 10 / (1 + 2 * math.log(1 + k))) for k in range(n)),
        accepted=tuple(None if k == 0 else rng.random() < 0.8 for k in range(n)),
        changed=tuple(rng.randrange(3) for _ in range(n)),
    )


def items(
    n: int, labels: int = 2, chains: int = 3, texts: Sequence[str] | None = None
) -> tuple[ItemFacts, ...]:
    """Items of every kind: right and wrong, flipped, inconsistent, abstained."""
    rng = random.Random(n)
    found = []
    for k in range(n):
        text = texts[k % len(texts)] if texts else f"Claim number {k} holds of subject {k % 7}."
        gold = rng.randrange(labels)
        wrong, abstained = k % 11 == 3, k % 17 == 5
        label = (gold + 1) % labels if wrong else gold
        odds = rng.random() * 8 + 0.01
        votes = [0] * labels
        votes[label] = chains
        found.append(
            ItemFacts(
                id=f"c{k}",
                group=f"subject {k % 7}" if k % 5 else None,
                text=text,
                characters=len(text),
                label=MISSING if abstained else label,
                probability=None if abstained else 1 / (1 + math.exp(-odds)),
                log_odds=odds,
                flips=k % 4,
                inconsistent=k % 13 == 1,
                votes=tuple(votes),
                gold=gold,
            )
        )
    return tuple(found)


def gold_of(found: Sequence[ItemFacts], labels: int, source: str = "claims.toml") -> Gold:
    """What the items' gold labels say of their labels."""
    own = np.array([item.label for item in found], np.int64)
    odds = np.array([item.log_odds or 0.0 for item in found])
    gold = np.array([item.gold for item in found], np.int64)
    groups = [item.group for item in found]
    return Gold(source, evaluate(own, odds, gold, groups, n_labels=labels))


def prompts_of(n: int, labels: int = 2, writing: str = "text") -> Prompts:
    """Leave-one-out in two orders: each item is asked after all others."""
    forth, back = tuple(range(n)), tuple(reversed(range(n)))
    return Prompts(
        writing=writing,
        opening="" if writing == "text" else "Say whether each claim is true.",
        verbalizers=tuple(f" label{k}" for k in range(labels)),
        separator="\n\n",
        labels=tuple(k % labels for k in range(n)),
        sequences=(forth, back),
        contexts=tuple(Context(order, n, k) for k in range(n) for order in (0, 1)),
        of_item=tuple((2 * k, 2 * k + 1) for k in range(n)),
    )


def facts(n: int = 40, *, labels: int = 2, chains: int = 3, **changed: Any) -> RunFacts:
    """A finished run with gold labels and prompts. What is named in `changed` is as it says."""
    found = changed.pop("items", None) or items(n, labels, chains)
    gold = changed.pop("gold") if "gold" in changed else gold_of(found, labels)
    names = ("False", "True") if labels == 2 else tuple(f"kind {k}" for k in range(labels))
    shares = tuple(1 / labels for _ in names)
    run = RunFacts(
        name="demo",
        task="claims",
        task_path="tasks/claims.toml",
        model="tiny",
        method="icm",
        seed=7,
        status="done",
        created=1_790_000_000.0,
        updated=1_790_000_754.0,
        version="0.1.0",
        label_names=names,
        settings=(
            Setting("chains", str(chains), default=False),
            Setting("alpha", "50.0", default=True),
            Setting("prior", "", default=True),
        ),
        command="elicit run tasks/claims.toml --model tiny --method icm --chains 3 --seed 7",
        chains=tuple(
            ChainFacts(-2.5 - k, 0, shares, k == 0, curve(seed=k)) for k in range(chains)
        ),
        planned_chains=chains,
        agreement=0.958 if chains > 1 else None,
        agreement_up_to_names=0.961 if chains > 1 else None,
        objective=-2.5,
        inconsistency=0,
        mean_coverage=0.97,
        bounded_share=0.0,
        usage=USAGE,
        usage_known=True,
        findings=(
            Finding("skewed", "note", "True has 92 % of the items.", "Give the shares."),
            Finding("collapsed", "warning", "Chains gave one label.", "Add a constraint."),
        ),
        diagnosis=None,
        items=found,
        prompts=prompts_of(len(found), labels),
        prompts_missing="",
        gold=gold,
        gold_missing="",
    )
    return replace(run, **changed)


def without_gold(run: RunFacts) -> RunFacts:
    """The run as it is shown where no gold labels are known."""
    bare = tuple(replace(item, gold=MISSING) for item in run.items)
    return replace(run, items=bare, gold=None, gold_missing="No gold labels were given.")


def begun(n: int = 12) -> RunFacts:
    """A run that has only begun: nothing is known but what was asked."""
    bare = tuple(
        replace(
            item,
            label=MISSING,
            probability=None,
            log_odds=None,
            flips=None,
            votes=(0, 0),
            inconsistent=False,
            gold=MISSING,
        )
        for item in items(n)
    )
    nothing = Curve((), (), (), (), (), ())
    return replace(
        facts(n, items=bare, gold=None),
        gold_missing="No gold labels were given.",
        status="running",
        chains=(ChainFacts(0.0, 0, (0.0, 0.0), answered=False, curve=nothing),),
        agreement=None,
        agreement_up_to_names=None,
        objective=None,
        inconsistency=None,
        mean_coverage=None,
        bounded_share=None,
        usage={},
        usage_known=False,
        findings=(),
        prompts=None,
        prompts_missing="Prompts are shown once the run has ended.",
    )


def underway(status: str = "running") -> RunFacts:
    """A run in the middle of its search: two chains of three have begun."""
    run = without_gold(facts(24))
    return replace(
        run,
        gold_missing="Labels are compared once the run has ended.",
        status=status,
        items=tuple(replace(item, probability=None, log_odds=None) for item in run.items),
        chains=run.chains[:2],
        mean_coverage=None,
        bounded_share=None,
        findings=(),
        prompts=None,
        prompts_missing="Prompts are shown once the run has ended.",
    )


def mixture() -> RunFacts:
    """A finished run whose answer is the mixture of its chains."""
    run = facts()
    settings = (*run.settings, Setting("combine", "mixture", default=False))
    chains = tuple(replace(chain, answered=False) for chain in run.chains)
    return replace(run, settings=settings, chains=chains)


def bootstrap() -> RunFacts:
    """A finished run of a method that goes in rounds, and has no temperature."""
    run = facts()
    n, rounds = len(run.items), (0, 1, 2, 3)
    searched = Curve(
        iterations=rounds,
        objective=(-30.0, -9.0, -4.0, -2.5),
        inconsistency=(3, 1, 0, 0),
        temperature=(0.0,) * 4,
        accepted=(None, True, True, True),
        changed=(n, 14, 5, 2),
    )
    chains = tuple(replace(chain, curve=searched) for chain in run.chains)
    return replace(run, method="bootstrap", chains=chains)


def hostile(strings: Sequence[str]) -> RunFacts:
    """A run that says the strings wherever a run can say a string."""
    at = iter(range(10**9))

    def next_string() -> str:
        return strings[next(at) % len(strings)]

    plain = items(3 * len(strings), labels=12)
    evil = tuple(
        replace(
            item,
            id=f"{next_string()}{k}",
            group=strings[(k + 1) % len(strings)],
            text=strings[(k + 2) % len(strings)],
            characters=len(strings[(k + 2) % len(strings)]),
        )
        for k, item in enumerate(plain)
    )
    everything = " ".join(strings)
    findings = tuple(Finding(s, "warning", s, s) for s in strings)
    prompts = prompts_of(len(evil), 12, "turns")
    return facts(
        items=evil,
        labels=12,
        name=everything,
        task=everything,
        task_path=everything,
        model=everything,
        method=everything,
        status=everything,
        version=everything,
        label_names=tuple(f"{strings[4 * k]}{strings[4 * k + 1]}{k}" for k in range(12)),
        settings=tuple(Setting(s, s, default=False) for s in strings),
        command=everything,
        findings=findings,
        diagnosis=DiagnosisFacts(everything, findings, 1_790_000_000.0),
        gold=gold_of(evil, 12, everything),
        gold_missing=everything,
        prompts=replace(
            prompts,
            opening=everything,
            separator=everything,
            verbalizers=tuple(strings[k] for k in range(12)),
        ),
        prompts_missing=everything,
    )


def comparison(*runs: RunFacts) -> Comparison:
    """The runs side by side; two that differ on some items if none are given."""
    if not runs:
        one = facts()
        other = tuple(
            replace(
                item, label=1 - item.label if k % 6 == 2 and item.label >= 0 else item.label
            )
            for k, item in enumerate(one.items)
        )
        costs = USAGE | {"calls": 40.0, "cost_usd": 0.0123}
        runs = (one, replace(one, name="again", items=other, method="zero_shot", usage=costs))
    return compare(runs)
