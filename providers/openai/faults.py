"""What an exception of the OpenAI SDK means, whatever server stands behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import httpx2
from openai import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    OpenAIError,
)

from elicit.providers.faults import Fault, fault_of_status
from elicit.providers.redact import MARK
from elicit.providers.transport import Refused, refusal

LONGEST = 300
"""Characters of a server's own words that are told."""

_NEVER_SENT = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)
_NO_SERVER = "check the address, and that the server there is running; then try again"
_KEY = re.compile(r"[^\s'\"]*\*{2,}[^\s'\"]*|\b(?:sk|pk|rk|gsk|fw|tgp)[-_][^\s'\",;]+")
"""A key as servers repeat it, whole or with its middle starred out."""

_TOO_LONG = re.compile(
    r"context[ _]?(?:length|window|size)|maximum (?:model|sequence|input) length", re.IGNORECASE
)
_TOO_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error"}


class Garbled(Exception):
    """A reply that is no answer: half a body, missing parts, numbers that can't be.

    It is tried again, as the same request may well be answered the next time. It never
    becomes a score.
    """

    def __init__(
        self, message: str, headers: Mapping[str, str] | None = None, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.headers = headers or {}
        self.hint = hint


def classify(error: Exception) -> Fault | None:
    """See `Wire.classify`. None for an exception that neither server nor network caused."""
    if isinstance(error, Garbled):
        request_id = error.headers.get("x-request-id")
        return Fault("transient", str(error), request_id=request_id, hint=error.hint)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return Fault("transient", "the server's reply is cut short or damaged: not JSON")
    if isinstance(error, httpx2.TransportError):
        return _of_transport(error, "the server")
    if not isinstance(error, OpenAIError | Refused):
        return None
    refused = refusal(error)
    if refused is not None:
        return Fault("permanent", str(refused))
    return _of_sdk(error)


def headers_of(error: Exception) -> Mapping[str, str] | None:
    """Of the answer that came with a failure, where one came; names in lower case."""
    if isinstance(error, Garbled):
        return error.headers
    if isinstance(error, APIStatusError | APIResponseValidationError):
        return dict(error.response.headers)
    return None


def says_too_long(error: APIStatusError) -> bool:
    """Whether an API error says that the prompt does not fit the model's context.

    OpenAI and llama.cpp have a code for it. Of other servers the words must do; where they
    change, the error is still one of bad input, and only lacks the item's name.
    """
    if {error.code, error.type} & _TOO_LONG_CODES:
        return True
    return error.status_code in {400, 413, 422} and bool(_TOO_LONG.search(_words(error)))


def told(error: APIStatusError) -> str:
    """The server's words, where it gave any; never a whole page of them, and no key."""
    words = _words(error)
    return _cut(words) if words else f"{error.request.url.host} gave no explanation"


def _of_sdk(error: Exception) -> Fault | None:
    if isinstance(error, APIStatusError):
        return fault_of_status(
            error.status_code,
            error.code,
            error.type if isinstance(error.type, str) else None,
            told(error),
            dict(error.response.headers),
        )
    if isinstance(error, APIConnectionError):
        return _of_connection(error)
    if isinstance(error, APIResponseValidationError):
        return Fault(
            "transient",
            "the server's reply is not what its API promises",
            status=error.status_code,
            request_id=error.response.headers.get("x-request-id"),
        )
    return Fault("permanent", _cut(str(error)))


def _of_connection(error: APIConnectionError) -> Fault | None:
    host = error.request.url.netloc.decode("ascii")
    if isinstance(error, APITimeoutError):
        return Fault("transient", f"{host} gave no answer in time")
    cause = error.__cause__
    # The SDK wraps whatever went wrong while sending: a mistake in a transport stays one.
    if cause is not None and not isinstance(cause, httpx2.RequestError):
        return None
    return _of_transport(cause, host)


def _of_transport(cause: httpx2.RequestError | None, host: str) -> Fault:
    what = f": {type(cause).__name__} {_cut(str(cause))}".rstrip() if cause else ""
    if isinstance(cause, _NEVER_SENT):
        return Fault("permanent", f"no request could be made to {host}{what}", bad_input=True)
    hint = _NO_SERVER if isinstance(cause, httpx2.ConnectError) else ""
    return Fault("transient", f"the connection to {host} failed{what}", hint=hint)


def _words(error: APIStatusError) -> str:
    """`message` of the error, wherever in the body the server puts it."""
    body = error.body
    if isinstance(body, Mapping):
        for name in ("message", "detail", "error"):
            if isinstance(body.get(name), str):
                return str(body[name])
    return ""


def _cut(text: str) -> str:
    line = _KEY.sub(MARK, " ".join(text.split()))
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
