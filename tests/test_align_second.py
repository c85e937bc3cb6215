"""Second labels given from outside, in place of a first reward model's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("trl", reason="needs the extra align")

from align_process import SETTINGS, aligned, base, questions, result, task

from elicit.align.comparisons import (
    ELICITED,
    GOLDEN,
    HUMAN,
    Comparison,
    Labeller,
    Preference,
    by_labeller,
)
from elicit.align.pipeline import Alignment, align
from elicit.align.stages import read_written
from elicit.align.work import COMPARISONS, PREFERENCES
from elicit.cache.errors import InputError
from elicit.gold import load_gold
from elicit.organism import tasks_path
from elicit.organism.annotators import people, who_knows
from elicit.scorer import IntArray

# What torch, peft and trl say of one another's names is not of these tests.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("second")


def labels() -> dict[str, IntArray]:
    loaded = task()
    gold = load_gold(tasks_path() / "preferences.toml", [item.id for item in loaded.items])
    assert gold is not None
    return {HUMAN: gold, GOLDEN: gold}


def with_second(place: Path, second: Mapping[str, Labeller]) -> Alignment:
    """The alignment of `align_process`, of equal first labels, with these second ones."""
    loaded = task()
    return align(
        place / "stages",
        base(place / "forms"),
        loaded,
        questions(loaded),
        labels(),
        SETTINGS,
        model="tiny",
        cache=place / "scores.db",
        second=second,
    )


@pytest.fixture(scope="module")
def default(place: Path) -> Alignment:
    return aligned(place / "stages", labels())


@pytest.fixture(scope="module")
def known() -> Mapping[str, str]:
    return questions(task()).known


@pytest.fixture(scope="module")
def asked(default: Alignment) -> list[Comparison]:
    stage = next(s for s in default.stages if s.record.stage == "comparisons")
    return [Comparison(**row) for row in read_written(stage.folder / COMPARISONS)]


def second_of(done: Alignment, name: str) -> tuple[Preference, ...]:
    rows = read_written(done.by[name].second.folder / PREFERENCES)
    return tuple(Preference(**row) for row in rows)


def test_an_arm_is_trained_on_the_second_labels_that_are_given(
    place: Path, default: Alignment, asked: list[Comparison], known: Mapping[str, str]
) -> None:
    told: list[Sequence[Comparison]] = []

    def annotator(comparisons: Sequence[Comparison]) -> Sequence[bool | None]:
        told.append(comparisons)
        return who_knows(known)(comparisons)

    found = with_second(place, {HUMAN: annotator})
    assert told == [asked]
    assert not {c.prompt for c in asked} & set(found.held_out)
    given = by_labeller(asked, who_knows(known))
    assert second_of(found, HUMAN) == given
    human = found.by[HUMAN]
    assert human.reward.figures["preferences"] == len(human.preferences) + len(given)
    assert human.second.figures == {"comparisons": len(asked), "preferences": len(given)}
    # The same first labels and other second ones: another reward model, and another policy.
    assert human.first_reward == default.by[HUMAN].first_reward
    assert human.reward.record.inputs != default.by[HUMAN].reward.record.inputs
    assert human.policy.record.inputs != default.by[HUMAN].policy.record.inputs


def test_the_other_arms_stay_as_they_were(place: Path, default: Alignment) -> None:
    before = result(default)
    found = result(with_second(place, {HUMAN: lambda asked: [True] * len(asked)}))
    others = [key for key in before if not key.startswith(HUMAN)]
    assert others
    assert all(found[key] == before[key] for key in others)


def test_without_second_labels_all_is_as_it_was(place: Path, default: Alignment) -> None:
    assert with_second(place, {}).stages == default.stages


def test_of_other_annotators_it_is_another_job_and_of_equal_ones_the_same(
    place: Path, known: Mapping[str, str]
) -> None:
    kinds = questions(task()).kinds
    gold, human, again = (
        with_second(place, {HUMAN: labeller}).by[HUMAN]
        for labeller in (who_knows(known), people(known, kinds), people(known, kinds))
    )
    assert gold.reward.record.inputs != human.reward.record.inputs
    assert gold.policy.record.inputs != human.policy.record.inputs
    assert again == human


@pytest.mark.parametrize("name", [ELICITED, "nobody"])
def test_the_search_is_given_no_labels_nor_is_who_gave_no_first_ones(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match=f"second labels for {name}"):
        with_second(tmp_path, {name: lambda asked: [None] * len(asked)})
    assert not (tmp_path / "stages").exists()


def test_who_prefers_nothing_leaves_the_first_labels_alone(place: Path) -> None:
    found = with_second(place, {GOLDEN: lambda asked: [None] * len(asked)}).by[GOLDEN]
    assert found.second.figures["preferences"] == 0
    assert found.reward.figures["preferences"] == len(found.preferences)
