"""A cached provider gives what the store holds, whoever put it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elicit.cache.store import ScoreStore
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    LabelScores,
    ScoredUnit,
    ScoreRequest,
    Scoring,
    Segment,
    Usage,
)
from elicit.providers.cached import CachedProvider


@dataclass
class Constant:
    """A model that gives every label the same log-probability, and counts its prompts."""

    value: float
    asked: int = 0
    name: str = "constant"
    identity: Identity = field(default_factory=lambda: Identity("test", "constant"))
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities("exact", None, deterministic=False)
    )

    def score(self, requests: Sequence[ScoreRequest], _budget: Budget = UNBOUNDED) -> Scoring:
        for i, request in enumerate(requests):
            self.asked += 1
            scores = LabelScores((self.value,) * len(request.labels))
            yield ScoredUnit(((i, scores),), Usage(requests=1))

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int]:
        return [len(request.prompt) for request in requests]

    def close(self) -> None: ...


def request(text: str) -> ScoreRequest:
    return ScoreRequest((Segment.of("shown\n"), Segment.of(text)), ("yes", "no"))


def answers(provider: CachedProvider, *texts: str) -> list[float]:
    found: dict[int, float] = {}
    for unit in provider.score([request(text) for text in texts]):
        found |= {i: scores.log_probs[0] for i, scores in unit.scores}
    return [found[i] for i in range(len(texts))]


def test_what_is_stored_is_not_asked_again(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.db") as store:
        model = Constant(-1.0)
        provider = CachedProvider(model, store)
        assert answers(provider, "a", "b") == answers(provider, "a", "b") == [-1.0, -1.0]
        assert model.asked == 2


def test_who_was_second_uses_the_score_of_who_was_first(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.db") as one, ScoreStore(tmp_path / "s.db") as two:
        late = CachedProvider(Constant(-2.0), two).score([request("a"), request("b")])
        first = next(late)
        assert answers(CachedProvider(Constant(-1.0), one), "a", "b") == [-2.0, -1.0]
        (_, b) = (first, *late)
        assert b.scores[0][1].log_probs[0] == -1.0
