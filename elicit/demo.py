"""The demonstration: the embedded model labels an embedded task, beside its baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from elicit.cache.runs import RunStore
from elicit.evaluate import over_seeds
from elicit.evaluation import Estimate
from elicit.gold import load_gold
from elicit.labelling import metered, open_store
from elicit.providers.base import Usage
from elicit.providers.usage import Meter
from elicit.run import Progress, begin, drive
from elicit.scorer import IntArray, Scorer
from elicit.search.baselines import few_shot, zero_shot
from elicit.settings import Method, RunSettings
from elicit.task_file import load_task

ITEMS = 64
SHOTS = 32
METHODS: Mapping[str, Method] = {
    "bootstrap, no labels": "bootstrap",
    "ICM, no labels": "icm",
}


@dataclass(frozen=True, slots=True)
class Demo:
    """Accuracy of each method over the seeds, and what it took."""

    items: int
    seeds: int
    accuracy: dict[str, Estimate]
    usage: Usage

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def demonstrate(
    task_path: Path,
    *,
    seeds: int,
    cache: Path | None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Demo:
    """Zero-shot, random and golden few-shot, bootstrap and ICM on the embedded claims."""
    task = load_task(task_path, limit=ITEMS)
    gold = load_gold(task_path, [item.id for item in task.items])
    if gold is None:
        raise AssertionError("the embedded task has gold labels")
    with open_store(cache) as store, metered("tiny", store) as meter:
        scorer = Scorer(task.render(), meter)
        right: dict[str, list[float]] = {}
        zero = float((zero_shot(scorer).argmax(axis=1) == gold).mean())
        for seed in range(seeds):
            rng = np.random.default_rng([seed, 1])
            random = rng.integers(len(task.labels), size=len(task.items))
            found = {
                "zero-shot": zero,
                f"random few-shot ({SHOTS})": _few_shot(scorer, random, gold, rng),
                f"golden few-shot ({SHOTS})": _few_shot(scorer, gold, gold, rng),
            }
            runs = RunStore(store)
            for name, method in METHODS.items():
                # Its own meter within the demo's, so that a run's record counts the run alone.
                settings = RunSettings(method=method, seed=seed)
                run = begin(runs, task, Meter(meter), "tiny", settings)
                outcome = drive(run, runs, task, Meter(meter), on_progress)
                found[name] = float((outcome.answer.labels == gold).mean())
            for name, value in found.items():
                right.setdefault(name, []).append(value)
        accuracy = {name: over_seeds(values) for name, values in right.items()}
        return Demo(len(task.items), seeds, accuracy, meter.usage)


def _few_shot(
    scorer: Scorer, labels: IntArray, gold: IntArray, rng: np.random.Generator
) -> float:
    items, log_probs = few_shot(scorer, labels, SHOTS, rng)
    return float((log_probs.argmax(axis=1) == gold[items]).mean())
