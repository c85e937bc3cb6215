"""Surface features, and which of them are said to predict a labelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elicit.association import (
    Association,
    Ties,
    adjusted_p_values,
    associations,
    best_cut,
    by_value,
)
from elicit.constraints import Constraint
from elicit.scorer import IntArray
from elicit.surface import OTHER, features_of, folds_of, words_of
from elicit.task import Task

COLOURS = ("red", "green", "blue", "grey")
N = 80


def task_of(texts: Sequence[str], more: Sequence[Mapping[str, object]] = ()) -> Task:
    rows = [{"text": text} for text in texts]
    for row, extra in zip(rows, more, strict=False):
        row.update(extra)  # type: ignore[arg-type]  # fields are of any type
    # Each field is in the prompt, in a way that leaves no mark of it in the text.
    fields = "".join(f"{{{{ '' if {name} else '' }}}}" for name in (more[0] if more else ()))
    return Task(labels=["no", "yes", "maybe"], items=rows, template=f"{{{{ text }}}}{fields}")


def found(
    task: Task, labels: Sequence[int], groups: Sequence[int] | None = None, seed: int = 0
) -> list[Association]:
    texts = [segment.text for segment in task.render().questions]
    tied = Ties.none(len(texts))
    if groups is not None:
        tied = Ties(np.array(groups), tied.alike)
    names = task.labels[: max(2, max(labels) + 1)]
    return associations(
        features_of(task, texts), np.array(labels), names, tied, np.random.default_rng(seed)
    )


def plain(seed: int, count: int = N) -> list[str]:
    """Texts in which nothing goes with anything."""
    rng = np.random.default_rng(seed)
    return [
        f"{' '.join(rng.choice(list('abcdefgh'), 5))} {COLOURS[rng.integers(4)]}"
        for _ in range(count)
    ]


def draws(seed: int, labels: int = 2, count: int = N) -> IntArray:
    return np.random.default_rng([seed, 1]).integers(labels, size=count)


def test_a_word_that_decides_the_label_is_named_with_its_accuracy_on_items_not_seen() -> None:
    labels = draws(0).tolist()
    texts = [f"{t} today" if y else t for t, y in zip(plain(0), labels, strict=True)]
    top = found(task_of(texts), labels)[0]
    assert top.feature == "the word 'today'"
    assert (top.accuracy, top.tells, top.large) == (1.0, "yes with it", True)


@pytest.mark.parametrize("aligned", [0.9, 0.65])
def test_a_large_effect_is_one_that_predicts_three_quarters_of_the_items(
    aligned: float,
) -> None:
    count = 400
    labels = draws(1, count=count)
    agrees = np.arange(count) < aligned * count
    texts = [
        f"{text} today" if label == agree else text
        for text, label, agree in zip(plain(1, count), labels, agrees, strict=True)
    ]
    top = next(a for a in found(task_of(texts), labels.tolist()) if "today" in a.feature)
    assert top.p_value < 0.05
    assert top.accuracy == pytest.approx(aligned, abs=0.05)
    assert top.large == (aligned > 0.75)


def test_length_and_position_are_features() -> None:
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 30, N)
    texts = [" ".join(rng.choice(list("abcdefgh"), n)) for n in lengths]
    by_length = found(task_of(texts), (lengths > 15).astype(int).tolist())
    assert by_length[0].feature in ("length in words", "length in characters")
    assert by_length[0].accuracy > 0.95
    by_place = found(task_of(plain(3)), [0] * (N // 2) + [1] * (N // 2))
    assert (by_place[0].feature, by_place[0].tells) == (
        "position in the data",
        f"yes above {(N - 1) / 2:g}",
    )


def test_a_field_with_few_values_predicts_more_than_two_labels_at_once() -> None:
    labels = draws(4, 3).tolist()
    task = task_of(plain(4), [{"source": "xyz"[y]} for y in labels])
    top = found(task, labels)[0]
    assert (top.feature, top.accuracy, top.chance) == ("field source", 1.0, 1 / 3)
    assert top.tells == "no with x; yes with y; maybe with z"


def test_of_more_than_two_labels_a_word_may_tell_one_from_the_others() -> None:
    labels = draws(5, 3).tolist()
    texts = [f"{t} today" if y == 2 else t for t, y in zip(plain(5), labels, strict=True)]
    top = found(task_of(texts), labels)[0]
    assert (top.feature, top.label, top.accuracy) == ("the word 'today'", 2, 1.0)


def test_a_word_at_a_place_is_a_feature_of_few_values() -> None:
    labels = draws(6, 2)
    verbs = np.where(labels == 1, np.array(["eats", "likes"])[draws(7)], "fears")
    texts = [
        f"x{i} {verb} {t}" for i, (verb, t) in enumerate(zip(verbs, plain(6), strict=True))
    ]
    names = {a.feature: a for a in found(task_of(texts), labels.tolist())}
    assert names["second word"].accuracy == 1.0
    assert names["second word"].tells == "no with fears; yes with eats, likes"


def test_the_size_of_a_group_is_a_feature_and_the_group_is_not() -> None:
    groups = [i // 4 if i < 40 else i for i in range(N)]
    rows = [{"text": t, "g": f"g{g}"} for t, g in zip(plain(8), groups, strict=True)]
    task = Task(labels=["no", "yes"], items=rows, template="{{ text }}", group="g")
    told = {a.feature: a for a in found(task, [int(i < 40) for i in range(N)], groups)}
    assert told["size of the group"].large
    assert "field g" not in told


def test_the_model_sees_neither_an_items_place_in_the_data_nor_the_size_of_its_group() -> None:
    rows = [{"text": t, "g": f"g{i // (1 + i // 9)}"} for i, t in enumerate(plain(8))]
    task = Task(labels=["no", "yes"], items=rows, template="{{ text }}", group="g")
    unseen = [f.name for f in features_of(task, [row["text"] for row in rows]) if not f.shown]
    assert unseen == ["position in the data", "size of the group"]


def test_a_field_that_no_prompt_shows_is_no_feature() -> None:
    labels = draws(12).tolist()
    rows = [{"text": t, "golld": "ab"[y]} for t, y in zip(plain(12), labels, strict=True)]
    task = Task(labels=["no", "yes"], items=rows, template="{{ text }}")
    assert not any("golld" in f.name for f in features_of(task, plain(12)))
    assert found(task, labels) == []


def test_a_field_of_objects_is_no_feature_as_a_part_of_it_may_not_be_shown() -> None:
    rows = [{"meta": {"text": t, "gold": i % 2}} for i, t in enumerate(plain(13))]
    task = Task(labels=["no", "yes"], items=rows, template="{{ meta.text }}")
    assert not any("field" in f.name for f in features_of(task, plain(13)))


HUGE = 10**400


@pytest.mark.parametrize("labels", [2, 3])
def test_numbers_of_any_size_are_compared_as_they_are(labels: int) -> None:
    values = np.random.default_rng(14).permutation(N)
    task = task_of(plain(14), [{"score": HUGE + int(v)} for v in values])
    top = found(task, np.where(values >= N // 2, labels - 1, draws(14, labels - 1)).tolist())[0]
    assert (top.feature, top.label) == ("field score", labels - 1)
    assert top.accuracy > 0.95
    assert top.tells == f"{task.labels[labels - 1]} above 1.00000000e+400"


def test_infinite_numbers_are_the_largest_and_those_that_are_none_are_missing() -> None:
    scores = [float("nan"), float("inf"), float("-inf"), *map(float, range(N - 3))]
    task = task_of(plain(15), [{"score": score} for score in scores])
    top = found(task, [int(score > 39) for score in scores])[0]
    assert (top.feature, top.tells) == ("field score", "yes above 39")
    assert not any("empty" in f.name for f in features_of(task, plain(15)))


@pytest.mark.parametrize("labels", [2, 3])
def test_a_field_of_numbers_that_one_item_lacks_is_tested(labels: int) -> None:
    values = np.random.default_rng(16).permutation(N).tolist()
    more: list[dict[str, object]] = [{"score": value} for value in values]
    more[7] = {"score": ""}
    truth = np.where(np.array(values) >= N // 2, 0, 1 + draws(16, labels - 1))
    top = found(task_of(plain(16), more), truth.tolist())[0]
    assert top.feature == "field score"
    assert top.accuracy > 0.9


def test_that_a_number_is_missing_is_a_feature_where_many_items_lack_one() -> None:
    labels = draws(17).tolist()
    more = [{"score": "" if y else i} for i, y in enumerate(labels)]
    told = {a.feature: a for a in found(task_of(plain(17), more), labels)}
    assert told["an empty field score"].tells == "yes with it"
    assert told["an empty field score"].accuracy == 1.0


def test_no_label_is_predicted_that_no_item_has() -> None:
    names = ("no", "yes", "maybe", "never")
    # Of the four labels, the first and the third are not in use; c is rare under either.
    labels = 1 + 2 * draws(18)
    kinds = ["c" if i % 10 == 0 else " a b"[label] for i, label in enumerate(labels.tolist())]
    task = task_of(plain(18), [{"kind": kind} for kind in kinds])
    top = associations(
        features_of(task, plain(18)), labels, names, Ties.none(N), np.random.default_rng(0)
    )[0]
    assert (top.feature, top.chance) == ("field kind", 1 / 2)
    assert top.accuracy > 0.9
    assert top.tells in ("yes with a, c; never with b", "yes with a; never with b, c")


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
    st.lists(st.integers(0, 4), min_size=1, max_size=30),
)
def test_values_that_were_not_seen_go_with_a_label_that_was(
    labels: list[int], unseen: list[int]
) -> None:
    values = np.array([label % 2 for label in labels], float)
    told = by_value(values, np.array(labels), np.array(unseen, float))
    assert set(told.tolist()) <= set(labels)


def test_labels_drawn_at_random_raise_no_alarm_in_nineteen_of_twenty_tasks() -> None:
    alarms = [bool(found(task_of(plain(s)), draws(s).tolist(), seed=s)) for s in range(60)]
    assert sum(alarms) <= 8  # 95 % quantile of 60 draws at 5 % is 6, 99.5 % is 8


def test_columns_of_the_constraint_raise_no_alarm() -> None:
    rng = np.random.default_rng(9)
    rows, labels, groups = [], [], []
    for subject in range(20):
        true = int(rng.integers(4))
        for k, colour in enumerate(rng.permutation(COLOURS).tolist()):
            rows.append({"subject": f"s{subject}", "claim": f"s{subject} is {colour}"})
            labels.append(int(k == true))
            groups.append(subject)
    task = Task(
        labels=["no", "yes"],
        items=rows,
        template="{{ claim }}",
        group="subject",
        constraints=[Constraint("exactly_one", "yes", by="subject")],
    )
    assert not any(a.large for a in found(task, labels, groups))


def test_one_label_only_goes_with_nothing() -> None:
    assert found(task_of(plain(10)), [1] * N) == []


def test_rare_values_are_one_value_and_a_field_of_names_is_no_feature() -> None:
    kinds = ["a"] * 40 + ["b"] * 37 + ["c", "d", "e"]
    more = [{"kind": kind, "name": f"n{i}"} for i, kind in enumerate(kinds)]
    task = task_of(plain(11), more)
    features = {f.name: f for f in features_of(task, [""] * N)}
    assert features["field kind"].names == ("a", "b", OTHER)
    assert "field name" not in features


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.permutations(range(3)))
def test_names_of_labels_change_no_p_value(seed: int, names: list[int]) -> None:
    texts, labels = plain(seed, 40), draws(seed, 3, 40)
    features = features_of(task_of(texts), texts)
    ties, others = Ties.none(40), np.array(names)[labels]
    ours = adjusted_p_values(features, labels, ties, np.random.default_rng(0))
    theirs = adjusted_p_values(features, others, ties, np.random.default_rng(0))
    np.testing.assert_allclose(ours, theirs, atol=0.01)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(0, 99))
def test_items_of_one_group_are_in_one_fold(members: list[int], seed: int) -> None:
    groups = np.unique(members, return_inverse=True)[1].astype(np.int64)
    fold = folds_of(groups, 5, np.random.default_rng(seed))
    assert all(np.unique(fold[groups == g]).size == 1 for g in np.unique(groups))


def test_the_best_cut_tells_the_sides_apart() -> None:
    assert best_cut(np.array([1.0, 2.0, 5.0, 6.0]), np.array([1, 1, 0, 0])) == (3.5, False)
    assert best_cut(np.array([1.0, 2.0, 5.0, 6.0]), np.array([0, 0, 0, 1])) == (5.5, True)


def test_words_are_lower_case_and_marks_stand_alone() -> None:
    assert words_of("It's Red, no?") == ["it's", "red", ",", "no", "?"]
