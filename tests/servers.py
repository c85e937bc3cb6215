"""Real OpenAI-compatible servers of two makes, serving the embedded model on this machine.

llama-cpp-python's server runs in the tests' own environment. vLLM needs other versions of
what both use, so it has its own: the interpreter that `ELICIT_VLLM_PYTHON` names, or
`.venv-vllm/bin/python` beside the tests' folder. A test that asks for a server which is not
installed is skipped.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import pytest

from elicit.organism import model_path

MODEL = "organism"
VLLM_PYTHON = Path(
    os.environ.get("ELICIT_VLLM_PYTHON")
    or Path(__file__).resolve().parent.parent / ".venv-vllm" / "bin" / "python"
)
LLAMA_CPP_NEEDS = (
    "llama_cpp",
    "fastapi",
    "uvicorn",
    "sse_starlette",
    "starlette_context",
    "pydantic_settings",
    "yaml",
)
STOPS_WITHIN = 20
"""Seconds a server has to end by itself."""


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    url: str
    """Its base, ending in /v1."""
    model: str
    pid: int


@contextmanager
def llama_cpp_server(
    *options: str, hf_form: Path | None = None, port: int | None = None
) -> Iterator[Server]:
    """llama-cpp-python's server.

    Args:
        options: more of its command line, as in `"--n_ctx", "512"`.
        hf_form: a folder of `write_hf_form`, whose chat template is then used; else the
            server falls back to Llama 2's.
        port: where it listens; a free one where None.
    """
    missing = [name for name in LLAMA_CPP_NEEDS if find_spec(name) is None]
    if missing:
        pytest.skip(f"needs llama-cpp-python[server]; missing: {', '.join(missing)}")
    chat = []
    if hf_form is not None:
        config = str(hf_form / "tokenizer_config.json")
        chat = ["--chat_format", "hf-tokenizer-config", "--hf_tokenizer_config_path", config]
    port = free_port() if port is None else port
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model_path())]
    command += ["--model_alias", MODEL, "--host", "127.0.0.1", "--port", str(port)]
    # Keys and values in float32, which ggml numbers 0: what was asked before then changes
    # an answer in the sixth digit, not the third.
    command += ["--type_k", "0", "--type_v", "0"]
    with _running([*command, *chat, *options], port, {}, seconds=60) as pid:
        yield Server(f"http://127.0.0.1:{port}/v1", MODEL, pid)


@contextmanager
def vllm_server(hf_form: Path, *options: str) -> Iterator[Server]:
    """vLLM on the CPU.

    Args:
        hf_form: a folder of `write_hf_form`.
        options: more of its command line, as in `"--max-logprobs", "5"`.
    """
    if not VLLM_PYTHON.exists():
        pytest.skip(f"needs vLLM in an environment of its own; there is no {VLLM_PYTHON}")
    port = free_port()
    # Its command `vllm` looks for a package of that name, which the CPU build's is not.
    command = [str(VLLM_PYTHON), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(hf_form), "--served-model-name", MODEL]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager"]
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
            # Else the first answer waits for a compiler, some 14 s.
            "TORCHDYNAMO_DISABLE": "1",
            "VLLM_CACHE_ROOT": cache,
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_HOST_IP": "127.0.0.1",
            "VLLM_NO_USAGE_STATS": "1",
        }
        with _running([*command, *options], port, environment, seconds=240) as pid:
            yield Server(f"http://127.0.0.1:{port}/v1", MODEL, pid)


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(
    command: Sequence[str], port: int, environment: Mapping[str, str], seconds: float
) -> Iterator[int]:
    """The process id of the command, from when its port answers to when it has ended."""
    with tempfile.TemporaryFile() as log:
        # A session of its own, so that what it starts can be ended with it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            _wait(process, port, seconds, command, log)
            yield process.pid
        finally:
            _stop(process)


def _wait(
    process: subprocess.Popen[bytes],
    port: int,
    seconds: float,
    command: Sequence[str],
    log: BinaryIO,
) -> None:
    deadline = time.monotonic() + seconds
    while not _answers(port):
        ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            what = f"gave no answer in {seconds} s" if ended is None else f"ended ({ended})"
            log.seek(0)
            tail = log.read().decode(errors="replace")[-3000:]
            raise RuntimeError(f"{' '.join(command)}\n{what}; its log ends:\n{tail}")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    """Whether it is a web server; one that asks for a key is up as well."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/models")
        answer = connection.getresponse()
        return answer.status == http.client.UNAUTHORIZED or bool(
            answer.status == http.client.OK and json.loads(answer.read())["data"]
        )
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOPS_WITHIN)
