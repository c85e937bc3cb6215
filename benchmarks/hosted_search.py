"""Searches on the embedded model, and what each would send to a hosted one.

A search asks for what it needs through a predictability. Here that is watched: the prompts of
every step also go, unanswered, to tallies (`elicit.tally`), one for each way to ask. The
embedded model's probabilities are the same by any way that tells probabilities, so one search
serves all of those; drawn answers carry noise, and have a search of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np

from elicit.constraints import Constraint
from elicit.objective import Objective
from elicit.organism import model_path
from elicit.organism.embedded_tasks import claims
from elicit.organism.world import make_world
from elicit.pieces import Pieces, pieces_by_ratio
from elicit.predictability import Labelling, Plan, Predictability, predict
from elicit.prompt import Template, Writing
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Provider,
    ScoredUnit,
    ScoreRequest,
    Scoring,
)
from elicit.providers.billing import FIRST_GUESS
from elicit.providers.registry import open_model
from elicit.providers.sampled import SampledProvider, one_draw
from elicit.run import finish
from elicit.scorer import IntArray, Scorer
from elicit.search.methods import MethodSettings, search
from elicit.search.problem import Problem
from elicit.search.state import State
from elicit.stand_in import StandIn, Temper
from elicit.tally import Bill, Hosted, Tally
from elicit.task import Task

MORE_FACTS = 4
"""Facts of each family beside the held-out ones, whose labels the training did show."""


def claims_task(items: int, seed: int = 0) -> tuple[Task, IntArray]:
    """So many claims in groups of four with one true each, and their gold labels.

    The world holds out 54 facts, of which 216 claims are made. For more, 4 facts a family
    are added that the model saw labelled in training: 12 of 66.
    """
    world = make_world()
    more = np.concatenate([world.held, world.open[:, :MORE_FACTS]], axis=1)
    known = world if items <= 4 * world.held.size else replace(world, held=more)
    rows = claims(known, np.random.default_rng(seed))[:items]
    task = Task(
        labels=["False", "True"],
        items=[{"subject": row["subject"], "claim": row["claim"]} for row in rows],
        template=Template("{{ claim }}:", (" False", " True"), "\n"),
        constraints=[Constraint("exactly_one", "True", by="subject")],
        instruction="Decide whether each claim is true.",
        group="subject",
    )
    return task, np.array([int(bool(row["label"])) for row in rows])


@dataclass(frozen=True)
class Way:
    """A way to ask a hosted model. `tells` is False for one that only answers."""

    name: str
    terms: Hosted
    writing: Writing
    tells: bool = True
    label_tokens: bool = False
    """Whether each item's own text brings the labels along."""

    def pieces(self, task: Task) -> Pieces:
        pieces = pieces_by_ratio(task.render(self.writing), FIRST_GUESS)
        if not self.label_tokens:
            return pieces
        labels = sum(len(label.strip()) for label in task.template.verbalizers)
        return replace(pieces, question_tokens=pieces.question_tokens + labels * FIRST_GUESS)


class Drawn:
    """The embedded model as one that answers with a label: drawn from its probabilities, by
    the prompt and the number of the draw."""

    def __init__(self, provider: Provider, draws: int) -> None:
        self._provider = provider
        self.name = provider.name
        self.identity = provider.identity
        self.capabilities = Capabilities("sampled", None, deterministic=True, samples=draws)

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return self._provider.count_tokens(requests)

    def close(self) -> None:
        self._provider.close()

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        told = list(dict.fromkeys(replace(request, sample=0) for request in requests))
        known = {}
        for unit in self._provider.score(told, budget):
            known.update({told[index]: scores for index, scores in unit.scores})
        for index, request in enumerate(requests):
            values = np.exp(known[replace(request, sample=0)].log_probs)
            digest = b"".join(segment.digest for segment in request.prompt)
            seed = blake2b(digest + request.sample.to_bytes(4, "little"), digest_size=8)
            rng = np.random.default_rng(int.from_bytes(seed.digest(), "little"))
            label = int(rng.choice(values.size, p=values / values.sum()))
            yield ScoredUnit(((index, one_draw(label, values.size)),), unit.usage)


@dataclass
class Counter:
    """What one way would be sent, by one predictability."""

    way: Way
    measure: Predictability
    scorer: StandIn
    tally: Tally

    @staticmethod
    def of(way: Way, measure: Predictability, task: Task, provider: Provider) -> Counter:
        tally = Tally(way.terms)
        scorer = StandIn(
            task.render(way.writing),
            provider,
            task.rules(),
            way.pieces(task),
            tally,
            Temper(),
            seed=0,
        )
        return Counter(way, measure, scorer, tally)


@dataclass
class Sent:
    """Prompts of full length, none read from a cache."""

    prompts: int = 0
    tokens: float = 0.0

    def add(self, prompts: int, tokens: float) -> None:
        self.prompts += prompts
        self.tokens += tokens


@dataclass
class Authors:
    """What the authors' algorithm sends on the path of a search, counted from its description.

    An iteration asks one prompt for a proposal. A proposal's value is asked for by scoring
    every labelled item again, each given all others: n prompts of full length.
    """

    pieces: Pieces
    changed: Sent = field(default_factory=Sent)
    """Where an iteration's outcome changes a label, its value alone is asked for."""
    repaired: Sent = field(default_factory=Sent)
    """So is that of each labelling that the repair tries, once."""
    always: Sent = field(default_factory=Sent)
    """That of every iteration is asked for, which gives their 770,000 for 3,000 of them."""

    def heard(self, labelling: Labelling, items: IntArray) -> None:
        self.repaired.add(*self._asked(labelling, items))

    def step(self, state: State, item: int) -> None:
        proposal = self._asked(state.labelling, np.array([item]))
        value = self._asked(state.labelling, state.labelling.order)
        flips = state.step is not None and state.step.flips
        for sent, also in ((self.changed, flips), (self.always, True)):
            sent.add(*proposal)
            if also:
                sent.add(*value)

    def _asked(self, labelling: Labelling, items: IntArray) -> tuple[int, float]:
        shown = np.zeros(labelling.labels.size)
        order = labelling.order
        shown[order] = self.pieces.shown_tokens[order, labelling.labels[order]]
        each = self.pieces.opening + shown.sum() - shown[items]
        return items.size, float((each + self.pieces.question_tokens[items]).sum())


@dataclass
class Watched:
    """A predictability whose questions the counters hear; a repeated one only once, as the
    scores are then in the store."""

    inner: Predictability
    counters: Sequence[Counter]
    authors: Authors
    heard: set[bytes] = field(default_factory=set)

    def plan(self, labelling: Labelling, items: IntArray) -> Plan:
        parts = (labelling.labels, labelling.order, items)
        key = b"|".join(part.tobytes() for part in parts)
        if key not in self.heard:
            self.heard.add(key)
            for counter in self.counters:
                predict(counter.scorer, counter.measure, labelling, items)
            self.authors.heard(labelling, items)
        return self.inner.plan(labelling, items)


@dataclass(frozen=True)
class Search:
    """What came of one search."""

    method: str
    seed: int
    accuracy: float
    inconsistency: int
    changed: int
    """Proposals, or rounds, that changed a label."""
    bills: Mapping[str, Bill]
    changed_values: Sent
    repaired_values: Sent
    all_values: Sent
    """See `Authors`."""


def searched(
    method: str,
    task: Task,
    gold: IntArray,
    settings: MethodSettings,
    seed: int,
    ways: Sequence[tuple[str, Way, Predictability]],
    measure: Predictability,
    authors: Way,
    draws: int = 0,
) -> Search:
    """Run a search to its end, counting for each of the named `ways`."""
    with closing(open_model(f"llama-cpp:{model_path()}?threads=1")) as model:
        provider = SampledProvider(Drawn(model, draws)) if draws else model
        counters = {
            name: Counter.of(way, measure, task, provider) for name, way, measure in ways
        }
        theirs = Authors(authors.pieces(task))
        watched = Watched(measure, list(counters.values()), theirs)
        scorer, rules = Scorer(task.render(), provider), task.rules()
        problem = Problem.of(scorer, Objective(rules, watched))
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0])))
        changed = 0
        final = None
        for final in search(problem, settings, rng):
            if final.step is not None:
                changed += bool(final.step.flips)
                if final.step.item is not None:
                    theirs.step(final, final.step.item)
        if final is None:
            raise AssertionError("a search yields at least one state")
        labels = finish(problem, final).labels
    return Search(
        method,
        seed,
        float((labels == gold).mean()),
        rules.count(labels),
        changed,
        {name: counter.tally.bill for name, counter in counters.items()},
        theirs.changed,
        theirs.repaired,
        theirs.always,
    )
