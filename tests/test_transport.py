"""The key is on the wire and nowhere else: tested by planting one and looking for it.

Both SDKs run for real, over a transport whose other end is a function, or a server on this
machine where the network's own layers matter.
"""

from __future__ import annotations

import base64
import gzip
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import anthropic
import httpx2
import openai
import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion

from elicit.providers.base import ModelError
from elicit.providers.redact import MARK, Secret
from elicit.providers.transport import PLACEHOLDER, Refused, open_client, refusal

KEY = 'sk-planted/4242+"quoted"'
"""A module's constant, not a local variable: tracebacks with locals are searched for it."""

FORMS = ("planted", base64.b64encode(KEY.encode())[:16].decode(), "%2F4242")

CHAT = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}
    ],
}
MESSAGE = {
    "id": "m-1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "a"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}

Handler = Callable[[httpx2.Request], httpx2.Response]
Ask = Callable[[httpx2.Client, str], ChatCompletion | Message]


def ask_openai(http: httpx2.Client, url: str) -> ChatCompletion:
    client = openai.OpenAI(
        api_key=PLACEHOLDER, base_url=f"{url}/v1", http_client=http, max_retries=0
    )
    return client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "q"}]
    )


def ask_anthropic(http: httpx2.Client, url: str) -> Message:
    client = anthropic.Anthropic(
        api_key=PLACEHOLDER, base_url=url, http_client=http, max_retries=0
    )
    return client.messages.create(
        model="m", max_tokens=1, messages=[{"role": "user", "content": "q"}]
    )


HEADERS: dict[Ask, tuple[str, str]] = {
    ask_openai: ("Authorization", "Bearer"),
    ask_anthropic: ("x-api-key", ""),
}
both = pytest.mark.parametrize("ask", [ask_openai, ask_anthropic])


def exchange(
    ask: Ask,
    handler: Handler | None,
    url: str = "https://api.test",
    *,
    timeout: float = 5,
    reply_timeout: float = 5,
    max_reply_bytes: int = 10**6,
) -> ChatCompletion | Message:
    header, scheme = HEADERS[ask]
    with open_client(
        url,
        Secret(KEY),
        header=header,
        scheme=scheme,
        timeout=timeout,
        reply_timeout=reply_timeout,
        max_reply_bytes=max_reply_bytes,
        inner=None if handler is None else httpx2.MockTransport(handler),
    ) as http:
        return ask(http, url)


def everything_shown(error: BaseException) -> str:
    """What logs, reports and debuggers could show of an exception and all it leads to."""
    parts = ["".join(traceback.format_exception(error))]
    chain: list[BaseException | None] = [error]
    for link in chain:
        if link is None:
            continue
        parts += [repr(link), str(link), repr(link.args), repr(vars(link))]
        parts += traceback.TracebackException.from_exception(link, capture_locals=True).format()
        for held in (getattr(link, "request", None), getattr(link, "response", None)):
            if held is not None:
                parts += [repr(held.headers.raw), repr(held.url), repr(held.extensions)]
                parts.append(repr(getattr(held, "content", b"")))
        chain += [link.__cause__, link.__context__]
    return "\n".join(parts)


def assert_clean(shown: str) -> None:
    for form in FORMS:
        assert form not in shown


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every logger at its most talkative; whatever a test does, no log may show the key."""
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "anthropic", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, logger=name)
    yield
    records = caplog.get_records("call")
    assert records
    assert_clean("\n".join(f"{logging.Formatter().format(r)} {vars(r)}" for r in records))


@both
def test_the_true_key_is_on_the_wire_and_the_placeholder_is_not(ask: Ask) -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=CHAT if ask is ask_openai else MESSAGE)

    assert exchange(ask, handler)
    header, scheme = HEADERS[ask]
    assert seen[0].headers[header] == f"{scheme} {KEY}".strip()
    assert PLACEHOLDER not in repr(seen[0].headers.raw)


def echo(status: int) -> Handler:
    """Sends the key back in every way there is."""

    def handler(request: httpx2.Request) -> httpx2.Response:
        raw = "".join(
            f"{name.decode()}: {value.decode()}\n" for name, value in request.headers.raw
        )
        message = f"{raw} {KEY} {base64.b64encode(KEY.encode()).decode()} {quote(KEY, safe='')}"
        return httpx2.Response(
            status,
            json={"error": {"message": message, "type": "x"}, "type": "error"},
            headers={"x-request-id": KEY, "request-id": KEY},
            extensions={"reason_phrase": KEY.encode()},
        )

    return handler


def bad_gzip(_: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(
        200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(KEY.encode())
    )


def failing(error: type[Exception]) -> Handler:
    def handler(request: httpx2.Request) -> httpx2.Response:
        sent = request.headers  # a frame of the exchange, with the key in a variable
        raise error(f"while sending {sent.raw!r} {KEY}")

    return handler


@both
@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (echo(401), "AuthenticationError"),
        (echo(429), "RateLimitError"),
        (echo(500), "InternalServerError"),
        (failing(httpx2.ConnectError), "APIConnectionError"),
        (failing(httpx2.WriteTimeout), "APITimeoutError"),
        (failing(httpx2.LocalProtocolError), "APIConnectionError"),
        (bad_gzip, "APIConnectionError"),
    ],
)
def test_an_exception_of_the_sdk_shows_no_key(ask: Ask, handler: Handler, kind: str) -> None:
    with pytest.raises((openai.APIError, anthropic.APIError)) as caught:
        exchange(ask, handler)
    assert type(caught.value).__name__ == kind
    assert_clean(everything_shown(caught.value))


@both
def test_a_bug_below_the_transport_shows_no_key_either(ask: Ask) -> None:
    with pytest.raises((RuntimeError, anthropic.APIConnectionError)) as caught:
        exchange(ask, failing(RuntimeError))
    assert_clean(everything_shown(caught.value))


def test_the_search_for_the_key_finds_one_that_is_there() -> None:
    with (
        httpx2.Client(transport=httpx2.MockTransport(failing(httpx2.ConnectError))) as http,
        pytest.raises(httpx2.ConnectError) as caught,
    ):
        http.get("https://api.test", headers={"x-api-key": KEY})
    assert "planted" in everything_shown(caught.value)
    logging.getLogger("openai").debug("logged by the test itself")


def test_the_text_of_the_servers_error_is_kept_but_for_the_key() -> None:
    with pytest.raises(
        openai.AuthenticationError, match=r"Authorization: Bearer \[key\]"
    ) as caught:
        exchange(ask_openai, echo(401))
    assert caught.value.request_id == MARK


@both
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_its_target_gets_nothing(ask: Ask, status: int) -> None:
    seen: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.url.host)
        return httpx2.Response(status, headers={"location": f"https://elsewhere.test/?k={KEY}"})

    with pytest.raises((Refused, anthropic.APIConnectionError)) as caught:
        exchange(ask, handler)
    assert seen == ["api.test"]
    refused = refusal(caught.value)
    assert refused is not None
    assert "redirect" in str(refused)
    assert "https://elsewhere.test/" in str(refused)
    assert_clean(everything_shown(caught.value))


def test_another_server_never_gets_a_request() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(f"{request.url} was asked")

    with open_client(
        "https://api.test", Secret(KEY), inner=httpx2.MockTransport(handler)
    ) as http:
        for url in ("https://api.test.evil", "http://api.test", "https://api.test:8443"):
            with pytest.raises(Refused, match="another server"):
                http.get(url)
    logging.getLogger("httpx2").debug("nothing was sent, so nothing was logged")


@pytest.mark.parametrize("packed", [False, True])
def test_a_reply_past_the_limit_is_refused_also_if_it_is_only_large_unpacked(
    packed: bool,
) -> None:
    body = b" " * 100_000

    def handler(_: httpx2.Request) -> httpx2.Response:
        headers = {"content-encoding": "gzip"} if packed else {}
        return httpx2.Response(
            200, headers=headers, content=gzip.compress(body) if packed else body
        )

    with pytest.raises(Refused, match="more than 99,999 bytes"):
        exchange(ask_openai, handler, max_reply_bytes=99_999)


def test_an_answer_is_read_whole_and_unpacked() -> None:
    def handler(_: httpx2.Request) -> httpx2.Response:
        plain = httpx2.Response(200, json=CHAT)
        return httpx2.Response(
            200,
            headers={"content-encoding": "gzip", "content-type": "application/json"},
            content=gzip.compress(plain.content),
        )

    answer = exchange(ask_openai, handler)
    assert isinstance(answer, ChatCompletion)
    assert answer.choices[0].message.content == "a"


def test_a_short_key_takes_no_word_out_of_an_answer_but_out_of_an_error() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200 if request.url.path == "/good" else 400, text="EMPTY")

    with open_client(
        "http://127.0.0.1:1", Secret("EMPTY"), inner=httpx2.MockTransport(handler)
    ) as http:
        assert http.get("/good").text == "EMPTY"
        assert http.get("/bad").text == MARK


def test_without_a_key_no_credentials_are_sent_at_all() -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=CHAT)

    with open_client("http://10.0.0.5/v1", None, inner=httpx2.MockTransport(handler)) as http:
        assert ask_openai(http, "http://10.0.0.5")
    assert "authorization" not in seen[0].headers


def test_a_key_does_not_travel_unencrypted_to_another_machine() -> None:
    with pytest.raises(ModelError, match="use https://"):
        open_client("http://10.0.0.5:8000/v1", Secret(KEY))
    with open_client("http://localhost:8000/v1", Secret(KEY)):
        logging.getLogger("httpx2").debug("nothing was sent, so nothing was logged")


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its parent
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        thread.join(5)
        httpd.server_close()


@both
def test_over_a_real_connection_no_header_echo_reaches_a_log(ask: Ask) -> None:
    def answer(to: BaseHTTPRequestHandler) -> None:
        to.send_response(401, f"no {KEY}")
        to.send_header("x-echo", KEY)
        to.send_header("content-length", "0")
        to.end_headers()

    with server(answer) as url, pytest.raises((openai.APIError, anthropic.APIError)) as caught:
        exchange(ask, None, url)
    assert isinstance(caught.value, openai.APIStatusError | anthropic.APIStatusError)
    assert caught.value.status_code == 401
    assert_clean(everything_shown(caught.value))


@both
@pytest.mark.parametrize("silent", [True, False])
def test_timeouts_hold_for_silence_and_for_a_drip(ask: Ask, silent: bool) -> None:
    gone = threading.Event()

    def answer(to: BaseHTTPRequestHandler) -> None:
        if silent:
            gone.wait(5)
            return
        to.send_response(200)
        to.send_header("content-length", "1000")
        to.end_headers()
        for _ in range(100):
            if gone.wait(0.05):
                return
            to.wfile.write(b" ")

    with server(answer) as url:
        try:
            with pytest.raises((openai.APITimeoutError, anthropic.APITimeoutError)) as caught:
                exchange(ask, None, url, timeout=0.5, reply_timeout=0.2)
        finally:
            gone.set()
    assert_clean(everything_shown(caught.value))


def test_a_closed_client_leaves_the_loggers_as_they_were() -> None:
    wire = logging.getLogger("httpcore2.http11")
    before = list(wire.filters)
    with open_client("https://api.test", Secret(KEY)):
        assert len(wire.filters) == len(before) + 1
    assert wire.filters == before
    wire.debug("logged by the test itself")
