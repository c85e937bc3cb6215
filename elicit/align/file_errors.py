"""What is said where a file of an alignment can't be written or read, whoever tried."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elicit.cache.errors import InputError


@contextmanager
def clear_file_errors(folder: Path) -> Iterator[None]:
    """Work on files in a folder, and on those that they are made of.

    Raises:
        InputError: one can't be written or read.
    """
    try:
        yield
    except Exception as error:
        if not _is_of_files(error):
            raise
        raise InputError(
            f"{folder}: a file here, or one that these are made of, can't be written or read: "
            f"{error}. Make room, or choose another folder (--out); a damaged stage is made "
            "anew once its folder is removed"
        ) from error


def _is_of_files(error: Exception) -> bool:
    """Whether it tells of a file. Two libraries have errors of their own for what the system
    refuses, and are imported only where something is trained."""
    if isinstance(error, OSError):
        return True
    safetensors = sys.modules.get("safetensors")
    if safetensors is not None and isinstance(error, safetensors.SafetensorError):
        return True
    # torch's writer and reader of files, by the names that stand in their messages.
    names = ("PytorchStream", "inline_container")
    return isinstance(error, RuntimeError) and any(name in str(error) for name in names)
