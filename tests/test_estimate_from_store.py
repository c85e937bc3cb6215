"""An estimate counts what the store lacks, and makes up the rest after what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")

import elicit
from elicit.cache.store import ScoreStore
from elicit.cli.tasks import open_task
from elicit.estimate import Estimate, estimate, facts_of
from elicit.known import Known
from elicit.providers.base import Provider
from elicit.providers.cached import CachedProvider
from elicit.providers.registry import open_model
from elicit.providers.usage import Limits
from elicit.scorer import Ask, Scorer
from elicit.search.baselines import zero_shot
from elicit.search.bootstrap import BootstrapSettings
from elicit.search.icm import ICMSettings
from elicit.settings import RunSettings

NOBODY = np.empty(0, np.int64)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


@pytest.fixture
def store(cache: Path) -> Iterator[ScoreStore]:
    with ScoreStore(cache) as opened:
        yield opened


@pytest.fixture
def tiny() -> Iterator[Provider]:
    with closing(open_model("tiny")) as provider:
        yield provider


SHORT = ICMSettings(iterations=12, initial=4)


@pytest.mark.parametrize(
    "settings",
    [
        RunSettings(),
        RunSettings(method="icm"),
        RunSettings(chains=2),
        RunSettings(pool=12),
        RunSettings(demonstrations="4"),
        RunSettings(predictability="loo"),
        RunSettings(predictability="prequential", orders=3),
        RunSettings(method="icm", icm=replace(SHORT, ahead=4)),
        RunSettings(method="icm", icm=SHORT, predictability="loo", pool=12),
    ],
    ids=str,
)
def test_a_run_that_was_made_costs_nothing_again_whatever_its_settings(
    tiny: Provider, cache: Path, store: ScoreStore, settings: RunSettings
) -> None:
    task = open_task("claims", 24)
    made = elicit.label(task, "tiny", cache=cache, settings=settings)
    assert made.usage.requests > 0
    # Given true scores a rehearsal asks what the run asked, and no more.
    found = estimate(task, settings, facts_of(tiny), store=store)
    assert found.low.usage.requests == found.high.usage.requests == 0


def test_once_the_first_labels_are_scored_the_rest_is_told_from_them(
    tiny: Provider, cache: Path, store: ScoreStore
) -> None:
    task = open_task("claims", 64)
    whole, begun = RunSettings(), RunSettings(bootstrap=BootstrapSettings(rounds=0))
    before = estimate(task, whole, facts_of(tiny), store=store)
    paid = elicit.label(task, "tiny", cache=cache, settings=begun).usage.requests
    after = estimate(task, whole, facts_of(tiny), store=store)
    rest = elicit.label(task, "tiny", cache=cache, settings=whole).usage.requests
    assert paid == 2 * 64
    assert paid + after.mid.usage.requests == pytest.approx(paid + rest, rel=0.1)
    assert after.low.usage.requests <= rest <= after.high.usage.requests
    assert width(after) < width(before) / 2


def width(found: Estimate) -> int:
    return found.high.usage.requests - found.low.usage.requests


def test_what_a_stopped_run_has_paid_for_is_taken_off(
    tiny: Provider, cache: Path, store: ScoreStore
) -> None:
    task = open_task("claims", 24)
    settings = RunSettings(bootstrap=BootstrapSettings(rounds=0))
    fresh = estimate(task, settings, facts_of(tiny), store=store)
    with pytest.raises(elicit.ElicitError, match="budget reached"):
        elicit.label(task, "tiny", cache=cache, settings=settings, limits=Limits(tokens=300))
    paid = store.stats().scores
    assert paid > 0
    rest = estimate(task, settings, facts_of(tiny), store=store)
    assert rest.mid.usage.requests == fresh.mid.usage.requests - paid
    assert any(f"{paid} scores of this task are in the store" in s for s in rest.assumptions)


def test_zero_shot_scores_in_the_store_are_believed_of_the_items_without_one(
    tiny: Provider, store: ScoreStore
) -> None:
    task = open_task("claims", 64)
    part = open_task("claims", 32)
    zero_shot(Scorer(part.render(), CachedProvider(tiny, store)))
    known = Known(task.render(), tiny, store)
    rows = known.rows(Ask(NOBODY, NOBODY, np.arange(64)))
    assert rows is not None
    assert np.isnan(rows[32:]).all()
    assert np.allclose(np.exp(rows[:32]).sum(axis=1), 1)
    settings = RunSettings(bootstrap=BootstrapSettings(rounds=0))
    made = estimate(task, settings, facts_of(tiny), store=store)
    alone = estimate(task, settings, facts_of(tiny))
    assert made.mid.usage.requests == alone.mid.usage.requests - 32


def test_an_empty_store_changes_nothing(tiny: Provider, store: ScoreStore) -> None:
    task = open_task("claims", 24)
    assert estimate(task, RunSettings(), facts_of(tiny), store=store) == estimate(
        task, RunSettings(), facts_of(tiny)
    )


def test_scores_of_another_model_are_not_taken_for_this_one_s(
    tiny: Provider, store: ScoreStore
) -> None:
    task = open_task("claims", 24)
    with closing(open_model("tiny?flash_attention=false")) as other:
        zero_shot(Scorer(task.render(), CachedProvider(other, store)))
    known = Known(task.render(), tiny, store)
    assert known.rows(Ask(NOBODY, NOBODY, np.arange(24))) is None
