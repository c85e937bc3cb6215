"""Which process works on a run, so that two never do.

A claim names its process by host, boot, process id and start time: a process id alone is
used again. A claim of a process that is gone holds nobody up.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, named so that no other one is ever named alike."""

    host: str
    boot: str
    pid: int
    started: str

    @staticmethod
    def current() -> Owner:
        return Owner(socket.gethostname(), _boot(), os.getpid(), _started(os.getpid()) or "")

    def is_alive(self) -> bool:
        """Whether it still runs. One on another host can't be seen and counts as alive."""
        if self.host != socket.gethostname():
            return True
        if self.boot != _boot():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it runs, as another user
        return not self.started or _started(self.pid) == self.started


def _boot() -> str:
    """Changes when the machine restarts; empty where the system doesn't say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Clock ticks from boot to the process's start; None if it is gone or a zombie."""
    try:
        # The second field is the program's name in brackets and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def read_owner(connection: sqlite3.Connection, run_id: int) -> Owner | None:
    """Who holds a run, alive or not; None if nobody does."""
    row = connection.execute(
        "SELECT host, boot, pid, started FROM claims WHERE run = ?", (run_id,)
    ).fetchone()
    return None if row is None else Owner(*row)


def write_owner(connection: sqlite3.Connection, run_id: int, owner: Owner) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)",
        (run_id, owner.host, owner.boot, owner.pid, owner.started),
    )


def delete_owner(connection: sqlite3.Connection, run_id: int, owner: Owner) -> None:
    """Give a run up, unless somebody else has taken it over since."""
    connection.execute(
        "DELETE FROM claims WHERE run = ? AND pid = ? AND started = ? AND host = ?",
        (run_id, owner.pid, owner.started, owner.host),
    )
