"""What runs and jobs may be called."""

from __future__ import annotations

import re

from elicit.cache.errors import InputError


def check_name(what: str, name: str) -> None:
    """Refuse a name that would not do for a file or a word of a command line.

    Raises:
        InputError: says what of it is no name.
    """
    if not re.fullmatch(r"\w[\w.+-]{0,99}", name):
        raise InputError(
            f"{what} name {name!r}: use letters, digits, '.', '_', '+' and '-', 100 at most, "
            "and begin with a letter or digit."
        )
