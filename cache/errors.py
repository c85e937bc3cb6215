"""The root of the one exception tree.

It stands in the lowest package so that every layer can share it: each package adds its
own branch (`StoreError` here, `ProviderError` in `elicit.providers`, `TaskError` in
`elicit`). Bugs are never wrapped in it: an exception outside this tree is one.
"""

from __future__ import annotations


class ElicitError(Exception):
    """Something the user can mend. The message says what, where, and how.

    `exit_code` is what the command line returns for it: 2 for bad input, 1 for a job that
    failed although its input was sound.
    """

    exit_code = 1


class InputError(ElicitError):
    """A file, row, field or setting is wrong. Nothing was spent and nothing was lost."""

    exit_code = 2


class StoreError(ElicitError):
    """The SQLite store can't be opened, read or written."""

    exit_code = 2


class StoreDamaged(StoreError):
    """The store opens but its content contradicts itself (see `elicit cache verify`)."""
