"""A batch is submitted once, read by whoever comes back for it, and paid for once."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest
from batch_world import (
    IDENTITY,
    ONE,
    TEXTS,
    Killed,
    Life,
    Model,
    World,
    bill,
    change,
    opened,
    request,
    truth,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from elicit.cache.batches import Batches
from elicit.cache.errors import StoreDamaged
from elicit.cache.prune import prune
from elicit.cache.store import ScoreStore
from elicit.cache.verify import verify
from elicit.providers.batched import BatchedProvider
from elicit.providers.batches import BatchLimits, BatchState, custom_id
from elicit.providers.batching import cancel
from elicit.providers.cached import CachedProvider
from elicit.providers.hosted import HostedProvider
from elicit.providers.limits import Limiter
from elicit.providers.openai.batch import open_batches
from elicit.providers.submission import Patience


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "s.db")


# What is asked once


def test_a_batch_gives_each_request_its_own_score_at_half_the_price(world: World) -> None:
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.server.billed == bill(*TEXTS)
    assert world.usage.cost_usd == pytest.approx(4 * ONE)
    assert (world.usage.calls, world.usage.requests) == (4, 4)
    assert world.states == ["running", "running", "done"]
    assert world.rows() == [("done", 4, 0)]


def test_what_is_stored_is_not_put_into_a_batch(world: World) -> None:
    world.run("a", "b")
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.server.billed == bill(*TEXTS)
    assert [requests for _, requests, _ in world.rows()] == [2, 2]


def test_equal_requests_are_asked_once_and_all_answered(world: World) -> None:
    assert world.run("a", "b", "a") == truth("a", "b")
    assert world.server.billed == bill("a", "b")


def test_requests_beyond_a_batchs_limits_go_into_the_next(world: World) -> None:
    world.limits = BatchLimits(3, 10**6)
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert [requests for _, requests, _ in world.rows()] == [3, 1]
    with httpx2.Client() as http:
        size = open_batches(opened(http)).size(request("a"))
    world.limits = BatchLimits(100, 2 * size)
    assert world.run(*"fghij") == truth(*"fghij")
    assert [requests for _, requests, _ in world.rows()][2:] == [2, 2, 1]
    assert world.server.billed == bill(*TEXTS, *"fghij")


def test_a_request_is_named_by_all_that_its_answer_hangs_on_and_nothing_else() -> None:
    one = request("a")
    others = [
        request("b"),
        request("a", sample=1),
        replace(one, labels=("no", "yes")),
        replace(one, prompt=one.prompt[1:]),
        replace(
            one, prompt=tuple(replace(s, role="") for s in one.prompt[:0]) + one.prompt[:1]
        ),
    ]
    names = [custom_id(r) for r in (one, *others)]
    assert len(set(names)) == len(names)
    assert custom_id(request("a")) == custom_id(one)
    assert all(len(name) == 32 and name.isalnum() for name in names)


# Death at any point


def test_a_process_killed_at_any_point_costs_nothing_twice(tmp_path: Path) -> None:
    whole = Life()
    World(tmp_path / "whole.db").run(*TEXTS, life=whole)
    assert whole.points > 30
    for point in range(whole.points):
        world = World(tmp_path / f"{point}.db")
        with pytest.raises(Killed):
            world.run(*TEXTS, life=Life(point))
        told = dict(world.seen)
        assert world.run(*TEXTS) == truth(*TEXTS), point
        assert world.server.billed == bill(*TEXTS), point
        assert len(world.server.batches) == 1, point
        assert told.items() <= truth(*TEXTS).items()


@settings(max_examples=40, deadline=None)
@given(
    deaths=st.lists(st.integers(0, 60), max_size=5),
    wants=st.lists(st.sets(st.sampled_from("abcdefg"), min_size=1), min_size=6, max_size=6),
    most=st.integers(1, 5),
)
def test_however_often_killed_and_whatever_is_asked_next_each_request_is_paid_for_once(
    deaths: list[int], wants: list[set[str]], most: int
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder) / "s.db", limits=BatchLimits(most, 10**6))
        for death, want in zip(deaths, wants, strict=False):
            with suppress(Killed):
                assert world.run(*sorted(want), life=Life(death)) == truth(*want)
        assert world.run(*"abcdefg") == truth(*"abcdefg")
        assert world.server.billed == bill(*"abcdefg")


def test_an_interrupt_leaves_the_batch_for_the_next_run_and_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    world.sleep = interrupted
    with pytest.raises(KeyboardInterrupt), caplog.at_level(logging.WARNING):
        world.run(*TEXTS)
    assert "Resume" in caplog.text
    assert world.rows() == [("submitted", 4, 4)]
    world.sleep = None
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.server.billed == bill(*TEXTS)


def test_a_run_that_now_asks_for_less_or_more_reads_the_recorded_batch_first(
    world: World,
) -> None:
    with pytest.raises(Killed):
        world.run("a", "b", "c", life=Life("sleep"))
    assert world.rows() == [("submitted", 3, 3)]
    assert world.run("c", "d", "e") == truth("c", "d", "e")
    assert world.run("a", "b") == truth("a", "b")
    assert world.server.billed == bill("a", "b", "c", "d", "e")


def test_an_answer_that_never_came_is_looked_for_before_it_is_asked_for_again(
    world: World,
) -> None:
    lost: list[str] = []

    def send(request: httpx2.Request) -> httpx2.Response:
        response = world.server.handle(request)
        if request.method == "POST" and request.url.path == "/v1/batches" and not lost:
            lost.append("batch")
            raise httpx2.ReadTimeout("no answer", request=request)
        return response

    world.send = send
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert (len(lost), len(world.server.batches)) == (1, 1)


def test_a_request_for_a_batch_that_never_arrived_is_sent_again(world: World) -> None:
    failures = iter([500, 429, 503])

    def send(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST" and request.url.path == "/v1/batches":
            status = next(failures, None)
            if status is not None:
                return httpx2.Response(status, json={"error": {"message": "busy"}})
        return world.server.handle(request)

    world.send = send
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.server.billed == bill(*TEXTS)


# Two processes


def test_who_comes_second_reads_the_batch_of_who_was_first(world: World) -> None:
    barrier = threading.Barrier(2)
    results: list[dict[str, float]] = []

    def process() -> None:
        other = replace(world)
        barrier.wait(timeout=10)
        results.append(other.run(*TEXTS))

    threads = [threading.Thread(target=process) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert results == [truth(*TEXTS)] * 2
    assert world.server.billed == bill(*TEXTS)


def test_of_two_that_mean_to_submit_the_second_must_look_again(tmp_path: Path) -> None:
    ids, model = [custom_id(request(text)) for text in "ab"], IDENTITY.digest()
    with ScoreStore(tmp_path / "s.db") as store, ScoreStore(tmp_path / "s.db") as other:
        one, two = Batches(store), Batches(other)
        last = one.last()
        assert two.open(model) == []
        (first,) = [one.intend(model, "a model", ids, last)]
        assert two.intend(model, "a model", ids, last) is None
        assert two.open(model) == [first]
        assert two.intend(b"another model", "another model", ids, last) is not None


def test_an_intent_of_a_process_that_is_alive_is_waited_for(world: World) -> None:
    with pytest.raises(Killed):
        world.run(*TEXTS, life=Life("POST /v1/files"))
    assert world.rows() == [("intended", 4, 4)]
    change(world, "UPDATE batches SET pid = 1, started = ''")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            assert world.server.batches == []
            change(world, "UPDATE batches SET boot = 'before'")

    world.sleep = sleep
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert len(waited) > 3
    assert world.server.billed == bill(*TEXTS)


def test_an_intent_on_another_machine_is_free_after_an_hour(world: World) -> None:
    with pytest.raises(Killed):
        world.run(*TEXTS, life=Life("answer of POST /v1/batches"))
    change(world, "UPDATE batches SET host = 'elsewhere', created = created - ?", 3590)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        world.server.sleep(seconds)
        if len(waited) == 5:
            change(world, "UPDATE batches SET created = created - ?", 20)

    world.sleep = sleep
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert len(waited) > 5
    assert world.server.billed == bill(*TEXTS)


def test_scores_stored_and_closed_by_another_before_the_records_are_read_are_used(
    world: World,
) -> None:
    world.run("a", "b")
    with (
        ScoreStore(world.path) as store,
        httpx2.Client(transport=httpx2.MockTransport(world.server.handle)) as http,
    ):
        # It found nothing in the store, before the other process had put it there.
        late = BatchedProvider(
            Model(),
            open_batches(opened(http)),
            Batches(store),
            patience=Patience(sleep=world.server.sleep),
            stored=CachedProvider(Model(), store).stored,
        )
        units = list(late.score([request(text) for text in "abc"]))
    found = {"abc"[i]: scores.log_probs[0] for unit in units for i, scores in unit.scores}
    assert found == truth("a", "b", "c")
    assert sum(unit.usage.cached for unit in units) == 2
    assert world.server.billed == bill("a", "b", "c")
    assert [requests for _, requests, _ in world.rows()] == [2, 1]


# The record


def test_cancelling_asks_the_provider_to_end_what_runs(world: World) -> None:
    with pytest.raises(Killed):
        world.run(*TEXTS, life=Life("sleep"))
    with httpx2.Client(transport=httpx2.MockTransport(world.server.handle)) as http:
        wire = opened(http)
        provider = HostedProvider("openai:gpt-4.1-nano", wire, Limiter())
        assert cancel(provider, ["batch_0"]) == ["batch_0"]
        assert open_batches(wire).poll("batch_0") == BatchState("cancelled", 4, 4, "")
        assert cancel(provider, ["batch_0"]) == [], "it has ended"
    assert world.run(*TEXTS) == truth(*TEXTS), "what it answered by then is read"
    assert world.server.billed == bill(*TEXTS)


def test_a_record_is_found_sound_unless_it_was_changed(world: World) -> None:
    with pytest.raises(Killed):
        world.run(*TEXTS, life=Life("sleep"))
    with ScoreStore(world.path) as store:
        assert verify(store) == []
        store.connection.execute("UPDATE batches SET covers = zeroblob(16)")
        (problem,) = verify(store)
        assert (problem.table, problem.removable) == ("batches", True)
        with pytest.raises(StoreDamaged, match="repair"):
            Batches(store).open(IDENTITY.digest())
        verify(store, repair=True)
        assert verify(store) == []


def test_pruning_keeps_the_record_of_a_batch_that_can_still_be_read(world: World) -> None:
    world.run("a", "b")
    with pytest.raises(Killed):
        world.run("c", life=Life("sleep"))
    with ScoreStore(world.path) as store:
        assert prune(store, model="gpt-4.1", dry_run=False).batches == 1
    assert world.rows() == [("submitted", 1, 1)]
    change(world, "UPDATE batches SET created = created - ?", 30 * 86400)
    with ScoreStore(world.path) as store:
        assert Batches(store).open(IDENTITY.digest()) == []
        assert prune(store, model="other", dry_run=False).batches == 0
        assert prune(store, model="gpt-4.1", dry_run=False).batches == 1
