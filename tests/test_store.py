"""Laws of the score store: what was paid for is found again, to the last bit, by anyone."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elicit.cache.codec import pack_ids, unpack_ids
from elicit.cache.dictionary import is_sampled
from elicit.cache.errors import StoreDamaged, StoreError
from elicit.cache.explain import explain
from elicit.cache.export import export
from elicit.cache.findings import Findings
from elicit.cache.keys import ScoreKey, context_key, prefix_digest, segment_digest
from elicit.cache.location import store_path
from elicit.cache.memory import Memory
from elicit.cache.prune import prune
from elicit.cache.rescore import StoredPrompt, rescore_sample
from elicit.cache.store import ScoreRow, ScoreStore, StoredScore
from elicit.cache.verify import verify

IDENTITY = {"provider": "test", "model": "m", "parameters": {"n_ctx": 512}}
LABELS = ("True", "False")
FAST = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ScoreStore]:
    with ScoreStore(tmp_path / "s.db") as opened:
        yield opened


def make_row(
    store: ScoreStore,
    segments: Sequence[str],
    score: StoredScore,
    *,
    sample: int = 0,
    model: str = "m",
) -> ScoreRow:
    identity = store.open_identity({**IDENTITY, "model": model})
    labels = store.open_labels(LABELS)
    pairs = tuple((segment_digest(text), text, "") for text in segments)
    context = context_key(identity, labels, prefix_digest([d for d, *_ in pairs[:-1]]))
    return ScoreRow(ScoreKey(context, pairs[-1][0], sample), identity, labels, pairs, score)


def fill(store: ScoreStore, contexts: int, items: int, model: str = "m") -> list[ScoreRow]:
    """So many contexts of two demonstrations, each with the same items."""
    rows = [
        make_row(
            store, ["d", f"e{c}", f"item {i}"], StoredScore((-c - 0.5, -i - 0.25)), model=model
        )
        for c in range(contexts)
        for i in range(items)
    ]
    store.put(rows)
    return rows


def test_put_says_how_many_are_new_and_the_first_score_counts(store: ScoreStore) -> None:
    first, second = StoredScore((-1.0, -2.0)), StoredScore((-3.0, -4.0))
    assert store.put([make_row(store, ["d", "a"], first)]) == 1
    rows = [make_row(store, ["d", "a"], second), make_row(store, ["d", "b"], second)]
    assert store.put(rows) == 1
    assert store.get([row.key for row in rows]) == [first, second]


def test_pruning_by_age_keeps_a_context_that_was_added_to_since(store: ScoreStore) -> None:
    score = StoredScore((-1.0, -2.0))
    store.put([make_row(store, ["d", "old"], score), make_row(store, ["e", "old"], score)])
    raw(store, "UPDATE contexts SET day = day - 40")
    store.put([make_row(store, ["d", "new"], score)])
    assert prune(store, older_than_days=30, dry_run=False).scores == 1
    assert store.stats().scores == 2


def raw(store: ScoreStore, statement: str, *parameters: object) -> None:
    """Change the file behind the store's back."""
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute(statement, parameters)
    connection.close()


# What goes in comes out


LOG_PROBS = st.floats(max_value=0.0, allow_nan=False) | st.just(-0.0) | st.just(-math.inf)


@FAST
@given(
    values=st.lists(LOG_PROBS, max_size=40),
    evidence=st.sampled_from(["exact", "top_k", "decision", "sampled"]),
    samples=st.integers(0, 2**40),
    bounded=st.lists(st.integers(0, 99), max_size=5),
    segments=st.lists(st.text(st.characters(), max_size=20), min_size=1, max_size=4),
    sample=st.integers(0, 2**40),
)
def test_a_score_read_from_disk_is_the_one_put_bit_for_bit(
    *,
    store: ScoreStore,
    values: list[float],
    evidence: str,
    samples: int,
    bounded: list[int],
    segments: list[str],
    sample: int,
) -> None:
    score = StoredScore(tuple(values), evidence, samples, tuple(bounded))
    # A model's name of its own, so that no example meets another's key.
    model = str(store.stats().scores)
    row = make_row(store, segments, score, sample=sample, model=model)
    store.put([row])
    store.forget()
    [found] = store.get([row.key])
    assert found == score
    assert struct.pack(f"{len(values)}d", *found.values) == struct.pack(
        f"{len(values)}d", *values
    )


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**40)))
def test_packed_ids_unpack_to_themselves(ids: list[int]) -> None:
    assert unpack_ids(pack_ids(ids)) == ids


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_log_probability_is_refused_and_nothing_is_written(
    store: ScoreStore, value: float
) -> None:
    good = make_row(store, ["a"], StoredScore((-1.0, -2.0)))
    bad = make_row(store, ["b"], StoredScore((value, -1.0)))
    with pytest.raises(ValueError, match="not a log-probability"):
        store.put([good, bad])
    assert store.get([good.key, bad.key]) == [None, None]
    assert store.stats().segments == 0
    store.put([good])  # row ids learnt in the transaction that failed are not used
    assert verify(store) == []


def test_a_row_whose_key_is_not_that_of_its_parts_is_refused(store: ScoreStore) -> None:
    row = make_row(store, ["d", "i"], StoredScore((-1.0,)))
    for bad in (
        dataclasses.replace(row, segments=row.segments[1:]),
        dataclasses.replace(row, segments=row.segments[:1]),
        dataclasses.replace(row, segments=(*row.segments[:1], (row.key.item, "other", ""))),
        dataclasses.replace(row, identity=b"never opened...."),
        dataclasses.replace(row, key=ScoreKey(row.key.context, b"short")),
        dataclasses.replace(row, key=ScoreKey(row.key.context, row.key.item, -1)),
        dataclasses.replace(row, score=StoredScore((-1.0,), "guessed")),
    ):
        with pytest.raises(ValueError, match=r".+"):
            store.put([bad])
    assert store.stats().scores == 0


# Hits and misses


def test_equal_requests_hit_whatever_the_order_the_process_or_the_grouping(
    store: ScoreStore,
) -> None:
    rows = fill(store, contexts=7, items=9)
    keys = [row.key for row in rows]
    absent = ScoreKey(keys[0].context, segment_digest("never"))
    mixed = [*keys[::-1], absent, *keys[:5], ScoreKey(keys[0].context, keys[0].item, 1)]
    expected = [*[row.score for row in rows[::-1]], None, *[r.score for r in rows[:5]], None]
    with ScoreStore(store.path) as other:
        assert other.get(mixed) == expected  # from disk
        assert other.get(mixed) == expected  # from memory
        assert [other.get([key])[0] for key in mixed] == expected


@pytest.mark.parametrize("asked", [1, 4, 5, 40])
def test_few_of_many_in_a_context_are_found(store: ScoreStore, asked: int) -> None:
    # 400 items: a scan for a few stops early, and single reads find the rest.
    rows = fill(store, contexts=1, items=400)[::10][:asked]
    absent = ScoreKey(rows[0].key.context, segment_digest("never"))
    assert store.get([*[row.key for row in rows], absent]) == [*[r.score for r in rows], None]


def test_the_first_writer_of_a_key_wins(store: ScoreStore) -> None:
    first = make_row(store, ["a"], StoredScore((-1.0,)))
    second = dataclasses.replace(first, score=StoredScore((-9.0,)))
    store.put([first, second])
    store.put([second])
    assert store.get([first.key]) == [first.score]
    assert store.stats().scores == 1


def test_samples_of_one_item_are_kept_apart(store: ScoreStore) -> None:
    rows = [make_row(store, ["a"], StoredScore((-float(n),)), sample=n) for n in range(3)]
    store.put(rows)
    store.forget()
    assert store.get([row.key for row in rows]) == [row.score for row in rows]


def test_putting_nothing_and_asking_nothing_do_nothing(store: ScoreStore) -> None:
    store.put([])
    assert store.get([]) == []


# Memory


@settings(deadline=None)
@given(st.integers(0, 20), st.lists(st.integers(0, 30), max_size=60))
def test_memory_never_holds_more_than_its_bound(bound: int, uses: list[int]) -> None:
    memory = Memory(bound)
    score = StoredScore((-1.0,))
    for use in uses:
        memory.add(ScoreKey(b"c" * 16, b"%016d" % use), score)
        assert len(memory) <= bound
    recent = list(dict.fromkeys(reversed(uses)))[: bound // 2]
    found, _ = memory.get([ScoreKey(b"c" * 16, b"%016d" % use) for use in recent])
    assert None not in found


def test_a_store_without_memory_still_serves(tmp_path: Path) -> None:
    with ScoreStore(tmp_path / "s.db", memory_scores=0) as store:
        rows = fill(store, 2, 3)
        assert store.get([r.key for r in rows]) == [r.score for r in rows]
        assert store.stats().memory_scores == 0
    with pytest.raises(ValueError, match="memory_scores"):
        ScoreStore(tmp_path / "t.db", memory_scores=-1)


def test_threads_may_share_a_store(store: ScoreStore) -> None:
    rows = fill(store, 4, 8)
    store.forget()
    results: list[list[StoredScore | None]] = []

    def work(turn: int) -> None:
        store.put([make_row(store, [f"thread {turn}"], StoredScore((-1.0,)))])
        results.append(store.get([row.key for row in rows]))

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[row.score for row in rows]] * 4
    assert store.stats().scores == 32 + 4


# Several processes


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from test_store import *
with ScoreStore({path!r}) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for c in {contexts}:
        store.put([
            make_row(store, ["d", f"e{{c}}", f"item {{i}}"], StoredScore((-c - 0.5, -i - 0.25)))
            for i in range(4)
        ])
        print(c, flush=True)
"""


def start_writer(path: Path, contexts: str) -> subprocess.Popen[str]:
    code = WRITER.format(tests=str(Path(__file__).parent), path=str(path), contexts=contexts)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_two_processes_filling_a_new_store_leave_each_row_once(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    writers = [start_writer(path, "range(0, 60)"), start_writer(path, "range(89, 29, -1)")]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    with ScoreStore(path) as store:
        assert store.stats().scores == 90 * 4
        assert verify(store) == []


def test_a_killed_writer_leaves_a_sound_store_with_every_committed_row(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    writer = start_writer(path, "range(1_000_000)")
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()
    assert writer.stdout.readline() == "ready\n"
    committed = [int(writer.stdout.readline()) for _ in range(30)]
    writer.send_signal(signal.SIGKILL)
    # Not `communicate`: it passes over what `readline` has read ahead.
    committed += [int(line) for line in writer.stdout]
    writer.wait(timeout=60)
    writer.stdin.close()
    writer.stdout.close()
    with ScoreStore(path) as store:
        assert verify(store) == []
        keys = [
            make_row(store, ["d", f"e{c}", f"item {i}"], StoredScore(())).key
            for c in committed
            for i in range(4)
        ]
        assert None not in store.get(keys)
        # At most one more was committed before its number could be printed.
        assert store.stats().contexts - len(committed) in (0, 1)


def test_a_forked_child_is_told_to_open_its_own_store(
    store: ScoreStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="forked"):
        store.get([])


# Opening


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "s.db"
    with ScoreStore(path) as store:
        fill(store, 1, 1)
        for file in path.parent.iterdir():  # the write-ahead log too
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def a_folder(path: Path) -> None:
    path.mkdir()


def not_a_database(path: Path) -> None:
    path.write_text("these are somebody's notes\n" * 100)


def another_programs(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cookies (name)")
    connection.close()


def another_application(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA application_id = 77")
    connection.close()


def a_newer_schema(path: Path) -> None:
    ScoreStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def cut_short(path: Path) -> None:
    with ScoreStore(path) as store:
        fill(store, 20, 20)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (a_folder, StoreError, "a folder, not a store. Name a file in it"),
        (not_a_database, StoreError, "not a SQLite database. Choose another file"),
        (another_programs, StoreError, "another program's database"),
        (another_application, StoreError, "another program's database"),
        (a_newer_schema, StoreError, "newer elicit .schema 99.*Upgrade elicit"),
        (cut_short, StoreDamaged, "damaged or cut short"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_no_store_is_refused_with_the_mend_and_left_as_it_is(
    tmp_path: Path, make: object, error: type[StoreError], message: str
) -> None:
    path = tmp_path / "s.db"
    assert callable(make)
    make(path)
    before = None if path.is_dir() else path.read_bytes()
    with pytest.raises(error, match=message) as caught:
        ScoreStore(path)
    assert str(path) in str(caught.value)
    assert before is None or path.read_bytes() == before


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--cache PATH"):
        ScoreStore(tmp_path / "file" / "s.db")


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_read_only_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "s.db"
    ScoreStore(path).close()
    locked = path if where == "file" else tmp_path
    real = os.access

    # Permissions don't bind root, as whom tests may run.
    def access(place: Path, mode: int, *, effective_ids: bool = False) -> bool:
        return place != locked and real(place, mode, effective_ids=effective_ids)

    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr(os, "supports_effective_ids", {access})
    with pytest.raises(StoreError, match="read-only for this user"):
        ScoreStore(path)


def test_a_store_locked_for_too_long_says_so(
    store: ScoreStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another process has held it"):
        fill(store, 1, 1)
    other.execute("ROLLBACK")
    other.close()
    monkeypatch.undo()
    fill(store, 1, 1)


def test_a_full_disk_is_said_and_costs_nothing_that_was_committed(store: ScoreStore) -> None:
    rows = fill(store, 1, 5)
    (pages,) = store.connection.execute("PRAGMA page_count").fetchone()
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="disk is full"):
        fill(store, 300, 5)
    store.connection.execute("PRAGMA max_page_count = 1000000")
    store.forget()
    assert store.get([row.key for row in rows]) == [row.score for row in rows]
    fill(store, 300, 5)
    assert verify(store) == []


def test_sqlite_utils_opens_the_store(store: ScoreStore) -> None:
    fill(store, 1, 2)
    command = [sys.executable, "-m", "sqlite_utils"]
    tables = json.loads(
        subprocess.run(
            [*command, "tables", str(store.path), "--counts"], capture_output=True, check=True
        ).stdout
    )
    assert {"table": "scores", "count": 2} in tables
    rows = json.loads(
        subprocess.run(
            [*command, "rows", str(store.path), "readable_scores"],
            capture_output=True,
            check=True,
        ).stdout
    )
    assert {row["item_text"] for row in rows} == {"item 0", "item 1"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ELICIT_CACHE": "/x/y.db", "XDG_DATA_HOME": "/data"}, "/x/y.db"),
        ({"XDG_DATA_HOME": "/data"}, "/data/elicit/elicit.db"),
        ({"XDG_DATA_HOME": "relative"}, "/home/u/.local/share/elicit/elicit.db"),
        ({}, "/home/u/.local/share/elicit/elicit.db"),
    ],
)
def test_the_default_place_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("ELICIT_CACHE", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/u")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert store_path() == Path(expected)
    assert store_path("~/mine.db") == Path("/home/u/mine.db")


# Size


def test_a_score_takes_less_than_200_bytes_even_alone_in_its_context(store: ScoreStore) -> None:
    rows = [
        make_row(
            store,
            [*[f"d{d}" for d in range(40)], f"e{n}", f"i{n % 50}"],
            StoredScore((-1.0, -2.0)),
        )
        for n in range(4000)
    ]
    for start in range(0, 4000, 50):
        store.put(rows[start : start + 50])
    per_score = store.stats().bytes_per_score
    assert per_score is not None
    assert per_score < 200


# Damage


def test_a_flipped_bit_in_a_score_is_never_served_and_verify_repairs(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with ScoreStore(path) as store:
        rows = fill(store, 3, 4)
        victim = rows[5]
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<2d", *victim.score.values))
    content[at] ^= 1
    path.write_bytes(content)
    with ScoreStore(path) as store:
        with pytest.raises(StoreDamaged, match="verify --repair"):
            store.get([victim.key])
        [problem] = verify(store)
        assert (problem.table, problem.removable) == ("scores", True)
        [removed] = verify(store, repair=True)
        assert removed.removed
        assert verify(store) == []
        assert store.get([victim.key, rows[0].key]) == [None, rows[0].score]
        fill(store, 3, 4)
        assert store.get([victim.key]) == [victim.score]


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE scores SET samples = 7", "scores"),
        ("UPDATE scores SET evidence = 2", "scores"),
        ("UPDATE scores SET bounded = '1'", "scores"),
        ("UPDATE scores SET bounded = CAST(x'ff' AS TEXT)", "scores"),
        ("UPDATE scores SET value = 'text'", "scores"),
        ("UPDATE scores SET sample = 1", "scores"),
        ("UPDATE contexts SET prefix = zeroblob(16)", "contexts"),
        ("UPDATE contexts SET identity = 99", "contexts"),
        ("DELETE FROM contexts", "scores"),
        ("DELETE FROM scores", "contexts"),
        ("DELETE FROM segments", "scores"),
        ("UPDATE segments SET text = text || '!'", "segments"),
        ("UPDATE segments SET text = CAST(x'ff' AS TEXT)", "segments"),
        ("UPDATE identities SET json = '{}'", "identities"),
        ("UPDATE labelsets SET json = '['", "labelsets"),
        ("INSERT INTO segments (digest, text) VALUES (x'00', 'a')", "segments"),
        ("INSERT INTO context_segments VALUES (x'00', x'00')", "context_segments"),
        ("INSERT INTO checkpoints VALUES (9, 0, 1, '{}', 0)", "checkpoints"),
        ("INSERT INTO trace VALUES (9, 0, 1, '[]')", "trace"),
    ],
)  # fmt: skip
def test_every_contradiction_is_found_and_what_is_lost_can_be_put_again(
    store: ScoreStore, change: str, table: str
) -> None:
    rows = fill(store, 2, 3)
    raw(store, change)
    assert table in {problem.table for problem in verify(store)}
    verify(store, repair=True)
    with ScoreStore(store.path) as other:
        fill(other, 2, 3)
        assert other.get([row.key for row in rows]) == [row.score for row in rows]
        assert [p for p in verify(other) if p.table != "checkpoints"] == []


def test_damage_to_the_files_structure_is_reported_and_not_repaired(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with ScoreStore(path) as store:
        fill(store, 30, 30)
        (root,) = store.connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'scores'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    with ScoreStore(path) as store:
        problems = verify(store, repair=True)
        assert {problem.table for problem in problems} == {"file"}
        with pytest.raises(StoreDamaged, match="damaged"):
            store.get([ScoreKey(b"c" * 16, b"i" * 16)])


def test_a_damaged_text_is_mended_when_it_is_used_next(store: ScoreStore) -> None:
    fill(store, 2, 3)
    raw(store, "UPDATE segments SET text = 'x'")
    raw(store, "UPDATE identities SET json = '{}'")
    with ScoreStore(store.path) as other:
        assert verify(other)
        fill(other, 2, 3)
        assert verify(other) == []


# Asking again


def test_a_fair_sample_of_prompts_can_be_rebuilt_and_scored_again(store: ScoreStore) -> None:
    rows = fill(store, 400, 3)
    kept = {row.key.context for row in rows if is_sampled(row.key.context)}
    assert kept
    truth = {tuple(text for _, text, _ in row.segments): row.score.values for row in rows}

    def same(prompts: Sequence[StoredPrompt]) -> list[tuple[float, ...]]:
        assert all(prompt.labels == LABELS for prompt in prompts)
        return [truth[tuple(text for text, _ in prompt.segments)] for prompt in prompts]

    def moved(prompts: Sequence[StoredPrompt]) -> list[list[float]]:
        return [
            [value - 0.5 for value in truth[tuple(text for text, _ in prompt.segments)]]
            for prompt in prompts
        ]

    drift = rescore_sample(store, same, 10_000, 0)
    assert (drift.n, drift.max, drift.mean) == (3 * len(kept), 0.0, 0.0)
    assert rescore_sample(store, moved, 5, 0).max == 0.5
    assert rescore_sample(store, moved, 5, 0, identity={"model": "none"}).n == 0


# Explaining


def test_explain_names_what_differs_from_the_nearest(store: ScoreStore) -> None:
    rows = fill(store, 400, 2)
    asked = ["d", "e7", "item 1"]
    hit = explain(store, IDENTITY, LABELS, [(text, "") for text in asked])
    assert (hit.hit, hit.score) == (True, rows[15].score)

    def why(**changed: object) -> str:
        identity = {**IDENTITY, **{k: v for k, v in changed.items() if k in IDENTITY}}
        labels = changed.get("labels", LABELS)
        segments = changed.get("segments", asked)
        assert isinstance(labels, Sequence)
        assert isinstance(segments, Sequence)
        answer = explain(store, identity, labels, [(text, "") for text in segments])
        assert not answer.hit
        return "\n".join(answer.differences)

    assert why(parameters={"n_ctx": 513}) == "model parameters.n_ctx: stored 512, asked 513"
    assert "model model: stored 'm', asked 'other'" in why(model="other", segments=["new"])
    assert why(labels=("False", "True")).startswith("labels: stored ['True', 'False']")
    assert "nearest scored there is 'item 1'" in why(segments=["d", "e7", "item 1 "])
    sampled = next(r for r in rows if is_sampled(r.key.context)).segments
    begun = [sampled[0][1], sampled[1][1], "new demonstration", "item 1"]
    assert "shares the first 2" in why(segments=begun)
    assert "never scored with this model" in why(labels=("A", "B"), segments=["new"])


def test_explain_on_an_empty_store_says_so(store: ScoreStore) -> None:
    assert explain(store, IDENTITY, LABELS, [("a", "")]).differences == ("the store is empty",)


# Pruning and exporting


def test_pruned_text_is_gone_from_the_disk_and_the_rest_is_kept(store: ScoreStore) -> None:
    secret = make_row(store, ["a secret item"], StoredScore((-1.0,)), model="private")
    store.put([secret])
    kept = fill(store, 3, 3)
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"a secret item" in store.path.read_bytes()
    counted = prune(store, model="private")
    assert (counted.scores, counted.segments, counted.dry_run) == (1, 1, True)
    assert store.get([secret.key]) == [secret.score]
    assert prune(store, model="private", dry_run=False).scores == 1
    for file in store.path.parent.iterdir():
        assert b"secret" not in file.read_bytes()
    assert store.get([secret.key]) == [None]
    assert store.get([row.key for row in kept]) == [row.score for row in kept]
    assert verify(store) == []


def test_a_process_that_knew_pruned_texts_writes_them_again(store: ScoreStore) -> None:
    rows = fill(store, 2, 2)
    with ScoreStore(store.path) as other:
        prune(other, model="m", dry_run=False)
    store.forget()
    store.put(rows)
    assert verify(store) == []
    assert store.stats().segments == 2


def test_pruning_by_age_keeps_what_is_younger(store: ScoreStore) -> None:
    old = fill(store, 1, 2, model="old")
    raw(store, "UPDATE contexts SET day = day - 30")
    new = fill(store, 1, 2)
    assert prune(store, older_than_days=10, dry_run=False).scores == 2
    assert store.get([old[0].key, new[0].key]) == [None, new[0].score]


def test_export_writes_one_json_object_a_score(store: ScoreStore) -> None:
    store.put(
        [
            make_row(store, ["d", "i"], StoredScore((-math.inf, -0.5), "top_k", 0, (0,))),
            make_row(store, ["d", "\ud800"], StoredScore((-1.0, -2.0)), model="other"),
        ]
    )
    out = io.StringIO()
    assert export(store, out, model='"m"') == 1
    line = json.loads(out.getvalue())
    assert line["values"] == ["-inf", -0.5]
    assert (line["item_text"], line["bounded"], line["demonstrations"]) == ("i", [0], 1)
    assert (line["model"], line["labels"]) == (IDENTITY, list(LABELS))
    assert export(store, io.StringIO()) == 2


def test_explain_tells_a_chat_from_a_plain_text(store: ScoreStore) -> None:
    identity, labels = store.open_identity(IDENTITY), store.open_labels(LABELS)
    said = (("be brief", "system"), ("is it so?", "user"))
    segments = tuple((segment_digest(text, role), text, role) for text, role in said)
    context = context_key(identity, labels, prefix_digest([segments[0][0]]))
    key = ScoreKey(context, segments[1][0])
    store.put([ScoreRow(key, identity, labels, segments, StoredScore((-0.5, -1.0)))])
    assert explain(store, IDENTITY, LABELS, said).hit
    assert not explain(store, IDENTITY, LABELS, [(text, "") for text, _ in said]).hit
    assert verify(store) == []


def test_verify_finds_what_was_found_out_about_a_model_and_is_damaged(
    store: ScoreStore,
) -> None:
    Findings(store).put("sound", {"scorer": "chat"})
    raw(store, "INSERT INTO findings VALUES ('broken', '{not json', 0)")
    with pytest.raises(StoreDamaged, match="broken"):
        Findings(store).get("broken")
    (problem,) = verify(store, repair=True)
    assert (problem.table, problem.row, problem.removed) == ("findings", "broken", True)
    assert verify(store) == []
    assert Findings(store).get("sound") == {"scorer": "chat"}
