"""Laws of runs: a checkpoint is whole or absent, and one process works on a run."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elicit.cache.claims import Owner, write_owner
from elicit.cache.errors import InputError, StoreDamaged
from elicit.cache.prune import prune
from elicit.cache.runs import Run, RunStore
from elicit.cache.store import ScoreStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ScoreStore]:
    with ScoreStore(tmp_path / "s.db") as opened:
        yield opened


@pytest.fixture
def runs(store: ScoreStore) -> RunStore:
    return RunStore(store)


def create(runs: RunStore, name: str | None = None, task_path: str = "x/claims.toml") -> Run:
    return runs.create(
        name,
        task_digest="00ff",
        task_path=task_path,
        model="tiny",
        method="icm",
        settings={"alpha": 50.0, "nested": {"k": [1, None]}},
        seed=2**62,
        chains=3,
    )


def owner_of(runs: RunStore, store: ScoreStore, run: Run, owner: Owner) -> Run:
    """The run as seen while `owner` holds it."""
    with store.transaction():
        write_owner(store.connection, run.id, owner)
    return runs.get(run.name)


# Records


def test_a_run_is_read_back_as_it_was_created(runs: RunStore) -> None:
    run = create(runs, "mine")
    assert runs.get("mine") == run
    assert (run.settings, run.seed) == ({"alpha": 50.0, "nested": {"k": [1, None]}}, 2**62)
    assert (run.result, run.usage, run.chains) == (None, {}, 3)
    assert runs.list() == [run]


def test_a_taken_name_is_refused_with_both_ways_out(runs: RunStore) -> None:
    create(runs, "mine")
    with pytest.raises(InputError, match=r"elicit resume mine.*another --name"):
        create(runs, "mine")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a", ".a", "a\n", "x" * 101])
def test_what_is_no_name_is_refused(runs: RunStore, name: str) -> None:
    with pytest.raises(InputError, match="run name"):
        create(runs, name)


def test_a_run_without_a_name_is_called_after_its_task(runs: RunStore) -> None:
    names = [create(runs).name for _ in range(2)]
    assert names == ["claims-1", "claims-2"]
    assert create(runs, task_path="").name == "run-1"
    assert create(runs, task_path="/x/my tâsk (2).toml").name == "my-tâsk-2-1"


def test_an_unknown_name_gets_a_suggestion(runs: RunStore) -> None:
    with pytest.raises(InputError, match="elicit runs"):
        runs.get("claims-1")
    create(runs)
    with pytest.raises(InputError, match="Did you mean 'claims-1'"):
        runs.get("claim-1")


def test_usage_adds_up_over_processes(runs: RunStore) -> None:
    run = create(runs)
    runs.add_usage(run.id, {"requests": 2, "cost_usd": None})
    runs.add_usage(run.id, {"requests": 3, "cost_usd": 0.5})
    assert runs.get(run.name).usage == {"requests": 5, "cost_usd": 0.5}


def test_a_finished_run_keeps_its_result(runs: RunStore) -> None:
    run = create(runs)
    runs.finish(run.id, "done", {"objective": -1.5})
    with runs.claim(run.id):
        pass
    found = runs.get(run.name)
    assert (found.status, found.result) == ("done", {"objective": -1.5})
    assert found.updated >= found.created


def test_an_unknown_status_or_run_is_a_bug_and_says_so(runs: RunStore) -> None:
    run = create(runs)
    with pytest.raises(ValueError, match="known: running"):
        runs.finish(run.id, "paused")
    with pytest.raises(ValueError, match="no run has the id 99"):
        runs.finish(99, "done")
    with pytest.raises(ValueError, match="no run has the id 99"):
        runs.checkpoint(99, 0, "{}", 1)
    with pytest.raises(ValueError, match="no run has the id 99"):
        runs.add_usage(99, {})
    assert runs.load_checkpoint(99, 0) is None  # the failed one left nothing


# Checkpoints


def test_a_checkpoint_replaces_the_state_and_appends_to_the_trace(runs: RunStore) -> None:
    run = create(runs)
    assert runs.load_checkpoint(run.id, 0) is None
    first: list[tuple[Any, ...]] = [(0, 0.1, "flip", None), (1, -math.inf, "keep", [1])]
    runs.checkpoint(run.id, 0, '{"a": 1}', 1, first)
    runs.checkpoint(run.id, 1, "other chain", 1, [(0, 9)])
    runs.checkpoint(run.id, 0, '{"a": 2}', 2, [(2, 1 / 3)])
    assert runs.load_checkpoint(run.id, 0) == '{"a": 2}'
    assert runs.load_checkpoint(run.id, 1) == "other chain"
    assert runs.trace(run.id, 0) == [*first, (2, 1 / 3)]
    assert runs.trace(run.id, 1) == [(0, 9)]


def test_a_checkpoint_that_fails_changes_nothing(runs: RunStore) -> None:
    run = create(runs)
    runs.checkpoint(run.id, 0, "old", 1, [(0, "a"), (1, "b")])
    with pytest.raises(sqlite3.IntegrityError):
        runs.checkpoint(run.id, 0, "new", 2, [(2, "c"), (2, "again")])
    assert runs.load_checkpoint(run.id, 0) == "old"
    assert runs.trace(run.id, 0) == [(0, "a"), (1, "b")]


def test_trace_rows_given_again_are_kept_once(runs: RunStore) -> None:
    run = create(runs)
    runs.checkpoint(run.id, 0, "old", 1, [(0, "a"), (1, "b")])
    runs.checkpoint(run.id, 0, "new", 2, [(0, "a"), (1, "b"), (2, "c")])
    assert runs.trace(run.id, 0) == [(0, "a"), (1, "b"), (2, "c")]


def test_a_damaged_state_is_refused(runs: RunStore, store: ScoreStore) -> None:
    run = create(runs)
    runs.checkpoint(run.id, 0, "labels 01", 1)
    store.connection.execute("UPDATE checkpoints SET state = 'labels 11'")
    with pytest.raises(StoreDamaged, match="under another name"):
        runs.load_checkpoint(run.id, 0)


WORKER = """
import sys
from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore
with ScoreStore({path!r}) as store:
    runs = RunStore(store)
    run = runs.get("claims-1")
    with runs.claim(run.id):
        for n in range(1_000_000):
            runs.checkpoint(run.id, 0, str(n), n, [(n, n / 7)])
            print(n, flush=True)
"""


def test_a_killed_run_goes_on_from_a_whole_checkpoint(
    runs: RunStore, store: ScoreStore
) -> None:
    run = create(runs)
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER.format(path=str(store.path))],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    printed = [int(worker.stdout.readline()) for _ in range(30)]
    assert runs.get(run.name).status == "running"
    with pytest.raises(InputError, match=f"process {worker.pid} "), runs.claim(run.id):
        pass
    worker.send_signal(signal.SIGKILL)
    printed += [int(line) for line in worker.stdout]
    worker.wait(timeout=60)
    worker.stdout.close()
    assert runs.get(run.name).status == "interrupted"
    with runs.claim(run.id):  # taken over from the dead
        state = runs.load_checkpoint(run.id, 0)
        assert isinstance(state, str)
        last = int(state)
    # At most one more was committed before its number could be printed.
    assert last - printed[-1] in (0, 1)
    assert runs.trace(run.id, 0) == [(n, n / 7) for n in range(last + 1)]


# Claims


def test_a_second_claim_by_a_live_process_names_it(runs: RunStore) -> None:
    run, other = create(runs), create(runs)
    with runs.claim(run.id):
        assert runs.get(run.name).status == "running"
        with pytest.raises(InputError, match=f"process {os.getpid()} "), runs.claim(run.id):
            pass
        with runs.claim(other.id):
            pass
    assert runs.get(run.name).status == "interrupted"
    with runs.claim(run.id):
        runs.finish(run.id, "budget")
    assert runs.get(run.name).status == "budget"


def test_a_claim_is_given_up_when_the_work_fails(runs: RunStore) -> None:
    run = create(runs)
    with pytest.raises(KeyboardInterrupt), runs.claim(run.id):
        raise KeyboardInterrupt
    with runs.claim(run.id):
        pass


def test_claims_of_processes_that_are_gone_are_taken_over(
    runs: RunStore, store: ScoreStore
) -> None:
    run, me = create(runs), Owner.current()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for dead in (
        replace(me, pid=gone.pid),
        replace(me, boot="before the restart"),
        replace(me, started="another process had this number"),
    ):
        assert owner_of(runs, store, run, dead).status == "interrupted"
        with runs.claim(run.id):
            pass


def test_a_process_on_another_host_counts_as_alive_unless_the_user_knows_better(
    runs: RunStore, store: ScoreStore
) -> None:
    run = create(runs)
    far = replace(Owner.current(), host="elsewhere")
    assert owner_of(runs, store, run, far).status == "running"
    with pytest.raises(InputError, match="on elsewhere"), runs.claim(run.id):
        pass
    with runs.claim(run.id, force=True):
        pass
    assert runs.get(run.name).status == "interrupted"


def test_a_zombie_counts_as_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = replace(Owner.current(), pid=child.pid, started="")
    assert owner.is_alive()
    child.communicate(b"\n")
    assert not owner.is_alive()


# Pruning


def test_pruning_a_run_removes_all_of_it_and_only_it(runs: RunStore, store: ScoreStore) -> None:
    run, other = create(runs), create(runs)
    for each in (run, other):
        runs.checkpoint(each.id, 0, "state", 1, [(0, "row")])
    assert prune(store, run=run.name, dry_run=False).runs == 1
    assert [r.name for r in runs.list()] == [other.name]
    assert (runs.trace(run.id, 0), runs.load_checkpoint(run.id, 0)) == ([], None)
    assert runs.trace(other.id, 0) == [(0, "row")]
    assert create(runs, run.name).id > other.id  # an id is never used again


def test_what_cant_be_pruned_is_refused(runs: RunStore, store: ScoreStore) -> None:
    run = create(runs)
    with pytest.raises(InputError, match="no run 'nope'"):
        prune(store, run="nope")
    with pytest.raises(InputError, match="what to prune"):
        prune(store)
    with pytest.raises(InputError, match="not both"):
        prune(store, run="nope", model="m")
    with runs.claim(run.id), pytest.raises(InputError, match="end it first"):
        prune(store, run=run.name, dry_run=False)
    assert prune(store, older_than_days=1).runs == 0
    assert prune(store, older_than_days=-1, dry_run=False).runs == 1
