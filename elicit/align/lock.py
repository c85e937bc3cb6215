"""A folder that one process works in at a time, whichever store it was sent by."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elicit.cache.errors import InputError

LOCK = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Work in a folder as the only process; the system lets go of it however the process ends.

    Raises:
        InputError: another process works there, or the folder can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise InputError(f"{folder}: can't be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{folder}: another process works here ({error.strerror}), maybe for a job of "
                "another store; wait for it, or choose another folder (--out)"
            ) from error
        yield
