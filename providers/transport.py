"""The way to hosted models: a client whose key exists only while a request is on the wire.

The SDKs get `PLACEHOLDER` for a key. Requests that they build, keep in their exceptions and
log hold only that; the transport sends a copy with the true header, reads the whole reply,
takes the key out of it, and lets nothing of the copy out: not with the reply, and not with
an exception, whose frames would show the raw bytes sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from urllib.request import getproxies, proxy_bypass

import httpx2

from elicit.providers.base import ModelError, ProviderError
from elicit.providers.presets import is_loopback
from elicit.providers.redact import Secret, redact

PLACEHOLDER = "elicit-puts-the-key-in-later"
"""What an SDK is given as `api_key`. Whoever sees it in a request sees no secret."""

MAX_REPLY_BYTES = 64 * 2**20

_CREDENTIALS = ("authorization", "x-api-key", "api-key")
_SURE = 12
"""A key of fewer characters (`EMPTY`, `local`) may be a word of a model's own answer: in a
reply that reports success it is left."""

# httpcore2 logs each reply's headers as they come, which is before this module sees them.
_WIRE_LOGGERS = tuple(
    f"httpcore2.{name}" for name in ("connection", "http11", "http2", "proxy", "socks")
)
_FROM_WIRE = {"content-encoding", "content-length", "transfer-encoding"}


class Refused(ProviderError):
    """The transport would not go on: a redirect, another host, a reply too large.

    OpenAI's SDK lets it pass, Anthropic's wraps it in its own connection error; `refusal`
    finds it in both. Trying again does not help.
    """


def refusal(error: BaseException) -> Refused | None:
    """The `Refused` that an exception is or wraps, or None."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, Refused):
        cause = cause.__cause__
    return cause


def open_client(
    base_url: str,
    key: Secret | None,
    *,
    header: str = "Authorization",
    scheme: str = "Bearer",
    timeout: float = 60.0,
    connect_timeout: float = 10.0,
    reply_timeout: float = 600.0,
    max_reply_bytes: int = MAX_REPLY_BYTES,
    inner: httpx2.BaseTransport | None = None,
) -> httpx2.Client:
    """A client for an SDK's `http_client=`, or for plain HTTP where there is no SDK.

    Args:
        base_url: the one server (scheme, host, port) that requests may go to.
        key: put into `header` as `SCHEME KEY` (or `KEY`, for an empty scheme); None sends
            no credentials at all.
        timeout: seconds without a byte read or written.
        connect_timeout: seconds to connect.
        reply_timeout: seconds for the whole body of a reply, however steadily it drips.
        max_reply_bytes: a longer reply, decompressed, is refused.
        inner: what carries the request; the network, through the proxy that the
            environment names, where None.

    Raises:
        ModelError: the key would travel unencrypted to another machine.
    """
    url = httpx2.URL(base_url)
    if key is not None and url.scheme != "https" and not is_loopback(url.host):
        raise ModelError(
            f"{url.scheme}://{url.host}: the key would travel unencrypted; use https://"
        )
    return httpx2.Client(
        base_url=url,
        transport=KeyedTransport(
            _network(url) if inner is None else inner,
            origin=url,
            key=key,
            header=header,
            scheme=scheme,
            reply_timeout=reply_timeout,
            max_reply_bytes=max_reply_bytes,
        ),
        timeout=httpx2.Timeout(timeout, connect=connect_timeout),
        follow_redirects=False,
    )


# The limiter bounds what is in flight. A second bound here, by default 100, would hold requests
# back that the limiter counts as sent; and connections past 20 would be opened each time.
_UNBOUNDED = httpx2.Limits(max_connections=None, max_keepalive_connections=None)


def _network(url: httpx2.URL) -> httpx2.HTTPTransport:
    if is_loopback(url.host) or proxy_bypass(url.host):
        return httpx2.HTTPTransport(limits=_UNBOUNDED)
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    return httpx2.HTTPTransport(proxy=proxy, limits=_UNBOUNDED)


class KeyedTransport(httpx2.BaseTransport):
    """Carries requests to one server, with the key; see the module's docstring."""

    def __init__(
        self,
        inner: httpx2.BaseTransport,
        *,
        origin: httpx2.URL,
        key: Secret | None,
        header: str,
        scheme: str,
        reply_timeout: float,
        max_reply_bytes: int,
    ) -> None:
        self._inner = inner
        self._origin = origin
        self._key = key
        self._header = header
        self._scheme = scheme
        self._reply_timeout = reply_timeout
        self._max_reply_bytes = max_reply_bytes
        self._log_filter = _KeyFilter(key)
        for name in _WIRE_LOGGERS:
            logging.getLogger(name).addFilter(self._log_filter)

    def close(self) -> None:
        self._inner.close()
        for name in _WIRE_LOGGERS:
            logging.getLogger(name).removeFilter(self._log_filter)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if _origin(request.url) != _origin(self._origin):
            raise Refused(
                f"{request.url.host}: a request to another server than "
                f"{self._origin.host} is not sent"
            )
        try:
            return self._clean(self._inner.handle_request(self._keyed(request)))
        except BaseException as error:  # noqa: BLE001 - raised again below, whatever it is
            failure = self._stripped(error)
        # Raised out here: in the handler it would get the exchange's exception for context.
        raise failure

    def _stripped(self, error: BaseException) -> BaseException:
        """The exception without its frames, whose variables are the bytes sent."""
        error.args = tuple(self._redacted(a) if isinstance(a, str) else a for a in error.args)
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)

    def _keyed(self, request: httpx2.Request) -> httpx2.Request:
        headers = request.headers.copy()
        for name in _CREDENTIALS:
            headers.pop(name, None)
        if self._key is not None:
            headers[self._header] = f"{self._scheme} {self._key.reveal()}".strip()
        return httpx2.Request(
            request.method,
            request.url,
            headers=headers,
            stream=request.stream,
            extensions=request.extensions,
        )

    def _clean(self, response: httpx2.Response) -> httpx2.Response:
        """The reply, whole and without the key; what told of its transfer is left out."""
        try:
            if response.has_redirect_location:
                target = self._redacted(response.headers["location"])
                raise Refused(
                    f"{self._origin.host} answers with a redirect ({response.status_code}) to "
                    f"{target}, which is not followed, as the key would go along; if that is "
                    "the right server, name its address"
                )
            body = b"".join(self._bounded(response))
        finally:
            response.close()
        if response.is_error or any(len(secret) >= _SURE for secret in self._secrets()):
            body = self._redacted(body.decode("latin-1")).encode("latin-1")
        phrase = response.extensions.get("reason_phrase", b"").decode("latin-1")
        return httpx2.Response(
            response.status_code,
            headers=[
                (self._redacted(name), self._redacted(value))
                for name, value in response.headers.multi_items()
                if name.lower() not in _FROM_WIRE
            ],
            content=body,
            extensions={
                "http_version": response.extensions.get("http_version", b"HTTP/1.1"),
                "reason_phrase": self._redacted(phrase).encode("latin-1"),
            },
        )

    def _bounded(self, response: httpx2.Response) -> Iterator[bytes]:
        size, begin = 0, time.monotonic()
        for chunk in response.iter_bytes():
            size += len(chunk)
            if time.monotonic() - begin > self._reply_timeout:
                raise httpx2.ReadTimeout(f"a reply took over {self._reply_timeout:g} s")
            if size > self._max_reply_bytes:
                raise Refused(
                    f"{self._origin.host} sent a reply of more than "
                    f"{self._max_reply_bytes:,} bytes; it is not read on"
                )
            yield chunk

    def _redacted(self, text: str) -> str:
        return redact(text, self._secrets())

    def _secrets(self) -> tuple[str, ...]:
        return () if self._key is None else (self._key.reveal(),)


class _KeyFilter(logging.Filter):
    """Takes a key out of what a logger is about to say."""

    def __init__(self, key: Secret | None) -> None:
        super().__init__()
        self._key = key

    def filter(self, record: logging.LogRecord) -> bool:
        if self._key is not None:
            record.msg = redact(record.getMessage(), (self._key.reveal(),))
            record.args = None
        return True


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
