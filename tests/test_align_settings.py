"""Settings of an alignment: what can't be is named before anything runs."""

from __future__ import annotations

import pytest

from elicit.align.align_settings import AlignSettings, PolicySettings, RewardSettings, Wording
from elicit.cache.errors import InputError
from elicit.cli.align import settings_of
from elicit.finetune.lora_settings import LoraSettings
from elicit.search.icm import ICMSettings
from elicit.settings import RunSettings
from elicit.task import Task

TASK = Task(labels=("no", "yes"), items=[{"x": "1"}, {"x": "2"}], template="{{ x }}")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELICIT_SEED", raising=False)


def chosen(*given: str, seed: int | None = None, task: Task = TASK) -> AlignSettings:
    return settings_of("the-task", task, list(given), seed)


def of_run(**settings: object) -> Task:
    return Task(labels=TASK.labels, items=TASK.items, template="{{ x }}", settings=settings)


def test_nothing_given_is_the_defaults() -> None:
    assert chosen() == AlignSettings()


def test_settings_of_parts_stand_behind_their_names() -> None:
    found = chosen("policy.steps=5", "held_out=0.5", "policy.kl=1", "start.rank=4")
    assert (found.policy.steps, found.held_out, found.start.rank) == (5, 0.5, 4)
    assert found.start == LoraSettings(rank=4, alpha=16.0, batch_size=16)
    assert isinstance(found.policy.kl, float)


def test_settings_that_must_fit_together_are_given_together_in_any_order() -> None:
    for given in (["policy.batch_size=12", "policy.group=4"], ["policy.group=64"]):
        for order in (given, given[::-1]):
            assert chosen(*order).policy.batch_size % chosen(*order).policy.group == 0


def test_a_numeral_for_a_text_is_that_text() -> None:
    found = chosen("wording.stop=7", "wording.before=07")
    assert (found.wording.stop, found.wording.before) == ("7", "07")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("policy.group=0", "setting policy.group: is 0; it must be at least 2"),
        ("policy.group=1", "setting policy.group: is 1; it must be at least 2"),
        ("policy.group=3", "setting policy.group: is 3; it must divide"),
        ("policy.steps=abc", "setting policy.steps: is 'abc'; it must be a whole number"),
        ("policy.steps=2.5", "setting policy.steps"),
        ("policy.kl=0", "setting policy.kl: is 0.0; it must be above 0"),
        ("policy.kl=nan", "setting policy.kl: is nan; it must be a number"),
        ("policy.temperature=abc", "setting policy.temperature"),
        ("reward.learning_rate=abc", "setting reward.learning_rate"),
        ("start.rank=abc", "setting start.rank: is 'abc'; it must be a whole number"),
        ("start.rank=0", r"start\.\*: .*setting rank"),
        ("start.schedule=7", r"start\.\*: .*setting schedule"),
        ("held_out=0", "setting held_out: is 0.0; it must be a share above 0 and below 1"),
        ("held_out=1", "setting held_out"),
        ("confident=2", "setting confident"),
        ("judged=0", "setting judged"),
        ("threads=abc", "setting threads"),
        ("search.method=foo", "settings of the search: .*setting method"),
        ("search.folds=1", "settings of the search: .*setting folds"),
        ("search.foo=1", "settings of the search: .*unknown setting 'foo'"),
        ("seed=abc", "setting seed"),
        ("seed=-1", "setting seed"),
        ("search.seed=1", "setting search.seed: there is one seed for everything"),
        ("start.seed=1", "setting start.seed: there is one seed for everything"),
        ("policy.stepz=2", "no setting policy.stepz; did you mean policy.steps"),
        ("policy=2", "no setting policy"),
        ("search=2", "no setting search"),
        ("helt_out=0.2", "no setting helt_out; did you mean held_out"),
        ("policy.steps.more=2", "no setting policy.steps.more"),
        (".seed=2", "no setting .seed"),
    ],
)
def test_what_can_t_be_is_refused_by_its_name(given: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        chosen(given)


def test_one_seed_decides_whoever_gives_it() -> None:
    assert chosen(seed=3).search.seed == chosen(seed=3).seed == 3
    assert chosen("seed=4").seed == 4
    assert chosen(task=of_run(seed=5)).seed == 5
    assert chosen(seed=0, task=of_run(seed=5)).seed == 0


def test_a_search_is_as_the_task_says_but_for_what_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = of_run(folds=3, chains=2)
    monkeypatch.setenv("ELICIT_CHAINS", "4")
    monkeypatch.setenv("ELICIT_ALPHA", "7")
    found = chosen("search.folds=4", task=task).search
    assert (found.folds, found.chains, found.alpha) == (4, 2, 7.0)


def test_a_method_brings_its_own_settings() -> None:
    found = chosen("search.method=icm", "search.cooling=0.5").search
    assert found == RunSettings(method="icm", icm=ICMSettings(cooling=0.5))


def test_what_decides_nothing_that_is_made_is_left_out() -> None:
    default = AlignSettings().decides()
    assert (
        chosen("policy.checkpoint_steps=3", "start.checkpoint_seconds=5").decides() == default
    )
    assert chosen("policy.steps=3").decides() != default


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: AlignSettings(held_out=0.0), "held_out"),
        (lambda: AlignSettings(seed=-1), "seed"),
        (lambda: Wording(stop=7), "wording.stop"),  # type: ignore[arg-type]  # as JSON may say
        (lambda: PolicySettings(group=0), "policy.group"),
        (lambda: RewardSettings(epochs=True), "reward.epochs"),
        (lambda: AlignSettings(confident=1.5), "confident"),
        (lambda: AlignSettings(held_out=1.0), "held_out"),
        (lambda: AlignSettings(judged=0), "judged"),
        (lambda: AlignSettings(reward=RewardSettings(learning_rate=-1.0)), "reward"),
        (lambda: PolicySettings(batch_size=10, group=4), "policy.group"),
        (lambda: AlignSettings(policy=PolicySettings(kl=float("nan"))), "policy.kl"),
    ],
)
def test_a_setting_that_can_t_be_so_is_named(make: object, name: str) -> None:
    assert callable(make)
    with pytest.raises(InputError, match=name):
        make()
