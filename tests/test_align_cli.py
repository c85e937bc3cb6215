"""`elicit align` as a user has it, on the embedded model and few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("trl", reason="needs the extra align")

from elicit.cache.errors import InputError
from elicit.cache.jobs import JobStore
from elicit.cache.store import ScoreStore
from elicit.cli.align import settings_of
from elicit.cli.main import app

pytestmark = pytest.mark.filterwarnings("ignore")

FEW = {
    "start.epochs": 1,
    "reward.epochs": 1,
    "policy.steps": 2,
    "policy.batch_size": 16,
    "sampled": 3,
    "judged": 1,
}


def called(cache: Path, *arguments: str) -> str:
    few = [part for name, value in FEW.items() for part in ("--set", f"{name}={value}")]
    given = ["align", "--no-beside", *few, "--cache", str(cache), *arguments]
    found = CliRunner().invoke(app, given)
    if found.exception is not None:
        raise found.exception
    return found.stdout


def test_it_ends_with_a_policy_that_other_commands_take_and_is_not_made_twice(
    tmp_path: Path,
) -> None:
    cache = tmp_path / "e.db"
    told: Any = json.loads(called(cache, "--json", "--plots", str(tmp_path / "plots")))
    assert list(told["policies"]) == ["elicited"]
    model = told["policies"]["elicited"]
    assert (tmp_path / "plots" / "curves.svg").read_text("utf-8").count("<svg") == 1
    assert set(told["matches"]) == {"elicited against start"}
    records = sorted(tmp_path.rglob("record.json"))
    made = [path.stat().st_mtime_ns for path in records]
    assert "trained from" in called(cache)
    assert [path.stat().st_mtime_ns for path in records] == made
    with ScoreStore(cache) as store:
        (job,) = JobStore(store).all()
    assert (job.backend, job.state) == ("align", "done")
    assert job.result is not None
    assert job.result["model"] == model
    found = CliRunner().invoke(app, ["doctor", "--model", model, "--cache", str(cache)])
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--set", "policy.stepz=2"), "no setting policy.stepz"),
        (("--set", "policy=2"), "no setting policy"),
        (("--set", "held_out=2"), "setting held_out: must be a share"),
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


def test_settings_of_parts_stand_behind_their_names() -> None:
    chosen = settings_of({"policy.steps": 5, "held_out": 0.5, "policy.kl": 1})
    assert (chosen.policy.steps, chosen.held_out, chosen.policy.kl) == (5, 0.5, 1.0)
    assert isinstance(chosen.policy.kl, float)
