"""The SDK's client as elicit uses it: no key, no retries, nothing from the environment."""

from __future__ import annotations

import os

import httpx2
from anthropic import Anthropic

from elicit.providers.base import ModelError
from elicit.providers.transport import PLACEHOLDER

KEY_VARIABLE = "ANTHROPIC_API_KEY"
"""The environment variable that holds the key, to name it in errors."""

_HEADERS = "ANTHROPIC_CUSTOM_HEADERS"


def sdk_client(client: httpx2.Client, base_url: str) -> Anthropic:
    """The SDK over an HTTP client that knows the key (`transport.open_client`).

    Raises:
        ModelError: the environment adds headers of its own, which the SDK can't be told to
            leave out.
    """
    if os.environ.get(_HEADERS):
        raise ModelError(
            f"{_HEADERS} is set: headers that it adds may change a model's answers without "
            "the score store knowing, and may hold a key that would not be kept out of errors; "
            "unset it for elicit"
        )
    return Anthropic(
        api_key=PLACEHOLDER,
        base_url=base_url,
        max_retries=0,
        http_client=client,
        open_telemetry=False,
    )
