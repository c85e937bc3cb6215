"""Servers that several modules ask: each is started once, when the first test wants it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, llama_cpp_server, vllm_server


@pytest.fixture(scope="session")
def hf_form(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model in Hugging Face's form, with a chat template."""
    pytest.importorskip("gguf", reason="needs the extra dev")
    from hf_organism import write_hf_form

    return write_hf_form(tmp_path_factory.mktemp("hf"))


@pytest.fixture(scope="session")
def llama_cpp(hf_form: Path) -> Iterator[Server]:
    """llama-cpp-python's server."""
    with llama_cpp_server(hf_form=hf_form) as server:
        yield server


@pytest.fixture(scope="session")
def vllm(hf_form: Path) -> Iterator[Server]:
    """vLLM; it takes some 20 to 45 s to start."""
    with vllm_server(hf_form) as server:
        yield server
