"""What a task's labels are worth without a search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from elicit.baseline_table import Baseline, BaselineTable, baseline_table
from elicit.cache.errors import InputError
from elicit.cache.store import ScoreStore
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    ScoredUnit,
    ScoreRequest,
    Scoring,
    Usage,
)
from elicit.providers.cached import CachedProvider
from elicit.providers.usage import Account, BudgetReached, Limits, Meter
from elicit.scorer import IntArray
from elicit.task import Task

N = 20
GOLD = np.arange(N) % 2


class Learner:
    """Prefers `yes` alone; with demonstrations, says what most of the same parity have."""

    name = "learner"
    identity = Identity("test", "learner")
    capabilities = Capabilities("exact", None, deterministic=True)

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, ...]]] = []

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return [len(request.prompt) for request in requests]

    def close(self) -> None:
        return None

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        self.calls.append([tuple(s.text for s in request.prompt) for request in requests])
        for i, prompt in enumerate(self.calls[-1]):
            usage = Usage(1, len(prompt), len(prompt))
            budget.reserve(usage)
            number = int(prompt[-1])
            votes = [
                1 if label == "yes" else -1
                for other, label in (text.split() for text in prompt[:-1])
                if int(other) % 2 == number % 2
            ]
            odds = sum(votes) if votes else 3.0 + (0.5 if number % 2 else -0.5)
            budget.settle(usage, usage)
            values = (-float(np.logaddexp(0, odds)), -float(np.logaddexp(0, -odds)))
            yield ScoredUnit(((i, LabelScores(values)),), usage)


def numbers() -> Task:
    items = [{"number": i} for i in range(N)]
    return Task(labels=["no", "yes"], items=items, template="{{ number }} ")


def table(
    meter: Meter, gold: IntArray | None = GOLD, *, shots: int = 8, seeds: int = 3
) -> BaselineTable:
    task = numbers()
    return baseline_table(task, task.render(), meter, gold=gold, shots=shots, seeds=seeds)


def by_name(made: BaselineTable) -> dict[str, Baseline]:
    return {row.name: row for row in made.rows}


def test_each_baseline_is_measured_against_gold() -> None:
    rows = by_name(table(Meter(Learner())))
    accuracy = {name: row.accuracy.value for name, row in rows.items() if row.accuracy}
    assert accuracy["zero-shot"] == 0.5
    assert accuracy["zero-shot, calibrated"] == 1.0
    assert accuracy["golden few-shot (8)"] == 1.0
    assert 0.0 <= accuracy["random few-shot (8)"] <= 1.0


def test_a_label_given_to_everything_shows_in_the_shares() -> None:
    rows = by_name(table(Meter(Learner())))
    assert rows["zero-shot"].shares == (0.0, 1.0)
    assert rows["zero-shot, calibrated"].shares == (0.5, 0.5)


def test_without_gold_there_is_no_golden_row_and_no_accuracy() -> None:
    rows = by_name(table(Meter(Learner()), None))
    assert list(rows) == ["zero-shot", "zero-shot, calibrated", "random few-shot (8)"]
    assert all(row.accuracy is None for row in rows.values())


def test_all_questions_of_a_baseline_go_out_in_one_call() -> None:
    model = Learner()
    table(Meter(model), seeds=4)
    assert [len(call) for call in model.calls] == [N, 4 * (N - 8), 4 * (N - 8)]


def test_calibration_costs_nothing_and_the_usages_add_up() -> None:
    meter = Meter(Learner())
    made = table(meter)
    assert by_name(made)["zero-shot, calibrated"].usage == Usage()
    assert sum(row.usage.requests for row in made.rows) == meter.usage.requests


def test_no_golden_demonstration_lacks_a_gold_label() -> None:
    gold = GOLD.copy()
    gold[:6] = -1
    model = Learner()
    table(Meter(model), gold)
    golden = model.calls[-1]
    assert min(int(text.split()[0]) for prompt in golden for text in prompt) >= 6
    assert all(
        (text.split()[1] == "yes") == bool(GOLD[int(text.split()[0])])
        for *shown, _ in golden
        for text in shown
    )


def test_a_table_that_was_stopped_pays_for_the_rest_alone(tmp_path: Path) -> None:
    whole = table(Meter(Learner()))
    with ScoreStore(tmp_path / "scores.db") as store:
        first = Meter(CachedProvider(Learner(), store), Account(Limits(tokens=200)))
        with pytest.raises(BudgetReached):
            table(first)
        second = Meter(CachedProvider(Learner(), store))
        made = table(second)
    assert first.usage.requests + second.usage.requests == whole.usage.requests
    assert [(r.name, r.accuracy, r.shares) for r in made.rows] == [
        (r.name, r.accuracy, r.shares) for r in whole.rows
    ]


@pytest.mark.parametrize("shots", [0, N])
def test_demonstrations_must_leave_something_to_score(shots: int) -> None:
    with pytest.raises(InputError, match="--shots: must be from 1 to 19"):
        table(Meter(Learner()), shots=shots)


def test_too_few_gold_labels_leave_out_the_golden_row_alone() -> None:
    gold = np.full(N, -1)
    gold[:5] = GOLD[:5]
    rows = table(Meter(Learner()), gold).rows
    assert [row.name for row in rows][-1].startswith("random")
    assert rows[0].accuracy is not None


def test_no_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="--seeds"):
        table(Meter(Learner()), seeds=0)
