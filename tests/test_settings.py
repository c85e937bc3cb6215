"""Settings: who wins, what is refused, what `fit` means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from elicit.cache.errors import InputError
from elicit.predictability import Folds, LeaveOneOut
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    PromptTooLong,
    ScoreRequest,
    Scoring,
)
from elicit.scorer import Scorer
from elicit.settings import RunSettings, resolve, settings_from
from elicit.task import Task


class Counter:
    """A model that counts a token a character and answers nothing."""

    name = "counter"
    identity = Identity("test", "counter")

    def __init__(self, context: int | None) -> None:
        self.capabilities = Capabilities("exact", context, deterministic=True)

    def score(self, requests: Sequence[ScoreRequest], _budget: Budget = UNBOUNDED) -> Scoring:
        raise AssertionError(f"nothing is to be scored here, not {len(requests)} prompts")

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return [sum(len(s.text) for s in r.prompt) + len(r.labels[-1]) for r in requests]

    def close(self) -> None:
        return None


def scorer(context: int | None) -> Scorer:
    task = Task(labels=["no", "yes"], items=[{"x": "a"}, {"x": "bbbb"}], template="{{ x }}:")
    return Scorer(task.render(), Counter(context))


def test_the_first_layer_wins_and_every_origin_is_known() -> None:
    resolved = resolve(("flag", {"seed": "3"}), ("task", {"seed": 1, "alpha": 20}))
    assert resolved.settings.seed == 3
    assert resolved.settings.alpha == 20
    assert resolved.origins["seed"] == "flag"
    assert resolved.origins["alpha"] == "task"
    assert resolved.origins["folds"] == "default"


def test_settings_come_back_from_their_record() -> None:
    settings = resolve(("flag", {"seed": 3, "alpha": 20, "demonstrations": "7"})).settings
    assert settings_from(settings.as_dict()) == settings


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"alfa": 1}, "did you mean alpha"),
        ({"alpha": "much"}, "must be a number"),
        ({"seed": 1.5}, "must be a whole number"),
        ({"seed": True}, "must be a whole number"),
        ({"seed": -1}, "must be from 0"),
        ({"folds": 1}, "at least 2"),
        ({"measure": "sum"}, "is not one of"),
        ({"demonstrations": "-2"}, '"all", "fit" or a number'),
        ({"alpha": 0}, "must be a positive number"),
        ({"abstain": 1.0}, "must be a share"),
        ({"pool": -1}, "at least 0"),
        ({"orders": 0}, "at least 1"),
        ({"cooling": 0.5}, "is one of icm: give --method icm"),
        ({"method": "icm", "initial_temperature": 0}, "must be a positive number"),
        ({"method": "icm", "cooling": -1}, "must not be negative"),
    ],
)
def test_what_can_not_be_used_is_refused(layer: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        resolve(("flag", layer))


def test_fit_shows_as_many_whole_demonstrations_as_the_context_holds() -> None:
    # The longest item has 5 characters and its label 3; a demonstration 5 + 3 + 2.
    settings = RunSettings(demonstrations="fit")
    predict = settings.predictability_for(scorer(38), np.random.default_rng(0))
    assert isinstance(predict, Folds)
    assert predict.limit == 3


def test_fit_is_refused_where_nothing_fits_or_nothing_is_known() -> None:
    settings = RunSettings(demonstrations="fit")
    with pytest.raises(PromptTooLong, match="not even one demonstration fits"):
        settings.predictability_for(scorer(10), np.random.default_rng(0))
    with pytest.raises(InputError, match="give a number instead"):
        settings.predictability_for(scorer(None), np.random.default_rng(0))


def test_a_limit_shows_the_same_items_whatever_else_is_labelled() -> None:
    settings = RunSettings(predictability="loo", demonstrations="1")
    predict = settings.predictability_for(scorer(None), np.random.default_rng(0))
    assert isinstance(predict, LeaveOneOut)
    assert predict.limit == 1
    assert predict.demonstrations is not None
    assert sorted(predict.demonstrations.tolist()) == [0, 1]
