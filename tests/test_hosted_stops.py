"""What ends a run at a real server before it is done, and that it goes on as if nothing had."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("openai", reason="needs the extra hosted")

from counting_proxy import Counted, counted
from servers import Server, free_port, llama_cpp_server

from elicit.cache.store import ScoreStore
from elicit.cli.main import main

RUN = ("run", "claims", "--limit", "12", "--name", "r", "--json")
SHORT = ("--method", "icm", "--set", "iterations=6", "--set", "initial=4")
LONG = ("--method", "icm", "--set", "iterations=40", "--set", "initial=4")

PRICES = """[[price]]
provider = "compatible"
model = "organism"
input = 1000.0
output = 2000.0
as_of = 2026-01-31
source = "these tests"
"""
"""A tenth of a cent a token of a prompt."""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    notes: str

    @property
    def result(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


Elicit = Callable[..., Ended]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


@pytest.fixture
def elicit(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Elicit]:
    """The command line, in this process."""
    terminated = signal.getsignal(signal.SIGTERM)

    def ended(*arguments: str, cache: Path = store) -> Ended:
        monkeypatch.setenv("ELICIT_CACHE", str(cache))
        monkeypatch.setattr(sys, "argv", ["elicit", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        told = capsys.readouterr()
        return Ended(int(stop.value.code or 0), told.out, " ".join(told.err.split()))

    yield ended
    signal.signal(signal.SIGTERM, terminated)


@pytest.fixture(scope="module", params=["compatible, llama_cpp", "vllm, vllm"])
def named(request: pytest.FixtureRequest) -> Iterator[tuple[Counted, str]]:
    """A server behind a counter, and the name of its model."""
    prefix, make = request.param.split(", ")
    with counted(request.getfixturevalue(make)) as counter:
        yield counter, f"{prefix}:{counter.url}#organism?scorer=completions"


@pytest.fixture(scope="module")
def whole(
    named: tuple[Counted, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the run tells that nothing stops."""
    folder = tmp_path_factory.mktemp("whole")
    command = [sys.executable, "-c", "from elicit.cli.main import main; main()"]
    made = subprocess.run(
        [*command, *RUN, *SHORT, "--model", named[1], "--cache", str(folder / "e.db")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return dict(json.loads(made.stdout))


# Budgets


def test_no_more_requests_are_sent_than_allowed_and_none_is_sent_twice(
    elicit: Elicit, named: tuple[Counted, str], whole: dict[str, Any]
) -> None:
    counter, model = named
    limit = ("--max-requests", "60")
    counter.clear()
    ended = elicit(*RUN, *SHORT, "--model", model, *limit)
    assert ended.code == 3
    assert "60 requests spent" in ended.notes
    prompts = counter.prompts()
    while ended.code == 3:
        assert 0 < counter.requests <= 60
        counter.clear()
        ended = elicit("resume", "r", "--json", *limit)
        prompts += counter.prompts()
    assert ended.code == 0
    assert ended.result["rows"] == whole["rows"]
    assert max(Counter(prompts).values()) == 1
    # Ways to ask that the server refused are no prompts of the run.
    assert 0 <= len(prompts) - whole["usage"]["requests"] <= 3


def test_no_more_tokens_are_spent_than_allowed(
    elicit: Elicit, named: tuple[Counted, str], whole: dict[str, Any]
) -> None:
    counter, model = named
    spent = whole["usage"]["forwarded_tokens"] + whole["usage"]["cache_read_tokens"]
    limit = ("--max-tokens-spent", str(spent // 2))
    counter.clear()
    ended = elicit(*RUN, *SHORT, "--model", model, *limit)
    assert ended.code == 3
    assert "tokens spent" in ended.notes
    assert spent // 3 < counter.tokens
    while ended.code == 3:
        assert 0 < counter.tokens <= spent // 2
        counter.clear()
        ended = elicit("resume", "r", "--json", *limit)
    assert ended.code == 0
    assert ended.result["rows"] == whole["rows"]


def test_a_bound_on_money_needs_a_price_and_asks_nothing_without(
    elicit: Elicit, llama_cpp: Server
) -> None:
    with counted(llama_cpp) as counter:
        model = f"compatible:{counter.url}#organism"
        ended = elicit(*RUN, "--model", model, "--max-cost", "1")
        assert ended.code == 2
        assert "the price of this model is unknown" in ended.notes
        assert "ELICIT_PRICES" in ended.notes
        assert counter.requests == 0


def test_with_a_price_given_a_bound_on_money_holds(
    elicit: Elicit, llama_cpp: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prices.toml").write_text(PRICES)
    monkeypatch.setenv("ELICIT_PRICES", str(tmp_path / "prices.toml"))
    with counted(llama_cpp) as counter:
        model = f"compatible:{counter.url}#organism"
        ended = elicit(*RUN, *SHORT, "--model", model, "--max-cost", "2")
        assert ended.code == 3
        assert "US dollars" in ended.notes
        assert 1 < counter.dollars(1000, 2000) <= 2
        counter.clear()
        ended = elicit("resume", "r", "--json")
        assert ended.code == 0
        assert ended.result["usage"]["cost_usd"] == pytest.approx(counter.dollars(1000, 2000))


# Names and addresses


def test_a_model_that_a_server_does_not_have_is_named(elicit: Elicit, vllm: Server) -> None:
    ended = elicit("doctor", "--model", f"compatible:{vllm.url}#orgasim")
    assert ended.code == 2
    assert "`orgasim` does not exist" in ended.notes
    assert "Check the model's name" in ended.notes
    assert ended.notes.count("orgasim") < 6


def test_an_address_that_is_wrong_is_told_with_its_mend(
    elicit: Elicit, llama_cpp: Server
) -> None:
    address = llama_cpp.url.removesuffix("/v1") + "/api"
    ended = elicit("doctor", "--model", f"compatible:{address}#organism")
    assert ended.code == 2
    assert f"server's address {address}, which mostly ends in /v1" in ended.notes


def test_that_no_server_is_there_is_told_within_seconds(elicit: Elicit) -> None:
    place = f"127.0.0.1:{free_port()}"
    begin = time.monotonic()
    ended = elicit("doctor", "--model", f"compatible:http://{place}/v1#organism")
    assert time.monotonic() - begin < 10
    assert ended.code == 1
    assert f"the connection to {place} failed" in ended.notes
    assert "check the address, and that the server there is running" in ended.notes
    assert "Traceback" not in ended.notes


# A server that ends


def test_a_run_outlives_its_server(
    elicit: Elicit, hf_form: Path, store: Path, tmp_path: Path
) -> None:
    port = free_port()
    model = f"compatible:http://127.0.0.1:{port}/v1#organism?attempts=2&concurrency=2"
    begin = (*RUN, *LONG, "--model", model)
    with llama_cpp_server(hf_form=hf_form, port=port) as server:
        command = [sys.executable, "-c", "from elicit.cli.main import main; main()", *begin]
        with subprocess.Popen(
            [*command, "--cache", str(store)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as running:
            wait_for(lambda: scores(store) >= 50)
            os.kill(server.pid, signal.SIGTERM)
            _, notes = running.communicate(timeout=60)
    assert running.returncode == 1
    assert b"error: " in notes
    assert b"Traceback" not in notes
    kept = scores(store)
    dead = elicit("resume", "r")
    assert dead.code == 1
    assert "check the address, and that the server there is running" in dead.notes
    assert scores(store) == kept
    with llama_cpp_server(hf_form=hf_form, port=port):
        resumed = elicit("resume", "r", "--json")
        whole = elicit(*begin, cache=tmp_path / "whole.db")
    assert (resumed.code, whole.code) == (0, 0)
    assert resumed.result["rows"] == whole.result["rows"]
    opening = 1
    asked = whole.result["usage"]["requests"] - opening
    assert resumed.result["usage"]["requests"] == asked - kept


def scores(store: Path) -> int:
    if not store.exists():
        return 0
    with closing(ScoreStore(store)) as kept:
        return kept.stats().scores


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
