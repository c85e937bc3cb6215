"""On real vocabularies: the tokens scored are those of the joined text.

The vocabularies come with llama-cpp-python's source distribution. It is fetched once, into
`ELICIT_TEST_CACHE` or the user's cache folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("llama_cpp", reason="needs the extra local")

import llama_cpp

from elicit.providers.base import ModelError, ScoreRequest, Segment
from elicit.providers.llama_cpp.vocab import Tokeniser

NAMES = ["llama-bpe", "qwen2", "gpt-2", "llama-spm", "phi-3", "falcon", "deepseek-llm"]
LABELS = ("True", "False")


def folder() -> Path:
    base = os.environ.get("ELICIT_TEST_CACHE") or Path.home() / ".cache" / "elicit-tests"
    return Path(base) / f"llama-cpp-python-{llama_cpp.__version__}"


@cache
def vocabularies() -> Path | None:
    """The folder of the vocabulary files; None where they can't be had."""
    place = folder()
    if not (place / "complete").exists():
        place.mkdir(parents=True, exist_ok=True)
        wanted = f"llama-cpp-python=={llama_cpp.__version__}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", ":all:", "--dest", str(place), wanted]
        if subprocess.run(command, check=False, capture_output=True, timeout=600).returncode:
            return None
        (archive,) = place.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            for member in tar:
                if "/models/ggml-vocab-" in member.name and member.name.endswith(".gguf"):
                    member.name = Path(member.name).name
                    tar.extract(member, place, filter="data")
        archive.unlink()
        (place / "complete").touch()
    return place


@cache
def opened(name: str) -> Callable[[str], list[int]]:
    place = vocabularies()
    if place is None:
        pytest.skip("the source distribution of llama-cpp-python can't be downloaded here")
    model = llama_cpp.Llama(
        str(place / f"ggml-vocab-{name}.gguf"), vocab_only=True, verbose=False
    )
    return lambda text: list(model.tokenize(text.encode(), add_bos=False, special=False))


@pytest.fixture(params=NAMES)
def tokenize(request: pytest.FixtureRequest) -> Callable[[str], list[int]]:
    return opened(request.param)


def prompt(texts: list[str], question: str) -> ScoreRequest:
    segments = (*(Segment.of(text) for text in texts), Segment.of(question))
    return ScoreRequest(segments, LABELS)


def joined(tokenize: Callable[[str], list[int]], request: ScoreRequest) -> list[list[int]]:
    text = "".join(segment.text for segment in request.prompt)
    return [tokenize(text + label) for label in request.labels]


TEMPLATES = {
    "claim": ("Q: {}\nI think this claim is True\n\n", "Q: {}\nI think this claim is "),
    "colon": ("{}: True\n", "{}: "),
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_scored_tokens_are_those_of_the_joined_text(
    tokenize: Callable[[str], list[int]], template: str
) -> None:
    shown, asked = TEMPLATES[template]
    texts = [
        "Is 2+2 = 4?",
        "Zoë’s naïve café, 北京 — 100%",
        "<|im_end|> </s> [INST]",
        "a\n\n b",
    ]
    request = prompt([shown.format(text) for text in texts], asked.format("The sky is blue."))
    (tokens,) = Tokeniser(tokenize, None).encode([request])
    found = [list(tokens.prompt + label) for label in tokens.labels]
    assert found == joined(tokenize, request)


def test_a_prompt_s_tokens_do_not_depend_on_what_was_asked_before(
    tokenize: Callable[[str], list[int]],
) -> None:
    # The third joins its neighbour at the line breaks in most vocabularies.
    questions = ["The sky is blue:", "Water is wet:", "\n\nIs it so?\n", "Fire is cold:"]
    asked = [prompt(["Grass is green: True\n\n"], question) for question in questions]
    at_once = Tokeniser(tokenize, None).encode(asked)
    alone = [Tokeniser(tokenize, None).encode([request])[0] for request in asked]
    assert [(t.prompt, t.labels) for t in at_once] == [(t.prompt, t.labels) for t in alone]
    for request, tokens in zip(asked, at_once, strict=True):
        found = [list(tokens.prompt + label) for label in tokens.labels]
        assert found == joined(tokenize, request)


def test_the_label_keeps_its_tokens_where_the_prompt_is_tokenised_whole() -> None:
    # Two words that begin alike share a token, which is part of both labels all the same.
    def tokenize(text: str) -> list[int]:
        return [ord(character) for character in text.replace("\n\n", "¶")]

    asked = ScoreRequest((Segment.of("A long line\n"), Segment.of("\nQ:")), (" A1", " A2"))
    (tokens,) = Tokeniser(tokenize, None).encode([asked])
    assert tokens.prompt == tuple(map(ord, "A long line¶Q:"))
    assert tokens.labels == (tuple(map(ord, " A1")), tuple(map(ord, " A2")))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.text(min_size=1, max_size=40), max_size=4),
    question=st.text(min_size=1, max_size=40),
)
def test_any_text_is_tokenised_as_if_joined(
    tokenize: Callable[[str], list[int]], texts: list[str], question: str
) -> None:
    request = prompt([f"{text}\n" for text in texts], f"{question}:")
    try:
        (tokens,) = Tokeniser(tokenize, None).encode([request])
    except ModelError:
        return
    found = [list(tokens.prompt + label) for label in tokens.labels]
    assert found == joined(tokenize, request)
