"""Tuning at Fireworks, over HTTP.

Its data sets and jobs are named by who makes them, so each is asked for by its name, made
of the tag, and can't be there twice. The documentation has no events of a job; how far it is
stands in the job. Sources, all under https://docs.fireworks.ai/api-reference/: list-accounts,
create-dataset, get-dataset, upload-dataset-files, create-supervised-fine-tuning-job,
get-supervised-fine-tuning-job, cancel-supervised-fine-tuning-job; what they leave open, the
types of fireworks-ai 1.2.30.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

from elicit.cache.errors import InputError
from elicit.cache.jobs import JobEvent
from elicit.finetune.hosted import HostedState, Status, Submission
from elicit.finetune.made_once import (
    Patience,
    ended,
    gone,
    made_once,
)
from elicit.finetune.plain_http import (
    Json,
    PlainHttp,
    number_of,
    open_plain,
    rows_of,
    text_of,
    unix_time,
)
from elicit.finetune.sft_file import RULES, check_rows
from elicit.finetune.tuning_settings import Known, told
from elicit.providers.base import ProviderError
from elicit.providers.garbled import cut
from elicit.providers.presets import presets
from elicit.providers.retry import Rejected

FIREWORKS = "https://api.fireworks.ai"
ACCOUNT = "FIREWORKS_ACCOUNT_ID"

READ_WITHIN = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 60.0)
"""Seconds to wait, look after look, for a data set that was sent to be ready."""

SETTINGS: Mapping[str, Known] = {
    "epochs": Known("epochs", "count"),
    "batch_size": Known("batchSizeSamples", "count"),
    "learning_rate": Known("learningRate", "rate"),
    "rank": Known("loraRank", "count"),
}
_INSTEAD = {"seed": "it chooses its own"}

_STATES: Mapping[str, HostedState] = {
    "UNSPECIFIED": "waiting",
    "CREATING": "waiting",
    "PENDING": "waiting",
    "VALIDATING": "waiting",
    "CREATING_INPUT_DATASET": "waiting",
    "RE_QUEUEING": "waiting",
    "COMPLETED": "done",
    "EARLY_STOPPED": "done",
    "FAILED": "failed",
    "EXPIRED": "failed",
    "CANCELLED": "cancelled",
    "DELETING": "cancelled",
    "DELETING_CLEANING_UP": "cancelled",
}


def open_fireworks(patience: Patience | None = None) -> FireworksTuning:
    """Fireworks, or where FIREWORKS_BASE_URL says. Nothing is sent yet.

    The account is that of FIREWORKS_ACCOUNT_ID, or the one that the key may use.

    Raises:
        ModelError: FIREWORKS_API_KEY is not set, or the key would travel unencrypted.
    """
    key = presets()["fireworks"].key_variable or ""
    base_url = (os.environ.get("FIREWORKS_BASE_URL") or FIREWORKS).rstrip("/")
    http = open_plain(base_url, key, patience or Patience())
    return FireworksTuning(http, os.environ.get(ACCOUNT))


class FireworksTuning:
    """See `HostedTuning`."""

    name = "fireworks"

    def __init__(self, http: PlainHttp, account: str | None = None) -> None:
        self._http = http
        self._account_id = account

    def check(self, submission: Submission) -> None:
        told(submission, "fireworks", SETTINGS, _INSTEAD)
        check_rows(submission.file, RULES["fireworks"])

    def upload(self, submission: Submission) -> str:
        """As `HostedTuning.upload`: makes the data set, sends the file and waits until it
        can be used; each step only where it was not done before."""
        name = _name(submission)
        count = check_rows(submission.file, RULES["fireworks"])
        found = self._http.ask(lambda: self._dataset(name))
        if found is None:
            body = {
                "datasetId": name,
                "dataset": {"format": "CHAT", "exampleCount": str(count), "userUploaded": {}},
            }
            made_once(
                lambda: text_of(self._http.post(f"{self._account()}/datasets", body), "name"),
                lambda: _name_of(self._dataset(name)),
                self._http.classify,
                self._http.patience,
            )
            found = {}
        if found.get("state") != "READY":
            made_once(
                lambda: self._sent(submission),
                lambda: self._ready(name),
                self._http.classify,
                self._http.patience,
            )
        return self._usable(name)

    def uploaded(self, submission: Submission) -> str | None:
        return self._http.ask(lambda: self._ready(_name(submission)))

    def create(self, submission: Submission, file: str) -> str:
        chosen = told(submission, "fireworks", SETTINGS, _INSTEAD)
        base = submission.model
        if not base.startswith("accounts/"):
            base = f"accounts/fireworks/models/{base}"
        body = {"displayName": submission.tag, "dataset": file, "baseModel": base, **chosen}
        name = _name(submission)

        def make() -> str:
            path = f"{self._account()}/supervisedFineTuningJobs"
            return _last(
                text_of(self._http.post(path, body, supervisedFineTuningJobId=name), "name")
            )

        return made_once(
            make,
            lambda: self._job(name),
            self._http.classify_job("Fireworks", file),
            self._http.patience,
        )

    def created(
        self,
        submission: Submission,
        file: str,  # noqa: ARG002  the job is named by the tag
        unlisted_for: float | None = None,  # noqa: ARG002  it is asked for by its name
    ) -> str | None:
        return self._http.ask(lambda: self._job(_name(submission)))

    def look(self, job: str) -> Status:
        path = self._path(job)
        try:
            return _status(self._http.ask(lambda: self._http.get(path)), job)
        except Rejected as error:
            return gone(error, self.name)

    def cancel(self, job: str) -> Status:
        return ended(
            lambda: self.look(job),
            lambda: self._http.ask(lambda: self._http.post(f"{self._path(job)}:cancel")),
        )

    def close(self) -> None:
        self._http.client.close()

    def _account(self) -> str:
        """The path of the account that pays."""
        if self._account_id is None:
            reply = self._http.ask(lambda: self._http.get("/v1/accounts"))
            names = [_last(text_of(row, "name")) for row in rows_of(reply, "accounts")]
            if len(names) != 1:
                which = ", ".join(names) or "none"
                raise InputError(
                    f"fireworks: the key may use these accounts: {which}; name the one that "
                    f"is to pay: export {ACCOUNT}=..."
                )
            self._account_id = names[0]
        return f"/v1/accounts/{quote(self._account_id, safe='')}"

    def _path(self, job: str) -> str:
        return f"{self._account()}/supervisedFineTuningJobs/{quote(job, safe='')}"

    def _dataset(self, name: str) -> Json | None:
        return self._http.get_or_none(f"{self._account()}/datasets/{name}")

    def _ready(self, name: str) -> str | None:
        found = self._dataset(name)
        return _name_of(found) if found and found.get("state") == "READY" else None

    def _usable(self, name: str) -> str:
        """The data set, once it is ready."""
        for wait in (*READ_WITHIN, 0.0):
            found = self._http.ask(lambda: self._dataset(name)) or {}
            if found.get("state") == "READY":
                return text_of(found, "name")
            status = found.get("status")
            if isinstance(status, Mapping) and status.get("code") not in (None, "OK"):
                why = cut(str(status.get("message") or status.get("code")))
                raise InputError(f"fireworks refuses the data set {name}: {why}; mend the file")
            self._http.patience.sleep(wait)
        raise ProviderError(
            f"fireworks has not read the data set {name} within {sum(READ_WITHIN):.0f} s; no "
            "job was begun: go on later"
        )

    def _sent(self, submission: Submission) -> str:
        name = _name(submission)
        with submission.file.open("rb") as file:
            self._http.send_file(
                f"{self._account()}/datasets/{name}:upload",
                (f"{name}.jsonl", file, "application/jsonl"),
                {},
            )
        return name

    def _job(self, name: str) -> str | None:
        found = self._http.get_or_none(self._path(name))
        return None if found is None else _last(text_of(found, "name"))


def _name(submission: Submission) -> str:
    """Of the data set and the job: lower-case letters, digits and `-`, and under 63."""
    return f"elicit-{submission.tag.lower()}"


def _name_of(resource: Json | None) -> str | None:
    return None if resource is None else text_of(resource, "name")


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _status(job: Json, identifier: str) -> Status:
    word = str(job.get("state") or "JOB_STATE_UNSPECIFIED")
    state, said = _STATES.get(word.removeprefix("JOB_STATE_"), "running"), word
    status = job.get("status")
    why = status.get("message") if isinstance(status, Mapping) else None
    if isinstance(why, str) and why:
        said += f": {cut(why)}"
    model = None
    if state == "done":
        account = text_of(job, "name").partition("/supervisedFineTuningJobs/")[0]
        # Where none was asked for, the model has the job's name.
        model = str(job.get("outputModel") or identifier)
        if not model.startswith("accounts/"):
            model = f"{account}/models/{model}"
        model = f"fireworks:{model}"
    return Status(state, said, model, None, _progress(job))


def _progress(job: Json) -> tuple[JobEvent, ...]:
    progress = job.get("jobProgress")
    percent = number_of(progress.get("percent")) if isinstance(progress, Mapping) else None
    if not isinstance(progress, Mapping) or percent is None:
        return ()
    epoch = number_of(progress.get("epoch")) or 0.0
    message = f"epoch {epoch:.0f}, {percent:.0f} %"
    return (JobEvent(f"{epoch:.0f}-{percent:.0f}", unix_time(job.get("updateTime")), message),)
