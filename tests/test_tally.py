"""What a model would be sent: calls, tokens, prompt cache, money; exact for a local model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import date
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elicit.pieces import Pieces, pieces_by_ratio, pieces_by_tokeniser
from elicit.predictability import (
    Folds,
    Labelling,
    LeaveOneOut,
    Predictability,
    Prequential,
    predict,
)
from elicit.providers.prices import LongPrompts, Price
from elicit.providers.prompt_cache import PromptCache, find_prompt_cache
from elicit.providers.registry import open_model
from elicit.providers.usage import Meter
from elicit.scorer import Ask, FloatArray, Scorer
from elicit.tally import Group, Hosted, Local, Tally
from elicit.task import Task
from elicit.task_file import load_task

AUTOMATIC = PromptCache(1024, True, 128, 300, "test")
MARKED = PromptCache(1024, False, 1, 300, "test")
PRICE = Price(1.0, 0.1, 1.25, 10.0, 0.5, date(2026, 1, 1), "test")


def group(
    pieces: Sequence[int], items: int, *, each: float = 100.0, own: float = 10.0
) -> Group:
    return Group(
        np.array(pieces, np.int64), np.full(len(pieces), each), np.full(items, own, float)
    )


def bill_of(terms: Hosted, *steps: Sequence[Group]) -> Tally:
    tally = Tally(terms)
    for step in steps:
        tally.send(step)
    return tally


@given(
    sizes=st.lists(st.integers(0, 30), max_size=5),
    together=st.integers(1, 7),
    draws=st.integers(1, 3),
)
def test_every_item_is_in_one_call_with_no_more_than_fit(
    sizes: list[int], together: int, draws: int
) -> None:
    groups = [group([k], size) for k, size in enumerate(sizes)]
    usage = bill_of(Hosted(items_per_call=together, draws=draws), groups).bill.usage
    calls = sum(-(-size // together) for size in sizes) * draws
    assert usage.calls == calls
    assert usage.requests == sum(sizes) * draws
    assert usage.prompt_tokens == 100 * calls + 10 * sum(sizes) * draws
    assert usage.output_tokens == sum(sizes) * draws


def test_without_a_rule_of_a_prompt_cache_every_token_is_fresh() -> None:
    usage = bill_of(Hosted(concurrency=1), [group(range(20), 5)]).bill.usage
    assert usage.cache_read_tokens == usage.cache_write_tokens == 0
    assert usage.prompt_tokens == 5 * 2010


def test_an_automatic_cache_is_read_in_whole_steps_after_the_first_call() -> None:
    terms = Hosted(concurrency=1, cache=AUTOMATIC)
    usage = bill_of(terms, [group(range(20), 5)]).bill.usage
    assert usage.cache_read_tokens == 4 * (2000 // 128 * 128)
    assert usage.cache_write_tokens == 0


def test_an_automatic_cache_is_read_up_to_the_first_changed_demonstration() -> None:
    terms = Hosted(concurrency=1, cache=AUTOMATIC)
    changed = [*range(15), 99, *range(16, 20)]
    first = bill_of(terms, [group(range(20), 1)]).bill.usage
    both = bill_of(terms, [group(range(20), 1)], [group(changed, 1)]).bill.usage
    assert first.cache_read_tokens == 0
    assert both.cache_read_tokens == 1500 // 128 * 128


def test_a_short_beginning_is_not_cached() -> None:
    for cache in (AUTOMATIC, MARKED):
        usage = bill_of(Hosted(concurrency=1, cache=cache), [group(range(10), 5)]).bill.usage
        assert usage.cache_read_tokens == usage.cache_write_tokens == 0


def test_a_marked_cache_is_written_once_and_read_whole_where_all_of_it_is_the_same() -> None:
    terms = Hosted(concurrency=1, cache=MARKED)
    steps = [group(range(20), 3)], [group(range(19), 1)], [group(range(20), 1)]
    usage = bill_of(terms, *steps).bill.usage
    assert usage.cache_write_tokens == 2000 + 1900
    assert usage.cache_read_tokens == 3 * 2000


@given(concurrency=st.integers(1, 12), items=st.integers(1, 12))
def test_the_first_call_of_some_demonstrations_writes_what_the_others_read(
    concurrency: int, items: int
) -> None:
    terms = Hosted(concurrency=concurrency, cache=MARKED)
    usage = bill_of(terms, [group(range(20), items)]).bill.usage
    assert usage.cache_write_tokens == 2000
    assert usage.cache_read_tokens == 2000 * (items - 1)


def test_a_batch_reads_nothing_from_a_cache_and_has_its_own_price() -> None:
    single = bill_of(Hosted(price=PRICE), [group(range(20), 3)]).bill.usage
    batch = bill_of(
        Hosted(price=PRICE, cache=MARKED, batch=True), [group(range(20), 3)]
    ).bill.usage
    assert batch.cache_read_tokens == batch.cache_write_tokens == 0
    assert batch.cost_usd == pytest.approx((single.cost_usd or 0) / 2)


def test_money_is_what_the_price_says_of_each_kind_of_token() -> None:
    terms = Hosted(concurrency=1, cache=MARKED, price=PRICE)
    usage = bill_of(terms, [group(range(20), 2)]).bill.usage
    assert usage.cost_usd == pytest.approx((20 * 1 + 2000 * 0.1 + 2000 * 1.25 + 2 * 10) / 1e6)
    assert usage.unpriced_calls == 0


def test_a_long_prompt_is_charged_at_its_own_price() -> None:
    price = Price(
        1.0,
        1.0,
        1.0,
        0.0,
        None,
        date(2026, 1, 1),
        "test",
        LongPrompts(1000, 3.0, 3.0, 3.0, 0.0),
    )
    usage = bill_of(Hosted(price=price), [group(range(5), 1), group(range(20), 1)]).bill.usage
    assert usage.cost_usd == pytest.approx((510 * 1 + 2010 * 3) / 1e6)


def test_an_unknown_price_is_told_and_not_guessed() -> None:
    usage = bill_of(Hosted(), [group([1], 3)]).bill.usage
    assert usage.cost_usd is None
    assert usage.unpriced_calls == 3


def test_waves_count_how_often_a_server_is_waited_for() -> None:
    tally = bill_of(Hosted(concurrency=4), [group([1], 9)], [group([2], 1)], [])
    assert tally.bill.waves == 3 + 1


@pytest.fixture(scope="module")
def claims() -> Task:
    return load_task(Path(str(files("elicit.organism"))) / "tasks" / "claims.toml", 12)


def labellings(n: int, steps: int) -> list[Labelling]:
    """A search's labellings: a few, more, and then one label changed at a time."""
    rng = np.random.default_rng(0)
    order = rng.permutation(n)
    labels = rng.integers(2, size=n)
    made = []
    for step in range(steps):
        labels = labels.copy()
        labels[rng.integers(n)] ^= 1
        shown = order[: min(n, 4 + 4 * step)]
        known = np.full(n, -1)
        known[shown] = labels[shown]
        made.append(Labelling(known, shown))
    return made


class Tallying(Scorer):
    """A scorer that also counts what it was asked for the first time."""

    def __init__(self, task: Task, meter: Meter, pieces: Pieces, tally: Tally) -> None:
        super().__init__(task.render(), meter)
        self._pieces, self._tally = pieces, tally
        self._seen: set[tuple[bytes, bytes, int]] = set()

    def log_probs(self, asks: Sequence[Ask]) -> list[FloatArray]:
        groups = []
        for ask in asks:
            keys = [
                (ask.context.tobytes(), ask.labels.tobytes(), i) for i in ask.items.tolist()
            ]
            new = [key[2] for key in keys if key not in self._seen]
            self._seen.update(keys)
            groups.append(self._pieces.group(ask, np.array(new, np.int64)))
        self._tally.send(groups)
        return super().log_probs(asks)


@pytest.mark.parametrize("measure", [Folds(2), Folds(3), LeaveOneOut(), Prequential(3)])
def test_a_local_model_forwards_exactly_what_is_counted(
    claims: Task, measure: Predictability
) -> None:
    with closing(open_model("tiny")) as provider:
        pieces = pieces_by_tokeniser(claims.render(), provider)
        assert pieces is not None
        tally, meter = Tally(Local()), Meter(provider)
        scorer = Tallying(claims, meter, pieces, tally)
        for labelling in labellings(12, 3):
            predict(scorer, measure, labelling, np.arange(12))
        counted = tally.bill.usage
        assert counted.requests == meter.usage.requests
        assert counted.prompt_tokens == meter.usage.prompt_tokens
        assert counted.forwarded_tokens == meter.usage.forwarded_tokens


def test_pieces_with_equal_text_have_equal_numbers() -> None:
    items = [{"word": "a"}, {"word": "b"}, {"word": "a"}]
    task = Task(labels=["no", "yes"], items=items, template="{{ word }} ")
    pieces = pieces_by_ratio(task.render(), 0.5)
    assert pieces.questions.tolist() == [0, 1, 0]
    assert pieces.shown[0].tolist() == pieces.shown[2].tolist()
    assert len(set(pieces.shown.ravel().tolist())) == 4
    assert pieces.question_tokens.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("provider", "model", "minimum", "automatic"),
    [
        ("openai", "gpt-4.1-mini", 1024, True),
        ("openai", "gpt-5.4-nano-2026-03-17", 1024, True),
        ("openai", "gpt-6-luna", 1024, False),
        ("anthropic", "claude-opus-5", 512, False),
        ("anthropic", "claude-haiku-4-5-20251001", 4096, False),
    ],
)
def test_the_rules_of_known_prompt_caches(
    provider: str, model: str, minimum: int, automatic: bool
) -> None:
    rule = find_prompt_cache(provider, model)
    assert rule is not None
    assert (rule.minimum_tokens, rule.automatic) == (minimum, automatic)


@pytest.mark.parametrize(
    ("provider", "model"),
    [("anthropic", "claude-opus-5-5"), ("openai", "davinci-002"), ("together", "gpt-4o")],
)
def test_a_model_of_which_no_rule_is_stated_has_none(provider: str, model: str) -> None:
    assert find_prompt_cache(provider, model) is None
