"""What a search costs at hosted models, beside what the authors' algorithm would send.

    python benchmarks/hosted.py

The embedded model answers, so that labels and the path of each search are real; tokens are
guessed from characters (0.3 each), prompt caches follow the vendors' stated rules, and prices
are those of `providers/prices.toml`. Nothing is sent.

Leave-one-out takes hours here. So `loo` and the authors' algorithm are counted on the path of
the search by `folds`: the same labellings, valued their way. `benchmarks/authors.py` runs them,
on fewer items, for their own accuracy.

"Times fewer" has three numbers, for three counts of what the authors' algorithm sends on that
path: values of changed labellings only; of every iteration's, as in their 770,000 prompts for
3,000 iterations; of changed ones and of those that the repair tries, as ours are counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial

import numpy as np
from hosted_search import Search, Sent, Way, claims_task, searched

from elicit.predictability import Folds, LeaveOneOut, Predictability
from elicit.providers.prices import Price, find_price
from elicit.providers.prompt_cache import find_prompt_cache
from elicit.search.bootstrap import BootstrapSettings
from elicit.search.icm import ICMSettings
from elicit.tally import Hosted

DRAWS = 8
DRAWN_TOKENS = 8.0
"""Of an answer such as {"label": "False"}."""
MOST_QUESTIONS = 400
SIDE_BY_SIDE = 64


def known_price(provider: str, model: str) -> Price:
    price = find_price(provider, model)
    if price is None:
        raise AssertionError(f"prices.toml has {provider}, {model}")
    return price


# One at once: the client sends the first prompt of a context alone, the others then read it.
DECISIONS = Way(
    "decisions, gpt-6-luna",
    Hosted(
        items_per_call=MOST_QUESTIONS,
        answer_tokens=0.0,
        concurrency=1,
        cache=find_prompt_cache("openai", "gpt-6-luna"),
        price=known_price("openai-decisions", "gpt-6-luna"),
    ),
    "block",
    label_tokens=True,
)
CHAT = Way(
    "chat, gpt-4.1-mini",
    Hosted(
        concurrency=1,
        cache=find_prompt_cache("openai", "gpt-4.1-mini"),
        price=known_price("openai", "gpt-4.1-mini"),
    ),
    "block",
)
COMPLETIONS = Way(
    "completions, davinci-002",
    Hosted(concurrency=1, price=known_price("openai", "davinci-002")),
    "text",
)
HAIKU = Way(
    f"{DRAWS} draws, claude-haiku-4-5",
    Hosted(
        draws=DRAWS,
        answer_tokens=DRAWN_TOKENS,
        concurrency=1,
        cache=find_prompt_cache("anthropic", "claude-haiku-4-5"),
        price=known_price("anthropic", "claude-haiku-4-5"),
    ),
    "block",
)
WAYS = (DECISIONS, CHAT, COMPLETIONS)
AUTHORS = COMPLETIONS
"""Their prompts are plain text."""

Job = Callable[[], Search]


def apart(way: Way) -> Way:
    """As `loo` is sent: each context has one prompt, and they go side by side."""
    return replace(way, terms=replace(way.terms, concurrency=SIDE_BY_SIDE))


def jobs(items: int, iterations: int, seed: int) -> list[Job]:
    """The searches of one seed."""
    task, gold = claims_task(items)
    folds, loo = Folds(2), LeaveOneOut()
    annealing = ICMSettings(iterations=iterations)
    by_folds: list[tuple[str, Way, Predictability]] = [
        (f"folds: {way.name}", way, folds) for way in WAYS
    ]
    on_path: list[tuple[str, Way, Predictability]] = [(f"loo: {CHAT.name}", apart(CHAT), loo)]
    drawn: list[tuple[str, Way, Predictability]] = [(f"folds: {HAIKU.name}", HAIKU, folds)]
    search = partial(searched, task=task, gold=gold, seed=seed, authors=AUTHORS)
    rounds = BootstrapSettings()
    return [
        partial(search, "icm", settings=annealing, ways=by_folds + on_path, measure=folds),
        partial(search, "icm", settings=annealing, ways=drawn, measure=folds, draws=DRAWS),
        partial(search, "bootstrap", settings=rounds, ways=by_folds, measure=folds),
        partial(search, "bootstrap", settings=rounds, ways=drawn, measure=folds, draws=DRAWS),
    ]


def run_job(items: int, iterations: int, seed: int, number: int) -> Search:
    """One search, made anew in the process that runs it."""
    return jobs(items, iterations, seed)[number]()


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The mean, with the least and the most."""
    mean, low, high = float(np.mean(values)), min(values), max(values)
    return f"{mean:{form}} ({low:{form}} to {high:{form}})"


def table(found: Sequence[Search]) -> str:
    annealed = [s for s in found if s.method == "icm" and not _drawn(s)]
    counts = {
        "changed": [s.changed_values for s in annealed],
        "every iteration": [s.all_values for s in annealed],
        "changed and tried": [s.repaired_values for s in annealed],
    }
    theirs = [_mean(sent) for sent in counts.values()]
    columns = ["search", "asked by", "accuracy, %", "requests", "prompt tokens", "from cache"]
    columns += ["USD", "requests, times fewer", "tokens, times fewer", "USD, times fewer"]
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    for method in dict.fromkeys(s.method for s in found):
        for drawn in (False, True):
            same = [s for s in found if s.method == method and _drawn(s) == drawn]
            names = same[0].bills if same else ()
            lines += [_row(method, name, same, theirs) for name in names]
    lines += [_authors_row(name, sent) for name, sent in counts.items()]
    return "\n".join(lines)


def _drawn(search: Search) -> bool:
    return any(HAIKU.name in name for name in search.bills)


def _mean(sent: Sequence[Sent]) -> tuple[float, float]:
    """Prompts and tokens."""
    return float(np.mean([s.prompts for s in sent])), float(np.mean([s.tokens for s in sent]))


def _row(
    method: str, name: str, same: Sequence[Search], theirs: Sequence[tuple[float, float]]
) -> str:
    usages = [s.bills[name].usage for s in same]
    by, _, way = name.partition(": ")
    accuracy = spread([100 * s.accuracy for s in same], ".1f")
    if by == "loo":
        accuracy = "path by folds"
    read = sum(u.cache_read_tokens for u in usages) / sum(u.prompt_tokens for u in usages)
    sent, billed, usd = (
        float(np.mean(values))
        for values in (
            [u.calls for u in usages],
            [u.spent_tokens for u in usages],
            [u.cost_usd or 0.0 for u in usages],
        )
    )
    full = next(w.terms.price.input for w in (*WAYS, HAIKU) if w.name == way and w.terms.price)
    cells = (
        f"{method} by {by}",
        way,
        accuracy,
        spread([u.calls for u in usages]),
        spread([u.prompt_tokens for u in usages]),
        f"{read:.0%}",
        f"{usd:.3f}",
        " / ".join(f"{prompts / sent:,.1f}" for prompts, _ in theirs),
        " / ".join(f"{tokens / billed:,.1f}" for _, tokens in theirs),
        " / ".join(f"{tokens * full / 1e6 / usd:,.1f}" for _, tokens in theirs),
    )
    return f"| {' | '.join(cells)} |"


def _authors_row(name: str, sent: Sequence[Sent]) -> str:
    _, tokens = _mean(sent)
    prices = [
        f"{tokens * way.terms.price.input / 1e6:,.2f} ({way.name.split(', ')[1]})"
        for way in (CHAT, COMPLETIONS, HAIKU)
        if way.terms.price
    ]
    asked, read = spread([s.prompts for s in sent]), spread([s.tokens for s in sent])
    return (
        f"| the authors', {name} | a prompt a call |  | {asked} | {read} | 0% "
        f"| {', '.join(prices)} | | | |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    run = partial(run_job, a.items, a.iterations)
    # The dearest first, so that no process is left with it at the end.
    kinds = reversed(range(len(jobs(a.items, a.iterations, 0))))
    work = [(seed, number) for number in kinds for seed in range(a.seeds)]
    with ProcessPoolExecutor(a.processes) as pool:
        found = list(pool.map(run, *zip(*work, strict=True)))
    found.reverse()
    print(json.dumps([asdict(s) for s in found], default=float) if a.json else table(found))


if __name__ == "__main__":
    main()
