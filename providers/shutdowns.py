"""When a hosted model stops answering, from the dated table `shutdowns.toml`.

What the API itself says today (OpenAI's `Model.shutdown_date`) is newer than any table, and
goes before it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files


def shutdown_date(provider: str, model: str) -> date | None:
    """The day announced for a model's shut-down, past or to come; None where none is known.

    A model fine-tuned at OpenAI (`ft:BASE:...`) goes with its base.
    """
    base = model.split(":")[1] if model.startswith("ft:") and model.count(":") > 1 else model
    return _shipped().get((provider, base))


@cache
def _shipped() -> Mapping[tuple[str, str], date]:
    text = (files("elicit.providers") / "shutdowns.toml").read_text(encoding="utf-8")
    return {
        (entry["provider"], model): entry["date"]
        for entry in tomllib.loads(text)["shutdown"]
        for model in entry["models"]
    }
