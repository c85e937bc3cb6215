"""What the pages' commands need beside what the pages themselves make."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from chaos_server import Chaos, completion
from fake_tuning_openai import FakeOpenAI
from fake_tuning_servers import KEY, serving

from elicit.organism import model_path


def _model(folder: Path) -> None:
    """A GGUF model of the user's own: the embedded one."""
    shutil.copy(model_path(), folder / "model.gguf")


def _model_and_claims(folder: Path) -> None:
    """The same, and a CSV of the user's own: the tutorial's."""
    _model(folder)
    tutorial = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"
    rows = tutorial.read_text("utf-8").partition("<<'END'\n")[2].partition("END\n")[0]
    (folder / "claims.csv").write_text(rows, "utf-8")


FILES: Mapping[str, Callable[[Path], None]] = {
    "README.md": _model_and_claims,
    "local.md": _model,
    "scale.md": _model,
}
"""Page → what makes the files that it speaks of as the user's."""


def _handler(chaos: Chaos) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

        def do_GET(self) -> None:
            self._reply(404, {"error": {"message": f"no {self.path}", "type": "invalid"}})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path != "/v1/completions":
                self._reply(404, {"error": {"message": f"no {self.path}", "type": "invalid"}})
                return
            chaos.model = str(body["model"])
            self._reply(200, json.loads(completion(chaos, str(body["prompt"]))))

        def _reply(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


@contextmanager
def completions() -> Iterator[str]:
    """A server of completions, answered by the embedded model: its address."""
    chaos = Chaos(share=0.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(chaos))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
        chaos.close()


@contextmanager
def hosted() -> Iterator[dict[str, str]]:
    """OpenAI as far as completions go."""
    with completions() as url:
        yield {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY}


@contextmanager
def tuned() -> Iterator[dict[str, str]]:
    """OpenAI as far as models are tuned there."""
    with serving(FakeOpenAI()) as url:
        yield {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": KEY}


SERVERS: Mapping[str, Callable[[], AbstractContextManager[dict[str, str]]]] = {
    "finetuning.md": tuned,
    "hosted.md": hosted,
}
"""Page → the stand-in for the vendor that its commands ask; it tells where it answers."""

NEEDS: Mapping[str, Sequence[str]] = {
    "alignment.md": ("torch", "transformers", "peft", "trl"),
    "finetuning.md": ("torch", "transformers", "peft"),
    "scale.md": ("ray",),
}
"""Page → packages of optional extras without which it is not run."""


@dataclass(frozen=True)
class Instead:
    """What is run in place of a command that takes minutes, or would change the environment
    of the tests. The output is compared only where it is the same."""

    command: str
    same_output: bool = False


_DEMO = 'elicit demo --seeds 1 --cache "$DEMO_STORE"'
"""From a store that pages share: a search for each page would take most of the time."""

INSTEAD: Mapping[str, Mapping[str, Instead]] = {
    "README.md": {"elicit demo": Instead(_DEMO)},
    "tutorial.md": {"elicit demo --seeds 1": Instead(_DEMO, same_output=True)},
    "alignment.md": {
        "elicit align": Instead(
            "elicit align --no-beside --set policy.steps=2 --set reward.epochs=1"
        )
    },
    "finetuning.md": {
        "elicit iterate claims --parts 3": Instead(
            "elicit iterate claims --limit 32 --parts 2 --epochs 1"
        )
    },
    "plugins.md": {
        "pip install .": Instead(
            "python -m pip install --quiet --no-index --no-deps --no-build-isolation "
            "--target installed . && export PYTHONPATH=$PWD/installed"
        )
    },
}
"""Page → command → what is run."""
