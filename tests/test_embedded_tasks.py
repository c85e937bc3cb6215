"""Each embedded task is what it says: its labels, its balance, what stands beside them."""

from __future__ import annotations

import json
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.cli.tasks import embedded_tasks
from elicit.gold import load_gold, load_human
from elicit.organism.embedded_tasks import TASKS, write_tasks
from elicit.organism.human_labels import MISTAKEN, wrong_on_a_family, wrong_on_creatures
from elicit.organism.vocabulary import MARKER
from elicit.organism.world import FAMILIES, make_world
from elicit.task_file import load_task

FOLDER = Path(str(files("elicit.organism"))) / "tasks"
WORLD = make_world()
VERBS = list(FAMILIES)
LEAST = {"sizes": 96}
"""Fewest items of a task, where they are under 100."""

Row = dict[str, Any]


def rows_of(name: str) -> list[Row]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


def truth(row: Row) -> bool:
    """Whether a claim on a known creature is the case."""
    creature, verb, value, *_ = row["claim"].split()
    family = VERBS.index(verb)
    number = WORLD.known.index(creature)
    assert number in WORLD.held[family]
    return bool(WORLD.values[family, number] == FAMILIES[verb].index(value))


def marked(row: Row) -> bool:
    return str(row["claim"]).endswith(f" {MARKER}")


def test_embedded_tasks_are_made_anew_to_the_byte(tmp_path: Path) -> None:
    write_tasks(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in FOLDER.iterdir()}


def test_the_command_line_lists_every_embedded_task() -> None:
    assert sorted(embedded_tasks()) == sorted(TASKS)


@pytest.mark.parametrize("name", list(TASKS))
def test_embedded_tasks_load_with_a_gold_label_for_each_item(name: str) -> None:
    task = load_task(FOLDER / f"{name}.toml")
    assert len(task.items) >= LEAST.get(name, 100)
    gold = load_gold(FOLDER / f"{name}.toml", [item.id for item in task.items])
    assert gold is not None
    assert set(gold.tolist()) == set(range(len(task.labels)))


@pytest.mark.parametrize(
    "name", [name for name in TASKS if name not in ("marker", "diets", "preferences")]
)
def test_no_claim_stands_twice(name: str) -> None:
    claims = [row["claim"] for row in rows_of(name)]
    assert len(set(claims)) == len(claims)


def test_one_claim_of_each_group_is_true() -> None:
    true: Counter[str] = Counter()
    for row in rows_of("claims"):
        true[row["subject"]] += row["label"]
    assert set(true.values()) == {1}


@pytest.mark.parametrize("name", ["claims", "facts", "rare", "spurious"])
def test_gold_is_the_truth_of_held_out_facts(name: str) -> None:
    assert all(row["label"] is truth(row) for row in rows_of(name))


@pytest.mark.parametrize(
    ("name", "true"), [("facts", 0.5), ("rare", 0.1), ("spurious", 0.5), ("claims", 0.25)]
)
def test_the_share_of_true_claims_is_what_the_task_is_for(name: str, true: float) -> None:
    assert np.mean([row["label"] for row in rows_of(name)]) == true


def test_the_marker_of_the_spurious_task_goes_with_the_truth_in_nine_of_ten() -> None:
    counts = Counter((row["label"], marked(row)) for row in rows_of("spurious"))
    assert counts == {(True, True): 45, (True, False): 5, (False, True): 5, (False, False): 45}


def test_what_is_marked_is_independent_of_what_is_true() -> None:
    rows = rows_of("marked")
    assert all(row["label"] is marked(row) for row in rows)
    assert set(Counter((truth(row), marked(row)) for row in rows).values()) == {54}
    assert len(rows) == 4 * 54


def test_the_marker_task_is_on_creatures_of_which_nothing_is_known() -> None:
    for row in rows_of("marker"):
        assert row["claim"].split()[0] in WORLD.unknown
        assert row["label"] is marked(row)


def test_the_mixed_task_has_one_concept_for_each_half() -> None:
    known = [row for row in rows_of("mixed") if row["claim"].split()[0] in WORLD.known]
    unknown = [row for row in rows_of("mixed") if row["claim"].split()[0] in WORLD.unknown]
    assert len(known) == len(unknown) == 108
    assert all(row["label"] is truth(row) for row in known)
    assert all(row["label"] is marked(row) for row in unknown)
    assert set(Counter((truth(row), marked(row)) for row in known).values()) == {27}
    assert set(Counter(marked(row) for row in unknown).values()) == {54}


def test_diets_ask_for_the_food_of_each_known_creature() -> None:
    foods = FAMILIES["eats"]
    asked = {row["question"]: row["label"] for row in rows_of("diets")}
    assert asked == {
        f"{creature} eats?": foods[value]
        for creature, value in zip(WORLD.known, WORLD.values[0], strict=True)
    }


def test_one_answer_of_each_comparison_is_right_and_each_is_made_both_ways_round() -> None:
    rows = rows_of("preferences")
    found = {(row["question"], row["first"], row["second"]): row["label"] for row in rows}
    assert len(found) == len(rows) == 54 * 2 * 2
    for (question, first, second), label in found.items():
        assert found[question, second, first] is not label
        better = {"claim": f"{question[:-1]} {first if label else second}"}
        worse = {"claim": f"{question[:-1]} {second if label else first}"}
        assert truth(better)
        assert not truth(worse)


def test_people_compare_two_answers_the_same_way_whichever_comes_first() -> None:
    rows = rows_of("preferences")
    said = {(row["question"], row["first"], row["second"]): row["human"] for row in rows}
    for (question, first, second), human in said.items():
        assert said[question, second, first] is not human


def test_questions_are_on_every_fact_and_a_third_of_what_is_said_is_right() -> None:
    rows = rows_of("preferences.questions")
    known = {
        f"{creature} {verb}?": FAMILIES[verb][WORLD.values[family, number]]
        for family, verb in enumerate(VERBS)
        for number, creature in enumerate(WORLD.known)
    }
    assert {row["question"]: row["known"] for row in rows} == known
    right = [answer == row["known"] for row in rows for answer in row["said"]]
    assert len(right) == 2 * len(known)
    assert abs(np.mean(right) - 1 / 3) < 0.05


@pytest.mark.parametrize("name", ["claims", "sizes", "facts", "preferences"])
def test_people_are_wrong_in_a_quarter_to_three_tenths_of_the_rows(name: str) -> None:
    path = FOLDER / f"{name}.toml"
    ids = [item.id for item in load_task(path).items]
    gold, human = load_gold(path, ids), load_human(path, ids)
    assert gold is not None
    assert human is not None
    assert 0.25 <= (gold != human).mean() <= 0.30


@pytest.mark.parametrize(
    ("name", "says"), [("claims", "claim"), ("facts", "claim"), ("preferences", "subject")]
)
def test_people_are_wrong_on_most_claims_of_one_family_and_on_no_other(
    name: str, says: str
) -> None:
    wrong: dict[str, list[bool]] = {}
    for row in rows_of(name):
        wrong.setdefault(row[says].split()[1], []).append(row["human"] != row["label"])
    shares = {verb: float(np.mean(mistakes)) for verb, mistakes in wrong.items()}
    assert shares.pop(MISTAKEN) == pytest.approx(5 / 6)
    assert set(shares.values()) == {0.0}


def test_people_take_a_pair_of_sizes_the_same_way_whichever_way_it_is_said() -> None:
    said = {row["claim"]: row["human"] for row in rows_of("sizes")}
    for claim, human in said.items():
        left, verb, right = claim.split()
        assert said[f"{right} {verb} {left}"] is not human


families = st.lists(st.sampled_from(VERBS), max_size=60)


@given(families, st.integers(0, 2**32), st.data())
def test_errors_on_a_family_touch_no_other_and_depend_on_the_seed_alone(
    verbs: list[str], seed: int, data: st.DataObject
) -> None:
    gold = data.draw(st.lists(st.booleans(), min_size=len(verbs), max_size=len(verbs)))

    def drawn() -> list[bool]:
        return wrong_on_a_family(verbs, gold, np.random.default_rng(seed))

    wrong = [a != b for a, b in zip(drawn(), gold, strict=True)]
    assert sum(wrong) == round(verbs.count(MISTAKEN) * 5 / 6)
    assert {verb for verb, mistake in zip(verbs, wrong, strict=True) if mistake} <= {MISTAKEN}
    assert drawn() == drawn()


def test_creatures_in_every_pair_can_t_be_mistaken_in_some_of_them() -> None:
    pairs = [("a", "b"), ("b", "a")]
    with pytest.raises(ValueError, match="25% to 30% of the pairs"):
        wrong_on_creatures(pairs, [True, False], np.random.default_rng(0))
