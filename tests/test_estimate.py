"""What a run will take, told before it is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from elicit.cache.errors import InputError
from elicit.constraints import Constraint
from elicit.estimate import Speed, estimate, facts_of
from elicit.pieces import pieces_by_ratio
from elicit.predictability import Folds, Labelling, variances
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    ScoreRequest,
    Scoring,
    Usage,
)
from elicit.providers.prices import find_price
from elicit.providers.registry import open_model
from elicit.scorer import Ask
from elicit.search.bootstrap import BootstrapSettings
from elicit.search.icm import ICMSettings
from elicit.settings import RunSettings
from elicit.stand_in import StandIn, Temper
from elicit.tally import Bill, Hosted, Local, Tally
from elicit.task import Task
from elicit.task_file import load_task

ROUNDS = BootstrapSettings()


class Untouched:
    """A model that must not be asked."""

    name = "openai:gpt-4.1-mini"
    identity = Identity("openai", "gpt-4.1-mini", "https://api.openai.com/v1")
    capabilities = Capabilities("top_k", None, deterministic=False)

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:  # noqa: ARG002
        return None

    def close(self) -> None:
        return None

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        raise AssertionError(f"{len(requests)} prompts were paid for under {budget}")


class Drawn(Untouched):
    capabilities = Capabilities("sampled", None, deterministic=False, form="chat", samples=5)


def pairs(n: int = 24) -> Task:
    items = [{"number": i, "pair": i // 2} for i in range(n)]
    rule = Constraint("exactly_one", "yes", by="pair")
    return Task(labels=["no", "yes"], items=items, template="{{ number }} ", constraints=[rule])


def stand_in(task: Task, temper: Temper, seed: int = 0) -> tuple[StandIn, Tally]:
    tally, rendered = Tally(Hosted()), task.render()
    pieces = pieces_by_ratio(rendered, 0.3)
    return StandIn(rendered, Untouched(), task.rules(), pieces, tally, temper, seed), tally


def test_nothing_is_asked_of_the_model_and_equal_seeds_give_equal_answers() -> None:
    facts = facts_of(Untouched())
    run = RunSettings()
    first, again = (estimate(pairs(), run, facts, ROUNDS) for _ in range(2))
    assert first == again
    assert first != estimate(pairs(), replace(run, seed=7), facts, ROUNDS)


def test_the_range_is_in_order_and_its_money_is_the_table_s() -> None:
    made = estimate(pairs(), RunSettings(), facts_of(Untouched()), ICMSettings())
    tokens = [cost.usage.spent_tokens for cost in (made.low, made.mid, made.high)]
    assert tokens == sorted(tokens)
    price = find_price("openai", "gpt-4.1-mini")
    assert price is not None
    usage = made.mid.usage
    expected = usage.prompt_tokens * price.input + usage.output_tokens * price.output
    assert usage.cost_usd == pytest.approx(expected / 1e6)
    assert any(price.source in said for said in made.assumptions)


def test_one_round_of_bootstrapping_takes_what_can_be_reckoned_by_hand() -> None:
    method = BootstrapSettings(rounds=0)
    made = estimate(pairs(24), RunSettings(), facts_of(Untouched()), method)
    # Zero-shot for all, then all from the block they are not in, whatever the model says.
    assert made.low.usage.calls == made.high.usage.calls == 24 + 24


def test_chains_are_counted_together() -> None:
    method = BootstrapSettings(rounds=0)
    one, two = (
        estimate(pairs(24), RunSettings(chains=chains), facts_of(Untouched()), method)
        for chains in (1, 2)
    )
    # The second chain's zero-shot scores are in the store.
    assert two.mid.usage.calls == one.mid.usage.calls + 24


def test_each_draw_of_a_sampled_model_is_a_call() -> None:
    method = BootstrapSettings(rounds=0)
    made = estimate(pairs(24), RunSettings(), facts_of(Drawn()), method)
    assert made.mid.usage.calls == 5 * 48


def test_a_sampled_model_s_noise_reaches_the_search() -> None:
    task = pairs()
    scorer, _ = stand_in(task, Temper())
    assert not variances(scorer, Folds(2), labelling(24), np.arange(24)).any()
    rendered = task.render()
    drawn = StandIn(
        rendered,
        Drawn(),
        task.rules(),
        pieces_by_ratio(rendered, 0.3),
        Tally(Hosted()),
        Temper(),
        0,
    )
    assert (variances(drawn, Folds(2), labelling(24), np.arange(24)) > 0).all()


def test_an_unknown_price_is_said() -> None:
    facts = facts_of(Untouched())
    unpriced = replace(facts, terms=Hosted())
    made = estimate(pairs(), RunSettings(), unpriced, ROUNDS)
    assert made.mid.usage.cost_usd is None
    assert any("price of this model is unknown" in said for said in made.assumptions)


def test_a_local_model_is_counted_by_its_own_tokeniser_and_has_no_calls() -> None:
    task = load_task(Path(str(files("elicit.organism"))) / "tasks" / "claims.toml", 16)
    with closing(open_model("tiny")) as provider:
        facts = facts_of(provider, speed=Speed(tokens_per_second=100.0))
        assert isinstance(facts.terms, Local)
        made = estimate(task, RunSettings(), facts, ROUNDS)
    usage = made.mid.usage
    assert usage.calls == 0
    assert 0 < usage.forwarded_tokens < usage.prompt_tokens
    assert made.mid.seconds == pytest.approx(usage.forwarded_tokens / 100)


def test_time_is_that_of_the_waves_or_of_the_rate_limit_whichever_is_longer() -> None:
    terms = Hosted(concurrency=10)
    bill = Bill(Usage(calls=24, forwarded_tokens=600), waves=3)
    assert Speed().seconds(bill, terms) is None
    assert Speed(seconds_per_call=2.0).seconds(bill, terms) == 3 * 2.0
    assert Speed(2.0, calls_per_minute=6.0).seconds(bill, terms) == 24 * 10.0
    assert Speed(2.0, tokens_per_minute=60.0).seconds(bill, terms) == 600.0


def test_the_made_up_model_follows_its_demonstrations_towards_its_plant() -> None:
    scorer, _ = stand_in(pairs(), Temper(spread=0.0, noise=0.0, knows=0.0))
    items, shown = np.arange(12, 24), np.arange(12)
    alone = scorer.log_probs([Ask(shown[:0], shown[:0], np.arange(24))])[0]
    plant = scorer.planted
    odds = []
    for right in (0, 4, 8, 12):
        labels = np.where(shown < right, plant[:12], 1 - plant[:12])
        rows = scorer.log_probs([Ask(shown, labels, items)])[0]
        odds.append(float(rows[np.arange(12), plant[12:]].mean()))
    assert odds == sorted(odds)
    assert odds[0] < float(alone[np.arange(24), plant].mean()) < odds[-1]


def test_what_is_planted_is_consistent() -> None:
    task = pairs()
    plants = [stand_in(task, Temper(), seed)[0].planted for seed in range(5)]
    assert all(task.rules().count(plant) == 0 for plant in plants)
    assert len({tuple(plant.tolist()) for plant in plants}) > 1


def test_demonstrations_that_differ_in_one_label_say_nearly_the_same() -> None:
    scorer, _ = stand_in(pairs(), Temper())
    shown, items = np.arange(12), np.arange(12, 24)
    labels = scorer.planted[:12]
    one, all_other = labels.copy(), 1 - labels
    one[0] ^= 1
    first, near, far = scorer.log_probs(
        [Ask(shown, x, items) for x in (labels, one, all_other)]
    )
    assert np.abs(near - first).max() < np.abs(far - first).max() / 3


def test_what_was_asked_once_is_not_counted_again() -> None:
    scorer, tally = stand_in(pairs(), Temper())
    ask = Ask(np.arange(4), np.zeros(4, np.int64), np.arange(4, 14))
    scorer.log_probs([ask])
    again = scorer.log_probs([replace(ask, items=np.arange(4, 20))])
    assert again[0].shape == (16, 2)
    assert tally.bill.usage.requests == 16


def test_no_rehearsal_is_refused() -> None:
    with pytest.raises(InputError, match="at least one rehearsal"):
        estimate(pairs(), RunSettings(), facts_of(Untouched()), ROUNDS, seeds=0)


def labelling(n: int) -> Labelling:
    return Labelling(np.arange(n) % 2, np.arange(n))
