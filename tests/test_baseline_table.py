"""What a task's labels are worth without a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elicit.baseline_table import Baseline, BaselineTable, baseline_table
from elicit.cache.errors import InputError
from elicit.cache.runs import Run
from elicit.cache.store import ScoreStore
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Form,
    Identity,
    LabelScores,
    PromptTooLong,
    ScoredUnit,
    ScoreRequest,
    Scoring,
    Usage,
)
from elicit.providers.cached import CachedProvider
from elicit.providers.usage import Account, BudgetReached, Limits, Meter
from elicit.run_labels import labels_of_run
from elicit.scorer import IntArray
from elicit.task import Task

N = 20
GOLD = np.arange(N) % 2


class Learner:
    """Prefers `yes` alone; with demonstrations, says what most of the same parity have."""

    name = "learner"
    identity = Identity("test", "learner")

    def __init__(self, form: Form = "text", context: int = N) -> None:
        self.calls: list[list[tuple[str, ...]]] = []
        self.capabilities = Capabilities("exact", None, deterministic=True, form=form)
        self.context = context

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return [len(request.prompt) for request in requests]

    def close(self) -> None:
        return None

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        said = [[s.text for s in r.prompt if s.role != "system"] for r in requests]
        self.calls.append([tuple(texts) for texts in said])
        for i, prompt in enumerate(self.calls[-1]):
            if len(prompt) > self.context:
                raise PromptTooLong("too many demonstrations")
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
    meter: Meter, gold: IntArray | None = GOLD, *, shots: int = 8, seeds: int = 3, **more: Any
) -> BaselineTable:
    task = numbers()
    rendered = task.render("block" if meter.capabilities.form == "chat" else "text")
    return baseline_table(task, rendered, meter, gold=gold, shots=shots, seeds=seeds, **more)


def by_name(made: BaselineTable) -> dict[str, Baseline]:
    return {row.name: row for row in made.rows}


def test_each_baseline_is_measured_against_gold() -> None:
    rows = by_name(table(Meter(Learner())))
    accuracy = {name: row.accuracy.value for name, row in rows.items() if row.accuracy}
    assert accuracy["zero-shot"] == 0.5
    assert accuracy["zero-shot, calibrated"] == 1.0
    assert accuracy["golden few-shot (8)"] == accuracy["golden many-shot (10)"] == 1.0
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
    assert [len(call) for call in model.calls] == [N, 4 * (N - 8), 4 * (N - 8), 4 * N]


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
    few, many = model.calls[-2:]
    for golden in (few, many):
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


def test_too_few_gold_labels_leave_out_the_golden_rows_alone() -> None:
    gold = np.full(N, -1)
    gold[:1] = GOLD[:1]
    rows = table(Meter(Learner()), gold).rows
    assert [row.name for row in rows][-1].startswith("random")
    assert rows[0].accuracy is not None


def test_no_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="--seeds"):
        table(Meter(Learner()), seeds=0)


def accuracies(made: BaselineTable) -> dict[str, float | None]:
    return {row.name: row.accuracy.value if row.accuracy else None for row in made.rows}


def test_human_labels_are_shown_as_they_are_and_measured_against_gold() -> None:
    model = Learner()
    human = 1 - GOLD
    human[:4] = GOLD[:4]
    found = accuracies(table(Meter(model), human=human))
    assert found["human labels"] == 0.2
    assert found["human many-shot (10)"] == 0.0
    assert found["golden few-shot (8)"] == 1.0
    few = found["human few-shot (8)"]
    assert few is not None
    assert few < 0.5


def test_golden_and_human_rows_show_the_same_items() -> None:
    model = Learner()
    table(Meter(model), human=1 - GOLD)
    golden, human, golden_many, human_many = model.calls[2:]
    for one, other in ((golden, human), (golden_many, human_many)):
        assert [[t.split()[0] for t in p] for p in one] == [
            [t.split()[0] for t in p] for p in other
        ]


def test_human_labels_without_gold_are_shown_and_not_measured() -> None:
    found = accuracies(table(Meter(Learner()), None, human=GOLD))
    assert found["human many-shot (10)"] is found["human labels"] is None


def test_items_that_people_left_out_are_scored_and_told() -> None:
    human = np.where(np.arange(N) < 10, GOLD, -1)
    rows = by_name(table(Meter(Learner()), human=human))
    assert rows["human labels"].answered == 0.5
    assert rows["human labels"].shares == (0.5, 0.5)
    assert sum(row.usage.requests for row in rows.values() if "human f" in row.name) == 3 * 12
    assert accuracies(table(Meter(Learner()), human=human))["human many-shot (6)"] == 1.0


def test_many_shot_predicts_every_item_once_a_seed_from_others() -> None:
    model = Learner()
    table(Meter(model), seeds=2, many=4)
    many = model.calls[-1]
    assert sorted(int(prompt[-1]) for prompt in many) == sorted([*range(N)] * 2)
    assert {len(shown) for *shown, _ in many} == {4}
    assert all(item.strip() not in {t.split()[0] for t in shown} for *shown, item in many)


def test_what_does_not_fit_names_the_option_that_shows_fewer() -> None:
    with pytest.raises(PromptTooLong, match=r"golden many-shot \(10\): .*; here --many N"):
        table(Meter(Learner(context=9)))
    with pytest.raises(PromptTooLong, match=r"random few-shot \(9\): .*; here --shots N"):
        table(Meter(Learner(context=9)), shots=9)
    assert "golden many-shot (8)" in accuracies(table(Meter(Learner(context=9)), many=8))


def test_a_finished_run_is_measured_on_the_items_it_labelled() -> None:
    abstained = GOLD.copy()
    abstained[:5] = -1
    rows = by_name(table(Meter(Learner()), runs={"good": abstained, "bad": 1 - GOLD}))
    assert rows["run good"].answered == 0.75
    assert rows["run good"].accuracy is not None
    assert rows["run good"].accuracy.value == 1.0
    assert rows["run bad"].accuracy is not None
    assert rows["run bad"].accuracy.value == 0.0
    assert rows["run bad"].usage == Usage()


def run_of(ids: list[str], labels: list[int], names: Sequence[str] = ("no", "yes")) -> Run:
    chain = {
        "labels": labels,
        "log_odds": [0.0] * len(labels),
        "objective": 0.0,
        "inconsistency": 0,
    }
    result = {"ids": ids, "label_names": [*names], "mean_coverage": 1.0, "chains": [chain]}
    return Run(
        1, "r", "", "", "tiny", "icm", {}, 0, 1, "done", result, {"requests": 1.0}, 0.0, 0.0
    )


def test_a_run_s_labels_are_put_to_the_items_by_id() -> None:
    task = numbers().head(3)
    assert labels_of_run(run_of(["3", "4", "1", "2"], [1, 1, 0, -1]), task).tolist() == [
        0,
        -1,
        1,
    ]


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (run_of(["1", "2"], [0, 1]), "labelled 2 of the 20 items"),
        (replace(run_of(["1"], [0]), result=None), "no labels yet: elicit resume r"),
    ],
)
def test_a_run_that_is_not_on_these_items_is_refused(run: Run, why: str) -> None:
    with pytest.raises(InputError, match=why):
        labels_of_run(run, numbers())


def test_another_model_is_asked_zero_shot_in_chat_form() -> None:
    model, other = Learner(), Learner("chat")
    made = table(
        Meter(model), chat=Meter(other), chat_rendered=numbers().render("block"), seeds=1
    )
    assert list(by_name(made))[:3] == [
        "zero-shot",
        "zero-shot, calibrated",
        "zero-shot, chat form",
    ]
    assert [len(call) for call in other.calls] == [N]
    assert made.usage.requests == sum(len(call) for call in [*model.calls, *other.calls])


def test_a_model_that_is_itself_asked_as_a_chat_has_its_zero_shot_row_named_so() -> None:
    rows = list(by_name(table(Meter(Learner("chat")))))
    assert rows[:2] == ["zero-shot, chat form", "zero-shot, chat form, calibrated"]


@pytest.mark.parametrize(
    ("main", "chat", "why"),
    [("text", "text", "continues text"), ("chat", "chat", "is itself asked")],
)
def test_a_chat_model_that_adds_nothing_is_refused(main: Form, chat: Form, why: str) -> None:
    asked = Learner(main)
    with pytest.raises(InputError, match=f"--chat-model: learner {why}"):
        table(
            Meter(asked),
            chat=Meter(Learner(chat)),
            chat_rendered=numbers().render("block"),
        )
    assert asked.calls == []


def test_many_shot_needs_a_demonstration() -> None:
    with pytest.raises(InputError, match="--many: must be at least 1"):
        table(Meter(Learner()), many=0)
