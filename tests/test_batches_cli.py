"""`elicit batches` tells of what was submitted, and calls it off."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
from batch_server import BatchServer
from batch_world import TEXTS, Killed, Life, World, bill, change, truth
from typer.testing import CliRunner

from elicit.cache.findings import Findings
from elicit.cache.store import ScoreStore
from elicit.cli.batches import batches
from elicit.providers.found import Found, remember
from elicit.providers.hosted_settings import HostedSettings
from elicit.providers.openai import opened
from elicit.providers.opening import OPENAI, finding_key
from elicit.providers.transport import open_client

app = typer.Typer()
app.command()(batches)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A world with a batch that was read, and one that nobody waits for."""
    world = World(tmp_path / "s.db", BatchServer())
    world.run("x")
    with pytest.raises(Killed):
        world.run(*TEXTS, life=Life("sleep"))
    with ScoreStore(world.path) as store:
        place = finding_key("openai", OPENAI, "gpt-4.1-nano", HostedSettings())
        remember(Findings(store), place, Found("chat", "gpt-4.1-nano-2025-04-14", top_k=20))
    transport = httpx2.MockTransport(world.server.handle)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody-000000")
    monkeypatch.setattr(opened, "open_client", partial(open_client, inner=transport))
    return world


def told(world: World, *arguments: str) -> list[dict[str, Any]]:
    run = CliRunner().invoke(
        app, ("--cache", str(world.path), "--json", *arguments), catch_exceptions=False
    )
    assert run.exit_code == 0, run.output
    rows: list[dict[str, Any]] = json.loads(run.stdout)
    return rows


def test_batches_are_listed_with_their_state_their_size_and_their_age(world: World) -> None:
    change(world, "UPDATE batches SET created = created - 7200 WHERE id = 1")
    calls = list(world.server.calls)
    read, left = told(world)
    assert read["hours"] == pytest.approx(2, abs=0.1)
    assert left["hours"] == pytest.approx(0, abs=0.1)
    assert {k: v for k, v in left.items() if k not in {"hours", "created"}} == {
        "batch": "batch_1",
        "model": "openai:gpt-4.1-nano",
        "state": "submitted",
        "requests": 4,
        "unread": 4,
    }
    assert (read["state"], read["unread"]) == ("done", 0)
    assert told(world, "--model", "openai:gpt-4.1-mini") == []
    assert world.server.calls == calls, "to list asks nobody"
    table = CliRunner().invoke(app, ("--cache", str(world.path))).stdout
    assert "batch_1" in table


def test_those_that_run_are_cancelled_and_what_they_answered_is_read_by_the_run(
    world: World,
) -> None:
    assert told(world, "--cancel", "--model", "openai:gpt-4.1-mini") == []
    assert [held.ended for held in world.server.batches] == ["completed", ""]
    assert [row["state"] for row in told(world, "--cancel")] == ["done", "cancelling"]
    assert [held.ended for held in world.server.batches] == ["completed", "cancelled"]
    assert [row["state"] for row in told(world, "--cancel")] == ["done", "submitted"]
    assert world.run(*TEXTS) == truth(*TEXTS)
    assert world.server.billed == bill("x", *TEXTS)


def test_a_batch_whose_answers_are_gone_or_whose_id_is_unknown_is_not_asked_about(
    world: World,
) -> None:
    change(world, "UPDATE batches SET created = created - ? WHERE id = 2", 30 * 86400)
    calls = list(world.server.calls)
    assert told(world, "--cancel")[1]["state"] == "submitted"
    change(world, "UPDATE batches SET batch = NULL, state = 'intended' WHERE id = 2")
    assert told(world, "--cancel")[1]["batch"] is None
    assert world.server.calls == calls
