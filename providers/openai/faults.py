"""What an exception of the OpenAI SDK means, whatever server stands behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from openai import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    OpenAIError,
)

from elicit.providers.faults import Fault, fault_of_status
from elicit.providers.garbled import (
    common_fault,
    connection_fault,
    cut,
    invalid_reply,
    of_an_item,
)
from elicit.providers.withheld import CODES

_TOO_LONG = re.compile(
    r"context[ _]?(?:length|window|size)|maximum (?:model|sequence|input) length", re.IGNORECASE
)
_TOO_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error"}


def classify(error: Exception) -> Fault | None:
    """See `Wire.classify`. None for an exception that neither server nor network caused."""
    fault = common_fault(error)
    if fault is not None or not isinstance(error, OpenAIError):
        return fault
    fault = _of_sdk(error)
    return None if fault is None else of_an_item(error, fault)


def says_too_long(error: APIStatusError) -> bool:
    """Whether an API error says that the prompt does not fit the model's context.

    OpenAI and llama.cpp have a code for it. Of other servers the words must do; where they
    change, the error is still one of bad input, and only lacks the mend.
    """
    if {error.code, error.type} & _TOO_LONG_CODES:
        return True
    return error.status_code in {400, 413, 422} and bool(_TOO_LONG.search(_words(error)))


def says_withheld(error: APIStatusError) -> bool:
    """Whether an API error is about what the prompt says."""
    return error.status_code == 400 and bool({error.code, error.type} & CODES)


def told(error: APIStatusError) -> str:
    """The server's words, where it gave any; never a whole page of them, and no key."""
    words = _words(error)
    return cut(words) if words else f"{error.request.url.host} gave no explanation"


def message_in(body: object) -> str:
    """`message` of an error, wherever in its body the server puts it; empty where nowhere."""
    if isinstance(body, Mapping):
        for name in ("message", "detail", "error"):
            if isinstance(body.get(name), str):
                return str(body[name])
    return ""


def _of_sdk(error: OpenAIError) -> Fault | None:
    if isinstance(error, APIStatusError):
        return fault_of_status(
            error.status_code,
            error.code,
            error.type if isinstance(error.type, str) else None,
            told(error),
            dict(error.response.headers),
        )
    if isinstance(error, APIConnectionError):
        timed_out = isinstance(error, APITimeoutError)
        return connection_fault(error.request, error.__cause__, timed_out=timed_out)
    if isinstance(error, APIResponseValidationError):
        return invalid_reply(error.response)
    return Fault("permanent", cut(str(error)))


def _words(error: APIStatusError) -> str:
    return message_in(error.body)
