"""`elicit finetune` as a user has it: the job of a run's labels, at a provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_tuning_openai import FakeOpenAI
from tuning_world import MODELS, World, tuning_world

pytest.importorskip("llama_cpp", reason="needs the extra local")

from called import output, told

from elicit.cache.errors import ElicitError, InputError
from elicit.cache.store import ScoreStore

MODEL = MODELS["openai"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "e.db"
    monkeypatch.setenv("ELICIT_CACHE", str(path))
    output("run", "facts", "--limit", "24", "--name", "mine")
    return path


@pytest.fixture
def world(cache: Path, tmp_path: Path) -> Iterator[World]:
    assert cache.exists()
    with tuning_world("openai", tmp_path) as made:
        made.begin()
        yield made


def tuned(*arguments: str) -> Any:
    return told("finetune", "mine", "--backend", "openai", "--model", MODEL, *arguments)


def test_a_run_becomes_a_model_and_what_is_sent_are_its_labels(world: World) -> None:
    begun = tuned()
    assert (begun["name"], begun["state"]) == ("mine-openai", "running")
    assert begun["source"] == "mine"
    assert isinstance(world.fake, FakeOpenAI)
    rows = [json.loads(line) for line in world.fake.files[0].content.splitlines()]
    assert len(rows) == 24
    assert {row["messages"][-1]["content"] for row in rows} <= {"True", "False"}
    done = told("finetune", "mine-openai", "--watch", "--every", "1")
    assert done["state"] == "done"
    assert done["result"]["model"].startswith("openai:ft:")
    assert "openai:ft:" in output("finetune", "--list")


def test_given_again_it_is_the_same_job(world: World) -> None:
    first, second = tuned("--epochs", "2"), tuned("--epochs", "2")
    assert first["name"] == second["name"]
    assert len(world.jobs) == 1
    assert tuned("--epochs", "3")["name"] == "mine-openai-2"
    assert tuned("--epochs", "3", "--again", "--job", "new")["name"] == "new"
    assert len(world.jobs) == 3


def test_a_job_goes_on_as_it_was_begun_and_takes_no_options(world: World) -> None:
    job = tuned()
    with pytest.raises(InputError, match=r"'mine-openai' is a job.*name its run \(mine\)"):
        output("finetune", "mine-openai", "--epochs", "7")
    assert told("finetune", "mine-openai")["digest"] == job["digest"]
    assert len(world.jobs) == 1


def test_a_job_is_ended_by_its_name_and_not_twice(world: World) -> None:
    tuned()
    assert told("finetune", "mine-openai", "--cancel")["state"] in {"running", "cancelled"}
    assert told("finetune", "mine-openai")["state"] == "cancelled"
    with pytest.raises(InputError, match="is cancelled: there is nothing to end"):
        output("finetune", "mine-openai", "--cancel")
    assert [job.state for job in world.jobs] == ["cancelled"]


def test_a_job_that_failed_is_an_error_with_what_to_do(world: World) -> None:
    world.fake.states = ("failed",)
    with pytest.raises(
        ElicitError, match=r"job 'mine-openai' failed.*elicit finetune mine"
    ) as failed:
        tuned()
    assert failed.value.exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("mine", "--backend", "opena"), "did you mean openai"),
        (("mine", "--backend", "local"), "did you mean local-lora"),
        (("mine", "--backend", "anthropic"), "anthropic has no fine-tuning endpoint"),
        (("mine", "--backend", "openai"), "tiny is no model of openai"),
        (("mine", "--backend", "openai", "-m", "together:x"), "no model of openai"),
        (("mine", "--backend", "openai", "-m", MODEL, "--set", "x=nan"), "nan is no number"),
        (("mine", "--backend", "openai", "-m", MODEL, "--set", "rank=3"), "rank"),
        (("gone",), "no run and no job 'gone'"),
        (("gone", "--cancel"), "no job 'gone'"),
        ((), "name a finished run, or a job"),
    ],
)
def test_what_can_t_be_is_refused_and_leaves_no_job(
    world: World, arguments: tuple[str, ...], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        output("finetune", *arguments)
    assert told("finetune", "--list") == []
    assert world.line.calls == []


def test_without_a_key_nothing_is_begun(world: World) -> None:
    world.monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(InputError, match="OPENAI_API_KEY is not set"):
        tuned()
    assert told("finetune", "--list") == []


def test_a_run_that_is_not_finished_has_nothing_to_tune_on(world: World, cache: Path) -> None:
    with ScoreStore(cache) as store:
        store.connection.execute("UPDATE runs SET result = NULL")
    with pytest.raises(InputError, match="no labels yet: elicit resume mine"):
        tuned()
    assert world.line.calls == []
