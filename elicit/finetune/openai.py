"""Tuning at OpenAI, through its SDK.

A file's name and a job's metadata hold the tag. Lists name the newest first; they are read
to their end, as a filter on metadata that a server passes over or misreads would make a job
look as if it were not there. Sources: openai 3.57.0, `types/fine_tuning`;
https://developers.openai.com/docs/guides/distillation (data);
https://developers.openai.com/api/docs/deprecations (the end of self-serve tuning).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar, cast

import httpx2
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.job_create_params import Method

from elicit.cache.jobs import JobEvent
from elicit.finetune.hosted import HostedState, Status, Submission
from elicit.finetune.made_once import (
    LISTED_AFTER,
    Patience,
    ended,
    gone,
    looked_for,
    made_once,
    refused_job,
)
from elicit.finetune.notices import CLOSING
from elicit.finetune.plain_http import number_of
from elicit.finetune.sft_file import RULES, check_rows
from elicit.finetune.tuning_settings import Known, told
from elicit.providers.faults import Fault
from elicit.providers.garbled import Garbled, cut
from elicit.providers.openai.endpoint import Endpoint, sdk_client
from elicit.providers.openai.faults import classify
from elicit.providers.opening import address
from elicit.providers.redact import secret_from_environment
from elicit.providers.retry import Rejected
from elicit.providers.transport import open_client

T = TypeVar("T")

KEY = "OPENAI_API_KEY"
TAG = "elicit"
"""The key of a job's metadata under which its tag is."""
PAGE = 100

ELSEWHERE = "tune at together or fireworks, or on this machine"

SETTINGS: Mapping[str, Known] = {
    "epochs": Known("n_epochs", "count"),
    "batch_size": Known("batch_size", "count"),
    "learning_rate_multiplier": Known("learning_rate_multiplier", "rate"),
    "seed": Known("seed", "seed"),
}
_INSTEAD = {
    "learning_rate": "it takes learning_rate_multiplier, a factor on the rate that it chooses",
    "rank": "it does not say how it tunes",
}

_STATES: Mapping[str, HostedState] = {
    "validating_files": "waiting",
    "queued": "waiting",
    "running": "running",
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}

_CLOSED = re.compile(
    r"fine[- ]?tun.*(?:no longer|not available|unavailable|disabled|not eligible|wind)",
    re.IGNORECASE | re.DOTALL,
)


def open_openai(
    patience: Patience | None = None, listed_after: float = LISTED_AFTER
) -> OpenAITuning:
    """OpenAI, or where OPENAI_BASE_URL says. Nothing is sent yet.

    Raises:
        ModelError: OPENAI_API_KEY is not set, or the key would travel unencrypted.
    """
    base_url = address("openai")
    client = open_client(base_url, secret_from_environment(KEY))
    return OpenAITuning(client, base_url, patience or Patience(), listed_after)


class OpenAITuning:
    """See `HostedTuning`."""

    name = "openai"

    def __init__(
        self, client: httpx2.Client, base_url: str, patience: Patience, listed_after: float
    ) -> None:
        self._client = client
        self._sdk = sdk_client(Endpoint("openai", "", base_url, KEY), client)
        self._patience = patience
        self._listed_after = listed_after
        self._events: dict[str, dict[str, JobEvent]] = {}

    def check(self, submission: Submission) -> None:
        told(submission, "openai", SETTINGS, _INSTEAD)
        check_rows(submission.file, RULES["openai"])

    def upload(self, submission: Submission) -> str:
        def make() -> str:
            with submission.file.open("rb") as file:
                made = self._sdk.files.create(
                    file=(_file_name(submission), file, "application/jsonl"),
                    purpose="fine-tune",
                )
            return _promised(made.id)

        return made_once(make, lambda: self._file(submission), classify, self._patience)

    def uploaded(self, submission: Submission) -> str | None:
        return self._ask(lambda: self._file(submission))

    def create(self, submission: Submission, file: str) -> str:
        chosen = told(submission, "openai", SETTINGS, _INSTEAD)
        seed = cast("int | None", chosen.pop("seed", None))
        method: Method = {"type": "supervised"}
        if chosen:
            method["supervised"] = {"hyperparameters": cast("Any", chosen)}

        def make() -> str:
            made = self._sdk.fine_tuning.jobs.create(
                model=submission.model,
                training_file=file,
                method=method,
                suffix=submission.tag,
                metadata={TAG: submission.tag},
                seed=seed,
            )
            return _promised(made.id)

        return made_once(
            make,
            lambda: looked_for(
                lambda: self._job(submission), self._patience, self._listed_after
            ),
            lambda error: _of_creating(error, file),
            self._patience,
        )

    def created(
        self,
        submission: Submission,
        file: str,  # noqa: ARG002  the job has the tag itself
        unlisted_for: float | None = None,
    ) -> str | None:
        return looked_for(
            lambda: self._ask(lambda: self._job(submission)),
            self._patience,
            self._listed_after,
            unlisted_for,
        )

    def look(self, job: str) -> Status:
        try:
            found = self._ask(lambda: self._sdk.fine_tuning.jobs.retrieve(job))
        except Rejected as error:
            return gone(error, self.name)
        return _status(found, self._ask(lambda: self._told_of(job)))

    def cancel(self, job: str) -> Status:
        return ended(
            lambda: self.look(job),
            lambda: self._ask(lambda: self._sdk.fine_tuning.jobs.cancel(job)),
        )

    def close(self) -> None:
        self._client.close()

    def _ask(self, send: Callable[[], T]) -> T:
        return self._patience.ask(send, classify)

    def _file(self, submission: Submission) -> str | None:
        for file in self._sdk.files.list(purpose="fine-tune", order="desc"):
            if file.filename == _file_name(submission) and file.status != "error":
                return _promised(file.id)
        return None

    def _job(self, submission: Submission) -> str | None:
        for job in self._sdk.fine_tuning.jobs.list(limit=PAGE):
            if (job.metadata or {}).get(TAG) == submission.tag:
                return _promised(job.id)
        return None

    def _told_of(self, job: str) -> tuple[JobEvent, ...]:
        """All events, the oldest first; only those that are new are asked for."""
        known = self._events.get(job, {})
        new = []
        for event in self._sdk.fine_tuning.jobs.list_events(job, limit=PAGE):
            if event.id in known:
                break
            new.append(_event(event))
        self._events[job] = {**known, **{event.event: event for event in reversed(new)}}
        return tuple(self._events[job].values())


def _file_name(submission: Submission) -> str:
    return f"elicit-{submission.tag}.jsonl"


def _promised(identifier: object) -> str:
    # The SDK checks no types, so that a field may be None that must not be.
    if not isinstance(identifier, str) or not identifier:
        raise Garbled("the server's reply has no 'id', which its API promises")
    return identifier


def _status(job: FineTuningJob, events: tuple[JobEvent, ...]) -> Status:
    state = _STATES.get(job.status, "running")
    said = str(job.status)
    model = job.fine_tuned_model
    if state == "failed" and job.error is not None and job.error.message:
        parts = [part for part in (job.error.code, job.error.param) if part]
        said += f": {cut(job.error.message)}" + (f" ({', '.join(parts)})" if parts else "")
    if state == "done" and not model:
        state, said = "running", f"{said}; the model has no name yet"
    return Status(
        state,
        said,
        f"openai:{model}" if state == "done" else None,
        job.trained_tokens if state == "done" else None,
        events,
    )


def _event(event: FineTuningJobEvent) -> JobEvent:
    data = event.data if isinstance(event.data, Mapping) else {}
    step = number_of(data.get("step"))
    return JobEvent(
        event.id,
        float(event.created_at),
        cut(event.message),
        None if step is None else int(step),
        number_of(data.get("train_loss")),
    )


def _of_creating(error: Exception, file: str) -> Fault | None:
    """As `classify`; a refusal names what may be the matter with a job."""
    fault = classify(error)
    if fault is None or fault.kind != "permanent":
        return fault
    if fault.status == 403 or _CLOSED.search(fault.message):
        closing = f"{CLOSING}; {ELSEWHERE}"
        if fault.status == 403:
            closing += f"; or else {fault.hint}"
        return replace(fault, hint=closing)
    return refused_job(fault, "OpenAI", file)
