"""`elicit finetune` on this machine, as a user has it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("peft", reason="needs the extra lora")

from called import output, told

from elicit.cache.errors import InputError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ELICIT_CACHE", str(tmp_path / "e.db"))
    output("run", "facts", "--limit", "24", "--name", "mine")
    return "mine"


def test_the_tuned_model_is_named_as_every_command_takes_it(run: str) -> None:
    done = told("finetune", run, "--epochs", "1")
    assert (done["state"], done["result"]["examples"]) == ("done", 24)
    assert len(done["events"]) == done["result"]["steps"] == 3
    model = done["result"]["model"]
    assert "known answers" in output("doctor", "--model", model)
    again = told("run", "facts", "--limit", "24", "--model", model)
    assert again["model"] == model


def test_given_again_it_is_told_and_not_tuned_again(run: str) -> None:
    first = told("finetune", run, "--epochs", "1")
    second = told("finetune", run, "--epochs", "1")
    assert second["updated"] == first["updated"]
    assert told("finetune", run, "--epochs", "2")["name"] != first["name"]
    steady = told("finetune", run, "--epochs", "1", "--set", "checkpoint_seconds=1")
    assert steady["name"] == first["name"]


def test_an_adapter_that_is_gone_is_told_and_made_again_by_its_run(run: str) -> None:
    first = told("finetune", run, "--epochs", "1")
    Path(first["result"]["model"].removeprefix("tiny+")).unlink()
    with pytest.raises(InputError, match=r"its adapter is gone .*elicit finetune mine"):
        output("finetune", first["name"])
    assert told("finetune", run, "--epochs", "1")["name"] == f"{first['name']}-2"


def test_the_model_is_written_as_a_whole_with_its_card(run: str, tmp_path: Path) -> None:
    output("finetune", run, "--epochs", "1", "--merged", str(tmp_path / "whole"))
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert {"model.gguf", "model.safetensors", "README.md", "tokenizer.json"} <= names
    with pytest.raises(InputError, match="is there already"):
        output("finetune", run, "--epochs", "1", "--merged", str(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--set", "rank=0"), "rank"),
        (("--set", "learning_rate=high"), "learning_rate"),
        (("--set", "ranks=3"), "did you mean rank"),
        (("--base", "nowhere"), "--base nowhere: there is no such folder"),
        (("--model", "openai:gpt-4.1"), "no model of this machine"),
        (("--model", "llama-cpp:gone.gguf"), "gone.gguf"),
    ],
)
def test_what_can_t_be_is_refused_and_leaves_no_job(
    run: str, arguments: tuple[str, ...], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        output("finetune", run, *arguments)
    assert told("finetune", "--list") == []
