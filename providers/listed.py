"""What a server of OpenAI's wire format lists of its models: their names, and little else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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


def _models(client: httpx2.Client, url: str, budget: Budget) -> dict[str, Mapping[str, Any]]:
    """By name; none where the server does not list them."""
    budget.reserve(Usage(calls=1))
    try:
        listed = client.get(url).raise_for_status().json()["data"]
        return {str(model["id"]): model for model in listed}
    except (httpx2.HTTPError, Refused, ValueError, TypeError, KeyError) as error:
        _log.debug("%s lists no models: %s", url, error)
        return {}
    finally:
        budget.settle(Usage(calls=1), Usage(calls=1))
