"""The servers that other tests use answer as the local path does, in both forms of asking."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("gguf", reason="needs the extra dev")

from servers import Server, llama_cpp_server

from elicit.organism import model_path, tasks_path
from elicit.providers.base import ScoreRequest, Segment
from elicit.providers.registry import open_model

LABELS = (" False", " True")
SHOTS = (0, 1, 2, 4, 8, 16, 32)
EACH = 9

# Measured on 210 prompts (thirty each): both servers differ from the local path by 1.4e-3 at
# most and 4e-5 at the median, which is its float16 attention; in float32, by 5e-6 and 7e-7.
FLOAT32 = f"llama-cpp:{model_path()}?kv_type=f32&flash_attention=false&threads=1"
TOLERANCE = {"tiny": 5e-3, FLOAT32: 5e-5}

Ask = Callable[[Server, str], tuple[float, ...]]


@pytest.fixture(scope="module", params=["llama_cpp", "vllm"])
def server(request: pytest.FixtureRequest) -> Server:
    started: Server = request.getfixturevalue(request.param)
    return started


def requests() -> list[ScoreRequest]:
    """`EACH` claims behind each of `SHOTS` demonstrations with labels by chance."""
    lines = (tasks_path() / "claims.jsonl").read_text("utf-8").splitlines()
    claims = [json.loads(line)["claim"] for line in lines]
    random = np.random.default_rng(0)
    asked = []
    for shots in SHOTS:
        chosen = [claims[i] for i in random.permutation(len(claims))[: shots + EACH]]
        shown = [f"{claim}:{LABELS[random.integers(2)]}\n" for claim in chosen[:shots]]
        for claim in chosen[shots:]:
            prompt = tuple(Segment.of(piece) for piece in (*shown, f"{claim}:"))
            asked.append(ScoreRequest(prompt, LABELS))
    return asked


def texts() -> list[str]:
    return ["".join(segment.text for segment in request.prompt) for request in requests()]


def locally(model: str) -> NDArray[np.float64]:
    """[prompt, label] in nats."""
    asked = requests()
    found = np.empty((len(asked), len(LABELS)))
    with closing(open_model(model)) as opened:
        for unit in opened.score(asked):
            for index, scores in unit.scores:
                found[index] = scores.log_probs
    return found


def reply(server: Server, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    where = urlsplit(server.url)
    with closing(http.client.HTTPConnection(where.netloc, timeout=60)) as connection:
        if body is None:
            connection.request("GET", where.path + path)
        else:
            sent = json.dumps({"model": server.model, "max_tokens": 1, **body})
            kind = {"Content-Type": "application/json"}
            connection.request("POST", where.path + path, sent, kind)
        answer = connection.getresponse()
        content = answer.read()
    assert answer.status == http.client.OK, content
    return dict(json.loads(content))


def completion(server: Server, prompt: str) -> tuple[float, ...]:
    given = reply(server, "/completions", {"prompt": prompt, "logprobs": 20})
    (top,) = given["choices"][0]["logprobs"]["top_logprobs"]
    return tuple(top[label] for label in LABELS)


def chat(server: Server, prompt: str) -> tuple[float, ...]:
    said = [{"role": "user", "content": prompt}]
    body = {"messages": said, "logprobs": True, "top_logprobs": 20}
    (first,) = reply(server, "/chat/completions", body)["choices"][0]["logprobs"]["content"]
    top = {token["token"]: token["logprob"] for token in first["top_logprobs"]}
    return tuple(top[label] for label in LABELS)


def test_it_names_its_model(server: Server) -> None:
    models = reply(server, "/models")["data"]
    assert [model["id"] for model in models] == [server.model]


@pytest.mark.parametrize("model", TOLERANCE, ids=["tiny", "float32"])
@pytest.mark.parametrize("ask", [completion, chat])
def test_label_log_probabilities_are_the_local_path_s(
    server: Server, ask: Ask, model: str
) -> None:
    given = np.array([ask(server, prompt) for prompt in texts()])
    assert given.shape == (len(SHOTS) * EACH, len(LABELS))
    assert np.abs(given - locally(model)).max() < TOLERANCE[model]


def test_requests_at_once_get_the_answers_they_get_alone(server: Server) -> None:
    alone = [completion(server, prompt) for prompt in texts()]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda prompt: completion(server, prompt), texts()))
    assert np.abs(np.array(together) - np.array(alone)).max() < 5e-5


def test_a_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(RuntimeError, match="unrecognized arguments: --no-such-option"),
        llama_cpp_server("--no-such-option"),
    ):
        pytest.fail("it started")
