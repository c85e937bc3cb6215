"""The content hash of a model file, kept so that a large file is read once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

ADAPTER_OF = "elicit.base.sha256"
"""The field of a GGUF adapter that has the hash of the model that it was made for."""


def content_hash(path: Path) -> str:
    """SHA-256 of a file in hex. Known files are told by path, size and modification time."""
    info = path.stat()
    key = f"{path.resolve()}|{info.st_size}|{info.st_mtime_ns}"
    known = _load()
    if key not in known:
        with path.open("rb") as file:
            known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        _save(known)
    return known[key]


def _place() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "elicit" / "hashes.json"


def _load() -> dict[str, str]:
    try:
        known = json.loads(_place().read_text("utf-8"))
    except (OSError, ValueError):
        # It only saves time: without it the file is hashed again.
        return {}
    return known if isinstance(known, dict) else {}


def _save(known: dict[str, str]) -> None:
    place = _place()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(known, file)
        os.replace(name, place)
    except OSError:
        # As above: a read-only home is no reason to fail.
        return
