"""What an exception of the Anthropic SDK means."""

from __future__ import annotations

import json
from collections.abc import Mapping

import httpx2
from anthropic import (
    AnthropicError,
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    CredentialsError,
    RetryableError,
)

from elicit.providers.faults import Fault, fault_of_status
from elicit.providers.transport import refusal

LONGEST = 300
"""Characters of a server's own words that are told."""

_NEVER_SENT = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)


class Garbled(Exception):
    """A reply that is no answer: half a body, no message, JSON that is not a label.

    It is tried again, as the same request may well be answered the next time. It never
    becomes a score.
    """

    def __init__(self, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.headers = headers


def classify(error: Exception) -> Fault | None:
    """See `Wire.classify`. None for an exception that neither server nor network caused."""
    if isinstance(error, Garbled):
        return Fault("transient", str(error), request_id=error.headers.get("request-id"))
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return Fault("transient", "the server's reply is cut short or damaged: not JSON")
    if isinstance(error, httpx2.TransportError):
        return _of_transport(error, "the server")
    if not isinstance(error, AnthropicError):
        return None
    refused = refusal(error)
    return _of_sdk(error) if refused is None else Fault("permanent", str(refused))


def headers_of(error: Exception) -> Mapping[str, str] | None:
    """Of the answer that came with a failure, where one came; names in lower case."""
    if isinstance(error, Garbled):
        return error.headers
    if isinstance(error, APIStatusError | APIResponseValidationError):
        return dict(error.response.headers)
    return None


def _of_sdk(error: AnthropicError) -> Fault | None:
    if isinstance(error, APIStatusError):
        return fault_of_status(
            error.status_code,
            error.error_code,
            error.type if isinstance(error.type, str) else None,
            _told(error),
            dict(error.response.headers),
        )
    if isinstance(error, APIConnectionError):
        return _of_connection(error)
    if isinstance(error, APIResponseValidationError):
        return Fault(
            "transient",
            "the server's reply is not what its API promises",
            status=error.status_code,
            request_id=error.response.headers.get("request-id"),
        )
    if isinstance(error, RetryableError):
        return Fault("transient", cut(str(error)))
    if isinstance(error, CredentialsError):
        return Fault("permanent", cut(str(error)), hint="set ANTHROPIC_API_KEY", bad_input=True)
    return Fault("permanent", cut(str(error)))


def _of_connection(error: APIConnectionError) -> Fault | None:
    host = error.request.url.host
    if isinstance(error, APITimeoutError):
        return Fault("transient", f"{host} gave no answer in time")
    cause = error.__cause__
    # The SDK wraps whatever went wrong while sending: a mistake in a transport stays one.
    if cause is not None and not isinstance(cause, httpx2.RequestError):
        return None
    return _of_transport(cause, host)


def _of_transport(cause: httpx2.RequestError | None, host: str) -> Fault:
    what = f": {type(cause).__name__} {cut(str(cause))}".rstrip() if cause else ""
    if isinstance(cause, _NEVER_SENT):
        return Fault("permanent", f"no request could be made to {host}{what}", bad_input=True)
    return Fault("transient", f"the connection to {host} failed{what}")


def _told(error: APIStatusError) -> str:
    """The server's words, where it gave any; never a whole page of them."""
    if error.api_message:
        return cut(str(error.api_message))
    return f"{error.request.url.host} answered with an error and no explanation"


def cut(text: str) -> str:
    """A server's words as one line of a bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
