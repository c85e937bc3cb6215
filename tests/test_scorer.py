"""What stands between a search and a model: what is remembered, and what is no score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from elicit import scorer as module
from elicit.predictability import Labelling, LeaveOneOut, predict
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    ProviderError,
    ScoredUnit,
    ScoreRequest,
    Scoring,
    Usage,
)
from elicit.scorer import Ask, Scorer
from elicit.task import Task

N = 40


class Counting:
    """A model that prefers the first label the more, the more it is shown; counts calls."""

    name = "counting"
    identity = Identity("test", "counting")
    capabilities = Capabilities("exact", None, deterministic=True)

    def __init__(self, first: float | None = None) -> None:
        self.first = first
        self.calls: list[int] = []

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return [len(request.prompt) for request in requests]

    def close(self) -> None:
        return None

    def score(
        self,
        requests: Sequence[ScoreRequest],
        budget: Budget = UNBOUNDED,  # noqa: ARG002  it costs nothing
    ) -> Scoring:
        self.calls.append(len(requests))
        for i, request in enumerate(requests):
            own = -1 / len(request.prompt) if self.first is None else self.first
            yield ScoredUnit(((i, LabelScores((own, self.first or -2.0))),), Usage(1))


def scorer_of(model: Counting) -> Scorer:
    items = [{"n": i} for i in range(N)]
    return Scorer(Task(labels=("a", "b"), items=items, template="{{ n }}:").render(), model)


def test_a_call_about_more_contexts_than_memory_holds_is_answered_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = np.arange(N)
    labelling = Labelling(everything % 2, everything)
    whole = Counting()
    expected = predict(scorer_of(whole), LeaveOneOut(), labelling, everything)
    assert whole.calls == [N]
    monkeypatch.setattr(module, "MEMORY_BYTES", 16 * N * 2 * 8)
    parts = Counting()
    found = predict(scorer_of(parts), LeaveOneOut(), labelling, everything)
    assert parts.calls == [16, 16, 8]
    assert np.array_equal(found, expected)


def test_a_prompt_after_which_no_label_has_any_probability_is_an_error_and_no_score() -> None:
    scorer = scorer_of(Counting(-math.inf))
    nothing = np.empty(0, np.int64)
    with pytest.raises(ProviderError, match="no label any probability after '7:': reword"):
        scorer.log_probs([Ask(nothing, nothing, np.array([7]))])
