"""What went wrong with a hosted call, and what an HTTP status says about it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from elicit.providers.rate_headers import retry_after

Kind = Literal["transient", "rate_limited", "permanent"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What an adapter makes of an SDK's exception. No text in it may hold a key."""

    kind: Kind
    message: str
    retry_after: float | None = None
    """Seconds the server asks to wait; a retry never comes sooner."""
    status: int | None = None
    """HTTP status, where there was an answer."""
    request_id: str | None = None
    hint: str = ""
    """The mend."""
    bad_input: bool = False
    """A permanent fault that the user's own input caused: a wrong model, key or setting."""
    slow: bool = False
    """No answer came in time: the server may have more to do than it can."""


_UNPAID = frozenset(
    {
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "contract_spend_limit_reached",
        "credit_balance_exhausted",
        "enforced_spend_limit_reached",
        "insufficient_quota",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
        "usage_limit_exceeded",
    }
)
"""Codes and types that only money or a raised limit mends, whatever status they come with
(OpenAI: 429; Anthropic: 400, 402 and 429)."""

_PAY = "add credit or raise the spend limit on the provider's billing page, then resume"

_BAD_INPUT: Mapping[int, str] = {
    400: "the model or endpoint refuses this request: check the model's name and the settings",
    401: "check the API key",
    403: "the API key may not use this model or endpoint: check its project and permissions",
    404: "check the model's name and the endpoint's address",
    422: "the model or endpoint refuses this request: check the model's name and the settings",
}

_TOO_LARGE = "one request is larger than the endpoint takes: use fewer demonstrations"

_BUSY = frozenset({429, 503, 529})
"""Too much for the account or for the server: come back later, and with less at once."""

_PASSING = frozenset({408, 409, 425, 499})
_SLOW = frozenset({408, 504})
_NOT_IMPLEMENTED = frozenset({501, 505})


def fault_of_status(
    status: int,
    code: str | None,
    type_: str | None,
    message: str,
    headers: Mapping[str, str],
) -> Fault:
    """The fault an HTTP answer stands for.

    Args:
        code: the error body's code, and `type_` its type, where it has them.
        message: what to tell the user, without keys.
        headers: of the response: `retry-after`, `x-should-retry` and the request's id count.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    refusal = _refusal(status, {code, type_}, message.lower(), lowered)
    kind: Kind = "permanent"
    if refusal is None:
        kind = "rate_limited" if status in _BUSY else "transient"
    return Fault(
        kind,
        message,
        retry_after(lowered, time.time()) if refusal is None else None,
        status,
        lowered.get("x-request-id") or lowered.get("request-id"),
        hint="" if refusal is None else refusal.hint,
        bad_input=refusal is not None and refusal.bad_input,
        slow=status in _SLOW,
    )


@dataclass(frozen=True, slots=True)
class _Refusal:
    hint: str
    bad_input: bool = False


def _refusal(
    status: int, words: set[str | None], message: str, headers: Mapping[str, str]
) -> _Refusal | None:
    """Why trying again would not help, or None where it may."""
    # Anthropic says a low balance under 400 invalid_request_error, with no code of its own.
    if status == 402 or words & _UNPAID or "credit balance is too low" in message:
        return _Refusal(_PAY)
    # OpenAI answers 429 for one request above the whole minute's limit: no wait helps.
    if status == 413 or "request too large" in message:
        return _Refusal(_TOO_LARGE, bad_input=True)
    if status in _BAD_INPUT:
        return _Refusal(_BAD_INPUT[status], bad_input=True)
    if headers.get("x-should-retry") == "false" or status in _NOT_IMPLEMENTED:
        return _Refusal("the server says that trying again would not help")
    if status in _BUSY or status in _PASSING or 500 <= status <= 599:
        return None
    return _Refusal("check the endpoint's address")
