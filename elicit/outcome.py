"""What a run found: every chain, and the labels that are given as the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elicit.abstain import abstain
from elicit.cache.errors import InputError
from elicit.cache.runs import Run
from elicit.constraints import Rules
from elicit.mixture import mixture
from elicit.objective import log_odds
from elicit.prompt import Writing
from elicit.providers.base import Usage
from elicit.repair import repair
from elicit.scorer import FloatArray, IntArray
from elicit.settings import RunSettings
from elicit.task import Task


@dataclass(frozen=True, slots=True)
class Chain:
    """What one seed found."""

    labels: IntArray
    """(n_items,), one index into the task's labels an item."""
    log_odds: FloatArray
    """(n_items,), in nats: the label against the best other, given the other items' labels;
    under `prequential`, given those before it in each order."""
    objective: float
    inconsistency: int
    """Inconsistencies left among the final labels."""
    log_probs: FloatArray | None = None
    """(n_items, n_labels), normalised: how the model predicts each item from the same labels,
    shifted to the prior if there is one. None in records written before they
    were kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The labels of a run: those of its best chain or of all of them together."""

    labels: IntArray
    """(n_items,), one index into the task's labels an item; `UNLABELLED` = abstained."""
    log_odds: FloatArray
    """(n_items,), in nats: the likeliest consistent label against the best other."""
    inconsistency: int
    log_probs: FloatArray | None = None
    """(n_items, n_labels), normalised."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All chains of a run, and its answer."""

    chains: tuple[Chain, ...]
    answer: Answer
    usage: Usage
    mean_coverage: float | None
    """Mean total probability of the labels in the scores of the final labellings, 0 to 1."""
    bounded_share: float | None = None
    """Share of those scores in which a label has an upper bound, not a number, 0 to 1."""
    writing: Writing | None = None
    """How its prompts were written. None in records written before it was kept."""
    limit: int | None = None
    """Demonstrations that a prompt showed at most; None for all."""

    @property
    def best(self) -> Chain:
        """The chain with the highest objective."""
        return max(self.chains, key=lambda chain: chain.objective)


def answer_of(chains: Sequence[Chain], settings: RunSettings, rules: Rules) -> Answer:
    """What the settings make of the chains: one of them or their mixture, less abstentions."""
    best, *others = sorted(chains, key=lambda chain: -chain.objective)
    labels, odds, log_probs = best.labels, best.log_odds, best.log_probs
    if settings.combine == "mixture" and others:
        ranked = [(c.log_probs, c.labels) for c in (best, *others) if c.log_probs is not None]
        log_probs = mixture([rows for rows, _ in ranked], [own for _, own in ranked])
        labels = repair(log_probs, rules)
        odds = log_odds(log_probs, labels)
    inconsistency = rules.count(labels)
    return Answer(abstain(odds, labels, settings.abstain), odds, inconsistency, log_probs)


def summary_of(outcome: Outcome, task: Task) -> Mapping[str, object]:
    """The result as it is kept with the run: JSON, by item id."""
    answer = outcome.answer
    return {
        "ids": [item.id for item in task.items],
        "texts": texts_of(task),
        "label_names": list(task.labels),
        "mean_coverage": outcome.mean_coverage,
        "bounded_share": outcome.bounded_share,
        "writing": outcome.writing,
        "limit": outcome.limit,
        "chains": [
            {**_arrays(chain), "objective": chain.objective} for chain in outcome.chains
        ],
        "answer": _arrays(answer),
    }


def texts_of(task: Task) -> list[str]:
    """16 hexadecimal digits an item, equal for items of the same text."""
    return [segment.digest.hex()[:16] for segment in task.render().questions]


def _arrays(found: Chain | Answer) -> dict[str, object]:
    return {
        "labels": found.labels.tolist(),
        "log_odds": found.log_odds.tolist(),
        "inconsistency": found.inconsistency,
        "log_probs": None if found.log_probs is None else found.log_probs.tolist(),
    }


def result_of(run: Run) -> Mapping[str, Any]:
    """What `summary_of` kept of a finished run.

    Raises:
        InputError: it is not finished.
    """
    if run.result is None:
        raise InputError(f"run {run.name!r} has no labels yet: elicit resume {run.name}")
    return run.result


def outcome_of(run: Run) -> Outcome:
    """The outcome of a finished run, read back from its record; see `result_of`."""
    result = result_of(run)
    chains = tuple(
        Chain(objective=float(chain["objective"]), **_read(chain)) for chain in result["chains"]
    )
    best = max(result["chains"], key=lambda chain: chain["objective"])
    return Outcome(
        chains,
        Answer(**_read(result.get("answer", best))),
        _usage(run.usage),
        result["mean_coverage"],
        result.get("bounded_share"),
        result.get("writing"),
        result.get("limit"),
    )


def _read(found: Mapping[str, Any]) -> dict[str, Any]:
    log_probs = found.get("log_probs")
    return {
        "labels": np.array(found["labels"], np.int64),
        "log_odds": np.array(found["log_odds"], float),
        "inconsistency": int(found["inconsistency"]),
        "log_probs": None if log_probs is None else np.array(log_probs, float),
    }


def _usage(totals: Mapping[str, float]) -> Usage:
    counts = {k: int(v) for k, v in totals.items() if k != "cost_usd"}
    return Usage(**counts, cost_usd=totals.get("cost_usd"))
