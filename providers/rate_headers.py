"""What a server says about its limits: rate-limit headers and `Retry-After`, read to seconds.

Every time is measured against the server's own `Date` where it is given, so a wrong local
clock changes nothing. Header names and their meaning are of the vendors' pages on rate
limits (OpenAI, Anthropic, Groq, Fireworks, Together, 2026) and of the drafts of
draft-ietf-httpapi-ratelimit-headers. A value that can't be read is left out, with a debug
line in the log, and never an error: these headers are advice.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

_log = logging.getLogger(__name__)

Measure = Literal["requests", "tokens", "input_tokens", "output_tokens"]
"""What a limit counts; `tokens` are input and output together."""


@dataclass(frozen=True, slots=True)
class RateWindow:
    """One limit as one response stated it."""

    limit: int
    """Most requests or tokens in a window; at least 1."""
    remaining: int | None = None
    """How many were left when the server answered, 0 to `limit`."""
    reset_seconds: float | None = None
    """Seconds from the answer until the limit is whole again."""
    window_seconds: float | None = None
    """Length of the window, where the server or its vendor's pages fix it."""


@dataclass(frozen=True, slots=True)
class _Family:
    measure: Measure
    limit: str
    remaining: str = ""
    reset: str = ""
    window: float | None = None
    scale: int = 1
    """Fireworks states tokens a second and enforces them a minute."""


def _family(measure: Measure, pattern: str, *, window: float | None = None) -> _Family:
    """`*` in the pattern stands for limit, remaining and reset."""
    limit, remaining, reset = (
        pattern.replace("*", part) for part in ("limit", "remaining", "reset")
    )
    return _Family(measure, limit, remaining, reset, window)


_FAMILIES = (
    # OpenAI, Groq, and most that follow OpenAI. Requests may be a day's: no window is fixed.
    _family("requests", "x-ratelimit-*-requests"),
    _family("tokens", "x-ratelimit-*-tokens"),
    _family("requests", "anthropic-ratelimit-requests-*", window=60.0),
    _family("tokens", "anthropic-ratelimit-tokens-*", window=60.0),
    _family("input_tokens", "anthropic-ratelimit-input-tokens-*", window=60.0),
    _family("output_tokens", "anthropic-ratelimit-output-tokens-*", window=60.0),
    _Family("input_tokens", "x-ratelimit-limit-tokens-prompt", window=60.0, scale=60),
    _Family("output_tokens", "x-ratelimit-limit-tokens-generated", window=60.0, scale=60),
    _family("tokens", "x-tokenlimit-*", window=1.0),
    _family("requests", "x-ratelimit-*"),
    _family("requests", "ratelimit-*"),
)


def read_windows(headers: Mapping[str, str], now: float) -> dict[Measure, RateWindow]:
    """The limits a response states, one a measure; the vendors' own names come first.

    Args:
        headers: names in any case.
        now: local epoch seconds, used where the response has no `Date`.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    clock = _server_time(lowered, now)
    found: dict[Measure, RateWindow] = {}
    for family in _FAMILIES:
        if family.measure in found or family.limit not in lowered:
            continue
        window = _triple(family, lowered, clock)
        if window is not None:
            found[family.measure] = window
    structured = None if "requests" in found else _structured(lowered)
    if structured is not None:
        found["requests"] = structured
    return found


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds the server asks to wait; None where it says nothing that can be read.

    `retry-after-ms` is preferred to `retry-after` in seconds or as a date. A date in the past
    is 0. A negative, infinite or NaN number is garbage, so None. However long a finite wait
    is (over a day, say), it is returned as it stands: the retry policy ends the call at once
    rather than come back too soon.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name in lowered:
            seconds = _number(lowered[name])
            if seconds is not None:
                return seconds * unit
    date = _date(lowered.get("retry-after", ""))
    if date is not None:
        return max(0.0, date - _server_time(lowered, now))
    if "retry-after" in lowered:
        _log.debug("retry-after can't be read: %.60r", lowered["retry-after"])
    return None


def _triple(family: _Family, headers: Mapping[str, str], clock: float) -> RateWindow | None:
    limit, parameters = _item(headers[family.limit])
    if limit is None or limit < 1:
        _log.debug("%s can't be read: %.60r", family.limit, headers[family.limit])
        return None
    window = family.window
    if family.limit in {"x-ratelimit-limit", "ratelimit-limit"}:
        # Together states requests a second under this name, and gives its token limit beside.
        window = 1.0 if "x-tokenlimit-limit" in headers else None
        window = _policy_window(int(limit), parameters, headers) or window
    remaining, _ = _item(headers.get(family.remaining, ""))
    return RateWindow(
        limit=int(limit) * family.scale,
        remaining=None if remaining is None else int(min(remaining, limit)) * family.scale,
        reset_seconds=_reset(headers.get(family.reset, ""), clock),
        window_seconds=window,
    )


def _policy_window(
    limit: int, parameters: Mapping[str, str], headers: Mapping[str, str]
) -> float | None:
    """`w`, in seconds, beside the limit or in the `RateLimit-Policy` of the same quota."""
    if "w" in parameters:
        return _number(parameters["w"]) or None
    listed = f"{headers.get('ratelimit-limit', '')},{headers.get('ratelimit-policy', '')}"
    for entry in listed.split(","):
        quota, its = _item(entry)
        if quota == limit and "w" in its:
            return _number(its["w"]) or None
    return None


def _structured(headers: Mapping[str, str]) -> RateWindow | None:
    """Later drafts: `RateLimit: "name";r=95;t=25`, `RateLimit-Policy: "name";q=100;w=60`."""
    policies = {
        name.strip(): _parameters(rest)
        for name, _, rest in (
            entry.partition(";") for entry in headers.get("ratelimit-policy", "").split(",")
        )
    }
    for entry in headers.get("ratelimit", "").split(","):
        name, _, rest = entry.partition(";")
        policy, state = policies.get(name.strip(), {}), _parameters(rest)
        quota = _number(policy.get("q", ""))
        if quota is None or quota < 1 or policy.get("qu", '"requests"') != '"requests"':
            continue
        left = _number(state.get("r", ""))
        return RateWindow(
            limit=int(quota),
            remaining=None if left is None else int(min(left, quota)),
            reset_seconds=_number(state.get("t", "")),
            window_seconds=_number(policy.get("w", "")) or None,
        )
    return None


def _item(text: str) -> tuple[float | None, dict[str, str]]:
    """`100;w=60` → 100 and its parameters; of a list, the first item."""
    value, _, rest = text.split(",", maxsplit=1)[0].partition(";")
    return _number(value), _parameters(rest)


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|µs|ns|d|h|m|s))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_UNITS = {
    "d": 86400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
_EPOCH = 1e8
"""No window is three years long: a number from here on is a date in epoch seconds."""
_EPOCH_MS = 1e11


def _reset(text: str, clock: float) -> float | None:
    """`6m0s`, `1.5`, an RFC 3339 time, or an epoch in seconds or milliseconds → seconds."""
    text = text.strip()
    if not text:
        return None
    number = _number(text)
    if number is not None:
        if number >= _EPOCH_MS:
            return max(0.0, number / 1000 - clock)
        return max(0.0, number - clock) if number >= _EPOCH else number
    if _DURATION.fullmatch(text):
        total = math.fsum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text))
        return total if math.isfinite(total) else None
    moment = _date(text)
    if moment is None:
        _log.debug("a rate limit's reset can't be read: %.60r", text)
        return None
    return max(0.0, moment - clock)


def _number(text: str) -> float | None:
    """A finite number from 0 up, else None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _date(text: str) -> float | None:
    """Epoch seconds of an RFC 3339 time or an HTTP date; without a zone it is UTC."""
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return moment.timestamp()
        except (ValueError, OverflowError, TypeError):
            continue
    return None


def _server_time(headers: Mapping[str, str], now: float) -> float:
    stated = _date(headers.get("date", ""))
    return now if stated is None else stated
