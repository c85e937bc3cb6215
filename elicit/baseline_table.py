"""The baselines of a task in one table: what its labels are worth without a search.

Each baseline puts all its questions in one call of the provider, over all its seeds, so
that a batch endpoint or many calls at once can be used. What was answered is in the store
behind the provider: a table that was interrupted is made again and pays for the rest alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain

import numpy as np

from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED
from elicit.evaluate import Estimate, evaluate, over_seeds
from elicit.prompt import RenderedTask
from elicit.providers.base import Usage
from elicit.providers.usage import Meter
from elicit.scorer import Ask, IntArray, Scorer
from elicit.search.baselines import few_shot_ask, zero_shot
from elicit.search.bootstrap import calibrated
from elicit.task import Task


@dataclass(frozen=True, slots=True)
class Baseline:
    """One row: how it labels, how well, and what it took."""

    name: str
    accuracy: Estimate | None
    """Over items for zero-shot labels, over seeds for few-shot ones; None without gold."""
    shares: tuple[float, ...]
    """Share of each label among those given, in the task's order. Far from what is expected
    means that the model prefers a label, whatever it is asked."""
    mean_coverage: float | None
    """Mean total probability of the labels, 0 to 1."""
    usage: Usage


@dataclass(frozen=True, slots=True)
class BaselineTable:
    """Every baseline of a task."""

    items: int
    shots: int
    seeds: int
    rows: tuple[Baseline, ...]
    usage: Usage

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def baseline_table(
    task: Task,
    rendered: RenderedTask,
    meter: Meter,
    *,
    gold: IntArray | None = None,
    shots: int = 32,
    seeds: int = 5,
) -> BaselineTable:
    """Zero-shot, zero-shot calibrated, random few-shot and, where `gold` is given, golden.

    `rendered` is the task written for the model. `gold`, (n_items,), has `UNLABELLED` where
    an item has no gold label; such an item is not measured, and no golden demonstration.
    Where too few items have gold to show `shots` of them, there is no golden row.

    Raises:
        InputError: more demonstrations are asked for than there are items to show.
        ElicitError: a score could not be had, or a budget was reached. What was paid for is
            in the store.
    """
    if seeds < 1:
        raise InputError(f"--seeds: must be at least 1, not {seeds}")
    if len(task.items) < 2:
        raise InputError("few-shot needs two items at least: one to show and one to score")
    if not 1 <= shots < len(task.items):
        raise InputError(
            f"--shots: must be from 1 to {len(task.items) - 1}, one less than there are items, "
            f"not {shots}"
        )
    known = np.empty(0, np.int64) if gold is None else np.flatnonzero(gold != UNLABELLED)
    trial = _Trial(task, rendered, meter, gold)
    random, golden = [], []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 1])
        labels = rng.integers(len(task.labels), size=len(task.items))
        random.append(few_shot_ask(np.arange(len(task.items)), labels, shots, rng))
        if gold is not None and known.size > shots:
            golden.append(few_shot_ask(known, gold, shots, rng))
    steps = [trial.zero_shot(), trial.few_shot(f"random few-shot ({shots})", random)]
    if golden:
        steps.append(trial.few_shot(f"golden few-shot ({shots})", golden))
    rows = tuple(chain.from_iterable(steps))
    return BaselineTable(len(task.items), shots, seeds, rows, meter.usage)


@dataclass(frozen=True, slots=True)
class _Trial:
    task: Task
    rendered: RenderedTask
    meter: Meter
    gold: IntArray | None

    def zero_shot(self) -> Iterator[Baseline]:
        """As the model says it, and less what it says of all items alike."""
        before = self.meter.usage
        scorer = Scorer(self.rendered, self.meter)
        raw = zero_shot(scorer)
        usage = self.meter.usage - before
        groups = [item.group or item.id for item in self.task.items]
        for name, scores in (("zero-shot", raw), ("zero-shot, calibrated", calibrated(raw))):
            labels = scores.argmax(axis=1)
            accuracy = None
            if self.gold is not None:
                accuracy = evaluate(labels, None, self.gold, groups).accuracy
            yield self._row(name, accuracy, labels, scorer, usage)
            usage = Usage()

    def few_shot(self, name: str, asks: Sequence[Ask]) -> Iterator[Baseline]:
        """One seed an ask."""
        before = self.meter.usage
        scorer = Scorer(self.rendered, self.meter)
        found = [rows.argmax(axis=1) for rows in scorer.log_probs(asks)]
        usage = self.meter.usage - before
        yield self._row(name, self._over(asks, found), np.concatenate(found), scorer, usage)

    def _over(self, asks: Sequence[Ask], found: Sequence[IntArray]) -> Estimate | None:
        """Accuracy over the seeds; None without gold, or where no scored item has any."""
        if self.gold is None:
            return None
        right = []
        for ask, labels in zip(asks, found, strict=True):
            gold = self.gold[ask.items]
            if (gold != UNLABELLED).any():
                right.append(float((labels == gold)[gold != UNLABELLED].mean()))
        return over_seeds(right) if right else None

    def _row(
        self,
        name: str,
        accuracy: Estimate | None,
        labels: IntArray,
        scorer: Scorer,
        usage: Usage,
    ) -> Baseline:
        counts = np.bincount(labels, minlength=len(self.task.labels))
        shares = tuple((counts / labels.size).tolist())
        return Baseline(name, accuracy, shares, scorer.mean_coverage, usage)
