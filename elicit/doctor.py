"""Is this model fit to label with? A few questions whose answers are known, asked afresh."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass

import numpy as np

from elicit.prompt import Template, Writing
from elicit.providers.base import LabelScores, ScoreRequest, Usage
from elicit.providers.usage import Meter
from elicit.task import Task

SHOWN = (
    ("Ice is cold", True),
    ("A triangle has five sides", False),
    ("Fish live in water", True),
    ("The sun is smaller than the moon", False),
    ("Paris is in Brazil", False),
    ("Seven is more than three", True),
)
ASKED = (
    ("Fire is hot", True),
    ("Grass is usually purple", False),
    ("A week has seven days", True),
    ("Dogs can fly", False),
    ("Two and two make four", True),
    ("Stones are softer than feathers", False),
    ("Water freezes when it is cold enough", True),
    ("Elephants are smaller than mice", False),
)
"""As many true as false, so that a constant answer agrees with half."""


@dataclass(frozen=True, slots=True)
class Checkup:
    """What a model did with the known questions."""

    model: str
    evidence: str
    """How its scores are known: exact, top_k, decision or sampled."""
    form: str
    path: str
    """Which of its ways of being asked is used; empty where there is but one."""
    context_tokens: int | None
    items_per_call: int
    agreement: tuple[int, int]
    """Questions answered as they should be, of how many."""
    mean_coverage: float
    """Total probability of both labels, 0 to 1. Low: the prompt does not ask for them."""
    bounded: int
    """Answers in which a label has an upper bound, not a number."""
    seconds: float
    """Median time of one question asked alone."""
    largest_change: float | None
    """Largest change of a label's log-probability between two askings, in nats; None for a
    model that is sampled, which changes by nature."""
    identity: dict[str, object]
    usage: Usage

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def known_task() -> Task:
    """The known questions as a task; demonstrations come first."""
    return Task(
        name="doctor",
        labels=["False", "True"],
        items=[{"claim": claim} for claim, _ in (*SHOWN, *ASKED)],
        template=Template("{{ claim }}:", (" False", " True"), "\n"),
        instruction="Decide whether each claim is true.",
    )


def examine(meter: Meter, writing: Writing = "block") -> Checkup:
    """Ask the known questions one by one, and once more all together.

    Raises:
        ElicitError: the model could not answer, or a budget was reached.
    """
    requests = _requests(meter, writing)
    alone, seconds = [], []
    for request in requests:
        begin = time.monotonic()
        alone += _scores(meter, [request])
        seconds.append(time.monotonic() - begin)
    sampled = meter.capabilities.evidence == "sampled"
    together = alone if sampled else _scores(meter, requests)
    answers = [int(np.argmax(scores.log_probs)) for scores in alone]
    right = sum(answer == truth for answer, (_, truth) in zip(answers, ASKED, strict=True))
    return Checkup(
        model=meter.name,
        evidence=meter.capabilities.evidence,
        form=meter.capabilities.form,
        path=str(meter.identity.parameters.get("scorer", "")),
        context_tokens=meter.capabilities.context_tokens,
        items_per_call=meter.capabilities.items_per_call,
        agreement=(right, len(ASKED)),
        mean_coverage=statistics.fmean(scores.coverage for scores in alone),
        bounded=sum(bool(scores.bounded) for scores in alone),
        seconds=statistics.median(seconds),
        largest_change=None if sampled else max(map(_change, alone, together)),
        identity=meter.identity.as_dict(),
        usage=meter.usage,
    )


def _requests(meter: Meter, writing: Writing) -> list[ScoreRequest]:
    form = meter.capabilities.form
    rendered = known_task().render("text" if form == "text" else writing)
    shown = np.arange(len(SHOWN))
    context = rendered.context(shown, np.array([int(truth) for _, truth in SHOWN]))
    return [
        ScoreRequest((*context, question), rendered.verbalizers)
        for question in rendered.questions[len(SHOWN) :]
    ]


def _scores(meter: Meter, requests: list[ScoreRequest]) -> list[LabelScores]:
    found = {i: scores for unit in meter.score(requests) for i, scores in unit.scores}
    return [found[i] for i in range(len(requests))]


def _change(one: LabelScores, other: LabelScores) -> float:
    return max(
        0.0 if a == b else abs(a - b)
        for a, b in zip(one.log_probs, other.log_probs, strict=True)
    )
