"""What each provider of tuning has of its own: names, settings, lists, accounts, closing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="needs the extra hosted")

from fake_tuning_openai import FakeOpenAI
from fake_tuning_plain import FakeFireworks, FakeTogether
from fake_tuning_servers import error
from tuning_world import TAG, World, examples, tuning_world

from elicit.cache.errors import InputError
from elicit.finetune.backends import HOSTED, check_name, open_tuning, rules
from elicit.finetune.notices import notice
from elicit.finetune.sft_file import RULES, write_examples
from elicit.providers.base import ProviderError


@pytest.fixture
def openai(tmp_path: Path) -> Iterator[World]:
    with tuning_world("openai", tmp_path) as world:
        yield world


@pytest.fixture
def together(tmp_path: Path) -> Iterator[World]:
    with tuning_world("together", tmp_path) as world:
        yield world


@pytest.fixture
def fireworks(tmp_path: Path) -> Iterator[World]:
    with tuning_world("fireworks", tmp_path) as world:
        yield world


def with_settings(world: World, settings: Mapping[str, float | int | str]) -> None:
    world.submission = replace(world.submission, settings=settings)


# Names


def test_anthropic_has_no_endpoint_and_the_error_says_where_to_tune_instead() -> None:
    with pytest.raises(InputError, match=r"anthropic has no fine-tuning endpoint.*together"):
        open_tuning("anthropic")


@pytest.mark.parametrize("name", ["opneai", "firework", "togehter"])
def test_a_name_that_is_written_wrong_is_met_with_the_nearest(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: no such.*did you mean .*\(known: openai,"):
        check_name(name)


def test_every_provider_has_rules_for_its_file() -> None:
    assert {name: rules(name).provider for name in HOSTED} == {name: name for name in RULES}


def test_what_should_be_known_before_is_told_before() -> None:
    told = notice("openai", "gpt-4.1-mini-2025-04-14")
    assert told is not None
    assert "nobody can from 2027-01-06" in told
    assert told.endswith("from gpt-4.1-mini-2025-04-14 stops answering on 2027-01-14")
    assert "deployed" in (notice("together", "m") or "")
    assert "deployed" in (notice("fireworks", "m") or "")


def test_naming_a_provider_imports_nothing_that_is_an_extra() -> None:
    script = (
        "import sys, elicit.finetune.backends, elicit.finetune.notices\n"
        "print([n for n in ('openai', 'httpx2', 'tenacity', 'torch') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


# Settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"learning_rate": 1e-4},
            "no setting learning_rate .it takes learning_rate_multiplier",
        ),
        ({"rank": 8}, r"no setting rank .*known: epochs, batch_size, learning_rate_multiplier"),
        ({"epoch": 8}, "no setting epoch .did you mean epochs"),
        ({"epochs": 0}, "epochs is 0; it must be a whole number from 1 up"),
        ({"epochs": True}, "epochs is True; it must be"),
        ({"epochs": "3"}, "epochs is '3'; it must be"),
        ({"epochs": 1.5}, "epochs is 1.5; it must be"),
        ({"learning_rate_multiplier": float("inf")}, "is inf; it must be a number above 0"),
        ({"seed": -1}, "seed is -1; it must be a whole number from 0 up"),
    ],
)
def test_openai_refuses_what_it_can_not_be_told(
    openai: World, settings: Mapping[str, float | int | str], words: str
) -> None:
    tuning = openai.begin()
    with_settings(openai, settings)
    with pytest.raises(InputError, match=words):
        tuning.check(openai.submission)
    assert openai.line.calls == []


def test_openai_is_told_settings_under_its_method(openai: World) -> None:
    tuning = openai.begin()
    with_settings(openai, {"epochs": 3, "learning_rate_multiplier": 0.5, "seed": 7})
    openai.job(tuning)
    asked = openai.jobs[0].asked
    chosen = {"n_epochs": 3, "learning_rate_multiplier": 0.5}
    assert asked["method"] == {"type": "supervised", "supervised": {"hyperparameters": chosen}}
    assert asked["seed"] == 7
    assert asked["metadata"] == {"elicit": TAG}


def test_together_is_told_to_take_the_loss_on_labels_alone(together: World) -> None:
    tuning = together.begin()
    with_settings(together, {"rank": 8, "learning_rate": 1e-4, "seed": 7, "batch_size": 16})
    together.job(tuning)
    asked = together.jobs[0].asked
    assert asked["training_method"] == {"method": "sft", "train_on_inputs": False}
    assert asked["training_type"] == {"type": "Lora", "lora_r": 8, "lora_alpha": 16}
    assert (asked["learning_rate"], asked["random_seed"]) == (1e-4, 7)
    assert asked["batch_size"] == 16


def test_fireworks_is_told_settings_by_its_names_and_has_no_seed(fireworks: World) -> None:
    tuning = fireworks.begin()
    with_settings(fireworks, {"rank": 8, "batch_size": 16, "epochs": 2, "learning_rate": 1e-4})
    fireworks.job(tuning)
    asked = fireworks.jobs[0].asked
    assert (asked["loraRank"], asked["batchSizeSamples"], asked["epochs"]) == (8, 16, 2)
    assert asked["baseModel"] == "accounts/fireworks/models/llama-v3p1-8b-instruct"
    with_settings(fireworks, {"seed": 1})
    with pytest.raises(InputError, match=r"no setting seed \(it chooses its own\)"):
        tuning.check(fireworks.submission)


# OpenAI


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "Your organization can't create jobs."),
        (400, "Fine-tuning is no longer available."),
    ],
)
def test_when_openai_begins_no_job_the_end_of_self_serve_tuning_is_said_in_words(
    openai: World, status: int, words: str
) -> None:
    tuning = openai.begin()
    file = tuning.upload(openai.submission)
    openai.line.troubles.append(("POST /v1/fine_tuning/jobs", error(status, words)))
    with pytest.raises(InputError, match=words) as refused:
        tuning.create(openai.submission, file)
    assert "nobody can from 2027-01-06" in str(refused.value)
    assert "tune at together or fireworks" in str(refused.value)
    assert openai.line.count("POST /v1/fine_tuning/jobs") == 1


def test_a_file_and_a_job_are_found_on_later_pages_of_a_list(openai: World) -> None:
    tuning = openai.begin()
    file = tuning.upload(openai.submission)
    job = tuning.create(openai.submission, file)
    for number in range(5):
        other = replace(openai.submission, tag=f"other-{number}")
        tuning.create(other, tuning.upload(other))
    assert tuning.uploaded(openai.submission) == file
    assert tuning.created(openai.submission, file) == job
    assert openai.line.count("GET /v1/files") == 3


def test_events_come_oldest_first_with_the_curve_and_only_new_ones_are_asked_for(
    openai: World,
) -> None:
    tuning = openai.begin(FakeOpenAI(states=["running"] * 9))
    job = openai.job(tuning)
    for _ in range(6):
        status = tuning.look(job)
    assert [event.step for event in status.events] == [None, 1, 2, 3, 4, 5, 6]
    assert [event.loss for event in status.events[1:]] == [1 / n for n in range(1, 7)]
    before = openai.line.count(f"GET /v1/fine_tuning/jobs/{job}/events")
    assert tuning.look(job).events[:-1] == status.events
    assert openai.line.count(f"GET /v1/fine_tuning/jobs/{job}/events") == before + 1
    assert openai.process().look(job).events[:8] == tuning.look(job).events[:8]


def test_a_file_that_openai_finds_too_small_fails_its_job(openai: World) -> None:
    tuning = openai.begin()
    write_examples(openai.submission.file, examples(9), RULES["openai"])
    job = openai.job(tuning)
    assert [tuning.look(job).state for _ in range(2)] == ["waiting", "failed"]
    assert "it has 9 example(s), 10 are needed" in tuning.look(job).said


# Together


def test_together_gives_the_file_that_it_has_for_one_of_equal_content(together: World) -> None:
    tuning = together.begin()
    file = tuning.upload(together.submission)
    other = replace(together.submission, tag="another")
    assert tuning.upload(other) == file
    job = tuning.create(together.submission, file)
    assert tuning.created(other, file) is None
    assert tuning.create(other, file) != job
    assert tuning.created(together.submission, file) == job


def test_a_job_is_found_in_replies_that_do_not_tell_its_suffix(together: World) -> None:
    tuning = together.begin(FakeTogether(tells_suffix=False))
    job = together.job(tuning)
    assert tuning.created(together.submission, "file-0") == job


def test_together_tells_its_curve_and_the_tokens_of_a_job_that_is_done(together: World) -> None:
    tuning = together.begin(FakeTogether(states=["running", "completed"]))
    job = together.job(tuning)
    status = [tuning.look(job) for _ in range(2)][-1]
    assert [(event.step, event.loss) for event in status.events if event.loss] == [(7, 0.5)]
    assert status.trained_tokens == 850_000
    assert len({event.event for event in status.events}) == len(status.events) == 3


# Fireworks


def test_fireworks_asks_which_account_the_key_may_use(fireworks: World) -> None:
    fireworks.job(fireworks.begin())
    assert fireworks.line.count("GET /v1/accounts") == 1


def test_of_several_accounts_the_one_that_pays_must_be_named(
    fireworks: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = fireworks.begin(FakeFireworks(accounts=["accounts/me", "accounts/you"]))
    with pytest.raises(InputError, match=r"accounts: me, you; .*export FIREWORKS_ACCOUNT_ID"):
        tuning.upload(fireworks.submission)
    monkeypatch.setenv("FIREWORKS_ACCOUNT_ID", "me")
    assert fireworks.process().upload(fireworks.submission).startswith("accounts/me/datasets/")


def test_a_data_set_that_never_got_its_file_gets_it(fireworks: World) -> None:
    tuning = fireworks.begin()
    make = "POST /v1/accounts/me/datasets"
    upload = f"POST /v1/accounts/me/datasets/elicit-{TAG}:upload"
    fireworks.line.troubles += [(make, "lost"), (upload, error(400, "broken"))]
    with pytest.raises(InputError, match="broken"):
        tuning.upload(fireworks.submission)
    assert tuning.uploaded(fireworks.submission) is None
    assert (
        fireworks.process().upload(fireworks.submission) == f"accounts/me/datasets/elicit-{TAG}"
    )
    assert fireworks.line.count(make) == 1


def test_a_data_set_is_used_only_once_it_is_read(fireworks: World) -> None:
    tuning = fireworks.begin(FakeFireworks(ready_after=100.0))
    tuning.create(fireworks.submission, tuning.upload(fireworks.submission))
    assert fireworks.line.now >= 100
    assert fireworks.line.count(f"POST /v1/accounts/me/datasets/elicit-{TAG}:upload") == 1


def test_a_data_set_that_is_never_read_is_given_up_with_nothing_begun(fireworks: World) -> None:
    tuning = fireworks.begin(FakeFireworks(ready_after=1e9))
    with pytest.raises(ProviderError, match="within 188 s; no job was begun"):
        tuning.upload(fireworks.submission)


def test_a_data_set_that_fireworks_refuses_is_an_error_of_the_user(fireworks: World) -> None:
    tuning = fireworks.begin(FakeFireworks(refusal="row 3 is odd"))
    with pytest.raises(
        InputError, match=r"refuses the data set .*: row 3 is odd; mend the file"
    ):
        tuning.upload(fireworks.submission)
