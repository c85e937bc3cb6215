"""What is measured for the findings: a function of a seed each, numbers out.

A seed draws the items, their order and the search. Labels come through the library's front
door wherever it has one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from findings_items import Items, draw, truths

import elicit
from elicit.association import balanced_accuracy
from elicit.constraints import UNLABELLED
from elicit.diagnose import Diagnosis, diagnose
from elicit.labelling import metered, open_store
from elicit.objective import Objective
from elicit.organism import model_path
from elicit.organism.vocabulary import MARKER
from elicit.predictability import Folds, Labelling
from elicit.providers.usage import Meter
from elicit.repair import repair
from elicit.run import finish
from elicit.scorer import Ask, FloatArray, IntArray, Scorer
from elicit.search.baselines import few_shot_ask, many_shot_asks, zero_shot
from elicit.search.icm import ICMSettings, icm
from elicit.search.problem import Problem
from elicit.search.state import State
from elicit.settings import RunSettings

ITEMS = 64
SHOTS = 32
INITIAL = 8
CHAINS = 6
DIAGNOSED_EACH = 2
"""Subsets of each kind that a seed diagnoses: with ten seeds, 40 in all."""
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
"""Makes a chat of the embedded model, which was not trained for chats: the messages, joined."""

Values = dict[str, Any]
"""Numbers by name, and traces."""


@dataclass(frozen=True)
class Lab:
    """The embedded model, and where it writes what it needs."""

    folder: Path
    threads: int

    @property
    def model(self) -> str:
        return f"llama-cpp:{model_path()}?threads={self.threads}"

    @cached_property
    def chat(self) -> str:
        """The same model behind a chat template."""
        path = self.folder / "chat.gguf"
        command = [sys.executable, "-m", "gguf.scripts.gguf_new_metadata", "--force"]
        command += ["--chat-template", TEMPLATE, str(model_path()), str(path)]
        subprocess.run(command, check=True, capture_output=True)
        return f"llama-cpp:{path}?threads={self.threads}&chat=on"

    def label(self, items: Items, seed: int, method: str, **options: Any) -> elicit.Result:
        return elicit.label(
            items.task, self.model, seed=seed, cache=False, method=method, **options
        )

    def accuracy(self, items: Items, seed: int, method: str, **options: Any) -> float:
        return items.accuracy(self.label(items, seed, method, **options).labels)

    @contextmanager
    def scorer(self, items: Items, *, chat: bool = False) -> Iterator[tuple[Scorer, Meter]]:
        """With the meter of what it spends. Nothing is kept."""
        rendered = items.task.render("block" if chat else "text")
        model = self.chat if chat else self.model
        with open_store(False) as store, metered(model, store) as meter:
            yield Scorer(rendered, meter), meter

    def diagnosed(self, items: Items, seed: int) -> Diagnosis:
        settings = RunSettings(method="bootstrap", seed=seed)
        return diagnose(items.task, self.model, settings=settings, cache=False)


@contextmanager
def lab(threads: int) -> Iterator[Lab]:
    with TemporaryDirectory(prefix="elicit-findings-") as folder:
        yield Lab(Path(folder), threads)


Measure = Callable[[Lab, int], Values]


def labels_of(name: str) -> Measure:
    """Accuracy of each way to label a task, and what becomes of ICM without its constraints."""

    def measure(lab: Lab, seed: int) -> Values:
        items = draw(name, ITEMS, seed)
        free = items.without_constraints()
        found = {"icm": lab.accuracy(items, seed, "icm")}
        found["bootstrap"] = lab.accuracy(items, seed, "bootstrap")
        if items.task.constraints:
            for method in ("icm", "bootstrap"):
                labels = lab.label(free, seed, method).labels
                found[f"{method} without constraints"] = items.accuracy(labels)
                found[f"{method} without constraints, share of one label"] = _largest(labels)
        with lab.scorer(items, chat=True) as (scorer, _):
            found["zero-shot chat"] = items.accuracy(zero_shot(scorer).argmax(axis=1))
        with lab.scorer(items) as (scorer, _):
            found["zero-shot"] = items.accuracy(zero_shot(scorer).argmax(axis=1))
            found |= _shown(items, scorer, seed)
        return found

    return measure


def _shown(items: Items, scorer: Scorer, seed: int) -> Values:
    """Accuracy after demonstrations with random, golden and human labels."""
    rng = np.random.default_rng([seed, 1])
    everything = np.arange(scorer.n_items)
    random = rng.integers(scorer.n_labels, size=scorer.n_items)
    ask = few_shot_ask(everything, random, SHOTS, rng)
    labels = scorer.log_probs([ask])[0].argmax(axis=1)
    found = {"random few-shot": float((labels == items.gold[ask.items]).mean())}
    outside: dict[str, IntArray] = {"golden": items.gold}
    if items.human is not None:
        outside["human"] = items.human
        found["human labels"] = items.accuracy(items.human)
    for name, given in outside.items():
        scores = _many_shot(scorer, given, np.random.default_rng([seed, 2]))
        found[f"{name} many-shot"] = items.accuracy(scores.argmax(axis=1))
        if items.task.constraints:
            consistent = repair(scores, items.task.rules())
            found[f"{name} many-shot, made consistent"] = items.accuracy(consistent)
    return found


def _many_shot(scorer: Scorer, labels: IntArray, rng: np.random.Generator) -> FloatArray:
    """Log-probabilities of each item after the half that it is not in, (n_items, n_labels)."""
    asks: tuple[Ask, Ask] = many_shot_asks(labels, rng)
    scores = np.empty((scorer.n_items, scorer.n_labels))
    for ask, rows in zip(asks, scorer.log_probs(asks), strict=True):
        scores[ask.items] = rows
    return scores


def starts(lab: Lab, seed: int) -> Values:
    """Accuracy of ICM from the same few items, labelled at random or as badly as can be.

    The first labels are taken as they are: Algorithm 1 would repair them first.
    """
    items = draw("claims", ITEMS, seed)
    rng = np.random.default_rng([seed, 3])
    chosen = rng.permutation(items.gold.size)[:INITIAL]
    initial = {
        "random": rng.integers(2, size=INITIAL),
        "all wrong": 1 - items.gold[chosen],
        "all False": np.zeros(INITIAL, np.int64),
        "all True": np.ones(INITIAL, np.int64),
    }
    found = {}
    with lab.scorer(items) as (scorer, _):
        problem = Problem.of(scorer, Objective(items.task.rules(), Folds()))
        for name, given in initial.items():
            pairs = dict(zip(chosen.tolist(), given.tolist(), strict=True))
            first = Labelling.empty(scorer.n_items).updated(pairs)
            found[name] = items.accuracy(_icm_from(problem, first, seed))
    return found


def _icm_from(problem: Problem, first: Labelling, seed: int) -> IntArray:
    """The labels that ICM ends with, from these."""
    settings = ICMSettings()
    rng = np.random.Generator(np.random.PCG64(seed))
    value = problem.value(first)
    state = State.of(first, value, temperature=settings.initial_temperature, rng=rng)
    *_, last = icm(problem, settings, rng, state)
    return finish(problem, last).labels


def nothing(lab: Lab, seed: int) -> Values:
    """The marker on statements of which nothing is known: is it found, is it warned of?"""
    items = draw("marker", ITEMS, seed)
    return {
        "icm": lab.accuracy(items, seed, "icm"),
        "bootstrap": lab.accuracy(items, seed, "bootstrap"),
    }


def diagnoses(lab: Lab, seed: int) -> Values:
    """How many diagnoses are right: a warning where nothing is known, none elsewhere."""
    found = {"right": 0.0, "runs": 0.0, "warned in vain": 0.0, "not warned": 0.0}
    salient = ("claims", "sizes", "facts")
    for number in range(DIAGNOSED_EACH * seed, DIAGNOSED_EACH * (seed + 1)):
        for name, known in (("marker", False), (salient[number % 3], True)):
            told = lab.diagnosed(draw(name, ITEMS, 1_000 + number), number)
            warned = told.verdict != "salient"
            found["runs"] += 1
            found["right"] += warned != known
            found["warned in vain"] += warned and known
            found["not warned"] += not warned and not known
    return found


def another(lab: Lab, seed: int) -> Values:
    """The marker on statements whose truth is known: what is found, and is it shown?"""
    items = draw("marked", ITEMS, seed)
    truth = truths(items.task)
    found: Values = {}
    for method in ("icm", "bootstrap"):
        labels = lab.label(items, seed, method).labels
        found[f"{method}, the marker"] = items.accuracy(labels)
        found[f"{method}, the truth"] = float((labels == truth).mean())
    told = lab.diagnosed(items, seed)
    surest = [(item.id, label) for label, shown in enumerate(told.surest) for item in shown]
    number = {item.id: i for i, item in enumerate(items.task.items)}
    agree = [truth[number[i]] == label for i, label in surest]
    # Which way round the names are is not for the surest items to say.
    found["surest items that show the truth"] = max(np.mean(agree), 1 - np.mean(agree))
    found["warned"] = float(told.verdict != "salient")
    return found


def spurious(lab: Lab, seed: int) -> Values:
    """Truth with the marker on 90 % of the true statements and on 10 % of the false ones."""
    items = draw("spurious", ITEMS, seed)
    marked = np.array([MARKER in str(i.fields["claim"]).split() for i in items.task.items])
    found: Values = {"the marker as labels": items.accuracy(marked.astype(np.int64))}
    against = marked != (items.gold == 1)
    for method in ("icm", "bootstrap"):
        labels = lab.label(items, seed, method).labels
        found[method] = items.accuracy(labels)
        found[f"{method}, where the marker misleads"] = float(
            (labels == items.gold)[against].mean()
        )
    return found | _warnings(lab.diagnosed(items, seed))


def rare(lab: Lab, seed: int) -> Values:
    """One statement in ten is true."""
    items = draw("rare", ITEMS, seed)
    share = float((items.gold == 1).mean())
    found: Values = {"majority": 1 - share, "true": share}
    prior = "False=0.9,True=0.1"
    for method in ("icm", "bootstrap"):
        for name, options in ((method, {}), (f"{method}, prior", {"prior": prior})):
            labels = lab.label(items, seed, method, **options).labels
            found[name] = items.accuracy(labels)
            found[f"{name}, balanced"] = balanced_accuracy(labels, items.gold)
    return found | _warnings(lab.diagnosed(items, seed))


def mixed(lab: Lab, seed: int) -> Values:
    """Half of the gold labels are the truth of known creatures, half the marker on unknown."""
    items = draw("mixed", ITEMS, seed)
    known = truths(items.task) != UNLABELLED
    found: Values = {}
    for method in ("icm", "bootstrap"):
        right = lab.label(items, seed, method).labels == items.gold
        found[method] = float(right.mean())
        found[f"{method}, known creatures"] = float(right[known].mean())
        found[f"{method}, unknown creatures"] = float(right[~known].mean())
    return found | _warnings(lab.diagnosed(items, seed))


def chains(lab: Lab, seed: int) -> Values:
    """Accuracy of the best of the first k chains, by their objectives, and their tokens."""
    items = draw("claims", ITEMS // 2, seed)
    found: Values = {}
    for method, options in (("icm", {}), ("bootstrap", {"start": "random"})):
        result = lab.label(items, seed, method, chains=CHAINS, **options)
        done = result.outcome.chains
        for k in range(1, CHAINS + 1):
            best = max(done[:k], key=lambda chain: chain.objective)
            found[f"{method} {k}"] = items.accuracy(best.labels)
        found[f"{method} tokens"] = result.usage.forwarded_tokens
    return found


def _warnings(told: Diagnosis) -> Values:
    """What a diagnosis says, as 0 and 1: `warned`, and each of its findings by its code."""
    codes = {f"says {finding.code}": 1.0 for finding in told.findings}
    return {"warned": float(bool(told.warnings)), **codes}


def _largest(labels: IntArray) -> float:
    return float(np.bincount(labels).max() / labels.size)
