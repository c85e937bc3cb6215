"""However a batch ends, each request has a score or a reason, and the bill is as told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from batch_world import (
    ONE,
    TEXTS,
    Killed,
    Life,
    Model,
    World,
    bill,
    opened,
    request,
    truth,
)

from elicit.cache.batches import Batches
from elicit.cache.errors import ElicitError
from elicit.cache.store import ScoreStore
from elicit.providers.base import (
    Capabilities,
    ModelError,
    ProviderError,
)
from elicit.providers.batched import BatchedProvider
from elicit.providers.batches import BatchLimits, custom_id
from elicit.providers.hosted import Unanswered
from elicit.providers.openai.batch import OpenAIBatches, open_batches
from elicit.providers.retry import CallFailed
from elicit.providers.submission import LONGEST
from elicit.providers.usage import Account, BudgetReached, Limits


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "s.db")


# Batches that don't end well


def test_requests_that_expired_are_asked_again_in_a_new_batch(world: World) -> None:
    world.server.ends = lambda count: "completed" if count else "expired"
    world.server.outcome = lambda count, _id, text: (
        "batch_expired" if not count and text[-1] in "ab" else "answered"
    )
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.server.billed == bill(*TEXTS)
    assert world.rows() == [("expired", 4, 0), ("done", 2, 0)]


def test_a_batch_that_expires_whole_is_asked_again_under_another_tag(world: World) -> None:
    world.server.ends = lambda count: "completed" if count else "expired"
    world.server.outcome = lambda count, *_: "answered" if count else "batch_expired"
    assert world.run(*TEXTS) == truth(*TEXTS)
    tags = [held.metadata["elicit"] for held in world.server.batches]
    assert len(set(tags)) == 2
    assert world.server.billed == bill(*TEXTS)


def test_what_is_lost_in_every_round_is_told_and_the_rest_is_kept(world: World) -> None:
    world.server.outcome = lambda _count, _id, text: "500" if text[-1] == "b" else "answered"
    with pytest.raises(Unanswered, match=r"1 of 4 prompts: 'b': refused with 500 .*3 batches"):
        world.run(*TEXTS)
    assert world.seen == truth("a", "c", TEXTS[3])
    assert [requests for _, requests, _ in world.rows()] == [4, 1, 1]
    assert custom_id(request("b")) not in world.server.billed


def test_what_is_refused_for_good_is_not_asked_again(world: World) -> None:
    world.server.outcome = lambda _count, _id, text: "400" if text[-1] == "b" else "answered"
    with pytest.raises(Unanswered, match=r"1 of 4 prompts: 'b': refused with 400"):
        world.run(*TEXTS)
    assert world.seen == truth("a", "c", TEXTS[3])
    assert len(world.server.batches) == 1


@pytest.mark.parametrize("fault", ["missing", "garbled"])
def test_a_line_that_is_not_there_or_not_whole_is_asked_again(world: World, fault: str) -> None:
    world.server.outcome = lambda count, _id, text: (
        fault if not count and text[-1] == "c" else "answered"
    )
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert [requests for _, requests, _ in world.rows()] == [4, 1]


def first_download(world: World, change: Callable[[bytes], bytes], times: int = 1) -> list[str]:
    """Have so many downloads of results changed; the paths of all."""
    paths: list[str] = []

    def send(request: httpx2.Request) -> httpx2.Response:
        response = world.server.handle(request)
        if request.url.path.endswith("/content"):
            paths.append(request.url.path)
            if len(paths) <= times:
                return httpx2.Response(200, content=change(response.content))
        return response

    world.send = send
    return paths


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"".join(content.splitlines(keepends=True)[:2]),
        lambda content: content[:-40],
        lambda content: content.replace(b"custom_id", b"custom_\xff", 1),
    ],
    ids=["lines that are not there yet", "a line cut short", "a damaged line"],
)
def test_results_that_are_not_whole_are_downloaded_again_and_not_paid_for_again(
    world: World, change: Callable[[bytes], bytes]
) -> None:
    paths = first_download(world, change)
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert len(paths) == 2
    assert world.server.billed == bill(*TEXTS)
    assert world.rows() == [("done", 4, 0)]


def test_results_that_stay_short_are_lost_after_three_downloads(world: World) -> None:
    paths = first_download(world, lambda content: content[:-40], times=3)
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert len(paths) == 3 + 1
    assert [requests for _, requests, _ in world.rows()] == [4, 1]


@pytest.mark.parametrize("counted", [{}, {"request_counts": None}])
def test_a_completed_batch_that_does_not_name_its_answers_yet_is_asked_again(
    world: World, counted: dict[str, None]
) -> None:
    unnamed = iter(range(3))

    def send(request: httpx2.Request) -> httpx2.Response:
        response = world.server.handle(request)
        told = (
            response.json() if request.method == "GET" and "/batch_" in str(request.url) else {}
        )
        if told.get("status") == "completed" and next(unnamed, None) is not None:
            return httpx2.Response(200, json={**told, "output_file_id": None, **counted})
        return response

    world.send = send
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert next(unnamed, None) is None
    assert len(world.server.batches) == 1


def test_a_completed_batch_that_never_names_its_answers_is_an_error_and_stays_on_record(
    world: World,
) -> None:
    def send(request: httpx2.Request) -> httpx2.Response:
        response = world.server.handle(request)
        if request.method == "GET" and "/batch_" in str(request.url):
            return httpx2.Response(200, json={**response.json(), "output_file_id": None})
        return response

    world.send = send
    with pytest.raises(CallFailed, match="batch_0 is completed with 4 answers, and does not"):
        world.run(*TEXTS)
    assert world.rows() == [("submitted", 4, 4)]
    world.send = None
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert len(world.server.batches) == 1


def test_a_batch_that_can_not_be_read_keeps_no_other_from_being_read(world: World) -> None:
    world.limits = BatchLimits(2, 10**6)

    def send(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/batches/batch_0"):
            return httpx2.Response(404, json={"error": {"message": "no such batch"}})
        return world.server.handle(request)

    world.send = send
    with pytest.raises(ModelError, match="no such batch"):
        world.run(*TEXTS)
    assert world.seen == truth(*TEXTS[2:])
    assert world.rows() == [("submitted", 2, 2), ("done", 2, 0)]


def test_a_line_that_comes_twice_counts_once(world: World) -> None:
    world.server.outcome = lambda *_: "twice"
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.usage.requests == 4


def test_a_batch_that_fails_its_validation_says_why_and_may_be_tried_again(
    world: World,
) -> None:
    world.server.ends = lambda count: "completed" if count else "failed"
    world.server.errors = [{"code": "invalid_json_line", "message": "not JSON", "line": 3}]
    with pytest.raises(ProviderError, match=r"batch_0 failed: not JSON \(invalid.*line 3"):
        world.run(*TEXTS)
    assert world.rows() == [("failed", 4, 0)]
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.server.billed == bill(*TEXTS)


def test_a_batch_that_was_cancelled_is_read_and_not_begun_again_by_itself(
    world: World,
) -> None:
    world.server.ends = lambda count: "completed" if count else "cancelled"
    world.server.outcome = lambda count, _id, text: (
        "batch_cancelled" if not count and text[-1] == "a" else "answered"
    )
    with pytest.raises(ProviderError, match="cancelled with 1 requests unanswered"):
        world.run(*TEXTS)
    assert world.seen == truth(*TEXTS[1:])
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.server.billed == bill(*TEXTS)


def test_a_state_that_nobody_knows_is_waited_out(world: World) -> None:
    world.server.running = ("validating", "pondering", "in_progress", "pondering")
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.states == ["running"] * 4 + ["done"]


def test_the_waits_grow_up_to_a_bound(world: World) -> None:
    waited: list[float] = []
    world.sleep = waited.append
    world.server.running = ("in_progress",) * 20
    world.run("a")
    assert waited == sorted(waited)
    assert (waited[0], waited[1], waited[-1]) == (30.0, 45.0, LONGEST)


def test_results_that_break_off_are_read_on(world: World) -> None:
    failures = iter([500, 502])

    def send(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/content"):
            status = next(failures, None)
            if status is not None:
                return httpx2.Response(status, json={"error": {"message": "busy"}})
        return world.server.handle(request)

    world.send = send
    assert world.run(*TEXTS) == truth(*TEXTS)


def test_a_batch_that_the_key_may_not_see_is_not_paid_for_again(world: World) -> None:
    with pytest.raises(Killed):
        world.run(*TEXTS, life=Life("sleep"))

    def send(request: httpx2.Request) -> httpx2.Response:
        del request
        return httpx2.Response(404, json={"error": {"message": "no such batch"}})

    world.send = send
    with pytest.raises(ModelError, match="project that it was submitted with"):
        world.run(*TEXTS)
    world.send = None
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert len(world.server.batches) == 1


# Budgets


def test_a_budget_that_the_whole_does_not_fit_stops_before_anything_is_sent(
    world: World,
) -> None:
    world.limits = BatchLimits(1, 10**6)
    world.budget = Account(Limits(calls=3))
    with pytest.raises(BudgetReached):
        world.run(*TEXTS)
    assert (world.server.calls, world.rows()) == ([], [])


def test_what_is_set_aside_gives_way_to_what_was_spent(world: World) -> None:
    long = [letter * 300 for letter in "abcdefgh"]
    with httpx2.Client() as http:
        expected = open_batches(opened(http)).expected(request(long[0])).cost_usd
    assert expected is not None
    assert expected > 2 * ONE
    world.budget = Account(Limits(cost_usd=4 * expected))
    world.run(*long[:4])
    world.run(long[4])  # would not fit, had the first four taken what was expected of them
    with pytest.raises(BudgetReached):
        world.run(*long[4:])


def test_a_batch_paid_for_by_an_earlier_process_is_read_whatever_the_budget(
    world: World,
) -> None:
    with pytest.raises(Killed):
        world.run("a", "b", life=Life("sleep"))
    world.budget = Account(Limits(calls=0))
    with pytest.raises(BudgetReached):
        world.run("a", "b", "c")
    assert world.seen == truth("a", "b")
    assert world.usage.cost_usd == pytest.approx(2 * ONE)


def test_what_was_not_answered_is_given_back_to_the_budget(world: World) -> None:
    world.server.outcome = lambda *_: "batch_expired"
    world.budget = Account(Limits(calls=4))
    with pytest.raises(Unanswered):
        world.run(*TEXTS)
    world.server.outcome = lambda *_: "answered"
    assert world.run(*TEXTS) == truth(*TEXTS)


def test_an_answer_of_no_use_that_was_billed_is_counted_and_so_is_the_next(
    world: World,
) -> None:
    world.server.outcome = lambda count, _id, text: (
        "useless" if not count and text[-1] == "b" else "answered"
    )
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.server.billed == {**bill(*TEXTS), custom_id(request("b")): 2}
    assert world.usage.cost_usd == pytest.approx(5 * ONE)
    assert world.budget.spent.cost_usd == pytest.approx(5 * ONE)
    assert world.usage.requests == 4


def test_an_answer_that_can_not_be_read_is_taken_to_have_cost_what_was_expected(
    world: World,
) -> None:
    world.server.outcome = lambda count, _id, text: (
        "garbled" if not count and text[-1] == "b" else "answered"
    )
    world.run(*TEXTS)
    assert world.usage.cost_usd is not None
    assert world.usage.cost_usd > 4 * ONE
    assert world.budget.spent == world.usage
    assert world.budget.spent.calls == world.usage.calls == 5


# Refusals


def test_a_refused_batch_is_an_error_and_no_intent_is_left(world: World) -> None:
    world.limits = BatchLimits(2, 10**6)

    def send(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/v1/batches" and world.server.batches:
            return httpx2.Response(400, json={"error": {"message": "no such model"}})
        return world.server.handle(request)

    world.send = send
    with pytest.raises(ModelError, match="no such model"):
        world.run(*TEXTS)
    assert world.seen == truth("a", "b"), "what was submitted is read first"
    assert [state for state, _, _ in world.rows()] == ["done", "failed"]
    world.send = None
    assert world.run(*TEXTS) == truth(*TEXTS)


def test_half_a_surrogate_pair_is_named_before_anything_is_sent(world: World) -> None:
    with pytest.raises(ElicitError, match="surrogate"):
        world.run("a", "\ud800")
    assert world.server.batches == []


def test_a_model_that_answers_several_items_at_once_can_not_be_asked_in_batches(
    tmp_path: Path,
) -> None:
    many = Model(
        capabilities=Capabilities("decision", None, deterministic=False, items_per_call=400)
    )
    with ScoreStore(tmp_path / "s.db") as store, pytest.raises(ModelError, match="batch"):
        BatchedProvider(many, OpenAIBatches.__new__(OpenAIBatches), Batches(store))
