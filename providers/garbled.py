"""Failures that all hosted models have in common, whatever SDK tells of them, and what a
failed call cost: replies that are no answer, connections that break, words that are cut."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import httpx2

from elicit.providers.base import Usage
from elicit.providers.faults import Fault
from elicit.providers.redact import MARK
from elicit.providers.transport import refusal

LONGEST = 300
"""Characters of a server's own words that are told."""

_NEVER_SENT = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
_NO_SERVER = "check the address, and that the server there is running; then try again"
_KEY = re.compile(r"[^\s'\"]*\*{2,}[^\s'\"]*|\b(?:sk|pk|rk|gsk|fw|tgp)[-_][^\s'\",;]+")
"""A key as servers repeat it, whole or with its middle starred out."""

_OF_ONE_ITEM = frozenset({400, 422})
"""Statuses that may be the fault of one item's text."""


class Garbled(Exception):
    """A reply that is no answer: half a body, missing parts, numbers that can't be.

    It is tried again, as the same request may well be answered the next time. It never
    becomes a score. `usage` is what it took, where it is known.
    """

    def __init__(
        self,
        message: str,
        headers: Mapping[str, str] | None = None,
        hint: str = "",
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.headers = headers or {}
        self.hint = hint
        self.usage = usage


@contextmanager
def paid(usage: Usage) -> Iterator[None]:
    """Whatever is raised inside carries what the reply took, for `spent`: an answer that is
    of no use is billed like any other. Of nested ones the innermost counts."""
    try:
        yield
    except Exception as error:
        if getattr(error, "usage", None) is None:
            vars(error)["usage"] = usage
        raise


def spent(error: Exception) -> Usage:
    """See `Wire.spent`. No prompt counts as answered."""
    usage = getattr(error, "usage", None)
    return replace(usage, requests=0) if isinstance(usage, Usage) else Usage(calls=1)


def common_fault(error: Exception) -> Fault | None:
    """The fault of a failure that has nothing to do with an SDK; None where it has, or is
    none."""
    if isinstance(error, Garbled):
        request_id = _request_id(error.headers)
        return Fault("transient", str(error), request_id=request_id, hint=error.hint)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return Fault("transient", "the server's reply is cut short or damaged: not JSON")
    if isinstance(error, httpx2.TransportError):
        return transport_fault(error, "the server")
    refused = refusal(error)
    return None if refused is None else Fault("permanent", str(refused))


def connection_fault(
    request: httpx2.Request, cause: BaseException | None, *, timed_out: bool
) -> Fault | None:
    """The fault of an SDK's error about a connection; None for a mistake in a transport,
    which the SDKs wrap like any other failure to send."""
    host = request.url.netloc.decode("ascii")
    if timed_out:
        return Fault("transient", f"{host} gave no answer in time", slow=True)
    if cause is not None and not isinstance(cause, httpx2.RequestError):
        return None
    return transport_fault(cause, host)


def invalid_reply(response: httpx2.Response) -> Fault:
    """The fault of a reply that an SDK's own models refuse."""
    return Fault(
        "transient",
        "the server's reply is not what its API promises",
        status=response.status_code,
        request_id=_request_id(response.headers),
    )


def _request_id(headers: Mapping[str, str]) -> str | None:
    return headers.get("x-request-id") or headers.get("request-id")


def transport_fault(cause: httpx2.RequestError | None, host: str) -> Fault:
    what = f": {type(cause).__name__} {cut(str(cause))}".rstrip() if cause else ""
    if isinstance(cause, _NEVER_SENT):
        return Fault("permanent", f"no request could be made to {host}{what}", bad_input=True)
    return Fault(
        "transient",
        f"the connection to {host} failed{what}",
        hint=_NO_SERVER if isinstance(cause, httpx2.ConnectError) else "",
        slow=isinstance(cause, httpx2.TimeoutException),
    )


def of_an_item(error: Exception, fault: Fault) -> Fault:
    """The fault with the item named that was noted on the error (`add_note`), where the
    request itself is what the server refuses."""
    notes = getattr(error, "__notes__", [])
    if notes and fault.bad_input and fault.status in _OF_ONE_ITEM:
        return replace(fault, message=f"{notes[0]}: {fault.message}")
    return fault


def headers_of(error: Exception) -> Mapping[str, str] | None:
    """Of the answer that came with a failure, where one came; names in lower case."""
    if isinstance(error, Garbled):
        return error.headers
    response = getattr(error, "response", None)
    return dict(response.headers) if isinstance(response, httpx2.Response) else None


def cut(text: str) -> str:
    """A server's words as one line of a bounded length, without what may be a key."""
    line = _KEY.sub(MARK, " ".join(text.split()))
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
