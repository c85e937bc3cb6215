"""A shell in which the blocks of a page are run, one after the other."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# The threads of llama.cpp spin: beside other work several are slower than one.
_ON_ONE_CORE = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
os.execvp("bash", ["bash", "--noprofile", "--norc"])
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


@dataclass
class Session:
    """One bash process. `folder` is where it starts, `control` a folder for its scripts."""

    folder: Path
    control: Path
    environment: Mapping[str, str]
    ran: int = 0
    last: int = 0
    _bash: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._bash = subprocess.Popen(
            [sys.executable, "-c", _ON_ONE_CORE],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # A session of its own, so that all it starts can be ended with it.
            start_new_session=True,
        )

    def run(self, script: str, seconds: float, *, strict: bool = True) -> Ended:
        """Run a script in the shell itself, so that what it sets stays set.

        Args:
            script: shell text.
            seconds: how long it may take.
            strict: end with the first command that fails.

        Raises:
            TimeoutError: it took longer; the shell is gone.
        """
        self.ran += 1
        path = self.control / f"{self.ran:03d}.sh"
        path.write_text(f"{script}\n", "utf-8")
        out, err = path.with_suffix(".out"), path.with_suffix(".err")
        assert self._bash.stdin is not None
        way = f"set {'-e' if strict else '+e'} -o pipefail; (exit {self.last}) || true"
        before = "" if strict else f"(exit {self.last}); "
        self._bash.stdin.write(
            f"{way}; {before}. '{path}' >'{out}' 2>'{err}' </dev/null; echo $?\n".encode()
        )
        self._bash.stdin.flush()
        answer = self._answer(seconds)
        self.last = int(answer) if answer else self._bash.wait(5)
        if not answer:
            self.last = self.last or 1
        return Ended(self.last, _read(out), _read(err))

    def _answer(self, seconds: float) -> bytes:
        """The status line, or nothing where the shell has ended."""
        assert self._bash.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._bash.stdout, selectors.EVENT_READ)
            deadline = time.monotonic() + seconds
            if not ready.select(max(0.0, deadline - time.monotonic())):
                self.close()
                raise TimeoutError(f"took longer than {seconds} s")
            return self._bash.stdout.readline().strip()

    def close(self) -> None:
        """End the shell and what it has started."""
        if self._bash.poll() is None:
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait(10)
        for pipe in (self._bash.stdin, self._bash.stdout):
            if pipe is not None:
                pipe.close()


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """A user's: this interpreter's programs first, a home that holds nothing, no key."""
    programs = str(Path(sys.executable).parent)
    return {
        "COLUMNS": "100",
        "ELICIT_CACHE": str(home / ".local" / "share" / "elicit" / "elicit.db"),
        "HF_HUB_OFFLINE": "1",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", "")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TERM": "dumb",
        **more,
    }


def _read(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""
