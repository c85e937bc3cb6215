"""What a report shows is what was asked, done and found."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from called import told
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llama_cpp", reason="needs the extra local")

import elicit
from elicit.cache.errors import InputError
from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore
from elicit.cli.tasks import open_task
from elicit.constraints import UNLABELLED
from elicit.providers.base import ScoreRequest, Segment
from elicit.providers.registry import open_model
from elicit.providers.usage import BudgetReached, Limits
from elicit.report.compare import compare
from elicit.report.facts import MISSING, Context, Prompts
from elicit.report.gather import gather
from elicit.report.prompts import told_by
from elicit.report.searches import flips_of
from elicit.run_record import RunRecord, Search, record_of
from elicit.scorer import FloatArray
from elicit.search.state import State
from elicit.search.trace import TraceRow, read_trace


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


def prompt_text(prompts: Prompts, texts: list[str], item: int, context: Context) -> str:
    """As the docstring of `Prompts` says."""
    shown = [
        j for j in prompts.sequences[context.sequence][: context.upto] if j != context.without
    ]
    demonstrations = "".join(
        texts[j] + prompts.verbalizers[prompts.labels[j]] + prompts.separator for j in shown
    )
    return prompts.opening + demonstrations + texts[item]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"predictability": "loo"},
        {"predictability": "loo", "demonstrations": "5"},
        {"predictability": "prequential", "orders": 3, "demonstrations": "7"},
        {"demonstrations": "fit", "folds": 3},
        {"method": "icm", "iterations": 6, "pool": 8},
    ],
)
def test_the_prompts_shown_are_those_that_the_labels_were_read_from(
    cache: Path, options: dict[str, Any]
) -> None:
    """Asked again one by one, they give the run's own log-probabilities."""
    task = open_task("facts", 20)
    result = elicit.label(task, "tiny", cache=cache, **options)
    facts = gather(result.record, task)
    prompts = facts.prompts
    assert prompts is not None
    assert result.log_probs is not None
    found = np.exp(result.log_probs)
    # What else is in a batch shows in the third decimal.
    assert np.allclose(np.exp(asked_again(task, prompts)), found, atol=0.005)
    swapped = replace(prompts, labels=tuple(1 - k if k >= 0 else k for k in prompts.labels))
    assert not np.allclose(np.exp(asked_again(task, swapped)), found, atol=0.05)


def asked_again(task: elicit.Task, prompts: Prompts) -> FloatArray:
    """(n_items, n_labels): each prompt asked alone, the mean over an item's contexts."""
    texts = [segment.text for segment in task.render().questions]
    asked = [
        (item, prompt_text(prompts, texts, item, prompts.contexts[c]))
        for item in range(len(texts))
        for c in prompts.of_item[item]
    ]
    requests = [
        ScoreRequest((Segment.of(text),), task.template.verbalizers) for _, text in asked
    ]
    total = np.zeros((len(texts), len(task.labels)))
    with closing(open_model("tiny")) as model:
        for scored in model.score(requests):
            for index, scores in scored.scores:
                rows = np.array(scores.log_probs)
                total[asked[index][0]] += rows - np.logaddexp.reduce(rows)
    total /= np.array([[len(contexts)] for contexts in prompts.of_item])
    normalised: FloatArray = total - np.logaddexp.reduce(total, axis=1, keepdims=True)
    return normalised


def test_the_trace_tells_every_label_at_every_iteration(cache: Path) -> None:
    task = open_task("claims", 24)
    result = elicit.label(task, "tiny", cache=cache, method="icm", chains=2, name="r")
    with closing(ScoreStore(cache)) as store:
        runs = RunStore(store)
        run = runs.get("r")
        for chain in range(2):
            labels = np.full(24, UNLABELLED)
            rows = read_trace(runs.trace(run.id, chain))
            for row in rows:
                for item, label in row.changes or ():
                    assert labels[item] != label, "a change changes something"
                    labels[item] = label
                if row.accepted is False:
                    assert not row.changes
            text = runs.load_checkpoint(run.id, chain)
            assert text is not None
            assert labels.tolist() == State.loads(text).labelling.labels.tolist()
    assert [s.trace for s in result.record.searches] == [
        s.trace for s in record_of_run(cache, "r").searches
    ]


def record_of_run(cache: Path, name: str) -> RunRecord:
    with closing(ScoreStore(cache)) as store:
        runs = RunStore(store)
        return record_of(runs, runs.get(name))


def test_a_flip_is_a_change_from_one_label_to_another() -> None:
    def row(number: int, *changes: tuple[int, int]) -> TraceRow:
        return TraceRow(number, 0.0, 0, 0.0, None, None, None, None, None, changes)

    first = Search((row(0, (0, 1), (1, 0)), row(1, (0, 0), (2, 1)), row(2, (0, 1))), None)
    second = Search((row(0, (1, 1)), row(1, (1, 0))), None)
    assert flips_of([first, second], 4) == [2, 1, 0, 0]
    old = Search((replace(row(0), changes=None),), None)
    assert flips_of([first, old], 4) == [None] * 4


def test_an_unfinished_run_is_shown_as_it_stands(cache: Path) -> None:
    task = open_task("claims", 24)
    with pytest.raises(BudgetReached):
        elicit.label(
            task, "tiny", cache=cache, method="icm", name="r", limits=Limits(tokens=4_000)
        )
    facts = gather(record_of_run(cache, "r"), task)
    assert facts.status == "budget"
    assert facts.prompts is None
    assert "ended" in facts.prompts_missing
    assert facts.objective is not None
    assert {item.probability for item in facts.items} == {None}
    assert any(item.label != MISSING for item in facts.items)
    assert facts.chains[0].curve.objective[-1] == facts.objective


def test_what_a_run_alone_can_say_is_said(cache: Path) -> None:
    collapsed = elicit.label(open_task("marked", 32), "tiny", cache=cache, seed=1)
    alone = {finding.code for finding in gather(collapsed.record, collapsed.task).findings}
    assert "one-search" in alone
    several = elicit.label(
        open_task("facts", 32), "tiny", cache=cache, start="random", chains=4
    )
    found = {finding.code for finding in gather(several.record, several.task).findings}
    assert "one-search" not in found


def test_the_newest_diagnosis_of_the_same_task_and_model_is_told(cache: Path) -> None:
    task = open_task("claims", 32)
    result = elicit.label(task, "tiny", cache=cache, name="r")
    assert gather(result.record, task).diagnosis is None
    said = told("diagnose", "claims", "--limit", "32", "--cache", str(cache))
    facts = gather(record_of_run(cache, "r"), task)
    assert facts.diagnosis is not None
    assert facts.diagnosis.verdict == said["verdict"]
    assert [f.code for f in facts.diagnosis.findings] == [f["code"] for f in said["findings"]]
    other = elicit.label(open_task("claims", 16), "tiny", cache=cache, name="other")
    assert gather(other.record, other.task).diagnosis is None


def test_the_command_makes_the_run_again(cache: Path) -> None:
    task = open_task("claims", 16)
    options: dict[str, Any] = {"seed": 3, "abstain": 0.25, "folds": 3, "start": "random"}
    result = elicit.label(task, "tiny", cache=cache, **options)
    command = gather(result.record, task).command
    assert command.startswith("elicit run claims --model tiny ")
    again = told(*command.split()[1:], "--cache", str(cache), "--name", "again")
    assert again["rows"] == json.loads(json.dumps(list(result.rows())))


def test_runs_are_compared_by_the_names_of_labels_and_the_ids_of_items(cache: Path) -> None:
    task = open_task("claims", 24)
    one = elicit.label(task, "tiny", cache=cache, name="one")
    two = elicit.label(
        task.some(range(4, 24)), "tiny", cache=cache, name="two", start="random", abstain=0.2
    )
    found = compare([gather(r.record, r.task) for r in (one, two)])
    assert len(found.ids) == 24
    assert found.labels[1][:4] == (None,) * 4
    (pair,) = found.pairs
    given = [(a, b) for a, b in zip(*found.labels, strict=True) if a and b]
    assert pair.both == len(given) == 16
    assert pair.agreement == np.mean([a == b for a, b in given])
    assert found.differing == sum(a != b for a, b in given)


def test_runs_of_other_items_are_not_compared(cache: Path) -> None:
    runs = [
        elicit.label(open_task("claims", 16).some(items), "tiny", cache=cache)
        for items in (range(8), range(8, 16))
    ]
    with pytest.raises(InputError, match="no labelled item in common"):
        compare([gather(r.record, r.task) for r in runs])
    other = elicit.label(
        elicit.Task(
            labels=["no", "yes"], items=[{"t": k} for k in "abcd"], template="{{ t }}:"
        ),
        "tiny",
        cache=cache,
    )
    same_ids = elicit.label(
        elicit.Task(
            labels=["no", "yes"], items=[{"t": k} for k in "efgh"], template="{{ t }}:"
        ),
        "tiny",
        cache=cache,
    )
    with pytest.raises(InputError, match="item '1' has other words"):
        compare([gather(r.record, r.task) for r in (other, same_ids)])


sequences = st.lists(st.integers(0, 50), unique=True, max_size=12)


@given(sequences, st.data())
def test_a_context_is_told_by_a_sequence_or_not_at_all(
    sequence: list[int], data: st.DataObject
) -> None:
    items = data.draw(st.lists(st.sampled_from(sequence or [0]), unique=True, max_size=12))
    known = told_by(np.array(items, np.int64), np.array(sequence, np.int64))
    if known is not None:
        upto, without = known
        assert [i for i in sequence[:upto] if i != without] == items


@given(sequences, st.data())
def test_a_beginning_less_one_item_is_told(sequence: list[int], data: st.DataObject) -> None:
    upto = data.draw(st.integers(0, len(sequence)))
    whole = sequence[:upto]
    left = data.draw(st.none() | st.sampled_from(whole)) if whole else None
    items = [i for i in whole if i != left]
    assert told_by(np.array(items, np.int64), np.array(sequence, np.int64)) is not None
