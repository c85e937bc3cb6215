"""What a run gives as its answer: the best chain or their mixture, less abstentions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")

import elicit
from elicit.cache.errors import InputError
from elicit.cli.tasks import open_task
from elicit.constraints import UNLABELLED
from elicit.labelling import resume
from elicit.objective import log_odds
from elicit.outcome import outcome_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


def test_a_finished_run_is_read_back_as_it_was_given(cache: Path) -> None:
    task = open_task("facts", 16)
    given = elicit.label(task, "tiny", cache=cache, chains=2, name="r", abstain=0.25)
    read = resume("r", open_task, cache=cache)
    assert read.labels.tolist() == given.labels.tolist()
    assert read.log_odds.tolist() == given.log_odds.tolist()
    assert given.log_probs is not None
    assert read.log_probs is not None
    assert read.log_probs.tolist() == given.log_probs.tolist()
    assert np.allclose(np.exp(given.log_probs).sum(axis=1), 1)


def test_the_least_certain_share_is_left_unlabelled_and_nothing_else_changes(
    cache: Path,
) -> None:
    task = open_task("facts", 16)
    whole = elicit.label(task, "tiny", cache=cache)
    part = elicit.label(task, "tiny", cache=cache, abstain=0.25)
    out = part.labels == UNLABELLED
    assert int(out.sum()) == 4
    assert whole.log_odds[out].max() <= whole.log_odds[~out].min()
    assert (part.labels[~out] == whole.labels[~out]).all()
    rows = list(part.rows())
    assert [row["label"] is None for row in rows] == out.tolist()
    assert part.summary()["abstained"] == 4


def test_a_mixture_labels_by_the_mean_of_all_chains(cache: Path) -> None:
    task = open_task("claims", 24)
    mixed = elicit.label(task, "tiny", cache=cache, chains=3, start="random", combine="mixture")
    assert mixed.outcome.answer.inconsistency == 0
    assert mixed.log_probs is not None
    assert mixed.log_odds.tolist() == log_odds(mixed.log_probs, mixed.labels).tolist()
    chains = [chain.log_probs for chain in mixed.outcome.chains if chain.log_probs is not None]
    assert len(chains) == 3
    assert not any(np.array_equal(mixed.log_probs, rows) for rows in chains)


def test_a_mixture_of_one_chain_is_that_chain(cache: Path) -> None:
    task = open_task("claims", 24)
    best = elicit.label(task, "tiny", cache=cache)
    mixed = elicit.label(task, "tiny", cache=cache, combine="mixture")
    assert mixed.labels.tolist() == best.labels.tolist()


def test_items_outside_the_pool_are_labelled_from_it_without_contradiction(
    cache: Path,
) -> None:
    task = open_task("claims", 64)
    part = elicit.label(task, "tiny", cache=cache, pool=16)
    whole = elicit.label(task, "tiny", cache=cache)
    assert (part.labels != UNLABELLED).all()
    assert part.outcome.answer.inconsistency == 0
    assert (part.labels == whole.labels).mean() > 0.8
    assert part.usage.requests < whole.usage.requests


def test_a_prior_of_other_labels_is_refused_before_anything_is_recorded(cache: Path) -> None:
    with pytest.raises(InputError, match=r"setting prior: .*False=0\.5,True=0\.5"):
        elicit.label(open_task("facts", 8), "tiny", cache=cache, prior="no=0.5,yes=0.5")


def test_a_prior_decides_how_many_items_have_a_label(cache: Path) -> None:
    task = open_task("facts", 64)
    shares = [
        float((elicit.label(task, "tiny", cache=cache, prior=prior).labels == 1).mean())
        for prior in ("False=0.8,True=0.2", "False=0.5,True=0.5", "False=0.2,True=0.8")
    ]
    assert shares[0] < shares[1] < shares[2]


def test_records_that_hold_no_answer_give_their_best_chain(cache: Path) -> None:
    given = elicit.label(open_task("facts", 8), "tiny", cache=cache, chains=2)
    run = given.run
    assert run.result is not None
    chains = [{k: c[k] for k in c if k != "log_probs"} for c in run.result["chains"]]
    older = {k: v for k, v in run.result.items() if k != "answer"} | {"chains": chains}
    read = outcome_of(replace(run, result=older))
    assert read.answer.labels.tolist() == given.outcome.best.labels.tolist()
    assert read.answer.log_probs is None


def test_more_labels_than_two(cache: Path) -> None:
    task = open_task("diets", 32)
    for method in ("bootstrap", "icm"):
        found = elicit.label(task, "tiny", cache=cache, method=method, chains=2)
        assert len(set(found.labels.tolist())) > 2
        assert found.log_probs is not None
        assert found.log_probs.shape == (32, len(task.labels))


def test_a_mixture_keeps_to_the_prior(cache: Path) -> None:
    task = open_task("facts", 64)
    options = {"cache": cache, "chains": 2, "start": "random"}
    prior = "False=0.9,True=0.1"
    mixed = elicit.label(task, "tiny", combine="mixture", prior=prior, **options)  # type: ignore[arg-type]  # by name
    assert mixed.log_probs is not None
    assert np.exp(mixed.log_probs[:, 1]).mean() == pytest.approx(0.1, abs=0.02)
    assert (mixed.labels == 1).mean() < 0.25


def test_shares_that_were_rounded_are_a_prior(cache: Path) -> None:
    found = elicit.label(
        open_task("facts", 8), "tiny", cache=cache, prior="False=0.67,True=0.34"
    )
    assert (found.labels != UNLABELLED).all()
