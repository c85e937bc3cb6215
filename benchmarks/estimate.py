"""How near `elicit estimate` comes to the true bill, counted on the embedded model.

    python benchmarks/estimate.py --seeds 5
    python benchmarks/estimate.py --only claims:64:icm marker:all:bootstrap --json
    python benchmarks/estimate.py --after-zero-shot      # with those scores in the store
    python benchmarks/estimate.py --after 0              # with those of a run's first state

Each setting is run to its end on the embedded model, once a seed, behind a provider that
counts what a server would have been sent: one item a call, as by completions and chat, and
400 items a call, as by decisions; tokens are characters times one ratio for both. Tokens
forwarded are the embedded model's own. Then the same setting is estimated with the same
seeds. The error is that of the middle estimate's median against the true median. After
zero-shot, or after a part of the run itself, what that took is added to the estimate of the
rest. `--after 0` is a run that was stopped with its first labels scored, `--after 64` one of
annealing after 64 iterations; its settings and seed are those of the whole run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from importlib.resources import files
from itertools import groupby, islice
from pathlib import Path
from typing import Literal

import numpy as np

from elicit.cache.store import ScoreStore
from elicit.estimate import Cost, Estimate, Facts, estimate, facts_of
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    Provider,
    ScoreRequest,
    Scoring,
    Usage,
)
from elicit.providers.cached import CachedProvider
from elicit.providers.registry import open_model
from elicit.providers.usage import Meter
from elicit.run import chain_of, pool_of
from elicit.scorer import Scorer
from elicit.search.baselines import zero_shot
from elicit.search.bootstrap import BootstrapSettings
from elicit.search.icm import ICMSettings
from elicit.search.methods import MethodSettings, search
from elicit.settings import RunSettings
from elicit.tally import Group, Hosted, Tally
from elicit.task import Task
from elicit.task_file import load_task

RATIO = 0.3
SINGLE = Hosted()
DECISIONS = Hosted(items_per_call=400, answer_tokens=0.0)
SETTINGS = (
    "claims:64:icm",
    "sizes:64:icm",
    "marker:64:icm",
    "sizes:all:icm",
    "marker:all:icm",
    "claims:24:icm-loo",
    "claims:64:bootstrap",
    "claims:all:bootstrap",
    "sizes:64:bootstrap",
    "sizes:all:bootstrap",
    "facts:all:bootstrap",
    "rare:all:bootstrap",
    "spurious:all:bootstrap",
    "marked:all:bootstrap",
    "marker:all:bootstrap",
    "mixed:all:bootstrap",
    "diets:all:bootstrap",
)
Part = Literal["zero-shot"] | int | None
"""What is in the store already: zero-shot scores, or those of the run up to a state of it."""
METHODS: dict[str, MethodSettings] = {
    "icm": ICMSettings(),
    "icm-loo": ICMSettings(),
    "bootstrap": BootstrapSettings(),
}


class CountingProvider:
    """Passes everything on, and counts what servers would have been sent in its place."""

    def __init__(self, provider: Provider, tallies: Sequence[Tally]) -> None:
        self._provider = provider
        self._tallies = tallies
        self._numbers: dict[bytes, int] = {}

    @property
    def name(self) -> str:
        return self._provider.name

    @property
    def identity(self) -> Identity:
        return self._provider.identity

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.capabilities

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return self._provider.count_tokens(requests)

    def close(self) -> None:
        self._provider.close()

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        groups = [self._group(list(g)) for _, g in groupby(requests, lambda r: r.prompt[:-1])]
        for tally in self._tallies:
            tally.send(groups)
        yield from self._provider.score(requests, budget)

    def _group(self, requests: Sequence[ScoreRequest]) -> Group:
        shown = requests[0].prompt[:-1]
        numbers = [self._numbers.setdefault(s.digest, len(self._numbers)) for s in shown]
        return Group(
            np.array(numbers, np.int64),
            np.array([len(s.text) * RATIO for s in shown], float),
            np.array([len(r.prompt[-1].text) * RATIO for r in requests], float),
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """What is compared."""

    calls: int
    calls_of_400: int
    prompt_tokens: int
    forwarded_tokens: int

    def __add__(self, other: Figures) -> Figures:
        return Figures(*np.add(astuple(self), astuple(other)).tolist())

    @staticmethod
    def of(single: Usage, decisions: Usage, local: Usage) -> Figures:
        return Figures(
            single.calls, decisions.calls, single.prompt_tokens, local.forwarded_tokens
        )


def true_run(
    provider: Provider, task: Task, run: RunSettings, method: MethodSettings
) -> Figures:
    """One chain to its end, as `elicit run` takes it there, and what it took."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ScoreStore(Path(folder) / "scores.db") as store,
    ):
        return partial_run(provider, task, run, method, store, None)


def partial_run(
    provider: Provider,
    task: Task,
    run: RunSettings,
    method: MethodSettings,
    store: ScoreStore,
    after: int | None,
) -> Figures:
    """One chain up to its state number `after`, or to its end; what it took."""
    tallies = Tally(SINGLE), Tally(DECISIONS)
    meter = Meter(CachedProvider(CountingProvider(provider, tallies), store))
    scorer = Scorer(task.render(), meter)
    rules = task.rules()
    problem, rng = chain_of(run, 0, scorer, rules, pool_of(run, rules))
    states = search(problem, method, rng)
    *_, last = states if after is None else islice(states, after + 1)
    if after is None:
        problem.predict(last.labelling, np.arange(scorer.n_items))
    single, decisions = (tally.bill.usage for tally in tallies)
    return Figures.of(single, decisions, meter.usage)


def zero_shot_run(provider: Provider, task: Task, store: ScoreStore) -> Figures:
    """Put zero-shot scores in the store; what they took."""
    tallies = Tally(SINGLE), Tally(DECISIONS)
    meter = Meter(CachedProvider(CountingProvider(provider, tallies), store))
    zero_shot(Scorer(task.render(), meter))
    single, decisions = (tally.bill.usage for tally in tallies)
    return Figures.of(single, decisions, meter.usage)


def estimated(
    provider: Provider, task: Task, run: RunSettings, method: MethodSettings, part: Part
) -> tuple[Figures, Figures, Figures]:
    """Low, middle and high; each figure's own extremes."""
    terms = (SINGLE, DECISIONS, facts_of(provider).terms)
    with (
        tempfile.TemporaryDirectory() as folder,
        ScoreStore(Path(folder) / "scores.db") as store,
    ):
        paid = Figures(0, 0, 0, 0)
        if part == "zero-shot":
            paid = zero_shot_run(provider, task, store)
        elif part is not None:
            paid = partial_run(provider, task, run, method, store, part)
        made: list[Estimate] = [
            estimate(
                task,
                run,
                Facts(provider, t, RATIO),
                method,
                store=None if part is None else store,
            )
            for t in terms
        ]

    def pick(costs: Sequence[Cost]) -> Figures:
        single, decisions, local = (cost.usage for cost in costs)
        return Figures.of(single, decisions, local) + paid

    return (
        pick([e.low for e in made]),
        pick([e.mid for e in made]),
        pick([e.high for e in made]),
    )


def compared(provider: Provider, name: str, seeds: int, part: Part) -> dict[str, object]:
    """One row of the table."""
    task_name, size, method = name.split(":")
    path = Path(str(files("elicit.organism"))) / "tasks" / f"{task_name}.toml"
    task = load_task(path, None if size == "all" else int(size))
    settings = RunSettings(predictability="loo" if method.endswith("-loo") else "folds")
    runs = [replace(settings, seed=seed) for seed in range(seeds)]
    start = time.perf_counter()
    true = [true_run(provider, task, run, METHODS[method]) for run in runs]
    middle = time.perf_counter()
    guesses = [estimated(provider, task, run, METHODS[method], part) for run in runs]
    row: dict[str, object] = {
        "setting": name,
        "seeds": seeds,
        "seconds_true": round(middle - start, 1),
        "seconds_estimated": round(time.perf_counter() - middle, 1),
    }
    for field in Figures.__dataclass_fields__:
        found = [getattr(t, field) for t in true]
        low, mid, high = ([getattr(g[k], field) for g in guesses] for k in range(3))
        median = statistics.median(found)
        row[field] = {
            "true": found,
            "estimate": [min(low), statistics.median(mid), max(high)],
            "error": round(statistics.median(mid) / median - 1, 3),
            "runs_within_10_percent": sum(
                abs(m / t - 1) <= 0.1 for m, t in zip(mid, found, strict=True)
            ),
            "true_spread": round(max(found) / min(found), 2),
            "runs_in_range": sum(a <= t <= b for a, t, b in zip(low, found, high, strict=True)),
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=SETTINGS, metavar="TASK:ITEMS:METHOD")
    started = parser.add_mutually_exclusive_group()
    started.add_argument("--after-zero-shot", action="store_true")
    started.add_argument("--after", type=int, metavar="STATE")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    a = parser.parse_args()
    part: Part = "zero-shot" if a.after_zero_shot else a.after
    with closing(open_model("tiny")) as provider:
        for name in a.only:
            row = compared(provider, name, a.seeds, part)
            if a.json:
                print(json.dumps(row), flush=True)
                continue
            print(f"{name}  ({row['seconds_true']} s true, {row['seconds_estimated']} s)")
            for field in Figures.__dataclass_fields__:
                print(f"  {field:17} {row[field]}", flush=True)


if __name__ == "__main__":
    main()
