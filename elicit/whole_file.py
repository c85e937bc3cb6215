"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from elicit.cache.errors import InputError


def write_whole(path: Path, content: bytes) -> None:
    """Put a file with this content at `path`, in place of what was there: it is on the disk
    before it has the name. Its folder is made where it is missing.

    Raises:
        OSError: it can't be written there; what was there is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".elicit-") as folder:
        partial = Path(folder) / "whole"
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


def save(path: Path, content: bytes) -> None:
    """As `write_whole`, for a file that a user named.

    Raises:
        InputError: it can't be written there.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    try:
        write_whole(path, content)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror}") from error
