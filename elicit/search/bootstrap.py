"""Bootstrapping: label everything, show the labels to the model, label everything again.

The cheap method. The items are first labelled by the model alone, or from a few random
labels; each round then relabels all of them with what the model predicts from the labels
so far, and repairs what contradicts. A round is one batch that shares its demonstrations,
where annealing asks about as much for every proposal. After Shrivastava et al., "Eliciting
base models with simple unsupervised techniques" (LessWrong, 2026), who find that this, with
consistency enforced, recovers 83 to 100 % of the gap between zero-shot and golden labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED, Rules
from elicit.objective import Labelling, Measure, Predictability, predictability_score
from elicit.repair import repair
from elicit.scorer import FloatArray, IntArray, Scorer
from elicit.search.baselines import zero_shot
from elicit.search.state import State, Step

Start = Literal["zero_shot", "random"]


@dataclass(frozen=True, slots=True)
class BootstrapSettings:
    """How the rounds begin and end."""

    rounds: int = 8
    """Rounds at most; they end earlier where nothing moves any more."""
    start: Start = "zero_shot"
    """First labels: those the model gives with no demonstrations, or random ones."""
    initial: int = 8
    """Items labelled at random under `start = "random"`, as demonstrations of round one."""
    calibrated: bool = True
    """Take each label's mean off the zero-shot scores before they become labels."""
    alpha: float = 50.0
    """α: weight of predictability against one inconsistent pair, in the objective told."""
    measure: Measure = "mean_log_prob"

    def __post_init__(self) -> None:
        for name, least in (("rounds", 0), ("initial", 1)):
            if getattr(self, name) < least:
                raise InputError(f"setting {name}: must be at least {least}")
        if not 0 < self.alpha < float("inf"):
            raise InputError(f"setting alpha: must be a positive number, not {self.alpha}")


def bootstrap(
    scorer: Scorer,
    rules: Rules,
    predict: Predictability,
    settings: BootstrapSettings,
    rng: np.random.Generator,
    state: State | None = None,
) -> Iterator[State]:
    """Yield the state after the first labels and after each round.

    Given a state it has yielded before, it goes on as if it had never stopped.

    Raises:
        ElicitError: a score could not be had. The last state yielded is still good.
        TaskError: no labelling satisfies the rules.
    """
    rounds = _Rounds(scorer, rules, predict, settings)
    if state is None:
        state = rounds.first(rng)
        yield state
    while state.iteration < settings.rounds and not _settled(state.past):
        state = rounds.after(state)
        yield state


def calibrated(log_probs: FloatArray) -> FloatArray:
    """Scores less the mean of their label over all items, (n_items, n_labels).

    A model prefers some labels whatever it is asked, and without demonstrations often so
    much that all items get the same one. That preference is in every row, so the mean over
    the items measures it, and what is left of a score is about its item. Batch calibration
    (Zhou et al., arXiv 2309.17249); contextual calibration (Zhao et al., ICML 2021) asks an
    item without content for the same. It supposes labels that are about equally common:
    where they are not, some of the rarer one's gain is undeserved, and the constraints or
    the later rounds, which are not calibrated, must take it back.
    """
    scores: FloatArray = log_probs - log_probs.mean(axis=0)
    return scores


def _settled(past: tuple[tuple[str, float], ...]) -> bool:
    """Whether the labelling was there before and is the best of those that have come since.

    A round is a function of the labelling alone, so a labelling that returns does so for
    ever. Going once more round the cycle to its best member asks for nothing new.
    """
    digest, objective = past[-1]
    before = [i for i, (other, _) in enumerate(past[:-1]) if other == digest]
    return bool(before) and objective >= max(value for _, value in past[before[-1] :])


@dataclass(frozen=True, slots=True)
class _Rounds:
    scorer: Scorer
    rules: Rules
    predict: Predictability
    settings: BootstrapSettings

    def first(self, rng: np.random.Generator) -> State:
        """Label all items from zero-shot scores, or a few at random without contradiction."""
        # The order decides the folds; in the data's own, neighbours may be of one kind.
        order = rng.permutation(self.scorer.n_items)
        if self.settings.start == "random":
            # Part of a consistent labelling of everything is consistent.
            scores = rng.random((self.scorer.n_items, self.scorer.n_labels))
            order = order[: self.settings.initial]
        else:
            scores = zero_shot(self.scorer)
            scores = calibrated(scores) if self.settings.calibrated else scores
        labels = repair(scores, self.rules)
        known = np.full(self.scorer.n_items, UNLABELLED, np.int64)
        known[order] = labels[order]
        return self._state(Labelling(known, order), rng)

    def after(self, state: State) -> State:
        """Relabel everything by what the model predicts from the labels so far."""
        rng = state.generator()
        before = state.labelling
        scores = self.predict(self.scorer, before, np.arange(self.scorer.n_items))
        new = rng.permutation(np.flatnonzero(before.labels == UNLABELLED))
        labelling = Labelling(repair(scores, self.rules), np.concatenate([before.order, new]))
        made = self._state(labelling, rng)
        flips = int((labelling.labels != before.labels).sum())
        return replace(
            made,
            iteration=state.iteration + 1,
            accepted=state.accepted + (flips > 0),
            step=Step(None, None, flips, made.objective - state.objective, accepted=True),
            past=(*state.past, *made.past),
        )

    def _state(self, labelling: Labelling, rng: np.random.Generator) -> State:
        """The state of a labelling with nothing before it."""
        labels = labelling.labels[labelling.order]
        log_probs = self.predict(self.scorer, labelling, labelling.order)
        p = predictability_score(log_probs, labels, self.settings.measure)
        i = self.rules.count(labelling.labels)
        objective = self.settings.alpha * p - i
        return State(
            labelling=labelling,
            iteration=0,
            temperature=0.0,
            objective=objective,
            predictability=p,
            inconsistency=i,
            accepted=0,
            rng=dict(rng.bit_generator.state),
            past=((_digest(labelling.labels), objective),),
        )


def _digest(labels: IntArray) -> str:
    return hashlib.blake2b(labels.tobytes(), digest_size=12).hexdigest()
