"""Several processes with one local model: dealing, the same scores, ends of all kinds."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.resources import files
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("llama_cpp", reason="needs the extra local")
if find_spec("ray") is None:
    # Not imported: what it reads from the environment must be there first.
    pytest.skip("needs the extra ray", allow_module_level=True)

import elicit
from elicit.cache.errors import InputError
from elicit.cache.store import ScoreStore
from elicit.providers.base import (
    UNBOUNDED,
    Budget,
    LabelScores,
    ModelError,
    Provider,
    ProviderError,
    ScoredUnit,
    ScoreRequest,
    Usage,
)
from elicit.providers.cached import CachedProvider
from elicit.providers.llama_cpp import LlamaSettings
from elicit.providers.llama_cpp.batch import TokenPrompt, Unit
from elicit.providers.llama_cpp.trunks import Trunks
from elicit.providers.ray import RayProvider, workers
from elicit.providers.ray.dealing import (
    Costs,
    Hands,
    Piece,
    Post,
    deal,
    price_of,
    tokens_of,
)
from elicit.providers.ray.parcel import packed, unpacked
from elicit.providers.ray.worker import Opened, Worker
from elicit.providers.registry import open_model
from elicit.providers.usage import Account, BudgetReached, Limits
from elicit.task_file import load_task

# Ray leaves log files open.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed file:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)

TASKS = Path(str(files("elicit.organism") / "tasks"))
ORGANISM = Path(str(files("elicit.organism") / "organism.gguf"))
SMALL = "sequences=6"
"""So that a few items make several units."""

# --- Dealing ---------------------------------------------------------------------------

CHUNK, HELD = 4, 2
World = tuple[list[Piece], dict[int, Post], Costs]
tokens = st.lists(st.integers(0, 2), max_size=12).map(tuple)
hands_of = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 20)), min_size=1, max_size=12)


@st.composite
def dealt(draw: st.DrawFn, most_ahead: int = 30) -> World:
    costs = Costs(CHUNK, HELD)
    known = [costs.number(trunk) for trunk in draw(st.lists(tokens, min_size=5, max_size=5))]
    pieces = [Piece(known[t], cost) for t, cost in draw(hands_of)]
    posts = {
        worker: Post(
            tuple(draw(st.lists(st.sampled_from(known), unique=True, max_size=HELD))),
            draw(st.integers(0, most_ahead)),
        )
        for worker in range(draw(st.integers(1, 4)))
    }
    return pieces, posts, costs


@given(dealt())
def test_every_unit_is_dealt_once_and_in_order(
    world: World,
) -> None:
    pieces, posts, costs = world
    hands = deal(pieces, posts, costs)
    assert sorted(number for hand in hands.values() for number in hand) == [*range(len(pieces))]
    assert all(list(hand) == sorted(hand) for hand in hands.values())
    assert set(hands) == set(posts)


@given(dealt())
def test_a_block_is_split_only_where_the_token_model_says_that_it_pays(
    world: World,
) -> None:
    pieces, posts, costs = world
    hands = deal(pieces, posts, costs)
    blocks = [
        list(block) for _, block in groupby(range(len(pieces)), lambda n: pieces[n].trunk)
    ]
    whole = [Piece(pieces[b[0]].trunk, sum(pieces[n].cost for n in b)) for b in blocks]
    least = price_of(deal(whole, posts, costs), whole, posts, costs)
    price = price_of(hands, pieces, posts, costs)
    worker_of = {number: worker for worker, hand in hands.items() for number in hand}
    if any(len({worker_of[n] for n in block}) > 1 for block in blocks):
        assert price < least
    else:
        assert price == least


@given(dealt(most_ahead=0))
def test_several_workers_are_never_dearer_than_one(
    world: World,
) -> None:
    pieces, posts, costs = world
    cold = {worker: Post() for worker in posts}
    everything: Hands = {worker: range(len(pieces)) if worker == 0 else [] for worker in posts}
    price = price_of(deal(pieces, cold, costs), pieces, cold, costs)
    assert price <= price_of(everything, pieces, cold, costs)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=60), st.integers(1, 8))
def test_what_shares_nothing_is_balanced(sizes: list[int], n_workers: int) -> None:
    costs = Costs(CHUNK, HELD)
    nothing = costs.number(())
    pieces = [Piece(nothing, size) for size in sizes]
    posts = {worker: Post() for worker in range(n_workers)}
    hands = deal(pieces, posts, costs)
    each = [tokens_of([pieces[n] for n in hand], (), costs)[0] for hand in hands.values()]
    assert max(each) <= 1.05 * (sum(sizes) / n_workers + max(sizes))


def test_two_blocks_go_to_the_workers_that_hold_them() -> None:
    costs = Costs(CHUNK, HELD)
    one, other = costs.number((1,) * 400), costs.number((2,) * 400)
    pieces = [Piece(one, 10), Piece(other, 10)]
    hands = deal(pieces, {0: Post((other,)), 1: Post((one,))}, costs)
    assert hands == {0: [1], 1: [0]}


def test_a_block_that_one_worker_holds_stays_there_until_its_items_outweigh_it() -> None:
    costs = Costs(CHUNK, HELD)
    block = costs.number((1,) * 400)
    posts = {0: Post(), 1: Post((block,))}
    few, many = [Piece(block, 10)] * 20, [Piece(block, 10)] * 200
    assert {w: len(hand) for w, hand in deal(few, posts, costs).items()} == {0: 0, 1: 20}
    assert {w: len(hand) for w, hand in deal(many, posts, costs).items()} == {0: 80, 1: 120}


class Room:
    """A context with room for everything, and a model that has nothing but such."""

    def context(self) -> Room:
        return self

    def reserve(self, _cells: int) -> bool:
        return False

    def keep_prefix(self, _length: int) -> None:
        return None

    def decode(self, _tokens: object) -> None:
        return None


@given(st.lists(tokens, max_size=12))
def test_the_token_model_is_that_of_the_model(asked: list[tuple[int, ...]]) -> None:
    costs = Costs(CHUNK, HELD)
    room: Any = Room()
    model = Trunks(room, LlamaSettings(chunk=CHUNK, trunks=HELD))
    memory: tuple[int, ...] = ()
    for trunk in asked:
        held = model.nearest(trunk)
        kept = held.make_room(trunk, 0)
        held.hold(trunk, kept)
        decoded, memory = costs.after(memory, costs.number(trunk))
        assert decoded == len(trunk) - kept


@given(tokens, st.lists(st.tuples(tokens, tokens), min_size=1, max_size=4))
def test_a_unit_arrives_as_it_was_sent(
    trunk: tuple[int, ...], rest: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    prompts = tuple(
        TokenPrompt(i, (*trunk, 9, *body), len(trunk), ((3, *label), (4,)))
        for i, (body, label) in enumerate(rest)
    )
    unit = Unit(trunk, prompts)
    assert unpacked(packed(unit)) == unit


# --- Scores ----------------------------------------------------------------------------


def requests(blocks: int = 4, shots: int = 12, items: int = 24) -> list[ScoreRequest]:
    """Items after each of several blocks of demonstrations."""
    rendered = load_task(TASKS / "claims.toml").render()
    asked = []
    for block in range(blocks):
        shown = np.arange(100 + shots * block, 100 + shots * (block + 1))
        context = rendered.context(shown, shown % 2)
        asked += [
            ScoreRequest((*context, rendered.questions[i]), rendered.verbalizers)
            for i in range(items)
        ]
    return asked


def scored(
    provider: Provider, asked: Sequence[ScoreRequest], budget: Budget = UNBOUNDED
) -> tuple[dict[int, LabelScores], Usage]:
    found: dict[int, LabelScores] = {}
    used = Usage()
    for unit in provider.score(asked, budget):
        assert not found.keys() & dict(unit.scores).keys()
        found |= dict(unit.scores)
        used += unit.usage
    return found, used


@pytest.fixture(scope="module")
def two() -> Iterator[RayProvider]:
    """Two workers, and Ray for all others."""
    with closing(open_model(f"tiny?workers=2&{SMALL}")) as provider:
        assert isinstance(provider, RayProvider)
        scored(provider, requests(1, items=1))
        yield provider


@pytest.fixture(autouse=True)
def _files_that_ray_leaves_open() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def alone() -> Iterator[Provider]:
    with closing(open_model(f"tiny?threads=1&{SMALL}")) as provider:
        yield provider


def test_workers_are_not_part_of_what_a_model_is(two: RayProvider, alone: Provider) -> None:
    assert two.identity == alone.identity
    assert two.capabilities == replace(alone.capabilities, contexts_at_once=2)
    assert two.count_tokens(requests(1)) == alone.count_tokens(requests(1))


def test_nothing_is_started_for_what_the_store_answers(tmp_path: Path) -> None:
    with closing(ScoreStore(tmp_path / "scores.db")) as store:
        asked = requests(1, items=3)
        with closing(open_model(f"tiny?threads=1&{SMALL}")) as one:
            before, _ = scored(CachedProvider(one, store), asked)
        with closing(open_model(f"tiny?workers=2&{SMALL}")) as several:
            assert scored(CachedProvider(several, store), asked)[0] == before
            assert isinstance(several, RayProvider)
            assert several.pids == []


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("mode", ["shared", "single"])
def test_scores_are_those_of_one_process_to_the_last_bit(mode: str) -> None:
    asked = requests(items=8)
    with closing(open_model(f"tiny?threads=1&{SMALL}&mode={mode}")) as one:
        expected, _ = scored(one, asked)
    with closing(open_model(f"tiny?workers=2&{SMALL}&mode={mode}")) as several:
        assert scored(several, asked)[0] == expected
        # And again, whatever the workers hold by now, of a part that ends between units.
        assert scored(several, asked[8:])[0] == {i - 8: s for i, s in expected.items() if i > 7}


def test_blocks_of_a_batch_are_decoded_once_each(two: RayProvider, alone: Provider) -> None:
    asked = requests()
    expected, by_one = scored(alone, asked)
    found, by_two = scored(two, asked)
    assert found == expected
    assert by_two.requests == by_one.requests
    assert by_two.prompt_tokens == by_one.prompt_tokens
    # Where a worker was slow the other took over what it had left, and its block.
    block = min(by_one.forwarded_tokens // 4, 400)
    assert by_two.forwarded_tokens <= by_one.forwarded_tokens + 4 * block


def test_each_worker_has_its_share_of_the_cores(two: RayProvider) -> None:
    cores = [os.sched_getaffinity(pid) for pid in two.pids]
    everything = os.sched_getaffinity(0)
    assert all(share <= everything for share in cores)
    if len(everything) >= 2:
        assert not cores[0] & cores[1]
    else:
        assert cores == [everything] * 2


# --- Ends ------------------------------------------------------------------------------


def test_a_killed_worker_loses_nothing(two: RayProvider, alone: Provider) -> None:
    asked = requests()
    expected, _ = scored(alone, asked)
    found: dict[int, LabelScores] = {}
    killed = 0
    for number, unit in enumerate(two.score(asked)):
        if number == 1:
            killed = two.pids[0]
            os.kill(killed, signal.SIGKILL)
        assert not found.keys() & dict(unit.scores).keys()
        found |= dict(unit.scores)
    assert found == expected
    assert scored(two, asked)[0] == expected
    # By now another stands in its place, or will.
    assert eventually(lambda: bool(scored(two, asked)) and killed not in two.pids)


def test_a_budget_stops_it_and_all_that_was_paid_for_is_had(two: RayProvider) -> None:
    asked = requests()
    _, whole = scored(two, asked)
    account = Account(Limits(tokens=whole.forwarded_tokens // 2))
    found: dict[int, LabelScores] = {}
    used = Usage()
    units = two.score(asked, account)

    def until_it_stops() -> None:
        nonlocal found, used
        for unit in units:
            found |= dict(unit.scores)
            used += unit.usage

    with pytest.raises(BudgetReached):
        until_it_stops()
    assert found
    assert used.forwarded_tokens == account.spent.forwarded_tokens
    assert used.forwarded_tokens <= whole.forwarded_tokens // 2
    # Nothing is left set aside.
    account.reserve(Usage(forwarded_tokens=whole.forwarded_tokens // 2 - used.forwarded_tokens))


def test_what_is_under_way_when_the_caller_stops_is_kept(
    two: RayProvider, tmp_path: Path
) -> None:
    asked = requests()
    with closing(ScoreStore(tmp_path / "scores.db")) as store:
        kept = CachedProvider(two, store)
        units = kept.score(asked)
        first = next(units)
        units.close()
        stored = [s for s in kept.stored(asked) if s is not None]
        assert len(stored) > len(first.scores)
        assert len(stored) < len(asked)
        again, used = scored(kept, asked)
        assert used.cached == len(stored)
        assert len(again) == len(asked)


@pytest.mark.usefixtures("two")
def test_a_model_that_no_worker_can_open_is_one_error() -> None:
    with (
        closing(open_model(f"tiny+{ORGANISM}?workers=2")) as wrong,
        pytest.raises(ModelError, match=r"not an adapter of .*organism\.gguf"),
    ):
        scored(wrong, requests(1, items=1))


@pytest.mark.usefixtures("two")
def test_a_worker_that_ends_while_it_opens_is_one_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NoMemory(Worker):
        def open(self) -> Opened:
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

    monkeypatch.setattr(workers, "Worker", NoMemory)
    with (
        closing(RayProvider(ORGANISM, settings=LlamaSettings(workers=1))) as failing,
        pytest.raises(ModelError, match=r"ended 3 times while it opened.*use fewer"),
    ):
        scored(failing, requests(1, items=1))


@pytest.mark.usefixtures("two")
def test_prompts_that_end_every_worker_are_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fatal(Worker):
        def score(self, parcel: object) -> ScoredUnit:  # noqa: ARG002
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

    monkeypatch.setattr(workers, "Worker", Fatal)
    with (
        closing(RayProvider(ORGANISM, settings=LlamaSettings(workers=1))) as failing,
        pytest.raises(ProviderError, match=r"ended over the same prompts"),
    ):
        scored(failing, requests(1, items=1))


def test_without_ray_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModelError, match=r"pip install 'elicit-lm\[ray\]'"):
        open_model("tiny?workers=2")


def test_workers_are_at_least_one() -> None:
    with pytest.raises(InputError, match="workers"):
        open_model("tiny?workers=0")


# --- A process with workers --------------------------------------------------------------


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def stat(pid: int) -> tuple[str, int] | None:
    """State and parent of a process; None where there is none."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:2]
    except OSError:
        return None
    return state, int(parent)


def below(pid: int) -> set[int]:
    """All processes that come from this one."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        found = stat(int(entry.name)) if entry.name.isdigit() else None
        if found:
            parents[int(entry.name)] = found[1]
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family - {pid}


def running(pids: set[int]) -> set[int]:
    return {pid for pid in pids if (found := stat(pid)) and found[0] != "Z"}


def listening(pids: set[int]) -> Mapping[str, str]:
    """Sockets of these processes that listen: inode → address as /proc has it."""
    addresses = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                addresses[f"socket:[{fields[9]}]"] = fields[1].partition(":")[0]
    found = {}
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target in addresses:
                found[target] = addresses[target]
    return found


LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks into /proc")
def test_an_interrupted_run_leaves_no_process_and_is_resumed_as_if_never_stopped(
    tmp_path: Path,
) -> None:
    task, one = TASKS / "claims.toml", tmp_path / "one.db"
    command = ["run", str(task), "--model", f"tiny?workers=2&{SMALL}", "--method", "icm"]
    command += ["--limit", "24", "--seed", "3", "--chains", "1", "--set", "iterations=600"]
    command += ["--name", "stopped", "--cache", str(one)]
    # Of its own, and short: paths of sockets are bounded.
    place = Path(tempfile.mkdtemp(prefix="r-"))
    process = subprocess.Popen(
        [sys.executable, "-c", "from elicit.cli.main import main; main()", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(place)},
    )
    try:
        assert eventually(lambda: len(workers_of(process.pid)) == 2, 30)
        time.sleep(0.3)
        family = below(process.pid)
        sockets = listening(family | {process.pid})
        folders = set(place.glob("elicit-ray-*"))
        modes = {folder.stat().st_mode for folder in folders}
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == 130, err
    assert time.monotonic() - began < 10
    assert eventually(lambda: not running(family))
    assert sockets
    assert set(sockets.values()) <= set(LOOPBACK)
    assert modes == {0o40700}
    assert eventually(lambda: not any(folder.exists() for folder in folders))
    shutil.rmtree(place)
    assert not (tmp_path / ".ray").exists()
    assert not out
    assert "ray" not in err.lower()

    resumed = elicit.resume("stopped", cache=one)
    alone = elicit.label(
        load_task(str(task), 24),
        f"tiny?threads=1&{SMALL}",
        cache=tmp_path / "two.db",
        method="icm",
        seed=3,
        chains=1,
        iterations=600,
    )
    assert resumed.usage.cached > 0
    assert resumed.labels.tolist() == alone.labels.tolist()
    assert resumed.log_odds.tolist() == alone.log_odds.tolist()


def workers_of(pid: int) -> list[int]:
    found = []
    for child in below(pid):
        try:
            name = Path(f"/proc/{child}/cmdline").read_text()
        except OSError:
            continue
        if name.startswith("ray::Worker"):
            found.append(child)
    return found
