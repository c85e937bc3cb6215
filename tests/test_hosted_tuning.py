"""Models tuned at a provider: one file, one job, whatever happens to the replies."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="needs the extra hosted")

from fake_tuning_openai import FakeOpenAI
from fake_tuning_plain import FakeFireworks, FakeTogether
from fake_tuning_servers import KEY, Trouble, error
from tuning_world import ENDS, FILES, JOBS, LOOKS, MODELS, TAG, TUNED, World, tuning_world

from elicit.cache.errors import InputError
from elicit.finetune.backends import HOSTED, open_tuning
from elicit.finetune.hosted import Status, Submission
from elicit.providers.base import ModelError, ProviderError
from elicit.providers.registry import open_model
from elicit.providers.retry import CallFailed


@pytest.fixture(params=HOSTED)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with tuning_world(request.param, tmp_path) as world:
        yield world


def test_a_job_is_followed_from_its_file_to_a_model_that_elicit_opens(world: World) -> None:
    tuning = world.begin()
    tuning.check(world.submission)
    assert tuning.uploaded(world.submission) is None
    file = tuning.upload(world.submission)
    assert tuning.created(world.submission, file) is None
    job = tuning.create(world.submission, file)
    looks: list[Status] = []
    while not looks or looks[-1].state not in ("done", "failed", "cancelled"):
        looks.append(tuning.look(job))
        assert len(looks) < 9
    states = [look.state for look in looks]
    assert states == sorted(states, key=["waiting", "running", "done"].index)
    assert set(states) == {"waiting", "running", "done"}
    assert [look.model for look in looks[:-1]] == [None] * (len(looks) - 1)
    assert looks[-1].model == TUNED[world.name]
    opened = open_model(TUNED[world.name], ask=False)
    assert opened.name == TUNED[world.name]
    opened.close()
    (made,) = world.jobs
    content = world.submission.file.read_bytes()
    if isinstance(world.fake, FakeFireworks):
        assert list(world.fake.contents.values()) == [content]
    else:
        assert [file.content for file in world.fake.files] == [content]
        assert TAG in world.fake.files[0].name
        assert made.asked["suffix"] == TAG


def test_another_process_finds_the_file_and_the_job_by_the_tag(world: World) -> None:
    tuning = world.begin()
    file = tuning.upload(world.submission)
    job = tuning.create(world.submission, file)
    later = world.process()
    assert later.uploaded(world.submission) == file
    assert later.created(world.submission, file) == job
    other = Submission("another", MODELS[world.name], world.submission.file)
    assert later.uploaded(other) is None
    assert later.created(other, file) is None


@pytest.mark.parametrize(
    "trouble",
    ["lost", "unheard", error(500, "oh"), error(503, "busy"), error(408, "slow")],
    ids=["lost", "unheard", "500", "503", "408"],
)
def test_a_job_whose_reply_does_not_come_is_made_once(world: World, trouble: Trouble) -> None:
    tuning = world.begin()
    file = tuning.upload(world.submission)
    world.line.troubles.append((JOBS[world.name], trouble))
    job = tuning.create(world.submission, file)
    assert [made.id for made in world.jobs] == [job]
    assert world.line.count(JOBS[world.name]) == (1 if trouble == "lost" else 2)


@pytest.mark.parametrize("trouble", ["lost", "unheard"])
def test_a_file_whose_reply_does_not_come_is_sent_once(world: World, trouble: Trouble) -> None:
    tuning = world.begin()
    world.line.troubles.append((FILES[world.name], trouble))
    file = tuning.upload(world.submission)
    assert world.files == 1
    assert tuning.uploaded(world.submission) == file
    assert world.line.count(FILES[world.name]) == (1 if trouble == "lost" else 2)


@pytest.mark.parametrize("world", ["openai", "together"], indirect=True)
def test_a_job_that_is_listed_late_is_not_made_again(world: World) -> None:
    slow = FakeOpenAI if world.name == "openai" else FakeTogether
    tuning = world.begin(slow(listed_after=50.0))
    file = tuning.upload(world.submission)
    world.line.troubles.append((JOBS[world.name], "lost"))
    job = tuning.create(world.submission, file)
    assert [made.id for made in world.jobs] == [job]
    world.jobs[0].made = world.line.now  # killed before it could note that
    assert world.process().created(world.submission, file) == job
    assert world.process().created(world.submission, file) == job


def test_where_no_answer_comes_at_all_it_says_that_the_job_may_be_there(world: World) -> None:
    tuning = world.begin()
    file = tuning.upload(world.submission)
    find = {
        "openai": "GET /v1/fine_tuning/jobs",
        "together": "GET /v1/fine-tunes",
        "fireworks": LOOKS["fireworks"],
    }[world.name]
    world.line.troubles.append((JOBS[world.name], "lost"))
    world.line.troubles.extend((find, "unheard") for _ in range(9))
    with pytest.raises(CallFailed, match="may have been made all the same"):
        tuning.create(world.submission, file)
    assert world.line.count(JOBS[world.name]) == 1
    world.line.troubles.clear()
    assert world.process().created(world.submission, file) == world.jobs[0].id


def test_too_many_requests_are_waited_for_as_long_as_is_asked(world: World) -> None:
    tuning = world.begin()
    file = tuning.upload(world.submission)
    world.line.troubles.append((JOBS[world.name], error(429, "slow down", retry_after="40")))
    tuning.create(world.submission, file)
    assert 40 <= world.line.now <= 42
    assert len(world.jobs) == 1


def test_unpaid_bills_are_not_asked_about_again(world: World) -> None:
    tuning = world.begin()
    file = tuning.upload(world.submission)
    unpaid = error(429, "You exceeded your quota", "insufficient_quota")
    world.line.troubles.append((JOBS[world.name], unpaid))
    with pytest.raises(ProviderError, match=r"exceeded your quota.*add credit"):
        tuning.create(world.submission, file)
    assert world.line.count(JOBS[world.name]) == 1


@pytest.mark.parametrize("end", range(3), ids=["done", "failed", "cancelled"])
def test_a_job_that_has_ended_is_not_cancelled(world: World, end: int) -> None:
    state = ENDS[world.name][end]
    tuning = world.begin()
    world.fake.states = (state,)
    job = world.job(tuning)
    before = len(world.line.calls)
    status = tuning.cancel(job)
    assert status.state == ("done", "failed", "cancelled")[end]
    assert not any(call.startswith("POST") for call in world.line.calls[before:])


def test_a_job_can_be_cancelled_and_says_so_once_it_is(world: World) -> None:
    tuning = world.begin()
    job = world.job(tuning)
    assert tuning.cancel(job).state in {"running", "cancelled"}
    assert tuning.look(job).state == "cancelled"


def test_a_job_that_ends_while_it_is_cancelled_is_told_as_it_ended(world: World) -> None:
    tuning = world.begin()
    world.fake.states = ("RUNNING" if world.name == "fireworks" else "running",)
    world.fake.states = (*world.fake.states, ENDS[world.name][0])
    assert tuning.cancel(world.job(tuning)).state == "done"


def test_a_state_that_was_never_documented_counts_as_running(world: World) -> None:
    tuning = world.begin()
    world.fake.states = ("polishing",)
    status = tuning.look(world.job(tuning))
    assert status.state == "running"
    assert "polishing" in status.said


def test_a_failed_job_says_why(world: World) -> None:
    tuning = world.begin()
    world.fake.states = (ENDS[world.name][1],)
    if isinstance(world.fake, FakeOpenAI):
        # A file that passed elicit's own check before OpenAI's changed.
        world.submission.file.write_bytes(b'{"text": "x"}\n' * 10)
    status = tuning.look(world.job(tuning))
    words = {
        "openai": "failed: The job failed due to an invalid training file: its format is "
        "wrong. (invalid_training_file, training_file)",
        "together": "error: the data ran out",
        "fireworks": "JOB_STATE_FAILED: a trainer failed",
    }
    if world.name == "openai":
        status = tuning.look(world.jobs[0].id)
    assert (status.state, status.said, status.model) == ("failed", words[world.name], None)


def test_a_look_is_repeated_after_an_error_of_the_server(world: World) -> None:
    tuning = world.begin()
    job = world.job(tuning)
    world.line.troubles += [(LOOKS[world.name], error(500, "oh")), (LOOKS[world.name], "lost")]
    assert tuning.look(job).state == "waiting"


def test_a_job_that_is_not_there_any_more_has_failed(world: World) -> None:
    tuning = world.begin()
    tuning.upload(world.submission)
    status = tuning.look("ftjob-of-nobody")
    assert (status.state, status.model) == ("failed", None)
    assert status.said == f"{world.name} does not have the job any more"


def test_a_job_on_a_deleted_file_names_the_file_and_the_mend(world: World) -> None:
    tuning = world.begin()
    file = tuning.upload(world.submission)
    if isinstance(world.fake, FakeOpenAI):
        world.fake.files[0].deleted = True
        assert tuning.uploaded(world.submission) is None
    elif isinstance(world.fake, FakeTogether):
        world.fake.files.clear()
    else:
        world.fake.datasets.clear()
    with pytest.raises(InputError, match=f"{file} was not deleted there .a new job sends it"):
        tuning.create(world.submission, file)
    assert len(world.jobs) == 0


def shown(failed: BaseException) -> str:
    """All that a traceback can show, but for the variables of this file."""
    frames = failed.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    assert frames is not None
    told = traceback.TracebackException(type(failed), failed, frames, capture_locals=True)
    return "".join(told.format())


def test_the_key_goes_to_the_server_and_is_seen_nowhere_else(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    tuning = world.begin()
    world.job(tuning)
    assert world.line.keys == {f"Bearer {KEY}"}
    refusal = error(401, f"Incorrect API key provided: {KEY}")
    monkeypatch.setattr(world.line, "trouble", lambda _call: refusal)
    for ask in (
        lambda: tuning.upload(world.submission),
        lambda: tuning.created(world.submission, "f"),
        lambda: tuning.create(world.submission, "f"),
        lambda: tuning.look("j"),
        lambda: tuning.cancel("j"),
    ):
        with pytest.raises(ModelError, match=r"Incorrect API key.*check the API key") as failed:
            ask()
        assert KEY not in shown(failed.value)
    assert KEY not in caplog.text
    assert caplog.text


def test_without_its_key_a_provider_is_not_opened(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"{world.name.upper()}_API_KEY"
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ModelError, match=f"{variable} is not set"):
        open_tuning(world.name)


def test_a_file_is_checked_before_anything_is_sent(world: World) -> None:
    tuning = world.begin()
    world.submission.file.write_bytes(b'{"text": "x"}\n' * 10)
    with pytest.raises(InputError, match="line 1 has 'text'"):
        tuning.check(world.submission)
    assert world.line.calls == []
