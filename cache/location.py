"""Where the store lies unless a caller says otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def default_path() -> Path:
    """`$ELICIT_CACHE`, else `elicit/elicit.db` in the user's data folder (XDG)."""
    chosen = os.environ.get("ELICIT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME", "")
    # XDG: a relative path is invalid and must be ignored.
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "elicit" / "elicit.db"
