"""What an exception of the Anthropic SDK means."""

from __future__ import annotations

from dataclasses import replace

from anthropic import (
    AnthropicError,
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    CredentialsError,
    RetryableError,
)

from elicit.providers.anthropic.sdk import KEY_VARIABLE
from elicit.providers.faults import Fault, fault_of_status
from elicit.providers.garbled import (
    common_fault,
    connection_fault,
    cut,
    invalid_reply,
    of_an_item,
)
from elicit.providers.withheld import CODES


def classify(error: Exception) -> Fault | None:
    """See `Wire.classify`. None for an exception that neither server nor network caused."""
    fault = common_fault(error)
    if fault is not None or not isinstance(error, AnthropicError):
        return fault
    fault = _of_sdk(error)
    if fault is not None and fault.status == 401:
        return replace(fault, hint=f"check the API key in {KEY_VARIABLE}")
    return None if fault is None else of_an_item(error, fault)


def says_withheld(error: APIStatusError) -> bool:
    """Whether an API error is about what the prompt says. The filter of answers has no code
    of its own, so the words must do."""
    words = str(error.api_message or "")
    return error.status_code == 400 and (
        error.error_code in CODES or "blocked by content filtering policy" in words
    )


def told(error: APIStatusError) -> str:
    """The server's words, where it gave any; never a whole page of them, and no key."""
    if error.api_message:
        return cut(str(error.api_message))
    return f"{error.request.url.host} answered with an error and no explanation"


def _of_sdk(error: AnthropicError) -> Fault | None:
    if isinstance(error, APIStatusError):
        return fault_of_status(
            error.status_code,
            error.error_code,
            error.type if isinstance(error.type, str) else None,
            told(error),
            dict(error.response.headers),
        )
    if isinstance(error, APIConnectionError):
        timed_out = isinstance(error, APITimeoutError)
        return connection_fault(error.request, error.__cause__, timed_out=timed_out)
    if isinstance(error, APIResponseValidationError):
        return invalid_reply(error.response)
    if isinstance(error, RetryableError):
        return Fault("transient", cut(str(error)))
    if isinstance(error, CredentialsError):
        return Fault("permanent", cut(str(error)), hint=f"set {KEY_VARIABLE}", bad_input=True)
    return Fault("permanent", cut(str(error)))
