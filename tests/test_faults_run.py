"""A whole run against a server of which 30 % of the requests fail, in eight ways.

The server answers every prompt as it did when none failed, so whatever differs was lost, made
up or paid for twice on this side.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("openai", reason="needs the extra hosted")

from chaos_server import FAILURES, Chaos, chaos_server

import elicit
from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore
from elicit.cli.tasks import open_task
from elicit.labelling import Result, resume
from elicit.providers.base import Usage
from elicit.providers.usage import BudgetReached, Limits
from elicit.search.icm import ICMSettings
from elicit.settings import RunSettings

ITEMS = 24
ANNEALING = ICMSettings(initial=ITEMS, iterations=1, repairs=1)
SETTINGS = RunSettings(method="icm", icm=ANNEALING)
SHARE = 0.3
QUESTION = 1
"""Prompts that are not of the run: what a hosted model is asked when it is opened."""
LIST = 1
"""Requests for the server's list of models then, which this server does not count."""


@dataclass(frozen=True)
class Ground:
    """A server, and what a run found there while nothing failed."""

    chaos: Chaos
    calm: Result

    @property
    def model(self) -> str:
        how = "scorer=completions&timeout=1&concurrency=16&attempts=16"
        return f"compatible:{self.chaos.url}#tiny?{how}"

    @property
    def prompts(self) -> int:
        return self.calm.usage.requests - QUESTION


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with chaos_server(share=0.0) as chaos:
        model = f"compatible:{chaos.url}#tiny?scorer=completions"
        yield Ground(chaos, elicit.label(task(), model, cache=False, settings=SETTINGS))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "e.db"


def task() -> elicit.Task:
    return open_task("claims", ITEMS)


def scores(cache: Path) -> int:
    with ScoreStore(cache) as store:
        return store.stats().scores


def status(cache: Path) -> str:
    with ScoreStore(cache) as store:
        return RunStore(store).get("r").status


def assert_found_the_same(found: Result, ground: Ground, cache: Path) -> None:
    """Labels, log-odds, and each answer of the server in the store, paid for once."""
    assert list(found.rows()) == list(ground.calm.rows())
    assert scores(cache) == ground.prompts
    assert len(ground.chaos.answered) == ground.prompts + QUESTION
    assert max(ground.chaos.answered.values()) == 1


def test_a_run_finds_the_same_whatever_fails_on_the_way(ground: Ground, cache: Path) -> None:
    chaos = ground.chaos
    chaos.begin(SHARE, seed=1)
    found = elicit.label(task(), ground.model, cache=cache, settings=SETTINGS)
    assert_found_the_same(found, ground, cache)
    assert set(chaos.outcomes) == {"answered", *FAILURES}
    assert found.usage.requests == ground.prompts + QUESTION
    # 1 / 0.7 = 1.43 where each request fails by itself.
    assert 1.3 * ground.prompts < found.usage.calls <= 1.5 * ground.prompts
    assert found.usage.calls <= chaos.requests + LIST


def test_a_run_that_its_budget_stops_again_and_again_pays_for_nothing_twice(
    ground: Ground, cache: Path
) -> None:
    most = 50
    ground.chaos.begin(SHARE, seed=2)
    with pytest.raises(BudgetReached):
        elicit.label(
            task(),
            ground.model,
            name="r",
            cache=cache,
            limits=Limits(calls=most),
            settings=SETTINGS,
        )
    stops = 1
    while status(cache) == "budget":
        # What was answered is stored, what is stored was answered.
        assert scores(cache) == len(ground.chaos.answered) - QUESTION
        assert ground.chaos.requests <= stops * most
        try:
            found = resume_here(cache, Limits(calls=most))
        except BudgetReached:
            stops += 1
    assert stops > 1
    assert_found_the_same(found, ground, cache)


def test_an_interrupt_keeps_what_was_in_flight_and_the_run_goes_on(
    ground: Ground, cache: Path
) -> None:
    chaos = ground.chaos
    chaos.begin(SHARE, seed=3, latency=0.3)
    process = elicit_run(ground.model, cache)
    try:
        wait_until_answered(chaos, ground.prompts // 4, process)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    answered = len(chaos.answered) - QUESTION
    assert process.returncode == 130, told
    assert status(cache) == "interrupted"
    assert ground.prompts // 4 < answered < ground.prompts
    assert scores(cache) == answered
    chaos.latency = 0.0
    found = resume_here(cache)
    assert found.usage.requests == ground.prompts - answered
    assert_found_the_same(found, ground, cache)
    assert resume_here(cache).usage == Usage()


def resume_here(cache: Path, limits: Limits | None = None) -> Result:
    return resume("r", open_task, cache=cache, limits=limits)


def elicit_run(model: str, cache: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from elicit.cli.main import main; main()", "run"]
    command += ["claims", "--limit", str(ITEMS), "--model", model, "--name", "r"]
    command += ["--method", "icm"]
    for name in ("initial", "iterations", "repairs"):
        command += ["--set", f"{name}={getattr(ANNEALING, name)}"]
    environment = os.environ | {"ELICIT_CACHE": str(cache)}
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )


def wait_until_answered(chaos: Chaos, least: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while len(chaos.answered) <= least:
        if process.poll() is not None or time.monotonic() > deadline:
            _, told = process.communicate() if process.poll() is not None else (b"", b"")
            raise AssertionError(f"{len(chaos.answered)} answers; it says {told.decode()}")
        time.sleep(0.01)
