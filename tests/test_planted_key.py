"""A key goes to the server that it is for and is seen nowhere else, whatever that server does.

The command line runs as a process with a key in its environment, everything logged, against a
server that repeats the key in all it says. Afterwards every byte that was left is searched.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("openai", reason="needs the extra hosted")
pytest.importorskip("anthropic", reason="needs the extra hosted")

from echo_server import GOOD, WAYS, Echo, echo_server, echoes

MARK = b"[key]"
KEY = "sk-planted-Zq7+kP0/uT4=xWyLd9.r~hJ5"
"""Of nobody. Some of its characters read otherwise in an address."""

SCRIPT = """
import json, logging, os, sys, traceback
logging.basicConfig(filename="debug.log", level=logging.DEBUG)
from elicit.cli.main import main
{bug}
for environment, arguments in json.loads(sys.argv[1]):
    os.environ.update(environment)
    sys.argv = ["elicit", *arguments]
    try:
        main()
    except SystemExit as stop:
        print("exit code", stop.code or 0, flush=True)
    except ZeroDivisionError as bug:
        told = traceback.TracebackException.from_exception(bug, capture_locals=True)
        print(*told.format(), file=sys.stderr)
        raise
"""
"""A bug is told with every variable of every frame."""

BUGS = {
    "reading a reply": """
import elicit.providers.openai.completions as place
def label_scores(*_arguments, **_named):
    raise ZeroDivisionError("a planted bug")
place.label_scores = label_scores
""",
    "sending": """
import httpx2
def handle_request(self, request):
    raise ZeroDivisionError(f"a planted bug: {dict(request.headers)} {request.headers.raw}")
httpx2.HTTPTransport.handle_request = handle_request
""",
    "cleaning a reply": """
from elicit.providers.transport import KeyedTransport
def _bounded(self, response):
    raise ZeroDivisionError(f"a planted bug: {response.read()} {response.headers.raw}")
KeyedTransport._bounded = _bounded
""",
}
NO_REDACTION = """
import elicit.providers.transport as place
place.redact = lambda text, _secrets: text
"""
ABORT = """
import os
import elicit.providers.openai.completions as place
place.label_scores = lambda *_arguments, **_named: os.abort()
"""

TASK = """name = "few"
labels = ["False", "True"]
[data]
path = "few.jsonl"
id = "id"
[prompt]
item = "{{ text }}:"
verbalizers = { False = " False", True = " True" }
[run]
method = "icm"
iterations = 3
initial = 2
"""


@dataclass(frozen=True)
class Vendor:
    """A way to hosted models: a key's variable, and how one is sent to a server here."""

    variable: str
    model: str
    address: str
    """The variable that holds the server's address, or what stands before it in the name."""

    def named(self, echo: Echo, way: str) -> tuple[dict[str, str], str]:
        """The environment and the model's name that lead there."""
        root = f"{echo.url}/{way}"
        if self.address.endswith("_BASE_URL"):
            root += "" if self.address == "ANTHROPIC_BASE_URL" else "/v1"
            return {self.address: root}, self.model
        return {}, f"{self.address}{root}/v1#{self.model}"


VENDORS = {
    "compatible": Vendor("COMPATIBLE_API_KEY", "m?attempts=2", "compatible:"),
    "vllm": Vendor("VLLM_API_KEY", "m?attempts=2", "vllm:"),
    "openai": Vendor("OPENAI_API_KEY", "openai:m?attempts=2&scorer=chat", "OPENAI_BASE_URL"),
    "anthropic": Vendor(
        "ANTHROPIC_API_KEY", "anthropic:m?attempts=2&samples=1", "ANTHROPIC_BASE_URL"
    ),
}


@pytest.fixture(scope="module")
def trap() -> Iterator[Echo]:
    """Where redirects lead."""
    with echo_server() as trap:
        yield trap


@pytest.fixture
def echo(trap: Echo) -> Iterator[Echo]:
    with echo_server(trap.url) as echo:
        yield echo
    assert not trap.received


Step = tuple[dict[str, str], list[str]]
"""A command: what the environment has for it, and its arguments."""


def begun(
    folder: Path, vendor: Vendor, steps: Sequence[Step], bug: str = ""
) -> subprocess.Popen[bytes]:
    """A process that runs commands one after the other, and tells each one's exit code."""
    environment = {name: value for name, value in os.environ.items() if "API_KEY" not in name}
    script = SCRIPT.replace("{bug}", bug)
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as notes:
        return subprocess.Popen(
            [sys.executable, "-c", script, json.dumps(steps)],
            stdout=out,
            stderr=notes,
            cwd=folder,
            env=environment
            | {
                vendor.variable: KEY,
                "ELICIT_CACHE": str(folder / "e.db"),
                "OPENAI_LOG": "debug",
                "ANTHROPIC_LOG": "debug",
                "PYTHONFAULTHANDLER": "1",
            },
        )


def examined(
    folder: Path, name: str, echo: Echo, ways: Sequence[str], bug: str = ""
) -> tuple[int, bytes]:
    """The exit status of a process that runs `elicit doctor`, and what it said."""
    vendor = VENDORS[name]
    steps = []
    for way in ways:
        environment, model = vendor.named(echo, way)
        steps.append((environment, ["doctor", "--model", model, "--json"]))
    with begun(folder, vendor, steps, bug) as process:
        process.wait(120)
    return process.returncode, (folder / "stderr").read_bytes()


@dataclass(frozen=True)
class Session:
    """All that a user may do with a vendor's model, under way."""

    folder: Path
    echo: Echo
    steps: Sequence[Step]
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def sessions(
    trap: Echo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Session]]:
    """One with each vendor, side by side, as most of their time is waiting."""
    with ExitStack() as stack:
        begin = {}
        for name, vendor in VENDORS.items():
            folder = tmp_path_factory.mktemp(name)
            echo = stack.enter_context(echo_server(trap.url))
            steps = session(folder, vendor, echo)
            process = stack.enter_context(begun(folder, vendor, steps))
            stack.callback(process.kill)
            begin[name] = Session(folder, echo, steps, process)
        yield begin
    assert not trap.received


def session(folder: Path, vendor: Vendor, echo: Echo) -> list[Step]:
    (folder / "few.toml").write_text(TASK)
    rows = [json.dumps({"id": str(i), "text": f"claim {i}"}) for i in range(6)]
    (folder / "few.jsonl").write_text("\n".join(rows))
    steps: list[Step] = []
    for way in WAYS:
        environment, model = vendor.named(echo, way)
        steps.append((environment, ["doctor", "--model", model, "--json"]))
    for way in ("answers", "later"):
        environment, model = vendor.named(echo, way)
        run = ["run", "few.toml", "--model", model, "--name", way, "--out", "out", "--json"]
        steps.append((environment, run))
    read = (["resume", "later"], ["runs", "--json"], ["cache", "stats", "--json"])
    return [*steps, *(({}, arguments) for arguments in read)]


def forms_in(data: bytes) -> list[str]:
    """The ways in which the key can be read from some bytes."""
    forms = {"plain": KEY, "in an address": quote(KEY, safe="")}
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + KEY.encode()).decode()
        # The first and last characters also hold bits of what stands beside the key.
        forms[f"base64, {offset} bytes on"] = encoded[4:-4]
    return [name for name, form in forms.items() if form.encode() in data]


def assert_unseen(folder: Path, *expected: str) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    data = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    assert {"stdout", "stderr", "debug.log", *expected} <= set(data)
    seen = {name: forms for name, content in data.items() if (forms := forms_in(content))}
    assert seen == {}


def test_the_search_finds_a_key_in_each_form() -> None:
    assert forms_in(echoes(KEY).encode()) == ["plain", "in an address", "base64, 2 bytes on"]
    for before in ("", "a", "ab"):
        assert len(forms_in(base64.b64encode(f"{before}{KEY}tail".encode()))) == 1


def test_it_would_find_one_that_is_let_out(echo: Echo, tmp_path: Path) -> None:
    examined(tmp_path, "compatible", echo, ("answers", "e400"), NO_REDACTION)
    for name in ("stdout", "stderr", "debug.log", "e.db"):
        assert forms_in((tmp_path / name).read_bytes()), name


@pytest.mark.parametrize("name", VENDORS)
def test_a_key_is_seen_by_its_server_alone(name: str, sessions: dict[str, Session]) -> None:
    session = sessions[name]
    session.process.wait(120)
    assert_unseen(session.folder, "e.db", "out/answers.jsonl")
    out, notes = ((session.folder / each).read_bytes() for each in ("stdout", "stderr"))
    assert b"Traceback" not in notes
    codes = [int(line.split()[-1]) for line in out.splitlines() if b"exit code" in line]
    assert len(codes) == len(session.steps), notes
    doctor, answers, later = codes[: len(WAYS)], codes[len(WAYS)], codes[len(WAYS) + 1]
    assert (doctor[0], answers) == (0, 0), notes
    assert set(doctor[2:]) <= {1, 2}
    assert later in {1, 2}
    # And it was there to be seen.
    received = session.echo.received
    assert {key for _, key in received} == {KEY}
    assert {path.split("/")[1] for path, _ in received} == set(WAYS)
    assert len(forms_in(bytes(session.echo.sent))) == 3
    assert sum(path.startswith("/later/") for path, _ in received) > GOOD
    assert MARK in out
    assert MARK in (session.folder / "debug.log").read_bytes()


@pytest.mark.parametrize("place", BUGS)
def test_nor_does_a_bug_show_it_though_all_variables_are_shown(
    place: str, echo: Echo, tmp_path: Path
) -> None:
    status, told = examined(tmp_path, "compatible", echo, ["answers"], BUGS[place])
    assert status == 1
    assert b"a planted bug" in told
    assert b"self = " in told
    assert b"KeyedTransport" in told or place == "reading a reply"
    assert_unseen(tmp_path, "e.db")
    assert place == "sending" or {key for _, key in echo.received} == {KEY}


def test_nor_does_an_abort(echo: Echo, tmp_path: Path) -> None:
    status, told = examined(tmp_path, "compatible", echo, ["answers"], ABORT)
    assert status < 0
    assert b"Fatal Python error: Aborted" in told
    assert_unseen(tmp_path, "e.db")
    assert {key for _, key in echo.received} == {KEY}
