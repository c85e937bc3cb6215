"""The algorithm as its authors' code runs it, beside ours, on the same model and items.

    taskset -c 1 python benchmarks/authors.py --task claims --items 64 --seeds 3
    python benchmarks/authors.py --results authors.jsonl --table     # of what was run before

Written anew from the paper (arXiv 2506.10139, Algorithms 1 and 2) and from what the code does
where the two differ (github.com/Jiaxin-Wen/Unsupervised-Elicitation, src/experiments/ICM.py
and ICM_tools.py, as copies of it from 2025 have them):

- The first 8 items in the order of the data, so two whole groups, get 4 True and 4 False.
- U = α · mean log-odds − number of contradictions. Log-odds are of True against False, each
  probability raised by 1e-5. α is 50, the paper's; the code's own default is 30.
- A prompt shows all other labelled items in the order of the data.
- An item is drawn from all, with weight 100 where it is unlabelled beside a labelled one.
  Only where the predicted label is not the item's own is anything valued.
- A proposal is always repaired: up to 10 passes, each of which goes through the
  contradictions in random order, values the ways out of one, and takes the best of the first
  whose value is no worse than the best so far. The very first is taken however bad it is.
- A value asks for all n labelled items. T = max(0.01, 10 / (1 + 2 ln(1 + accepted))).

Deviations, each for a reason:

- What contradicts is what the task's constraints say: the code makes its keys of gold labels.
  The ways out of a contradiction are those that change the fewest labels, which gives the
  code's own two for each kind of pair, and four for a group in which no claim is true.
- Equal prompts are forwarded once. `asked` counts every prompt of a value, as the code asks.
- The code also asks the model about each contradiction and overwrites the answer: left out,
  and not counted.
- Probabilities are exact ones of the labels. The code's are sums over the 20 likeliest tokens,
  and an exception scores 0.
- Labels are kept. The code writes only their accuracy.
- 3,000 iterations on 256 items are about 12 an item: so many are run unless told.

Forwarded prompts share their beginnings here, and flash attention is off for all methods: on a
CPU it is slow in small batches, which leave-one-out is made of. "Seconds, prompts whole" are
measured on a sample of the prompts, each decoded alone from an empty memory, and scaled by the
number forwarded. Seconds are of one core.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import llama_cpp
import numpy as np
from findings_items import Items, draw
from findings_results import Results, spread

import elicit
from elicit.constraints import UNLABELLED, Rules
from elicit.organism import model_path
from elicit.pieces import Pieces, pieces_by_tokeniser
from elicit.prompt import RenderedTask
from elicit.providers.registry import open_model
from elicit.providers.usage import Meter
from elicit.scorer import Ask, FloatArray, IntArray, Scorer
from elicit.search.schedule import accepts

ITERATIONS_AN_ITEM = 3_000 / 256
SAMPLE = 24
"""Prompts of a search that are also decoded whole."""


@dataclass(frozen=True)
class Constants:
    """Those of the code, see above."""

    iterations: int
    alpha: float = 50.0
    labelled: int = 8
    initial_temperature: float = 10.0
    final_temperature: float = 0.01
    cooling: float = 2.0
    priority: float = 100.0
    repairs: int = 10
    floor: float = 1e-5
    """Added to each probability."""


@dataclass(frozen=True)
class Found:
    """One search of one method on the items of one seed."""

    method: str
    seed: int
    accuracy: float
    unlabelled: int
    asked: int
    """Prompts that the search asks for, equal ones each time."""
    forwards: int
    prompt_tokens: int
    """Of the forwarded prompts, each alone."""
    forwarded_tokens: int
    seconds: float
    """Of one core."""
    whole_seconds: float | None = None
    asked_tokens: int | None = None


@dataclass
class Model:
    """Answers with log-odds, and counts what it is asked."""

    scorer: Scorer
    pieces: Pieces
    floor: float
    rng: np.random.Generator
    asked: int = 0
    tokens: float = 0.0
    sample: list[tuple[IntArray, int]] = field(default_factory=list)
    """Labels and item of some prompts, each asked one as likely as another."""

    def log_odds(self, labels: IntArray, items: IntArray) -> FloatArray:
        """Of True against False, in nats, (len(items),), each item given all others."""
        asks = []
        for item in items.tolist():
            shown = np.flatnonzero(labels != UNLABELLED)
            shown = shown[shown != item]
            asks.append(Ask(shown, labels[shown], np.array([item])))
            self._count(shown, labels, item)
        probs = np.exp(np.concatenate(self.scorer.log_probs(asks))) + self.floor
        odds: FloatArray = np.log(probs[:, 1]) - np.log(probs[:, 0])
        return odds

    def _count(self, shown: IntArray, labels: IntArray, item: int) -> None:
        self.asked += 1
        demonstrations = self.pieces.shown_tokens[shown, labels[shown]].sum()
        own = self.pieces.question_tokens[item]
        self.tokens += float(self.pieces.opening + demonstrations + own)
        place = int(self.rng.integers(self.asked))
        if len(self.sample) < SAMPLE:
            self.sample.append((labels.copy(), item))
        elif place < SAMPLE:
            self.sample[place] = (labels.copy(), item)


@dataclass(frozen=True)
class Search:
    """Algorithm 1. Labels are (n_items,) arrays, never changed in place."""

    model: Model
    rules: Rules
    constants: Constants
    rng: np.random.Generator

    def run(self) -> IntArray:
        """The labels at the end; `UNLABELLED` where an item was never drawn."""
        c, rng = self.constants, self.rng
        count = min(c.labelled, self.rules.n_items)
        labels = np.full(self.rules.n_items, UNLABELLED, np.int64)
        labels[:count] = rng.permutation(np.arange(count) % 2)
        labels, value = self._repaired(labels, self._value(labels))
        accepted = 0
        for _ in range(c.iterations):
            item = self._draw(labels)
            label = int(self.model.log_odds(labels, np.array([item]))[0] > 0)
            if label == labels[item]:
                continue
            proposal = labels.copy()
            proposal[item] = label
            proposal, _ = self._repaired(proposal, -math.inf)
            proposed = self._value(proposal)
            heat = c.initial_temperature / (1 + c.cooling * math.log(1 + accepted))
            heat = max(c.final_temperature, heat)
            if accepts(proposed - value, heat, rng.random()):
                labels, value, accepted = proposal, proposed, accepted + 1
        return labels

    def _draw(self, labels: IntArray) -> int:
        known = labels != UNLABELLED
        weights = np.ones(labels.size)
        weights[self.rules.related_to(known) & ~known] = self.constants.priority
        return int(self.rng.choice(labels.size, p=weights / weights.sum()))

    def _value(self, labels: IntArray) -> float:
        items = np.flatnonzero(labels != UNLABELLED)
        odds = self.model.log_odds(labels, items)
        own = np.where(labels[items] == 1, odds, -odds)
        return self.constants.alpha * float(own.mean()) - self.rules.count(labels)

    def _repaired(self, labels: IntArray, value: float) -> tuple[IntArray, float]:
        """Algorithm 2, from a value that the first repair must reach."""
        for _ in range(self.constants.repairs):
            if not self.rules.count(labels):
                break
            labels, value = self._pass(labels, value)
        return labels, value

    def _pass(self, labels: IntArray, value: float) -> tuple[IntArray, float]:
        found = self.rules.violations(labels)
        for number in self.rng.permutation(len(found)).tolist():
            tried = self._ways_out(labels, found[number])
            values = [self._value(each) for each in tried]
            best = int(np.argmax(values))
            if values[best] >= value:
                return tried[best], values[best]
        return labels, value

    def _ways_out(self, labels: IntArray, items: tuple[int, ...]) -> list[IntArray]:
        now = labels[list(items)]
        ways = np.array(self.rules.consistent_assignments(items, labels))
        changes = (ways != now).sum(axis=1)
        found = []
        for way in ways[changes == changes.min()]:
            changed = labels.copy()
            changed[list(items)] = way
            found.append(changed)
        return found


def _authors(constants: Constants, model_name: str, items: Items, seed: int) -> Found:
    """One search. The sample is decoded after the clock has stopped."""
    rendered = items.task.render()
    with closing(open_model(model_name)) as provider:
        pieces = pieces_by_tokeniser(rendered, provider)
        if pieces is None:
            raise AssertionError("a local model counts tokens")
        meter = Meter(provider)
        rng = np.random.default_rng([seed, 23])
        model = Model(Scorer(rendered, meter), pieces, constants.floor, rng)
        start = time.process_time()
        labels = Search(model, items.task.rules(), constants, np.random.default_rng(seed)).run()
        seconds = time.process_time() - start
    return Found(
        method="authors",
        seed=seed,
        accuracy=items.accuracy(labels),
        unlabelled=int((labels == UNLABELLED).sum()),
        asked=model.asked,
        forwards=meter.usage.requests,
        prompt_tokens=meter.usage.prompt_tokens,
        forwarded_tokens=meter.usage.forwarded_tokens,
        seconds=seconds,
        whole_seconds=whole_seconds(rendered, model.sample) * meter.usage.requests,
        asked_tokens=round(model.tokens),
    )


def whole_seconds(rendered: RenderedTask, sample: Sequence[tuple[IntArray, int]]) -> float:
    """Mean seconds of one core that one of these prompts takes, decoded alone."""
    prompts = []
    for labels, item in sample:
        shown = np.flatnonzero(labels != UNLABELLED)
        shown = shown[shown != item]
        segments = (*rendered.context(shown, labels[shown]), rendered.questions[item])
        prompts.append("".join(segment.text for segment in segments).encode())
    llm = llama_cpp.Llama(
        str(model_path()), n_ctx=0, n_batch=512, n_threads=1, n_threads_batch=1, verbose=False
    )
    with closing(llm):
        start = time.process_time()
        for prompt in prompts:
            llm.reset()
            llm.eval(llm.tokenize(prompt))
        return (time.process_time() - start) / len(prompts)


def _ours(
    method: str, model_name: str, options: dict[str, Any], items: Items, seed: int
) -> Found:
    """One search through the library's front door, with nothing kept."""
    start = time.process_time()
    result = elicit.label(items.task, model_name, seed=seed, cache=False, **options)
    seconds = time.process_time() - start
    used = result.usage
    return Found(
        method=method,
        seed=seed,
        accuracy=items.accuracy(result.labels),
        unlabelled=0,
        asked=used.requests + used.cached,
        forwards=used.requests,
        prompt_tokens=used.prompt_tokens,
        forwarded_tokens=used.forwarded_tokens,
        seconds=seconds,
    )


OURS: dict[str, dict[str, Any]] = {
    "icm by loo": {"method": "icm", "predictability": "loo"},
    "icm by folds": {"method": "icm", "predictability": "folds"},
    "bootstrap": {"method": "bootstrap"},
}


def runs(a: argparse.Namespace) -> dict[str, Callable[[Items, int], Found]]:
    """Each method as a function of items and seed."""
    model = f"llama-cpp:{model_path()}?threads=1&flash_attention=false&chunk=32"
    constants = Constants(a.iterations or round(ITERATIONS_AN_ITEM * a.items), a.alpha)
    found: dict[str, Callable[[Items, int], Found]] = {
        "authors": partial(_authors, constants, model)
    }
    for name, options in OURS.items():
        more = {"iterations": a.iterations} if a.iterations and name != "bootstrap" else {}
        found[name] = partial(_ours, name, model, {**options, **more})
    return found


COUNTS = ("unlabelled", "asked", "forwards", "prompt_tokens", "forwarded_tokens")


def table(found: Sequence[Found]) -> str:
    """Means over the seeds but for the accuracies; an unlabelled item is not right."""
    columns = ["method", "accuracy of each seed, %", "mean (95 % interval)", "unlabelled"]
    columns += ["asked", "forwards", "prompt tokens", "forwarded tokens", "seconds"]
    columns.append("seconds, prompts whole")
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    for method in dict.fromkeys(f.method for f in found):
        same = [f for f in found if f.method == method]
        whole = [f.whole_seconds for f in same if f.whole_seconds is not None]
        cells = [
            method,
            ", ".join(f"{100 * f.accuracy:.1f}" for f in same),
            spread([f.accuracy for f in same]),
            *(f"{np.mean([getattr(f, name) for f in same]):,.0f}" for name in COUNTS),
            f"{np.mean([f.seconds for f in same]):,.1f}",
            f"{np.mean(whole):,.0f}" if whole else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--task", default="claims", choices=["claims", "sizes", "facts"])
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument(
        "--iterations", type=int, default=0, help="0: theirs 12, ours 4 an item"
    )
    parser.add_argument("--alpha", type=float, default=50.0, help="theirs; ours stays at 50")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--method", action="append", help="only this one; more than once for more"
    )
    parser.add_argument(
        "--results", help="JSON Lines to add to; what is there is not run again"
    )
    parser.add_argument(
        "--table", action="store_true", help="print what --results has, run none"
    )
    a = parser.parse_args()
    settings = f"{a.task} {a.items} {a.iterations} {a.alpha:g}"
    results = Results(a.results)
    methods = {k: run for k, run in runs(a).items() if not a.method or k in a.method}
    # Seed by seed, so that what there is at any time compares all methods on the same items.
    for seed in range(0 if a.table else a.seeds):
        for name, run in methods.items():
            if results.get(f"{name}: {settings}", seed) is None:
                found = run(draw(a.task, a.items, seed), seed)
                results.add(f"{name}: {settings}", seed, asdict(found))
    known = [
        Found(**values)
        for name in methods
        for _, values in sorted(results.all(f"{name}: {settings}").items())
    ]
    print(table(known))


if __name__ == "__main__":
    main()
