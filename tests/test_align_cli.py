"""`elicit align` as a user has it, on the embedded model and few steps."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("trl", reason="needs the extra align")

from elicit.cache.errors import InputError
from elicit.cache.jobs import Job, JobStore
from elicit.cache.store import ScoreStore
from elicit.cli.main import app
from elicit.organism import tasks_path
from elicit.organism.embedded_tasks import QUESTIONS

pytestmark = pytest.mark.filterwarnings("ignore")

FEW = {
    "start.epochs": 1,
    "reward.epochs": 1,
    "policy.steps": 2,
    "policy.batch_size": 16,
    "sampled": 3,
    "judged": 1,
}


def result(cache: Path, *arguments: str) -> Result:
    few = [part for name, value in FEW.items() for part in ("--set", f"{name}={value}")]
    given = ["align", "--no-beside", *few, "--cache", str(cache), *arguments]
    return CliRunner().invoke(app, given)


def called(cache: Path, *arguments: str) -> str:
    found = result(cache, *arguments)
    if found.exception is not None:
        raise found.exception
    return found.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, and beside it an alignment that is done."""
    made = tmp_path_factory.mktemp("align") / "e.db"
    called(made)
    return made


def job_in(cache: Path) -> Job:
    with ScoreStore(cache) as store:
        (job,) = JobStore(store).all()
    return job


def made_at(cache: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in cache.parent.rglob("record.json")}


def test_it_ends_with_a_policy_that_other_commands_take_and_is_not_made_twice(
    cache: Path, tmp_path: Path
) -> None:
    made = made_at(cache)
    told: Any = json.loads(called(cache, "--json", "--plots", str(tmp_path / "plots")))
    assert made_at(cache) == made
    assert list(told["policies"]) == ["elicited"]
    model = told["policies"]["elicited"]
    assert (tmp_path / "plots" / "curves.svg").read_text("utf-8").count("<svg") == 1
    assert set(told["matches"]) == {"elicited against start"}
    assert (told["known"], told["equal_answers"]) == (told["held_out"], 0)
    assert set(told["judges"]) == {"known"}
    assert "trained from" in called(cache)
    job = job_in(cache)
    assert (job.backend, job.state) == ("align", "done")
    assert job.result is not None
    assert job.result["model"] == model
    found = CliRunner().invoke(app, ["doctor", "--model", model, "--cache", str(cache)])
    assert found.exit_code == 0


def test_the_seconds_of_every_stage_are_told(cache: Path) -> None:
    told: Any = json.loads(called(cache, "--json"))
    assert list(told["seconds"]) == [
        "labels",
        "start",
        "comparisons",
        "answers-start",
        "first-reward-elicited",
        "relabelled-elicited",
        "reward-elicited",
        "policy-elicited",
        "answers-elicited",
    ]


def test_a_job_that_is_done_stays_done_when_it_is_asked_for_again_and_cut_off(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elicit.align import job

    def cut(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "report", cut)
    assert result(cache).exit_code != 0
    assert job_in(cache).state == "done"


def test_a_name_or_a_folder_without_effect_is_told(cache: Path, tmp_path: Path) -> None:
    job = job_in(cache)
    found = result(cache, "--name", "other", "--out", str(tmp_path))
    assert f"an equal alignment, {job.name}, in {job.folder}" in found.stderr
    assert "--name and --out have no effect" in found.stderr
    assert job_in(cache) == replace(job, updated=job_in(cache).updated)
    assert "no effect" not in result(cache, "--name", job.name).stderr
    assert "no effect" not in result(cache, "--out", str(Path(job.folder).parent)).stderr


def test_what_is_right_is_measured_on_the_held_out_prompts_that_are_known(
    cache: Path, tmp_path: Path
) -> None:
    whole: Any = json.loads(called(cache, "--json"))
    rows = [json.loads(line) for line in (tasks_path() / QUESTIONS).read_text().splitlines()]
    asked = {row["question"] for row in rows if row["kind"] == "eats"}
    fewer = [
        row if row["question"] in asked else {k: v for k, v in row.items() if k != "known"}
        for row in rows
    ]
    questions = tmp_path / "fewer.jsonl"
    questions.write_text("".join(f"{json.dumps(row)}\n" for row in fewer))
    made = made_at(cache)
    found = result(cache, "--json", "--questions", str(questions))
    told: Any = json.loads(found.stdout)
    assert made_at(cache) == made
    assert told["held_out"] == whole["held_out"]
    assert told["known"] == 43
    assert told["start"]["right"]["groups"] == 43
    assert told["matches"]["elicited against start"]["known"]["win_rate"]["groups"] == 43
    assert "known to 43 of 129 held-out prompts" in " ".join(found.stderr.split())


def test_the_result_is_printed_before_it_is_drawn(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    # Its place is taken, as it may be in the minutes that stages take.
    (folder / "curves.svg").mkdir(parents=True)
    found = result(cache, "--json", "--plots", str(folder))
    assert json.loads(found.stdout)["job"] == job_in(cache).name
    assert isinstance(found.exception, InputError)
    assert "curves.svg: can't be written" in str(found.exception)


def test_a_package_that_is_missing_to_draw_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match="drawing needs matplotlib"):
        called(tmp_path / "e.db", "--plots", str(tmp_path / "plots"))
    assert not (tmp_path / "e.db").exists()


def test_a_stage_that_is_damaged_is_told_with_what_to_remove(cache: Path) -> None:
    (weights,) = cache.parent.rglob("reward-elicited-*/reward/adapter_model.safetensors")
    kept = weights.read_bytes()
    weights.write_bytes(kept[:100])
    try:
        with pytest.raises(InputError, match=r"reward-elicited-.*once its folder is removed"):
            called(cache)
    finally:
        weights.write_bytes(kept)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--set", "policy.stepz=2"), "no setting policy.stepz"),
        (("--set", "policy=2"), "no setting policy"),
        (("--set", "held_out=2"), "setting held_out"),
        (("--set", "policy.group=0"), "setting policy.group"),
        (("--set", "search.method=foo"), "setting method"),
        (("--set", "held_out=0.001"), "too few prompts"),
        (("--plots", f"{__file__}/plots"), "plots: can't be written"),
        (("--set", "policy.group=3"), "setting policy.group"),
        (("claims",), "--questions: name a file"),
        (("--model", "openai:gpt-4.1"), "no model of this machine"),
        (("--questions", "gone.jsonl"), "gone.jsonl: there is no such file"),
    ],
)
def test_what_can_t_be_is_refused_and_leaves_no_record(
    tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        called(tmp_path / "e.db", *arguments)
    with ScoreStore(tmp_path / "e.db") as store:
        assert JobStore(store).all() == []


def test_a_task_without_comparisons_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"question": "a?"}\n{"question": "b?"}\n')
    with pytest.raises(InputError, match='kind = "asymmetric"'):
        called(tmp_path / "e.db", "claims", "--questions", str(questions))
    with ScoreStore(tmp_path / "e.db") as store:
        assert JobStore(store).all() == []
