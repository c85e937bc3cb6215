"""What a server of OpenAI's wire format lists of its models: names, and sometimes an end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import quote

import httpx2

from elicit.providers.base import Budget, Usage
from elicit.providers.found import Found
from elicit.providers.transport import Refused

_log = logging.getLogger(__name__)

SHOWN = 5
"""Models named in a warning."""


def with_listed(
    found: Found, model: str, client: httpx2.Client, base_url: str, budget: Budget
) -> Found:
    """Add what the list tells of a model that answers: its context, where vLLM states it; and
    a warning where it is not listed, since some servers answer to any name.

    Raises:
        BudgetReached: nothing was asked.
    """
    models = _models(client, f"{base_url}/models", budget)
    if not models:
        return found
    entry = models.get(model) or models.get(f"{model}:latest")
    if entry is None:
        names = ", ".join(list(models)[:SHOWN])
        more = f" and {len(models) - SHOWN} more" if len(models) > SHOWN else ""
        warning = (
            f"the server lists no model of this name (but {names}{more}), yet it answers: "
            "scores are kept under the name that you gave"
        )
        return replace(found, warnings=(*found.warnings, warning))
    context = entry.get("max_model_len")
    return replace(found, context_tokens=context if type(context) is int else None)


def announced_end(
    model: str, client: httpx2.Client, base_url: str, budget: Budget
) -> date | None:
    """The day on which OpenAI says that a model shuts down; None where it says none.

    Raises:
        BudgetReached: nothing was asked.
    """
    entry = _told(client, f"{base_url}/models/{quote(model, safe='')}", budget)
    day = entry.get("shutdown_date")
    try:
        return date.fromisoformat(day[:10]) if isinstance(day, str) else None
    except ValueError:
        _log.debug("%s: no date: %.40r", model, day)
        return None


def _models(client: httpx2.Client, url: str, budget: Budget) -> dict[str, Mapping[str, Any]]:
    """By name; none where the server does not list them."""
    listed = _told(client, url, budget).get("data")
    if not isinstance(listed, list):
        return {}
    return {str(m["id"]): m for m in listed if isinstance(m, dict) and "id" in m}


def _told(client: httpx2.Client, url: str, budget: Budget) -> Mapping[str, Any]:
    """The JSON object at an address; an empty one where there is none."""
    budget.reserve(Usage(calls=1))
    try:
        told = client.get(url).raise_for_status().json()
    except (httpx2.HTTPError, Refused, ValueError) as error:
        _log.debug("%s tells nothing: %s", url, error)
        return {}
    finally:
        budget.settle(Usage(calls=1), Usage(calls=1))
    return told if isinstance(told, dict) else {}
