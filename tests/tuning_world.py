"""A provider that tunes models, what is submitted to it, and processes that ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_tuning_openai import FakeOpenAI
from fake_tuning_plain import FakeFireworks, FakeTogether
from fake_tuning_servers import KEY, Job, Line, serving

from elicit.finetune.backends import open_tuning
from elicit.finetune.examples import Example
from elicit.finetune.hosted import HostedTuning, Submission
from elicit.finetune.sft_file import RULES, write_examples
from elicit.providers.base import Segment
from elicit.providers.retry import RetryPolicy
from elicit.providers.submission import Patience

Fake = FakeOpenAI | FakeTogether | FakeFireworks

TAG = "a1b2c3-tune-7"
MODELS = {
    "openai": "gpt-4.1-mini-2025-04-14",
    "together": "meta-llama/Meta-Llama-3.1-8B-Instruct-Reference",
    "fireworks": "llama-v3p1-8b-instruct",
}
TUNED = {
    "openai": f"openai:ft:gpt-4.1-mini-2025-04-14:org:{TAG}:0",
    "together": f"together:me/Llama-{TAG}-ft-0",
    "fireworks": f"fireworks:accounts/me/models/elicit-{TAG}",
}
FILES = {
    "openai": "POST /v1/files",
    "together": "POST /v1/files/upload",
    "fireworks": f"POST /v1/accounts/me/datasets/elicit-{TAG}:upload",
}
JOBS = {
    "openai": "POST /v1/fine_tuning/jobs",
    "together": "POST /v1/fine-tunes",
    "fireworks": "POST /v1/accounts/me/supervisedFineTuningJobs",
}
LOOKS = {
    "openai": "GET /v1/fine_tuning/jobs/ftjob-0",
    "together": "GET /v1/fine-tunes/ft-0",
    "fireworks": f"GET /v1/accounts/me/supervisedFineTuningJobs/elicit-{TAG}",
}
ENDS = {
    "openai": ("succeeded", "failed", "cancelled"),
    "together": ("completed", "error", "cancelled"),
    "fireworks": ("COMPLETED", "FAILED", "CANCELLED"),
}


def examples(count: int) -> list[Example]:
    prompt = (Segment.of("Say yes or no.", "system"), Segment.of("Is it?", "user"))
    return [Example(str(i), prompt, "yes") for i in range(count)]


@dataclass
class World:
    """A provider, what is submitted to it, and processes that ask it."""

    name: str
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    stack: ExitStack
    fake: Fake = field(init=False)
    submission: Submission = field(init=False)

    def begin(self, fake: Fake | None = None) -> HostedTuning:
        made: dict[str, Callable[[], Fake]] = {
            "openai": FakeOpenAI,
            "together": FakeTogether,
            "fireworks": FakeFireworks,
        }
        self.fake = made[self.name]() if fake is None else fake
        variable = f"{self.name.upper()}_BASE_URL"
        path = "" if self.name == "fireworks" else "/v1"
        url = self.stack.enter_context(serving(self.fake))
        self.monkeypatch.setenv(variable, f"{url}{path}")
        self.monkeypatch.setenv(f"{self.name.upper()}_API_KEY", KEY)
        path_of_file = self.folder / "train.jsonl"
        write_examples(path_of_file, examples(10), RULES[self.name])
        self.submission = Submission(TAG, MODELS[self.name], path_of_file)
        return self.process()

    def process(self) -> HostedTuning:
        patience = Patience(sleep=self.line.sleep, policy=RetryPolicy(attempts=4))
        tuning = open_tuning(self.name, patience)
        self.stack.callback(tuning.close)
        return tuning

    def job(self, tuning: HostedTuning) -> str:
        return tuning.create(self.submission, tuning.upload(self.submission))

    @property
    def line(self) -> Line:
        return self.fake.line

    @property
    def jobs(self) -> Sequence[Job]:
        return self.fake.jobs

    @property
    def files(self) -> int:
        fake = self.fake
        return len(fake.contents if isinstance(fake, FakeFireworks) else fake.files)


@contextmanager
def tuning_world(name: str, folder: Path) -> Iterator[World]:
    """Its servers end, and its addresses and keys are forgotten, with the block."""
    with ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        monkeypatch.delenv("FIREWORKS_ACCOUNT_ID", raising=False)
        yield World(name, folder, monkeypatch, stack)
