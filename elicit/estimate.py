"""What a run will take, before any of it is paid for.

The true search is rehearsed against made-up models (`stand_in`), and what a real model
would have been sent is counted (`tally`). How much a search asks depends on what it is told:
an annealing run that settles on one labelling early costs a fraction of one that wavers. So
several made-up models of different minds are tried, and the answer is a range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain

import numpy as np

from elicit.cache.errors import InputError
from elicit.cache.store import ScoreStore
from elicit.known import Known
from elicit.pieces import Pieces, pieces_by_ratio, pieces_by_tokeniser
from elicit.prompt import RenderedTask
from elicit.providers.base import Evidence, Provider, Usage
from elicit.providers.billing import FIRST_GUESS
from elicit.providers.prices import find_price
from elicit.providers.prompt_cache import find_prompt_cache
from elicit.run import chain_of, pool_of
from elicit.search.methods import MethodSettings, search
from elicit.settings import RunSettings
from elicit.stand_in import StandIn, Temper
from elicit.tally import Bill, Hosted, Local, Tally, Terms
from elicit.task import Task

_ANSWER_TOKENS: Mapping[Evidence, float] = {
    "decision": 0.0,
    "top_k": 1.0,
    "exact": 1.0,
    "sampled": 8.0,
}
"""Tokens of an answer: a draw is a small JSON object with a label in it."""
TEMPERS = (
    Temper(),
    Temper(knows=4.0, spread=1.0, mistaken=0.0),
    Temper(knows=0.5, spread=1.0, noise=2.0),
    Temper(knows=0.0, spread=1.0),
    Temper(strength=0.5, knows=0.0, spread=1.0, noise=0.5),
)
"""Minds of the made-up models: the usual one first; sure of itself; erratic; a follower of
its demonstrations wherever they lead; without a clue."""
SEEDS = 3
"""Rehearsals with each of them."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a model answers; None where unknown."""

    seconds_per_call: float | None = None
    calls_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Limits of a hosted model's rate."""
    tokens_per_second: float | None = None
    """Tokens a local model forwards."""

    def seconds(self, bill: Bill, terms: Terms) -> float | None:
        """Time a run takes; None where the speed is unknown."""
        usage = bill.usage
        if isinstance(terms, Local):
            speed = self.tokens_per_second
            return usage.forwarded_tokens / speed if speed else None
        if self.seconds_per_call is None:
            return None
        times = [bill.waves * self.seconds_per_call]
        if self.calls_per_minute:
            times.append(60 * usage.calls / self.calls_per_minute)
        if self.tokens_per_minute:
            times.append(60 * usage.spent_tokens / self.tokens_per_minute)
        return max(times)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a model before it is asked. `provider` is never asked for a score."""

    provider: Provider
    terms: Terms
    tokens_per_character: float = FIRST_GUESS
    """Of a model whose tokeniser is not at hand."""
    speed: Speed = field(default_factory=Speed)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one rehearsal took."""

    usage: Usage
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """The range of the rehearsals: the cheapest of all, the middle one of those with the
    usual made-up model, the dearest of all."""

    low: Cost
    mid: Cost
    high: Cost
    rehearsals: int
    assumptions: tuple[str, ...]
    """What it rests on, for the user to judge."""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def facts_of(
    provider: Provider,
    *,
    batch: bool = False,
    concurrency: int = 64,
    tokens_per_character: float = FIRST_GUESS,
    speed: Speed | None = None,
) -> Facts:
    """Facts of an opened model: local ones by their settings, hosted ones by the tables of
    prices and prompt caches."""
    identity, can = provider.identity, provider.capabilities
    chunk = identity.parameters.get("chunk")
    terms: Terms
    if isinstance(chunk, int) and not identity.endpoint:
        terms = Local(chunk)
    else:
        decides = can.evidence == "decision"
        # The decisions endpoint has a price of its own, with none for what it reads again.
        priced = "openai-decisions" if decides else identity.provider
        cache = None if decides else find_prompt_cache(identity.provider, identity.model)
        terms = Hosted(
            items_per_call=can.items_per_call,
            draws=max(1, can.samples),
            answer_tokens=_ANSWER_TOKENS[can.evidence],
            concurrency=concurrency,
            cache=cache,
            price=find_price(priced, identity.model),
            batch=batch,
        )
    return Facts(provider, terms, tokens_per_character, speed or Speed())


def estimate(
    task: Task,
    settings: RunSettings,
    facts: Facts,
    method: MethodSettings | None = None,
    tempers: Sequence[Temper] = TEMPERS,
    seeds: int = SEEDS,
    store: ScoreStore | None = None,
) -> Estimate:
    """Rehearse a run and count; equal arguments and an equal store give equal answers.

    `method` stands in for the search's settings. The first of `tempers` is the usual one.
    Scores that `store` holds of this task and model are given as they are, are not counted,
    and the made-up models are like them.

    Raises:
        InputError: a setting does not fit the model, or the constraints contradict each
            other.
    """
    if seeds < 1 or not tempers:
        raise InputError("setting seeds: at least one rehearsal is needed")
    rendered = task.render(settings.writing_for(facts.provider.capabilities.form))
    pieces = _pieces(rendered, facts)
    chosen = method or settings.search
    known = None if store is None else Known(rendered, facts.provider, store)
    bills = [
        [
            _rehearsed(task, rendered, pieces, settings, chosen, facts, temper, seed, known)
            for seed in range(seeds)
        ]
        for temper in tempers
    ]
    usual, every = sorted(bills[0], key=_size), sorted(chain.from_iterable(bills), key=_size)
    low, mid, high = (
        Cost(bill.usage, facts.speed.seconds(bill, facts.terms))
        for bill in (every[0], usual[len(usual) // 2], every[-1])
    )
    found = 0 if known is None else len(known.found)
    return Estimate(low, mid, high, len(every), _assumptions(facts, found))


def _size(bill: Bill) -> tuple[int, int]:
    return bill.usage.spent_tokens, bill.usage.calls


def _pieces(rendered: RenderedTask, facts: Facts) -> Pieces:
    exact = None
    if isinstance(facts.terms, Local):
        exact = pieces_by_tokeniser(rendered, facts.provider)
    return exact or pieces_by_ratio(rendered, facts.tokens_per_character)


def _rehearsed(
    task: Task,
    rendered: RenderedTask,
    pieces: Pieces,
    settings: RunSettings,
    method: MethodSettings,
    facts: Facts,
    temper: Temper,
    seed: int,
    known: Known | None,
) -> Bill:
    """All chains of a run, with the draws that the run itself will make."""
    rules, tally = task.rules(), Tally(facts.terms)
    scorer = StandIn(rendered, facts.provider, rules, pieces, tally, temper, seed, known)
    pool = pool_of(settings, rules)
    for number in range(settings.chains):
        problem, rng = chain_of(settings, number, scorer, rules, pool)
        (final,) = deque(search(problem, method, rng), maxlen=1)
        # The run ends by scoring every item given the final labels.
        problem.predict(final.labelling, np.arange(scorer.n_items))
    return tally.bill


def _assumptions(facts: Facts, found: int) -> tuple[str, ...]:
    terms = facts.terms
    store = "no score is in the store yet"
    if found:
        store = f"{found:,} scores of this task are in the store, and the others are like them"
    if isinstance(terms, Local):
        return (
            "shared demonstrations are decoded once, as this project's local models do",
            store,
        )
    said = [
        f"{facts.tokens_per_character:.3f} tokens a character",
        f"no call fails, and {store}",
    ]
    if terms.price is None:
        said.append("the price of this model is unknown (see ELICIT_PRICES): no cost is told")
    else:
        said.append(f"price of {terms.price.as_of}: {terms.price.source}")
    if terms.batch:
        said.append("a batch reads nothing from a prompt cache")
    elif terms.cache is None:
        said.append("no rule of a prompt cache is known for this model: every token is fresh")
    else:
        said.append(
            f"beginnings of {terms.cache.minimum_tokens:,} tokens or more are read from the "
            f"prompt cache, and none expires there ({terms.cache.lasts_seconds // 60} minutes "
            "are promised); the first call after some demonstrations writes what the others "
            "read"
        )
    return tuple(said)
