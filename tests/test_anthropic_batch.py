"""A batch gives the draws that single calls would, at half the price, and is found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from anthropic_server import (
    KEY,
    MODEL,
    URL,
    Json,
    bare_request,
    block_request,
    labelled,
    message,
    usage,
)

from elicit.cache.batches import Batches
from elicit.cache.errors import InputError
from elicit.cache.store import ScoreStore
from elicit.providers.anthropic import AnthropicBatches, open_batches, open_wire
from elicit.providers.base import ModelError, ProviderError, ScoredUnit, ScoreRequest, Usage
from elicit.providers.batched import BatchedProvider
from elicit.providers.batches import BatchState, Incomplete, Lost, Undecided, custom_id
from elicit.providers.cached import CachedProvider
from elicit.providers.garbled import Garbled
from elicit.providers.hosted import HostedProvider, Reply, Unanswered
from elicit.providers.limits import Limiter
from elicit.providers.prices import Price, find_price
from elicit.providers.redact import Secret
from elicit.providers.retry import RetryPolicy
from elicit.providers.sampled import SampledProvider, from_draws, one_draw
from elicit.providers.submission import Patience
from elicit.providers.transport import open_client

COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@dataclass
class Held:
    """A batch that the server holds; `lines` are its results."""

    name: str
    bodies: list[Json]
    created: datetime
    status: str = "in_progress"
    lines: list[Json] = field(default_factory=list)
    archived: bool = False

    def shown(self) -> Json:
        counts = dict.fromkeys(COUNTS, 0)
        for line in self.lines if self.status == "ended" else ():
            counts[line["result"]["type"]] += 1
        if self.status != "ended":
            counts["processing"] = len(self.bodies)
        there = self.status == "ended" and not self.archived
        made = {
            "id": self.name,
            "type": "message_batch",
            "created_at": self.created.isoformat(),
            "expires_at": (self.created + timedelta(days=1)).isoformat(),
            "ended_at": self.created.isoformat() if self.status == "ended" else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "processing_status": self.status,
            "request_counts": counts,
            "results_url": f"{URL}/v1/messages/batches/{self.name}/results" if there else None,
        }
        MessageBatch.model_validate(made)
        return made

    def end(self, *results: Json, valid: bool = True) -> None:
        """With these results, in the reverse of the order asked."""
        self.status = "ended"
        for body, result in zip(self.bodies, results, strict=True):
            line = {"custom_id": body["custom_id"], "result": result}
            if valid:
                MessageBatchIndividualResponse.model_validate(line)
            self.lines.insert(0, line)


@dataclass
class BatchServer:
    """Anthropic's batch endpoint."""

    held: list[Held] = field(default_factory=list)
    now: datetime = NOW
    page: int = 2
    fail: list[httpx2.Response] = field(default_factory=list)
    spoil: Callable[[str], str] = lambda text: text
    """Results as they are downloaded."""
    label: str = ""
    """Where set, batches end as soon as they are asked about, with this label throughout."""

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        parts = request.url.path.removeprefix("/v1/messages/batches").strip("/").split("/")
        if request.method == "POST" and parts == [""]:
            held = Held(
                f"msgbatch_{len(self.held)}", json.loads(request.content)["requests"], self.now
            )
            self.held.append(held)
            return self.fail.pop() if self.fail else httpx2.Response(200, json=held.shown())
        if parts == [""]:
            return self.listed(request.url.params.get("after_id"))
        held = next(h for h in self.held if h.name == parts[0])
        if parts[1:] == ["cancel"]:
            held.status = "canceling"
        if self.label and held.status == "in_progress":
            held.end(*[succeeded(labelled(self.label)) for _ in held.bodies])
        if parts[1:] == ["results"]:
            text = "\n".join(json.dumps(line) for line in held.lines)
            return httpx2.Response(200, text=self.spoil(text))
        return httpx2.Response(200, json=held.shown())

    def listed(self, after: str | None) -> httpx2.Response:
        newest_first = self.held[::-1]
        start = 0 if after is None else [h.name for h in newest_first].index(after) + 1
        page = newest_first[start : start + self.page]
        return httpx2.Response(
            200,
            json={
                "data": [held.shown() for held in page],
                "has_more": start + self.page < len(newest_first),
                "first_id": page[0].name if page else None,
                "last_id": page[-1].name if page else None,
            },
        )

    def client(self) -> httpx2.Client:
        return open_client(URL, Secret(KEY), inner=httpx2.MockTransport(self))


def succeeded(body: Json) -> Json:
    return {"type": "succeeded", "message": body}


def errored(type_: str, text: str) -> Json:
    error = {"type": "error", "error": {"type": type_, "message": text}, "request_id": None}
    return {"type": "errored", "error": error}


def batches(server: BatchServer, price: Price | None = None) -> AnthropicBatches:
    return open_batches(open_wire(MODEL, server.client(), price=price))


def outcomes(
    result: Json, price: Price | None = None, *, valid: bool = True
) -> list[Reply | Lost]:
    """What is read from a batch of one request that ended in this result."""
    server = BatchServer()
    endpoint = batches(server, price)
    name = endpoint.submit([block_request()], "tag")
    server.held[0].end(result, valid=valid)
    return list(endpoint.results(name, [block_request()]))


SINCE = NOW.timestamp() - 60

DRAWS = [block_request(item, sample) for item in "ab" for sample in range(2)]
IDS = [custom_id(request) for request in DRAWS]


# What is submitted


def test_each_draw_is_a_line_of_its_own_with_the_body_of_a_single_call() -> None:
    server = BatchServer()
    assert batches(server).submit(DRAWS, "tag") == "msgbatch_0"
    lines = server.held[0].bodies
    assert len({line["custom_id"] for line in lines}) == len(DRAWS)
    assert [line["custom_id"].split("-")[0] for line in lines] == IDS
    assert all(len(line["custom_id"]) <= 64 for line in lines)
    body = lines[0]["params"]
    assert body["model"] == MODEL
    assert "stream" not in body
    assert body["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral"}
    assert lines[0]["params"] == lines[1]["params"] != lines[2]["params"]


def test_a_request_takes_no_more_bytes_than_it_is_said_to() -> None:
    server = BatchServer()
    endpoint = batches(server)
    odd = [bare_request('Is "ж🌿\\" a plant?\n')]
    endpoint.submit(odd, "tag")
    (line,) = server.held[0].bodies
    assert len(json.dumps(line, ensure_ascii=False).encode()) <= endpoint.size(odd[0])


def test_half_of_a_surrogate_pair_is_named_before_anything_is_sent() -> None:
    server = BatchServer()
    with pytest.raises(InputError, match=r"moss.*surrogate"):
        batches(server).submit([bare_request("fern"), bare_request("moss \ud83c")], "tag")
    assert not server.held


def test_a_batch_costs_half() -> None:
    price = find_price("anthropic", MODEL)
    assert price is not None
    whole = open_wire(MODEL, BatchServer().client(), price=price).calls([block_request()])
    expected = batches(BatchServer(), price).expected(block_request())
    assert whole[0].expected.cost_usd is not None
    assert expected.cost_usd == pytest.approx(whole[0].expected.cost_usd / 2)
    assert expected.calls == 1


def test_where_the_price_of_a_batch_is_unknown_it_is_said() -> None:
    price = find_price("anthropic", MODEL)
    assert price is not None
    expected = batches(BatchServer(), replace(price, batch=None)).expected(block_request())
    assert expected.cost_usd is None
    assert expected.unpriced_calls == 1


def test_a_batch_has_no_more_results_than_fit_a_reply() -> None:
    plain = open_batches(open_wire(MODEL, BatchServer().client()))
    thinking = open_batches(open_wire(MODEL, BatchServer().client(), can_skip_thinking=False))
    assert 1_000 < thinking.limits.requests < plain.limits.requests <= 100_000
    line = json.dumps({"custom_id": "0" * 49, "result": succeeded(labelled("l" * 200))})
    assert len(line) < 1_500


# What comes back


def test_results_are_matched_by_id_and_not_by_order() -> None:
    server = BatchServer()
    endpoint = batches(server)
    name = endpoint.submit(DRAWS, "tag")
    labels = ["no", "yes", "yes", "no"]
    server.held[0].end(*[succeeded(labelled(label)) for label in labels])
    found = {}
    for reply in endpoint.results(name, DRAWS[::-1]):
        assert isinstance(reply, Reply)
        ((place, scores),) = reply.scores
        found[place] = scores
    assert [found[place] for place in range(4)] == [
        one_draw(("no", "yes").index(label), 2) for label in labels[::-1]
    ]


def test_lines_that_were_not_asked_for_are_skipped() -> None:
    server = BatchServer()
    endpoint = batches(server)
    name = endpoint.submit(DRAWS, "tag")
    server.held[0].end(*[succeeded(labelled("no"))] * 4)
    (reply,) = endpoint.results(name, DRAWS[2:3])
    assert isinstance(reply, Reply)
    assert reply.scores == ((0, one_draw(0, 2)),)


def test_an_answer_is_billed_at_the_price_of_a_batch() -> None:
    price = find_price("anthropic", MODEL)
    assert price is not None
    server = BatchServer()
    endpoint = batches(server, price)
    name = endpoint.submit([block_request()], "tag")
    server.held[0].end(succeeded(labelled("no", used=usage(100, 50, 25, 10))))
    (reply,) = endpoint.results(name, [block_request()])
    assert isinstance(reply, Reply)
    assert reply.usage.cost_usd == price.cost(
        input_tokens=100,
        cache_write_tokens=50,
        cached_tokens=25,
        output_tokens=10,
        batch=True,
    )


@pytest.mark.parametrize(
    "result",
    [
        {"type": "expired"},
        {"type": "canceled"},
        errored("api_error", "internal error"),
        errored("overloaded_error", "Overloaded"),
        errored("rate_limit_error", "slow down"),
        errored("billing_error", "payment is due"),
        succeeded(labelled("maybe")),
        succeeded(message("yes")),
    ],
)
def test_what_may_be_answered_the_next_time_is_lost_and_not_a_score(result: Json) -> None:
    (lost,) = outcomes(result)
    assert isinstance(lost, Lost)
    assert lost.index == 0
    assert "Moss is a plant." in lost.reason


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (succeeded(message("", stop_reason="refusal")), "declined"),
        (succeeded(message("{", stop_reason="max_tokens")), "cut off"),
        (succeeded(message("", stop_reason="model_context_window_exceeded")), "context"),
        (errored("invalid_request_error", "prompt is too long: 9 > 8"), "fewer demonstrations"),
        (errored("invalid_request_error", "thinking: not supported"), "thinking"),
        (errored("not_found_error", "model: claude"), "claude"),
    ],
)
def test_what_asking_again_would_not_mend_is_unanswered_with_the_reason(
    result: Json, why: str
) -> None:
    (reply,) = outcomes(result)
    assert isinstance(reply, Reply)
    assert reply.scores == ()
    ((place, reason),) = reply.unanswered
    assert place == 0
    assert "Moss is a plant." in reason
    assert why in reason


def test_another_model_s_answers_are_no_scores() -> None:
    with pytest.raises(ProviderError, match="claude-opus-5"):
        outcomes(succeeded(labelled("yes", model="claude-opus-5")))


@pytest.mark.parametrize(
    "line", ["3", "{}", '{"custom_id": "x"}', '{"custom_id": null, "result": null}']
)
def test_lines_of_another_shape_are_no_answers(line: str) -> None:
    server = BatchServer()
    endpoint = batches(server)
    name = endpoint.submit([block_request()], "tag")
    server.held[0].status = "ended"
    named = json.loads(line)
    if isinstance(named, dict) and named.get("custom_id") == "x":
        named["custom_id"] = server.held[0].bodies[0]["custom_id"]

    def respond(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("results"):
            return httpx2.Response(200, text=json.dumps(named))
        return httpx2.Response(200, json=server.held[0].shown())

    endpoint = open_batches(
        open_wire(MODEL, open_client(URL, None, inner=httpx2.MockTransport(respond)))
    )
    with suppress(Incomplete):
        for found in endpoint.results(name, [block_request()]):
            assert isinstance(found, Lost)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-40],
        lambda text: text.replace('"custom_id"', '"custom_id', 1),
        lambda text: text.partition("\n")[2],
        lambda text: text.replace(text[: text.index("\n")], "[" * 100_000, 1),
    ],
    ids=["cut short", "damaged in its first line", "short of a line", "nested without end"],
)
def test_results_that_are_not_whole_are_read_as_far_as_they_go_and_said_to_be_so(
    spoil: Callable[[str], str],
) -> None:
    server = BatchServer(spoil=spoil)
    endpoint = batches(server)
    name = endpoint.submit(DRAWS, "tag")
    server.held[0].end(*[succeeded(labelled("no"))] * 4)
    reading = endpoint.results(name, DRAWS)
    assert all(isinstance(next(reading), Reply) for _ in range(3))
    with pytest.raises(Incomplete, match=r"of the 4 results of batch msgbatch_0, 3 can be"):
        next(reading)


def test_results_that_lack_only_what_was_not_asked_for_are_whole() -> None:
    server = BatchServer(spoil=lambda text: text[:-40])
    endpoint = batches(server)
    name = endpoint.submit(DRAWS, "tag")
    server.held[0].end(*[succeeded(labelled("no"))] * 4)
    assert len(list(endpoint.results(name, DRAWS[1:]))) == 3


def test_results_that_were_not_whole_are_downloaded_again_and_not_paid_for_again(
    tmp_path: Path,
) -> None:
    cuts = iter([40])
    server = BatchServer(
        label="no",
        now=datetime.now(UTC),
        spoil=lambda text: text[: len(text) - next(cuts, 0)],
    )
    with ScoreStore(tmp_path / "s.db") as store:
        units = scores(stacked(server, store, 4), [block_request("a")])
    assert [len(held.bodies) for held in server.held] == [4]
    assert [s for unit in units for _, s in unit.scores] == [from_draws([one_draw(0, 2)] * 4)]


def test_what_an_answer_took_that_is_of_no_use_is_told() -> None:
    price = find_price("anthropic", MODEL)
    assert price is not None
    used = usage(100, 50, 25, 10)
    for body in (labelled("maybe", used=used), message("yes", used=used)):
        (lost,) = outcomes(succeeded(body), price)
        assert isinstance(lost, Lost)
        assert lost.usage.output_tokens == 10
        assert lost.usage.cost_usd == price.cost(
            input_tokens=100,
            cache_write_tokens=50,
            cached_tokens=25,
            output_tokens=10,
            batch=True,
        )


def test_an_answer_that_does_not_say_what_it_took_is_taken_for_what_was_expected() -> None:
    expected = batches(BatchServer()).expected(block_request())
    (lost,) = outcomes(succeeded({**labelled("yes"), "usage": None}), valid=False)
    assert isinstance(lost, Lost)
    assert lost.usage == expected
    (expired,) = outcomes({"type": "expired"})
    assert isinstance(expired, Lost)
    assert expired.usage == Usage()


def test_what_another_model_answered_hides_no_other_answer() -> None:
    server = BatchServer()
    endpoint = batches(server)
    name = endpoint.submit(DRAWS, "tag")
    other = succeeded(labelled("no", model="claude-opus-5"))
    server.held[0].end(*[succeeded(labelled("no"))] * 3, other)
    reading = endpoint.results(name, DRAWS)
    assert all(isinstance(next(reading), Reply) for _ in range(3))
    with pytest.raises(ProviderError, match="claude-opus-5"):
        next(reading)


# How far it is


def test_a_batch_runs_until_it_has_ended() -> None:
    server = BatchServer()
    endpoint = batches(server)
    name = endpoint.submit(DRAWS, "tag")
    assert endpoint.poll(name) == BatchState("running", 0, 4)
    endpoint.cancel(name)
    assert endpoint.poll(name) == BatchState("running", 0, 4)
    server.held[0].end(*[succeeded(labelled("no"))] * 4)
    assert endpoint.poll(name) == BatchState("done", 4, 4)


@pytest.mark.parametrize(("last", "state"), [("expired", "expired"), ("canceled", "cancelled")])
def test_a_batch_that_ended_early_says_how(last: str, state: str) -> None:
    server = BatchServer()
    endpoint = batches(server)
    name = endpoint.submit(DRAWS, "tag")
    server.held[0].end(*[succeeded(labelled("no"))] * 3, {"type": last})
    assert endpoint.poll(name).state == state


def test_a_batch_whose_results_are_gone_has_failed() -> None:
    server = BatchServer()
    endpoint = batches(server)
    name = endpoint.submit(DRAWS, "tag")
    server.held[0].end(*[succeeded(labelled("no"))] * 4)
    server.held[0].archived = True
    state = endpoint.poll(name)
    assert state.state == "failed"
    assert "archived" in state.reason


# Whose it is


def test_an_ended_batch_is_found_by_its_tag_among_others_of_its_size() -> None:
    server = BatchServer()
    endpoint = batches(server)
    for tag in ("one", "two", "three"):
        endpoint.submit(DRAWS, tag)
    for held in server.held:
        held.end(*[succeeded(labelled("no"))] * 4)
    assert endpoint.find("two", IDS, SINCE) == "msgbatch_1"
    assert endpoint.find("four", IDS, SINCE) is None


def test_while_one_that_may_be_it_runs_nothing_is_decided() -> None:
    server = BatchServer()
    endpoint = batches(server)
    endpoint.submit(DRAWS, "mine")
    endpoint.submit(DRAWS[:2], "of another size")
    with pytest.raises(Undecided, match=r"msgbatch_0 \(2026-11-25 12:00 UTC\)"):
        endpoint.find("mine", IDS, SINCE)
    server.held[0].end(*[succeeded(labelled("no"))] * 4)
    assert endpoint.find("mine", IDS, SINCE) == "msgbatch_0"


def test_running_batches_of_another_size_or_time_are_not_it() -> None:
    server = BatchServer(now=NOW - timedelta(hours=2))
    endpoint = batches(server)
    endpoint.submit(DRAWS, "older")
    server.now = NOW
    endpoint.submit(DRAWS[:2], "smaller")
    assert endpoint.find("mine", IDS, SINCE) is None


def test_a_clock_that_is_minutes_ahead_of_the_server_s_hides_no_batch() -> None:
    server = BatchServer(now=NOW - timedelta(minutes=5))
    endpoint = batches(server)
    endpoint.submit(DRAWS, "mine")
    server.held[0].end(*[succeeded(labelled("no"))] * 4)
    assert endpoint.find("mine", IDS, NOW.timestamp()) == "msgbatch_0"


# Through the driver and the store


def stacked(server: BatchServer, store: ScoreStore, samples: int) -> SampledProvider:
    wire = open_wire(MODEL, server.client(), samples=samples)
    hosted = HostedProvider(f"anthropic:{MODEL}", wire, Limiter(max_concurrency=2))
    patience = Patience(sleep=lambda _: None, policy=RetryPolicy(first_wait=0.0))
    batched = BatchedProvider(hosted, open_batches(wire), Batches(store), patience=patience)
    return SampledProvider(CachedProvider(batched, store))


def scores(provider: SampledProvider, requests: list[ScoreRequest]) -> list[ScoredUnit]:
    return list(provider.score(requests))


def test_more_draws_take_a_batch_of_what_is_missing(tmp_path: Path) -> None:
    server = BatchServer(label="yes", now=datetime.now(UTC))
    items = [block_request("a"), block_request("b")]
    with ScoreStore(tmp_path / "s.db") as store:
        scores(stacked(server, store, 4), items)
        units = scores(stacked(server, store, 8), items)
        scores(stacked(server, store, 8), items)
    assert [len(held.bodies) for held in server.held] == [8, 8]
    found = [pair for unit in units for pair in unit.scores]
    assert [s for _, s in found] == [from_draws([one_draw(1, 2)] * 8)] * 2


def test_a_batch_whose_creation_was_not_answered_is_found_and_not_paid_for_again(
    tmp_path: Path,
) -> None:
    server = BatchServer(
        label="no", now=datetime.now(UTC), fail=[httpx2.Response(500, json={})]
    )
    with ScoreStore(tmp_path / "s.db") as store:
        server_ends(server)
        units = scores(stacked(server, store, 2), [block_request("a")])
    assert len(server.held) == 1
    ((_, found),) = [pair for unit in units for pair in unit.scores]
    assert found == from_draws([one_draw(0, 2)] * 2)


def server_ends(server: BatchServer) -> None:
    """Have every batch end before the list is shown a second time."""
    listed, times = server.listed, [0]

    def ended_by_then(after: str | None) -> httpx2.Response:
        times[0] += 1
        if times[0] > 1:
            for held in server.held:
                if held.status == "in_progress":
                    held.end(*[succeeded(labelled(server.label)) for _ in held.bodies])
        return listed(after)

    server.listed = ended_by_then  # type: ignore[method-assign]  # the server changes over time


def test_a_refused_draw_leaves_the_others_stored_and_says_why(tmp_path: Path) -> None:
    server = BatchServer(now=datetime.now(UTC))
    with ScoreStore(tmp_path / "s.db") as store:
        provider = stacked(server, store, 1)
        items = [block_request("a"), block_request("b")]

        def end(_seconds: float) -> None:
            server.held[0].end(
                succeeded(message("", stop_reason="refusal")), succeeded(labelled("no"))
            )

        wire = open_wire(MODEL, server.client(), samples=1)
        hosted = HostedProvider(f"anthropic:{MODEL}", wire, Limiter(max_concurrency=2))
        cached = CachedProvider(
            BatchedProvider(
                hosted, open_batches(wire), Batches(store), patience=Patience(sleep=end)
            ),
            store,
        )
        with pytest.raises(Unanswered, match="'a': the model declined"):
            list(cached.score(items))
        (unit,) = provider.score(items[1:])
        assert unit.usage.cached == 1
    assert len(server.held) == 1


def test_a_key_that_is_refused_creates_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    refused = httpx2.Response(
        401, json={"type": "error", "error": {"type": "authentication_error", "message": "no"}}
    )
    client = open_client(URL, Secret(KEY), inner=httpx2.MockTransport(lambda _: refused))
    wire = open_wire(MODEL, client, samples=1)
    hosted = HostedProvider(f"anthropic:{MODEL}", wire, Limiter(max_concurrency=2))
    with ScoreStore(tmp_path / "s.db") as store:
        provider = BatchedProvider(hosted, open_batches(wire), Batches(store))
        with pytest.raises(ModelError, match="check the API key"):
            list(provider.score([block_request()]))


def test_a_reply_that_is_no_batch_is_worth_another_try() -> None:
    page = httpx2.Response(200, text="<html>")
    client = open_client(URL, Secret(KEY), inner=httpx2.MockTransport(lambda _: page))
    endpoint = open_batches(open_wire(MODEL, client))
    for ask in (
        lambda: endpoint.poll("msgbatch_0"),
        lambda: endpoint.submit([block_request()], "tag"),
    ):
        with pytest.raises(Garbled) as caught:
            ask()
        fault = endpoint.classify(caught.value)
        assert fault is not None
        assert fault.kind == "transient"
