"""The commands that one gives before a run: what the model is, what it knows, what it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("openai", reason="needs the extra hosted")

from called import output, told
from chaos_server import Chaos, chaos_server

from elicit.cache.errors import InputError
from elicit.cli.main import app


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "COMPATIBLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ELICIT_CACHE", str(tmp_path / "e.db"))
    return tmp_path / "e.db"


def name_of(server: Chaos) -> str:
    return f"compatible:{server.url}#tiny"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("model", "calls"),
    [
        ("openai:gpt-6-luna", "decisions"),
        ("openai:gpt-4.1-mini", "each"),
        ("anthropic:claude-haiku-4-5", "draws"),
        ("vllm:any", "each"),
    ],
)
def test_an_estimate_needs_no_key_and_no_server(model: str, calls: str) -> None:
    found = told("estimate", "claims", "--limit", "16", "--model", model)
    for usage in (found[end]["usage"] for end in ("low", "mid", "high")):
        if calls == "decisions":
            assert usage["calls"] < usage["requests"]
        else:
            assert usage["calls"] == usage["requests"]
        assert (usage["cost_usd"] is None) == model.startswith("vllm")
    assert found["low"]["usage"]["calls"] <= found["mid"]["usage"]["calls"]
    assert found["mid"]["usage"]["calls"] <= found["high"]["usage"]["calls"]


@pytest.mark.usefixtures("store")
def test_an_estimate_says_what_it_rests_on() -> None:
    shown = output("estimate", "claims", "--limit", "16", "--model", "vllm:any")
    assert "price of this model is unknown" in shown
    assert "was never asked" in shown


@pytest.mark.usefixtures("store")
def test_a_bootstrap_in_batches_is_told_at_the_batch_price() -> None:
    arguments = ("estimate", "claims", "--limit", "16", "--method", "bootstrap")
    model = ("--model", "openai:gpt-4.1-mini")
    whole, half = told(*arguments, *model), told(*arguments, *model, "--batch")
    assert half["mid"]["usage"]["calls"] == whole["mid"]["usage"]["calls"]
    assert half["mid"]["usage"]["cost_usd"] == pytest.approx(
        whole["mid"]["usage"]["cost_usd"] / 2, rel=0.01
    )


@pytest.mark.usefixtures("store")
def test_doctor_tells_the_path_the_coverage_and_the_answers_it_knows() -> None:
    with chaos_server(0.0) as server:
        found = told("doctor", "--model", name_of(server))
        asked = server.requests
        # One more to find out how to ask, and one for the list of models.
        assert asked == 16 + 1
        assert found["usage"]["calls"] == 16 + 2
        again = told("doctor", "--model", name_of(server))
        assert server.requests - asked == again["usage"]["calls"] == 16
    assert found["path"] == "completions"
    assert found["evidence"] == "top_k"
    assert found["agreement"][1] == 8
    assert 0.9 < found["mean_coverage"] <= 1
    assert found["largest_change"] == 0
    assert again["agreement"] == found["agreement"]


@pytest.mark.usefixtures("store")
def test_baselines_are_asked_for_once() -> None:
    with chaos_server(0.0) as server:
        arguments = ("baselines", "claims", "--limit", "24", "--shots", "8", "--seeds", "2")
        first = told(*arguments, "--model", name_of(server))
        asked = server.requests
        again = told(*arguments, "--model", name_of(server))
        assert server.requests == asked
    assert [row["name"] for row in first["rows"]] == [
        "zero-shot",
        "zero-shot, calibrated",
        "random few-shot (8)",
        "golden few-shot (8)",
        "human few-shot (8)",
        "golden many-shot (12)",
        "human many-shot (12)",
        "human labels",
    ]
    assert [row["accuracy"] for row in again["rows"]] == [
        row["accuracy"] for row in first["rows"]
    ]


@pytest.mark.usefixtures("store")
def test_an_estimate_rehearses_the_method_that_will_run() -> None:
    arguments = ("estimate", "claims", "--limit", "16", "--model", "vllm:any", "--method")
    rounds, annealing = told(*arguments, "bootstrap"), told(*arguments, "icm")
    assert rounds["mid"]["usage"]["requests"] < annealing["mid"]["usage"]["requests"] / 2


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "told_of"),
    [
        (
            ("--model", "openai:gpt-4.1-mini", "--method", "icm"),
            "bootstrap and needs the store",
        ),
        (("--model", "tiny", "--method", "bootstrap"), "no hosted model"),
        (("--model", "openai:gpt-6-luna", "--method", "bootstrap"), "takes no batches"),
    ],
)
def test_an_estimate_of_batches_is_refused_where_the_run_would_be(
    arguments: tuple[str, ...], told_of: str
) -> None:
    with pytest.raises(InputError, match=told_of):
        CliRunner().invoke(
            app,
            ("estimate", "claims", "--limit", "8", "--batch", *arguments),
            catch_exceptions=False,
        )


@pytest.mark.usefixtures("store")
def test_a_batch_without_rounds_or_without_a_store_is_refused_before_anything_is_asked() -> (
    None
):
    for arguments in (("--batch", "--method", "icm"), ("--batch", "--no-cache")):
        with pytest.raises(InputError, match="bootstrap and needs the store"):
            CliRunner().invoke(
                app,
                ("run", "claims", "--limit", "8", "--model", "openai:gpt-4.1-mini", *arguments),
                catch_exceptions=False,
            )
