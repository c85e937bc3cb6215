"""An alignment as a job: what it is named by, who may work on it, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("llama_cpp", reason="needs the extra local")
pytest.importorskip("trl", reason="needs the extra align")

from align_process import questions, task

from elicit.align import work
from elicit.align.align_settings import AlignSettings, PolicySettings, RewardSettings, Wording
from elicit.align.job import Wanted, aligned, record_of
from elicit.align.lock import alone_in
from elicit.align.questions import Questions
from elicit.align.stages import StageEvent, Stages
from elicit.align.start import Model
from elicit.align.work import Work
from elicit.cache.errors import InputError
from elicit.cache.jobs import Job, JobStore
from elicit.cache.store import ScoreStore
from elicit.cli.main import app
from elicit.organism import model_path
from elicit.task import Task

pytestmark = pytest.mark.filterwarnings("ignore")


def wanted(asked: Questions | None = None, settings: AlignSettings | None = None) -> Wanted:
    loaded = task()
    return Wanted(loaded, asked or questions(loaded), {}, settings or AlignSettings(), "tiny")


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobStore]:
    with ScoreStore(tmp_path / "e.db") as store:
        yield JobStore(store)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where forms are made once."""
    return tmp_path_factory.mktemp("aligned")


def test_a_job_is_named_by_all_that_decides_a_stage_and_by_nothing_else() -> None:
    asked = questions(task())
    named = wanted().digest()
    for same in (
        wanted(replace(asked, known={})),
        wanted(settings=AlignSettings(policy=PolicySettings(checkpoint_steps=3))),
    ):
        assert same.digest() == named
    for other in (
        wanted(replace(asked, kinds={})),
        wanted(replace(asked, said={})),
        wanted(replace(asked, prompts=asked.prompts[::-1])),
        wanted(settings=AlignSettings(reward=RewardSettings(epochs=3))),
        replace(wanted(), others={"human": np.zeros(2, np.int64)}),
    ):
        assert other.digest() != named


@pytest.mark.parametrize(
    ("asked", "wording", "why"),
    [
        (Questions(("a?",), kinds={"a?": "k"}), Wording(), "comes to none|leaves none"),
        (None, Wording(stop=" end of answer"), r"wording\.stop: .* tokens of this model"),
        (None, Wording(stop=""), r"wording\.stop: is empty"),
    ],
)
def test_what_no_stage_could_work_with_leaves_no_record(
    jobs: JobStore, place: Path, asked: Questions | None, wording: Wording, why: str
) -> None:
    settings = AlignSettings(held_out=0.001 if asked else 1 / 3, wording=wording)
    with pytest.raises(InputError, match=why):
        record_of(jobs, wanted(asked, settings), None, place)
    assert jobs.all() == []


def test_a_name_that_is_taken_is_refused_with_the_option_that_names_it(
    jobs: JobStore, place: Path
) -> None:
    record_of(jobs, wanted(), "mine", place)
    other = wanted(settings=AlignSettings(seed=1))
    with pytest.raises(InputError, match=r"'mine' exists; choose another name \(--name\)"):
        record_of(jobs, other, "mine", place)


def begun(jobs: JobStore, place: Path) -> Job:
    return jobs.update(record_of(jobs, wanted(), "mine", place), "running")


def called(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    given = [*arguments, "--cache", str(tmp_path / "e.db")]
    found = CliRunner().invoke(app, given)
    if isinstance(found.exception, InputError):
        return found.exception.exit_code, str(found.exception)
    return found.exit_code, found.output


def test_an_alignment_is_ended_as_every_job_is(
    tmp_path: Path, jobs: JobStore, place: Path
) -> None:
    begun(jobs, place)
    code, told = called(tmp_path, "finetune", "mine", "--cancel")
    assert (code, jobs.get("mine").state) == (0, "cancelled")
    assert "cancelled" in told
    # What was ended is not gone on with: the same asked again is a new job.
    assert record_of(jobs, wanted(), None, place).name != "mine"


def test_finetune_says_what_an_alignment_is_gone_on_with_by(
    tmp_path: Path, jobs: JobStore, place: Path
) -> None:
    begun(jobs, place)
    code, told = called(tmp_path, "finetune", "mine")
    assert code == 2
    assert "go on with: elicit align preferences" in told
    assert jobs.get("mine").state == "running"


def unheard(_event: StageEvent) -> None:
    """Whoever does not watch."""


def test_two_stores_do_not_work_in_one_folder(jobs: JobStore, place: Path) -> None:
    job = record_of(jobs, wanted(), "mine", place)
    with (
        alone_in(Path(job.folder)),
        pytest.raises(InputError, match=r"another process works here.*--out"),
    ):
        aligned(jobs, job, wanted(), None, False, unheard)
    assert jobs.get("mine").state == "created"


def test_a_folder_is_free_once_its_process_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from elicit.align.lock import alone_in\n"
        "with alone_in(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        with pytest.raises(InputError, match="another process"), alone_in(tmp_path):
            pass
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
    with alone_in(tmp_path):
        pass


def test_a_folder_that_can_t_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="file/job: can't be written"),
        alone_in(tmp_path / "file" / "job"),
    ):
        pass


def test_a_search_is_found_again_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []

    def label(part: Task, model: str, **_rest: object) -> SimpleNamespace:
        searched.append(model)
        labels = np.zeros(len(part.items), np.int64)
        return SimpleNamespace(labels=labels, run=SimpleNamespace(name="a-run"))

    monkeypatch.setattr(work, "label", label)
    (tmp_path / "a").mkdir()
    (tmp_path / "m.gguf").symlink_to(model_path())
    base = Model(model_path(), tmp_path)
    for folder, name in (("a", "../m.gguf"), (".", "m.gguf")):
        monkeypatch.chdir(tmp_path / folder)
        stages = Stages(tmp_path / "stages", unheard)
        Work(stages, base, AlignSettings(), (), ()).labelled(task(), f"llama-cpp:{name}", None)
    assert searched == ["llama-cpp:../m.gguf"]
