"""Every past schema, empty and filled, becomes the present one and loses nothing."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from elicit.cache import schema
from elicit.cache.keys import ScoreKey, context_key, prefix_digest, segment_digest
from elicit.cache.runs import RunStore
from elicit.cache.schema import MIGRATIONS, SCHEMA_VERSION, connect, migrate
from elicit.cache.store import ScoreRow, ScoreStore, StoredScore
from elicit.cache.verify import verify

PAST = range(SCHEMA_VERSION + 1)

# A score as version 1 wrote it: spelt out, so that a change of the code can't change it.
FILL = (
    "INSERT INTO identities VALUES (1, x'{identity}', '{{\"model\":\"m\"}}')",
    "INSERT INTO labelsets VALUES (1, x'{labels}', '[\"A\",\"B\"]')",
    "INSERT INTO segments (id, digest, text) VALUES (1, x'{item}', 'an item')",
    "INSERT INTO contexts VALUES (x'{context}', 1, 1, x'{prefix}', 0, 20000)",
    (
        "INSERT INTO scores VALUES (x'{context}', x'{item}', 0, 0, 0, NULL, "
        "x'000000000000e0bf000000000000f0bf', {checksum})"
    ),
)
FILLED = {
    "identity": "0cea5a1c601e8a8f85555acd24ee97ba",
    "labels": "36f79ae9f02337305df40eb15e6ce745",
    "item": "0d975127d77f411e79bfdb0a8275f68b",
    "context": "ce7ff53c4624c6f2e7306d436cb99585",
    "prefix": "ee55b93568a1ab634450495a11d76e40",
    "checksum": "-991745188",
}


def at_version(path: Path, version: int, *, filled: bool) -> None:
    """A store as the elicit of that schema left it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, to=version)
        if filled:
            for statement in FILL:
                connection.execute(statement.format(**FILLED))


def structure(path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT name, sql FROM sqlite_master ORDER BY name"
        ).fetchall()


@pytest.mark.parametrize("version", PAST)
def test_an_empty_store_of_any_past_version_becomes_the_present_one(
    tmp_path: Path, version: int
) -> None:
    at_version(tmp_path / "old.db", version, filled=False)
    connect(tmp_path / "old.db").close()
    connect(tmp_path / "new.db").close()
    assert structure(tmp_path / "old.db") == structure(tmp_path / "new.db")
    with closing(connect(tmp_path / "old.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert connection.execute("PRAGMA application_id").fetchone() == (0x656C6963,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("version", PAST[1:])
def test_a_filled_store_of_any_past_version_keeps_its_scores(
    tmp_path: Path, version: int
) -> None:
    at_version(tmp_path / "s.db", version, filled=True)
    with ScoreStore(tmp_path / "s.db") as store:
        identity, labels = store.open_identity({"model": "m"}), store.open_labels(("A", "B"))
        item = segment_digest("an item")
        key = ScoreKey(context_key(identity, labels, prefix_digest([])), item)
        assert store.get([key]) == [StoredScore((-0.5, -1.0))]
        assert verify(store) == []
        assert RunStore(store).list() == []
        other = StoredScore((-2.0, -3.0))
        store.put([ScoreRow(key, identity, labels, ((item, "an item", ""),), other)])
        store.forget()
        assert store.get([key]) == [StoredScore((-0.5, -1.0))]


def test_a_migration_that_fails_leaves_the_version_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.db"
    connect(path).close()
    before = structure(path)
    broken = (*MIGRATIONS, ("CREATE TABLE half (a)", "this is no SQL"))
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
        pytest.raises(sqlite3.OperationalError),
    ):
        migrate(connection, to=len(broken))
    assert structure(path) == before
    connect(path).close()


def test_opening_a_present_store_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    connect(path).close()
    before = path.read_bytes()
    connect(path).close()
    assert path.read_bytes() == before


def test_many_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with ThreadPoolExecutor(8) as pool:
        for opened in [pool.submit(connect, path) for _ in range(8)]:
            opened.result().close()
