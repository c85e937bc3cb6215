"""The file: its tables, its numbered migrations, and how it is opened.

Migrations are append-only. Each runs in one transaction together with its record, which
is the `user_version` in the file's header; `application_id` beside it says whose file it
is, so another program's database is refused and never written to.

Nothing here repairs: a file that can't be used is a `StoreError` that names the mend.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elicit.cache.errors import StoreDamaged, StoreError

APPLICATION_ID = 0x656C6963
"""The bytes `elic` at offset 68 of the file."""

BUSY_TIMEOUT_MS = 30_000

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (  # 1: scores
        """CREATE TABLE identities (
            id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, json TEXT NOT NULL)""",
        """CREATE TABLE labelsets (
            id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, json TEXT NOT NULL)""",
        # TEXT, or a BLOB of UTF-8 where the text has lone surrogates, which TEXT can't hold.
        """CREATE TABLE segments (
            id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, text NOT NULL)""",
        """CREATE TABLE contexts (
            key BLOB PRIMARY KEY,
            identity INTEGER NOT NULL REFERENCES identities(id),
            labels INTEGER NOT NULL REFERENCES labelsets(id),
            prefix BLOB NOT NULL,
            segments INTEGER NOT NULL,
            day INTEGER NOT NULL
        ) WITHOUT ROWID""",
        # One context in 64. Its rows are long, so it keeps its rowid: overflow pages of a
        # WITHOUT ROWID table begin at a quarter of a page.
        """CREATE TABLE context_segments (
            context BLOB PRIMARY KEY REFERENCES contexts(key), ids BLOB NOT NULL)""",
        """CREATE TABLE scores (
            context BLOB NOT NULL,
            item BLOB NOT NULL,
            sample INTEGER NOT NULL,
            evidence INTEGER NOT NULL,
            samples INTEGER NOT NULL,
            bounded TEXT,
            value BLOB NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (context, item, sample)
        ) WITHOUT ROWID""",
        # How often rows were deleted: tells other processes to forget what they know is there.
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO counters VALUES ('deletions', 0)",
        """CREATE VIEW readable_scores AS
            SELECT identities.json AS model, labelsets.json AS labels,
                   hex(scores.context) AS context, contexts.segments AS demonstrations,
                   hex(scores.item) AS item, segments.text AS item_text, scores.sample,
                   CASE scores.evidence WHEN 0 THEN 'exact' WHEN 1 THEN 'top_k'
                       WHEN 2 THEN 'decision' WHEN 3 THEN 'sampled' END AS evidence,
                   scores.samples, scores.bounded, scores.value
            FROM scores
            LEFT JOIN contexts ON contexts.key = scores.context
            LEFT JOIN identities ON identities.id = contexts.identity
            LEFT JOIN labelsets ON labelsets.id = contexts.labels
            LEFT JOIN segments ON segments.digest = scores.item""",
    ),
    (  # 2: runs
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            task_digest TEXT NOT NULL,
            task_path TEXT NOT NULL,
            model TEXT NOT NULL,
            method TEXT NOT NULL,
            settings TEXT NOT NULL,
            seed INTEGER NOT NULL,
            chains INTEGER NOT NULL,
            status TEXT NOT NULL,
            result TEXT,
            usage TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL)""",
        """CREATE TABLE checkpoints (
            run INTEGER NOT NULL REFERENCES runs(id),
            chain INTEGER NOT NULL,
            iteration INTEGER NOT NULL,
            state TEXT NOT NULL,
            checksum INTEGER NOT NULL,
            PRIMARY KEY (run, chain))""",
        """CREATE TABLE trace (
            run INTEGER NOT NULL REFERENCES runs(id),
            chain INTEGER NOT NULL,
            iteration INTEGER NOT NULL,
            data TEXT NOT NULL,
            PRIMARY KEY (run, chain, iteration)
        ) WITHOUT ROWID""",
        """CREATE TABLE claims (
            run INTEGER PRIMARY KEY REFERENCES runs(id),
            host TEXT NOT NULL,
            boot TEXT NOT NULL,
            pid INTEGER NOT NULL,
            started TEXT NOT NULL)""",
    ),
    (  # 3: hosted models
        # Who says a segment in a chat; empty for plain text.
        "ALTER TABLE segments ADD COLUMN role TEXT NOT NULL DEFAULT ''",
        # What was found out about a model by asking it, so that it is asked once.
        """CREATE TABLE findings (
            model TEXT PRIMARY KEY, json TEXT NOT NULL, day INTEGER NOT NULL
        ) WITHOUT ROWID""",
        # Requests handed to a provider's batch endpoint. A row without a batch is about to be
        # handed over by its process, or was when that ended. `covers` is the 16-byte digests
        # of the requests that nobody has read the answers of, in order.
        """CREATE TABLE batches (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            identity BLOB NOT NULL,
            model TEXT NOT NULL,
            digest TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            batch TEXT,
            requests INTEGER NOT NULL,
            covers BLOB NOT NULL,
            checksum TEXT NOT NULL,
            state TEXT NOT NULL,
            host TEXT NOT NULL,
            boot TEXT NOT NULL,
            pid INTEGER NOT NULL,
            started TEXT NOT NULL,
            created REAL NOT NULL,
            updated REAL NOT NULL)""",
        "CREATE UNIQUE INDEX batches_by_digest ON batches (identity, digest, attempt)",
    ),
    (  # 4: models tuned on labels
        # `intent` is what the owner was about to ask for when it wrote that, so that whoever
        # finds it asks first whether it was made. `digest` names what is tuned on, and how.
        """CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            backend TEXT NOT NULL,
            model TEXT NOT NULL,
            source TEXT NOT NULL,
            settings TEXT NOT NULL,
            digest TEXT NOT NULL,
            folder TEXT NOT NULL,
            state TEXT NOT NULL,
            intent TEXT NOT NULL DEFAULT '',
            intended REAL,
            file TEXT,
            remote TEXT,
            said TEXT NOT NULL DEFAULT '',
            result TEXT,
            host TEXT,
            boot TEXT,
            pid INTEGER,
            started TEXT,
            created REAL NOT NULL,
            updated REAL NOT NULL)""",
        """CREATE TABLE job_events (
            job INTEGER NOT NULL REFERENCES jobs(id),
            event TEXT NOT NULL,
            at REAL NOT NULL,
            message TEXT NOT NULL,
            step INTEGER,
            loss REAL,
            PRIMARY KEY (job, event))""",
    ),
)

SCHEMA_VERSION = len(MIGRATIONS)


def connect(path: Path | str) -> sqlite3.Connection:
    """Open the store at `path` in autocommit mode, creating or migrating it as needed.

    Missing parent folders are made; a new file is readable by its owner only. The
    connection may be used by several threads if they take turns.

    Raises:
        StoreError: the file can't be made, read or written, or is not a store of ours.
        StoreDamaged: it is ours, and truncated or overwritten.
    """
    path = Path(path)
    _prepare_file(path)
    with translated(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            check_ours(connection, path)
            _use_wal(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA cache_size = -32000")  # KiB
            migrate(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare_file(path: Path) -> None:
    """Make a new file with its folder, or see that the one there can be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never open an existing file here: closing it would drop the locks that SQLite
        # holds on it for another connection of this process.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreError(
            f"{path}: can't make the store: {error.strerror}. Choose another place with "
            "--cache PATH or ELICIT_CACHE."
        ) from error
    if not path.parent.is_dir():
        raise StoreError(
            f"{path}: {path.parent} is a file, not a folder. Choose another place with "
            "--cache PATH or ELICIT_CACHE."
        )
    if path.is_dir():
        raise StoreError(
            f"{path}: a folder, not a store. Name a file in it: --cache {path}/elicit.db"
        )
    effective = os.access in os.supports_effective_ids
    for place in (path, path.parent):  # the folder too: SQLite keeps its log beside the file
        if not os.access(place, os.R_OK | os.W_OK, effective_ids=effective):
            raise StoreError(
                f"{path}: can't be written ({place} is read-only for this user). Mend its "
                "permissions, or copy the file and name the copy with --cache."
            )


def check_ours(connection: sqlite3.Connection, path: Path | str) -> None:
    """Refuse another program's database and a newer schema, without writing.

    Raises:
        StoreError: it is not ours, or not for this version of elicit.
    """
    with snapshot(connection):  # another process may be making this very file
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreError(
            f"{path}: another program's database; it was left as it is. Choose another file "
            "with --cache PATH or ELICIT_CACHE."
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written by a newer elicit (schema {version}; this one knows "
            f"{SCHEMA_VERSION}). Upgrade elicit, or choose another file with --cache PATH."
        )


def _use_wal(connection: sqlite3.Connection) -> None:
    """Readers never wait for the writer. The switch itself ignores the busy timeout."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def migrate(connection: sqlite3.Connection, to: int = SCHEMA_VERSION) -> None:
    """Bring the schema up to version `to`. Where nothing is pending, nothing is written."""
    while connection.execute("PRAGMA user_version").fetchone()[0] < to:
        with immediate(connection):
            # Another process may have done it while this one waited for its turn.
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version >= to:
                return
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")


@contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """One write transaction: committed as a whole, or rolled back on any exception.

    Inside another one it is a part of that.
    """
    nested = connection.in_transaction
    if nested:
        yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself (disk full), and a second one is an error.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Read one state of the file, whatever other processes commit meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def primary_code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None for an error of Python's own module."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


_MENDS = {
    sqlite3.SQLITE_BUSY: "another process has held it for 30 s. Wait for it or end it, then "
    "run again.",
    sqlite3.SQLITE_READONLY: "it is read-only. Mend its permissions, or name a copy with "
    "--cache.",
    sqlite3.SQLITE_FULL: "the disk is full. Make room and run again: what was committed is "
    "kept.",
    sqlite3.SQLITE_IOERR: "the disk refused. Look at the disk, then run `elicit cache verify`.",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened. Choose another place with --cache PATH or "
    "ELICIT_CACHE.",
    sqlite3.SQLITE_NOTADB: "not a SQLite database. Choose another file with --cache PATH or "
    "ELICIT_CACHE.",
}


@contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Turn SQLite's errors about the file into ours; errors in our SQL pass as they are."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = primary_code(error)
        if code == sqlite3.SQLITE_CORRUPT:
            raise StoreDamaged(
                f"{path}: damaged or cut short ({error}). Look with `elicit cache verify`; if "
                "it can't be opened, move the file away: a new one is made."
            ) from error
        if code in _MENDS:
            raise StoreError(f"{path}: {_MENDS[code]} ({error})") from error
        if code is None and "decode to UTF-8" in str(error):
            raise StoreDamaged(
                f"{path}: a text in it is damaged ({error}). `elicit cache verify` finds it."
            ) from error
        raise
