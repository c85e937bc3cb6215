"""Constraints: what violates them, and repair that equals brute force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elicit.constraints import Constraint, Custom, Rules, compile_rules
from elicit.prompt import TaskError
from elicit.repair import FloatArray, repair

LABELS = ("no", "yes")


def rules_of(fields: Sequence[Mapping[str, object]], *rules: Constraint | Custom) -> Rules:
    ids = [str(i) for i in range(len(fields))]
    return compile_rules(ids, fields, [None] * len(ids), LABELS, rules)


def groups(*names: str) -> list[dict[str, object]]:
    return [{"g": name} for name in names]


def count(rules: Rules, *labels: int) -> int:
    return rules.count(np.array(labels))


def test_at_most_one_counts_pairs_and_ignores_the_unlabelled() -> None:
    rules = rules_of(groups("a", "a", "a", "b"), Constraint("at_most_one", "yes", by="g"))
    assert count(rules, 1, 1, 1, 1) == 3
    assert count(rules, 1, -1, 0, 1) == 0


def test_exactly_one_wants_one_once_all_are_labelled() -> None:
    rules = rules_of(groups("a", "a"), Constraint("exactly_one", "yes", by="g"))
    assert [count(rules, *pair) for pair in ((0, 0), (0, 1), (1, 1), (0, -1))] == [1, 0, 1, 0]
    assert rules.violations(np.array([0, 0])) == [(0, 1)]
    assert rules.consistent_assignments((0, 1), np.array([0, 0])) == [(0, 1), (1, 0)]


@pytest.mark.parametrize(("strict", "neither"), [(False, 0), (True, 1)])
def test_asymmetric_pairs_are_those_with_swapped_sides(strict: bool, neither: int) -> None:
    fields = [{"l": "x", "r": "y"}, {"l": "y", "r": "x"}, {"l": "x", "r": "z"}]
    rule = Constraint("asymmetric", "yes", left="l", right="r", strict=strict)
    rules = rules_of(fields, rule)
    assert count(rules, 1, 1, 1) == 1
    assert count(rules, 0, 0, 1) == neither


def test_same_answer_and_an_empty_answer_equals_nothing() -> None:
    fields = [{"g": 1, "a": a} for a in ("7", "7", "8", "", "")]
    rules = rules_of(fields, Constraint("same_answer", "yes", by="g", answer="a"))
    assert count(rules, 1, 0, 0, 0, 0) == 1
    assert count(rules, 1, 1, 0, 0, 0) == 0
    assert count(rules, 0, 0, 0, 1, 1) == 1


def test_implies_follows_ids() -> None:
    fields: list[dict[str, object]] = [{"t": ["1", "2"]}, {"t": None}, {"t": ""}]
    rules = rules_of(fields, Constraint("implies", "yes", then="t"))
    assert count(rules, 1, 0, 1) == 1
    assert count(rules, 0, 1, 0) == 0


def test_custom_rules_are_asked_with_fields_and_label_names() -> None:
    def agree(_fields: Sequence[Mapping[str, object]], labels: Sequence[str]) -> bool:
        return len(set(labels)) == 1

    rules = rules_of(groups("a", "a", "b"), Custom(agree, by="g"))
    assert count(rules, 0, 1, 0) == 1
    assert count(rules, 1, 1, 0) == 0


@pytest.mark.parametrize("missing", ["", None])
def test_items_without_a_value_belong_to_no_group(missing: str | None) -> None:
    fields: list[dict[str, object]] = [{"g": value} for value in (missing, missing, "a", "a")]
    rules = rules_of(fields, Constraint("exactly_one", "yes", by="g"))
    assert count(rules, 1, 1, 1, 0) == count(rules, 0, 0, 1, 0) == 0
    assert count(rules, 1, 1, 1, 1) == 1


def test_the_first_items_keep_their_rules_but_not_those_of_a_group_that_is_cut() -> None:
    fields = groups("a", "a", "b", "b", "b")
    every = (Constraint("exactly_one", "yes", by="g"), Custom(lambda *_: False, by="g"))
    ids = [str(i) for i in range(5)]
    rules = compile_rules(ids, fields, ["x"] * 5, LABELS, every, first=4)
    assert [group.items for group in rules.groups] == [(0, 1), (0, 1)]
    assert rules.pairs.tolist() == [[0, 1], [2, 3]]
    assert rules.related_to(np.array([True, False, False, False])).all()


def test_related_items_share_a_cluster() -> None:
    rules = rules_of(groups("a", "b", "a"), Constraint("at_most_one", "yes", by="g"))
    assert rules.related_to(np.array([True, False, False])).tolist() == [True, False, True]


def brute_force(scores: FloatArray, rules: Rules) -> float:
    n, k = scores.shape
    good = [o for o in product(range(k), repeat=n) if rules.count(np.array(o)) == 0]
    return max(float(scores[np.arange(n), list(o)].sum()) for o in good)


KINDS = [
    Constraint("at_most_one", "yes", by="g"),
    Constraint("exactly_one", "yes", by="g"),
    Constraint("same_answer", "yes", by="g", answer="a"),
    Constraint("asymmetric", "yes", left="g", right="a", strict=True),
]


@pytest.mark.parametrize("limit", [4096, 1], ids=["enumerated", "milp"])
@pytest.mark.parametrize("rule", KINDS, ids=lambda rule: rule.kind)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_repair_equals_brute_force(rule: Constraint, limit: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    letters = st.sampled_from("xyz")
    fields = [{"g": data.draw(letters), "a": data.draw(letters)} for _ in range(n)]
    fields = [f for f in fields if rule.kind != "asymmetric" or f["g"] != f["a"]] or [
        {"g": "x", "a": "y"}
    ]
    number = st.floats(-20, 0)
    scores = np.array([[data.draw(number), data.draw(number)] for _ in fields])
    rules = rules_of(fields, rule)
    try:
        best = brute_force(scores, rules)
    except ValueError:
        return
    labels = repair(scores, rules, enumerate_up_to=limit)
    assert rules.count(labels) == 0
    assert scores[np.arange(len(fields)), labels].sum() == pytest.approx(best, abs=1e-4)


def test_contradicting_constraints_are_named() -> None:
    def never(_fields: Sequence[Mapping[str, object]], _labels: Sequence[str]) -> bool:
        return False

    with pytest.raises(TaskError, match="contradict"):
        repair(np.zeros((2, 2)), rules_of(groups("a", "a"), Custom(never, by="g")))
