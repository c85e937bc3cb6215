"""A name says which model answers where; what is known of the server comes from one table."""

from __future__ import annotations

import pytest

from elicit.providers.base import ModelError
from elicit.providers.presets import Server, is_loopback, parse_model, presets

VARIABLES = {p.key_variable for p in presets().values() if p.key_variable}


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def where(server: Server) -> tuple[str, str]:
    return server.base_url, server.model


def test_every_kind_of_server_has_what_a_name_needs() -> None:
    for name, preset in presets().items():
        assert preset.name == name
        assert set(preset.scorers) <= {"completions", "chat"}
        assert preset.notes
        assert preset.key_variable or not preset.key_required
        if preset.base_url is not None:
            assert where(parse_model(name, "org/m")) == (preset.base_url, "org/m")
            local = preset.base_url.startswith("http://127.0.0.1:")
            assert local or preset.base_url.startswith("https://")
            assert local != preset.key_required


def test_what_is_unknown_of_a_server_is_none_and_what_it_lacks_is_nothing() -> None:
    assert presets()["groq"].max_top_logprobs == 0
    assert presets()["groq"].scorers == ()
    assert presets()["openrouter"].max_top_logprobs is None
    assert presets()["compatible"].logprob_token_ids is None


def test_a_request_gets_the_fields_that_its_server_needs() -> None:
    assert presets()["openrouter"].extra == {"provider": {"require_parameters": True}}
    assert presets()["fireworks"].extra == {"context_length_exceeded_behavior": "error"}
    assert presets()["together"].count_in_logprobs


@pytest.mark.parametrize(
    ("prefix", "rest", "base_url", "model"),
    [
        ("compatible", "https://h/v1#m", "https://h/v1", "m"),
        ("compatible", "https://h/v1/#org/m#x", "https://h/v1", "org/m#x"),
        ("compatible", "http://10.0.0.5:8000/#m", "http://10.0.0.5:8000", "m"),
        ("vllm", "org/m", "http://127.0.0.1:8000/v1", "org/m"),
        ("vllm", "http://[::1]:9/v1#m", "http://[::1]:9/v1", "m"),
        ("ollama", "llama3.1:8b", "http://127.0.0.1:11434/v1", "llama3.1:8b"),
        ("together", "https://proxy/v1#m", "https://proxy/v1", "m"),
        # Fireworks joins a model and its deployment by '#'.
        ("fireworks", "m#accounts/a", "https://api.fireworks.ai/inference/v1", "m#accounts/a"),
    ],
)
def test_a_name_gives_address_and_model(
    prefix: str, rest: str, base_url: str, model: str
) -> None:
    assert where(parse_model(prefix, rest)) == (base_url, model)


def test_the_tokenizer_stands_beside_the_api_also_behind_a_proxy() -> None:
    assert parse_model("vllm", "m").tokenize_url == "http://127.0.0.1:8000/tokenize"
    behind = parse_model("llama-server", "https://h/llama/v1#m")
    assert behind.tokenize_url == "https://h/llama/tokenize"
    assert parse_model("ollama", "m").tokenize_url is None


@pytest.mark.parametrize(
    ("prefix", "rest", "message"),
    [
        ("vlm", "m", "no such kind of server; did you mean vllm"),
        (
            "compatible",
            "https://h/v1",
            "no '#' before the model; write compatible:https://HOST/v",
        ),
        (
            "vllm",
            "http://h/v1",
            "no '#' before the model; write vllm:http://127.0.0.1:8000/v1#M",
        ),
        ("vllm", "", "no model is named; write vllm:"),
        ("compatible", "https://h/v1#", "no model is named"),
        ("compatible", "https://h/v1# ", "no model is named"),
        (
            "compatible",
            "h:8000/v1#m",
            "the address needs http:// or https://; write compatible:",
        ),
        ("vllm", "h:8000/v1#m", "the address needs http:// or https://; write vllm:"),
        ("compatible", "ftp://h/v1#m", "ftp:// is not http:// or https://"),
        ("compatible", "https:///v1#m", "names no host"),
        ("compatible", "https://h:port/v1#m", "that is no address"),
        ("compatible", "https://[h/v1#m", "that is no address"),
        ("compatible", "https://h#m", "mostly with /v1; write https://h/v1#MODEL"),
        ("compatible", "https://h/v1?a=b#m", "no query"),
    ],
)
def test_a_name_that_can_not_be_one_is_an_error_with_its_mend(
    prefix: str, rest: str, message: str
) -> None:
    with pytest.raises(ModelError) as caught:
        parse_model(prefix, rest)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("prefix", "variable"), [("compatible", "COMPATIBLE_API_KEY"), ("vllm", "VLLM_API_KEY")]
)
@pytest.mark.parametrize("scheme", ["https://", "http://", ""])
def test_a_password_in_an_address_is_refused_and_never_repeated(
    prefix: str, variable: str, scheme: str
) -> None:
    with pytest.raises(ModelError) as caught:
        parse_model(prefix, f"{scheme}me:planted@h/v1#m")
    assert "planted" not in str(caught.value)
    assert variable in str(caught.value) or not scheme


def test_a_server_without_a_key_of_its_own_names_the_kind_that_has_one() -> None:
    with pytest.raises(ModelError, match=r"use compatible:.* COMPATIBLE_API_KEY"):
        parse_model("ollama", "http://me:planted@h/v1#m")


def test_a_key_is_not_sent_unencrypted_to_another_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remote = "http://10.0.0.5:8000/v1#m"
    assert parse_model("vllm", remote).base_url == "http://10.0.0.5:8000/v1"
    monkeypatch.setenv("VLLM_API_KEY", "sk-planted")
    with pytest.raises(ModelError, match="unencrypted; use https://, or unset VLLM_API_KEY"):
        parse_model("vllm", remote)
    for safe in ("http://localhost:8000/v1#m", "http://127.0.0.2/v1#m", "https://h/v1#m"):
        assert parse_model("vllm", safe).model == "m"


@pytest.mark.parametrize("host", ["127.evil.test", "127.0.0.1.test", "0.0.0.0", "10.0.0.1", ""])
def test_only_this_machine_is_this_machine(host: str) -> None:
    assert not is_loopback(host)
