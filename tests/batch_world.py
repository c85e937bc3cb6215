"""A provider and a store, and processes that use them and may die at any point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from sqlite3 import Connection

import httpx2
import pytest
from batch_server import BatchServer, yes_log_prob

from elicit.cache import schema
from elicit.cache.batches import Batches
from elicit.cache.store import ScoreStore
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    Capabilities,
    Identity,
    ScoreRequest,
    Scoring,
    Segment,
    Usage,
)
from elicit.providers.batched import BatchedProvider
from elicit.providers.batches import BatchLimits, custom_id
from elicit.providers.cached import CachedProvider
from elicit.providers.openai import Endpoint, OpenAIWire, open_wire
from elicit.providers.openai.batch import open_batches
from elicit.providers.openai.endpoint import identity
from elicit.providers.prices import Price
from elicit.providers.submission import Patience
from elicit.providers.usage import Account

TEXTS = ("a", "b", "c", "d\u2028e")
PRICE = Price(1.0, 1.0, 1.0, 4.0, 0.5, date(2025, 11, 1), "a test")
ONE = 0.5 * (20 * 1.0 + 1 * 4.0) / 1e6
"""US dollars of one answer, in a batch."""


ENDPOINT = Endpoint("openai", "gpt-4.1-nano", price=PRICE)
IDENTITY = identity(ENDPOINT, "chat")


class Killed(BaseException):
    """The process died here."""


@dataclass
class Life:
    """Counts the points at which a process could die, and lets it die at one of them: the
    n-th from 0, or the first of that name."""

    ends_at: int | str | None = None
    points: int = 0
    dead: bool = False

    def point(self, name: str) -> None:
        self.dead = self.dead or self.ends_at in {self.points, name}
        if self.dead:
            raise Killed  # and so does whatever it still tries as it unwinds
        self.points += 1


def opened(http: httpx2.Client, endpoint: Endpoint = ENDPOINT) -> OpenAIWire:
    return open_wire(endpoint, "chat", http)


@dataclass
class Model:
    """What stands for the model where it is not asked."""

    name: str = "openai:gpt-4.1-nano"
    identity: Identity = field(default_factory=lambda: IDENTITY)
    capabilities: Capabilities = field(
        default_factory=lambda: Capabilities("top_k", None, deterministic=False, form="chat")
    )

    def score(self, requests: Sequence[ScoreRequest], budget: Budget = UNBOUNDED) -> Scoring:
        raise AssertionError(f"{requests} asked outside a batch within {budget}")

    def count_tokens(self, requests: Sequence[ScoreRequest]) -> list[int] | None:
        return [20] * len(requests)

    def close(self) -> None: ...


@dataclass
class World:
    """A provider and a store that outlive the processes which use them."""

    path: Path
    server: BatchServer = field(default_factory=BatchServer)
    endpoint: Endpoint = ENDPOINT
    limits: BatchLimits = field(default_factory=lambda: BatchLimits(100, 10**6))
    budget: Account = field(default_factory=Account)
    usage: Usage = field(default_factory=Usage)
    seen: dict[str, float] = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    send: Callable[[httpx2.Request], httpx2.Response] | None = None
    sleep: Callable[[float], None] | None = None

    def run(self, *texts: str, life: Life | None = None) -> dict[str, float]:
        """One process, from its start to its end: log P(yes) after each of the texts."""
        mortality = nullcontext() if life is None else dying(life)
        life = life or Life()
        send = self.send or self.server.handle
        sleep = self.sleep or self.server.sleep

        def handle(request: httpx2.Request) -> httpx2.Response:
            call = f"{request.method} {request.url.path}"
            life.point(call)
            response = send(request)
            life.point(f"answer of {call}")
            return response

        def nap(seconds: float) -> None:
            life.point("sleep")
            sleep(seconds)

        with (
            mortality,
            ScoreStore(self.path) as store,
            httpx2.Client(transport=httpx2.MockTransport(handle)) as http,
        ):
            endpoint = open_batches(opened(http, self.endpoint))
            endpoint.limits = self.limits
            batched = BatchedProvider(
                Model(),
                endpoint,
                Batches(store),
                patience=Patience(sleep=nap),
                on_state=lambda _, state: self.states.append(state.state),
                stored=CachedProvider(Model(), store).stored,
            )
            found: dict[str, float] = {}
            requests = [request(text) for text in texts]
            for unit in CachedProvider(batched, store).score(requests, self.budget):
                self.usage += unit.usage
                found |= {texts[i]: scores.log_probs[0] for i, scores in unit.scores}
                self.seen |= found
            return found

    def rows(self) -> list[tuple[str, int, int]]:
        """State, requests and requests not yet read of each batch in the store."""
        with ScoreStore(self.path) as store:
            return store.connection.execute(
                "SELECT state, requests, length(covers) / 16 FROM batches ORDER BY id"
            ).fetchall()


@contextmanager
def dying(life: Life) -> Iterator[None]:
    """Points before and after each commit of the store, too."""

    @contextmanager
    def mortal(connection: Connection) -> Iterator[None]:
        life.point("begin")
        with _immediate(connection):
            yield
            life.point("commit")
        life.point("committed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "immediate", mortal)
        yield


_immediate: Callable[[Connection], AbstractContextManager[None]] = schema.immediate


def request(text: str, sample: int = 0) -> ScoreRequest:
    prompt = (Segment.of("shown\n", "user"), Segment.of(text, "user"))
    return ScoreRequest(prompt, ("yes", "no"), sample)


def truth(*texts: str) -> dict[str, float]:
    return {text: yes_log_prob(f"shown\n{text}") for text in texts}


def bill(*texts: str) -> dict[str, int]:
    """Each of them paid for once."""
    return {custom_id(request(text)): 1 for text in texts}


def change(world: World, statement: str, *parameters: object) -> None:
    with ScoreStore(world.path) as store:
        store.connection.execute(statement, parameters)
