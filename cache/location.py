"""Where the store lies unless a caller says otherwise."""

from __future__ import annotations

import os
from pathlib import Path


def store_path(chosen: str | Path | None = None) -> Path:
    """`chosen`, else `$ELICIT_CACHE`, else `elicit/elicit.db` where XDG puts a user's data."""
    chosen = chosen or os.environ.get("ELICIT_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME", "")
    # XDG: a relative path is invalid and must be ignored.
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "elicit" / "elicit.db"
