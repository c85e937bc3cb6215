"""Jobs that tune a model go on in any process, and are made and paid for once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_tuning_openai import FakeOpenAI
from fake_tuning_plain import FakeTogether
from fake_tuning_servers import KEY, Line, Reply, Request, error, serving
from tuning_world import ENDS, JOBS, MODELS, Fake, World, examples, tuning_world

from elicit.cache.errors import ElicitError, InputError
from elicit.cache.jobs import Job, JobStore
from elicit.cache.runs import RunStore
from elicit.cache.store import ScoreStore
from elicit.finetune.examples import Example, load
from elicit.finetune.hosted import HostedTuning
from elicit.finetune.jobs import (
    EXAMPLES,
    Wanted,
    cancelled,
    job_for,
    looked_at,
    submission_of,
    submitted,
    unlisted_for,
    watched,
)
from elicit.providers.base import Segment

PROCESS = Path(__file__).parent / "tuning_process.py"
PROVIDERS = ["openai", "together", "fireworks"]


@pytest.fixture(params=PROVIDERS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with tuning_world(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobStore]:
    with ScoreStore(tmp_path / "e.db") as store:
        yield JobStore(store)


def begun(jobs: JobStore, backend: str, folder: Path, *, again: bool = False) -> Job:
    wanted = Wanted(backend, MODELS[backend], "a-run", {"epochs": 2})
    return job_for(jobs, wanted, examples(10), folder, again=again)


def told(job: Job) -> tuple[object, ...]:
    return job.name, job.state, job.said, job.file, job.remote, job.result


def test_a_job_is_done_when_its_provider_has_the_model(
    world: World, jobs: JobStore, tmp_path: Path
) -> None:
    tuning = world.begin()
    heard: list[str] = []
    job = submitted(jobs, begun(jobs, world.name, tmp_path), tuning)
    assert (job.state, job.intent, len(world.jobs)) == ("running", "", 1)
    job = watched(jobs, job, tuning, lambda e: heard.append(e.message), sleep=lambda _: None)
    assert job.state == "done"
    assert job.result is not None
    assert str(job.result["model"]).startswith(f"{world.name}:")
    assert sorted(event.message for event in jobs.events(job)) == sorted(heard) != []


def test_the_same_asked_again_is_the_same_job_and_sends_nothing(
    world: World, jobs: JobStore, tmp_path: Path
) -> None:
    tuning = world.begin()
    first = submitted(jobs, begun(jobs, world.name, tmp_path), tuning)
    calls = len(world.line.calls)
    again = submitted(jobs, begun(jobs, world.name, tmp_path), tuning)
    assert told(again) == told(first)
    assert len(world.line.calls) == calls
    other = begun(jobs, world.name, tmp_path, again=True)
    assert other.name == f"{first.name}-2"
    assert submission_of(other).tag != submission_of(first).tag


def test_a_job_that_failed_says_why_and_the_same_asked_again_is_a_new_one(
    world: World, jobs: JobStore, tmp_path: Path
) -> None:
    tuning = world.begin()
    world.fake.states = (ENDS[world.name][1],)
    job = submitted(jobs, begun(jobs, world.name, tmp_path), tuning)
    job = looked_at(jobs, job, tuning, lambda _: None)
    assert job.state == "failed"
    assert job.said
    assert begun(jobs, world.name, tmp_path).id != job.id


def test_a_job_is_ended_at_its_provider(world: World, jobs: JobStore, tmp_path: Path) -> None:
    tuning = world.begin()
    job = submitted(jobs, begun(jobs, world.name, tmp_path), tuning)
    job = cancelled(jobs, job, tuning, lambda _: None)
    assert watched(jobs, job, tuning, lambda _: None, sleep=lambda _: None).state == "cancelled"


def test_a_job_that_may_have_been_begun_is_looked_for_before_it_is_called_off(
    world: World, jobs: JobStore, tmp_path: Path
) -> None:
    tuning = world.begin()
    job = begun(jobs, world.name, tmp_path)
    job = jobs.update(job, "uploaded", file=tuning.upload(submission_of(job)))
    assert job.file is not None
    tuning.create(submission_of(job), job.file)
    job = jobs.intend(job, "create")  # and the process died before it heard
    cancelled(jobs, job, tuning, lambda _: None)
    assert [made.state.endswith(ENDS[world.name][2]) for made in world.jobs] == [True]


def test_a_job_that_was_never_begun_is_called_off_without_a_word_to_the_provider(
    world: World, jobs: JobStore, tmp_path: Path
) -> None:
    tuning = world.begin()
    job = cancelled(jobs, begun(jobs, world.name, tmp_path), tuning, lambda _: None)
    assert job.state == "cancelled"
    assert world.line.calls == []


def test_a_refusal_leaves_the_job_to_be_gone_on_with(
    world: World, jobs: JobStore, tmp_path: Path
) -> None:
    tuning = world.begin()
    job = begun(jobs, world.name, tmp_path)
    world.line.troubles.append((JOBS[world.name], error(401, "no such key", "key")))
    with pytest.raises(ElicitError, match="no such key"):
        submitted(jobs, job, tuning)
    job = jobs.get(job.name)
    assert (job.state, job.intent) == ("uploaded", "create")
    assert submitted(jobs, job, world.process()).state == "running"
    assert (world.files, len(world.jobs)) == (1, 1)


@dataclass
class Killing:
    """A provider that kills who asks, at a request of this number: before it does what it is
    asked for, or after it and before it answers."""

    fake: Fake
    at: int
    after: bool
    victim: subprocess.Popen[bytes] | None = None
    seen: int = 0
    line: Line = field(init=False)

    def __post_init__(self) -> None:
        self.line = self.fake.line

    def reply(self, request: Request) -> Reply:
        self.seen += 1
        kills = self.seen == self.at and self.victim is not None
        if kills and not self.after:
            self._kill()
            return error(500, "nobody is there to read this")
        reply = self.fake.reply(request)
        if kills:
            self._kill()
        return reply

    def _kill(self) -> None:
        assert self.victim is not None
        os.kill(self.victim.pid, signal.SIGKILL)
        self.victim.wait(20)


def process(store: Path, job: Job) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PROCESS), str(store), job.name])


@pytest.mark.parametrize("backend", PROVIDERS)
def test_killed_at_any_request_and_taken_up_again_it_is_one_job_with_the_same_result(
    backend: str, tmp_path: Path
) -> None:
    """At five requests, before and after each is done: ten instants."""
    for number, (at, after) in enumerate((at, after) for at in range(1, 6) for after in (0, 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with tuning_world(backend, folder) as world:
            world.begin()
            killing = Killing(world.fake, at, bool(after))
            url = world.stack.enter_context(serving(killing))
            path = "" if backend == "fireworks" else "/v1"
            world.monkeypatch.setenv(f"{backend.upper()}_BASE_URL", f"{url}{path}")
            store = folder / "e.db"
            with ScoreStore(store) as opened:
                job = begun(JobStore(opened), backend, folder)
            killing.victim = process(store, job)
            assert killing.victim.wait(30) == -signal.SIGKILL, f"request {at}"
            second = process(store, job)
            assert second.wait(30) == 0
            with ScoreStore(store) as opened:
                ended = JobStore(opened).get(job.name)
            assert ended.state == "done"
            assert (world.files, len(world.jobs)) == (1, 1), f"killed at {at}, after={after}"
            assert ended.remote is not None
            assert ended.remote.endswith(world.jobs[0].id.rpartition("/")[2])


def test_two_processes_never_work_on_one_job(jobs: JobStore, tmp_path: Path) -> None:
    job = begun(jobs, "openai", tmp_path)
    why = f"process {os.getpid()} on .* is working on job"
    with (
        jobs.claim(job),
        ScoreStore(tmp_path / "e.db") as store,
        pytest.raises(InputError, match=why),
        JobStore(store).claim(job),
    ):
        pytest.fail("it was claimed twice")
    with jobs.claim(job) as held:
        assert held.name == job.name


@pytest.mark.parametrize("world", ["openai", "together"], indirect=True)
def test_an_intent_of_long_ago_does_not_hurry_a_job_that_is_made_now(
    world: World, jobs: JobStore, tmp_path: Path
) -> None:
    """The reply to the new job is lost, and the provider lists it half a minute later."""
    slow = FakeOpenAI if world.name == "openai" else FakeTogether
    tuning = world.begin(slow(listed_after=30.0))
    job = jobs.intend(begun(jobs, world.name, tmp_path), "upload")
    jobs.store.connection.execute("UPDATE jobs SET intended = intended - 300")
    world.line.troubles.append((JOBS[world.name], "lost"))
    assert submitted(jobs, jobs.get(job.name), tuning).state == "running"
    assert len(world.jobs) == 1


def test_a_clock_that_was_set_back_makes_nobody_wait_longer(
    jobs: JobStore, tmp_path: Path
) -> None:
    job = jobs.intend(begun(jobs, "openai", tmp_path), "create")
    jobs.store.connection.execute("UPDATE jobs SET intended = intended + 90000")
    assert unlisted_for(jobs.get(job.name)) == 60.0


def test_a_job_that_its_provider_has_no_more_is_over(
    world: World, jobs: JobStore, tmp_path: Path
) -> None:
    tuning = world.begin()
    job = submitted(jobs, begun(jobs, world.name, tmp_path), tuning)
    other = submitted(jobs, begun(jobs, world.name, tmp_path, again=True), tuning)
    world.fake.jobs.clear()
    found = looked_at(jobs, job, tuning, lambda _: None)
    assert (found.state, found.said) == (
        "failed",
        f"{world.name} does not have the job any more",
    )
    assert cancelled(jobs, other, tuning, lambda _: None).state == "cancelled"


def test_a_claim_of_another_machine_is_taken_by_force_alone(
    jobs: JobStore, tmp_path: Path
) -> None:
    job = begun(jobs, "openai", tmp_path)
    jobs.store.connection.execute(
        "UPDATE jobs SET host = 'gone', boot = 'b', pid = 1, started = 's'"
    )
    with pytest.raises(InputError, match=r"on gone .*give --force"), jobs.claim(job):
        pytest.fail("it was claimed")
    with jobs.claim(job, force=True) as held:
        assert held.name == job.name


def test_a_job_is_not_called_as_a_run_is(jobs: JobStore, tmp_path: Path) -> None:
    RunStore(jobs.store).create(
        "mine",
        task_digest="d",
        task_path="t",
        model="tiny",
        method="icm",
        settings={},
        seed=0,
        chains=1,
    )
    wanted = Wanted("openai", MODELS["openai"], "mine")
    with pytest.raises(InputError, match="'mine' is the name of a run"):
        job_for(jobs, wanted, examples(10), tmp_path, "mine")


def test_examples_come_back_as_they_were_saved(jobs: JobStore, tmp_path: Path) -> None:
    prompt = (Segment.of("Say\u2028so.\n", "system"), Segment.of("é\ud800?", "user"))
    given = (Example("a,b", prompt, " yes"), Example("2", prompt, "no"))
    wanted = Wanted("local-lora", "tiny", "a-run")
    job = job_for(jobs, wanted, given, tmp_path)
    assert load(Path(job.folder) / EXAMPLES) == given
    (Path(job.folder) / EXAMPLES).write_text('{"id": 1}\n')
    with pytest.raises(InputError, match=r"gone or damaged .* begin a new job: --again"):
        load(Path(job.folder) / EXAMPLES)


def test_a_name_that_is_taken_or_none_is_refused(jobs: JobStore, tmp_path: Path) -> None:
    begun(jobs, "openai", tmp_path)
    wanted = Wanted("openai", "another", "a-run")
    with pytest.raises(InputError, match="job 'a-run-openai' exists"):
        job_for(jobs, wanted, examples(10), tmp_path, "a-run-openai")
    with pytest.raises(InputError, match="use letters, digits"):
        job_for(jobs, wanted, examples(10), tmp_path, "../x")
    with pytest.raises(InputError, match=r"no job 'a-run-opena'.* Did you mean 'a-run-openai'"):
        jobs.get("a-run-opena")


def test_no_key_is_in_the_store_or_the_folder(world: World, tmp_path: Path) -> None:
    tuning: HostedTuning = world.begin()
    with ScoreStore(tmp_path / "e.db") as store:
        jobs = JobStore(store)
        job = submitted(jobs, begun(jobs, world.name, tmp_path), tuning)
        looked_at(jobs, job, tuning, lambda _: None)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
