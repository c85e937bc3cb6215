"""A provider's HTTP API where there is no SDK: JSON in and out, faults classified."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import httpx2

from elicit.finetune.made_once import Patience, refused_job
from elicit.providers.faults import Fault, fault_of_status
from elicit.providers.garbled import Garbled, common_fault, cut, transport_fault
from elicit.providers.redact import secret_from_environment
from elicit.providers.transport import open_client

T = TypeVar("T")
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PlainHttp:
    """One API. `get`, `post` and `send_file` ask once; `ask` tries again."""

    client: httpx2.Client
    base_url: str
    """Without a slash at its end."""
    patience: Patience

    def ask(self, send: Callable[[], T]) -> T:
        """Try until there is an answer; only for what may be sent twice.

        Raises:
            CallFailed, Rejected: see `retrying`.
        """
        return self.patience.ask(send, self.classify)

    def get(self, path: str, **query: str | int) -> Json:
        return _object(self.client.get(f"{self.base_url}{path}", params=dict(query)))

    def get_or_none(self, path: str) -> Json | None:
        """As `get`; None where there is nothing of that name."""
        reply = self.client.get(f"{self.base_url}{path}")
        return None if reply.status_code == httpx2.codes.NOT_FOUND else _object(reply)

    def post(self, path: str, body: Json | None = None, **query: str) -> Json:
        return _object(
            self.client.post(f"{self.base_url}{path}", json=dict(body or {}), params=query)
        )

    def send_file(
        self, path: str, file: tuple[str, Any, str], fields: Mapping[str, str]
    ) -> Json:
        """Upload, as a form: `file` is its name, the open file and its type."""
        return _object(
            self.client.post(f"{self.base_url}{path}", files={"file": file}, data=dict(fields))
        )

    def classify_job(self, provider: str, file: str) -> Callable[[Exception], Fault | None]:
        """As `classify`, for making a job on that file."""

        def classify(error: Exception) -> Fault | None:
            fault = self.classify(error)
            return None if fault is None else refused_job(fault, provider, file)

        return classify

    def classify(self, error: Exception) -> Fault | None:
        """See `Wire.classify`."""
        if isinstance(error, httpx2.HTTPStatusError):
            return _of_status(error.response)
        if isinstance(error, httpx2.TransportError):
            host = httpx2.URL(self.base_url).netloc.decode("ascii")
            return transport_fault(error, host)
        return common_fault(error)


def open_plain(base_url: str, key_variable: str, patience: Patience) -> PlainHttp:
    """An API with the key that an environment variable holds.

    Raises:
        ModelError: there is no such key, or it would travel unencrypted.
    """
    key = secret_from_environment(key_variable)
    return PlainHttp(open_client(base_url, key), base_url.rstrip("/"), patience)


def text_of(reply: Json, name: str) -> str:
    """A field that the API promises.

    Raises:
        Garbled: it is not there, or no text.
    """
    value = reply.get(name)
    if not isinstance(value, str) or not value:
        raise Garbled(f"the server's reply has no {name!r}, which its API promises")
    return value


def rows_of(reply: Json, name: str) -> list[Json]:
    """The objects of a list; an empty one may be left out of a reply."""
    value = reply.get(name)
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def number_of(value: object) -> float | None:
    """A finite number, or None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def unix_time(value: object) -> float:
    """Seconds of a time as JSON tells it (RFC 3339); 0 where it tells none."""
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else 0.0
    except ValueError:
        return 0.0


def _object(reply: httpx2.Response) -> Json:
    reply.raise_for_status()
    body = reply.json()
    if not isinstance(body, Mapping):
        raise Garbled("the server's reply is no JSON object", dict(reply.headers))
    return body


def _of_status(reply: httpx2.Response) -> Fault:
    try:
        body = reply.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        body = None
    # Together wraps its errors (`error`), Fireworks does not.
    inner = body.get("error", body) if isinstance(body, Mapping) else None
    error: Json = inner if isinstance(inner, Mapping) else {"message": inner}
    words = error.get("message")
    return fault_of_status(
        reply.status_code,
        str(error["code"]) if isinstance(error.get("code"), str) else None,
        str(error["type"]) if isinstance(error.get("type"), str) else None,
        cut(words)
        if isinstance(words, str) and words
        else f"{reply.request.url.host} gave no explanation",
        dict(reply.headers),
    )
