"""Tuning at Together, over HTTP.

A file's name and a job's suffix are the tag. Neither list is documented to have pages.
Together knows a file by its content: one that it has already it answers with 409 and the
file's id. Sources: https://docs.together.ai/reference/upload-file, /get-files,
/post-fine-tunes, /get-fine-tunes, /get-fine-tunes-id, /get-fine-tunes-id-events,
/get-fine-tunes-id-metrics, /post-fine-tunes-id-cancel; what they leave open, the types of
together 3.1.1.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from urllib.parse import quote

import httpx2

from elicit.cache.jobs import JobEvent
from elicit.cache.keys import canonical_json
from elicit.finetune.hosted import HostedState, Status, Submission
from elicit.finetune.made_once import (
    LISTED_AFTER,
    Patience,
    ended,
    gone,
    looked_for,
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
from elicit.providers.garbled import cut
from elicit.providers.presets import presets
from elicit.providers.retry import Rejected

SETTINGS: Mapping[str, Known] = {
    "epochs": Known("n_epochs", "count"),
    "batch_size": Known("batch_size", "count"),
    "learning_rate": Known("learning_rate", "rate"),
    "rank": Known("lora_r", "count"),
    "seed": Known("random_seed", "seed"),
}

_STATES: Mapping[str, HostedState] = {
    "pending": "waiting",
    "queued": "waiting",
    "running": "running",
    "compressing": "running",
    "uploading": "running",
    "cancel_requested": "running",
    "cancelled": "cancelled",
    "error": "failed",
    "user_error": "failed",
    "completed": "done",
}


def open_together(
    patience: Patience | None = None, listed_after: float = LISTED_AFTER
) -> TogetherTuning:
    """Together, or where TOGETHER_BASE_URL says. Nothing is sent yet.

    Raises:
        ModelError: TOGETHER_API_KEY is not set, or the key would travel unencrypted.
    """
    preset = presets()["together"]
    named = os.environ.get("TOGETHER_BASE_URL") or preset.base_url or ""
    # Together's own SDK takes the address without /v1 in that variable.
    base_url = named.rstrip("/").removesuffix("/v1") + "/v1"
    http = open_plain(base_url, preset.key_variable or "", patience or Patience())
    return TogetherTuning(http, listed_after)


class TogetherTuning:
    """See `HostedTuning`."""

    name = "together"

    def __init__(self, http: PlainHttp, listed_after: float) -> None:
        self._http = http
        self._listed_after = listed_after

    def check(self, submission: Submission) -> None:
        told(submission, "together", SETTINGS)
        check_rows(submission.file, RULES["together"])

    def upload(self, submission: Submission) -> str:
        name = _file_name(submission)

        def make() -> str:
            fields = {"purpose": "fine-tune", "file_name": name, "file_type": "jsonl"}
            with submission.file.open("rb") as file:
                try:
                    reply = self._http.send_file(
                        "/files/upload", (name, file, "application/jsonl"), fields
                    )
                except httpx2.HTTPStatusError as error:
                    present = _present(error.response)
                    if present is None:
                        raise
                    return present
            return text_of(reply, "id")

        return made_once(
            make, lambda: self._file(submission), self._http.classify, self._http.patience
        )

    def uploaded(self, submission: Submission) -> str | None:
        return self._http.ask(lambda: self._file(submission))

    def create(self, submission: Submission, file: str) -> str:
        chosen = told(submission, "together", SETTINGS)
        rank = chosen.pop("lora_r", None)
        body = {
            "training_file": file,
            "model": submission.model,
            "suffix": submission.tag,
            "training_method": {"method": "sft", "train_on_inputs": False},
            **chosen,
        }
        if rank is not None:
            # Both are required; twice the rank is what Together's own SDK sends.
            body["training_type"] = {"type": "Lora", "lora_r": rank, "lora_alpha": 2 * rank}
        return made_once(
            lambda: text_of(self._http.post("/fine-tunes", body), "id"),
            lambda: looked_for(
                lambda: self._job(submission), self._http.patience, self._listed_after
            ),
            self._http.classify_job("Together", file),
            self._http.patience,
        )

    def created(
        self,
        submission: Submission,
        file: str,  # noqa: ARG002  one file may be that of several jobs
        unlisted_for: float | None = None,
    ) -> str | None:
        most = self._listed_after
        waits = most if unlisted_for is None else min(most, max(0.0, unlisted_for))
        return looked_for(
            lambda: self._http.ask(lambda: self._job(submission)), self._http.patience, waits
        )

    def look(self, job: str) -> Status:
        path = _path(job)
        try:
            found = self._http.ask(lambda: self._http.get(path))
        except Rejected as error:
            return gone(error, self.name)
        told_of = self._http.ask(lambda: self._http.get(f"{path}/events"))
        curve = self._http.ask(lambda: self._http.get_or_none(f"{path}/metrics")) or {}
        rows = sorted(
            rows_of(told_of, "data"), key=lambda row: unix_time(row.get("created_at"))
        )
        why = [_message(row) for row in rows if _is_error(row)]
        points = _points(rows_of(curve, "metrics"), unix_time(found.get("updated_at")))
        return _status(found, (*map(_event, rows), *points), why[-1] if why else "")

    def cancel(self, job: str) -> Status:
        return ended(
            lambda: self.look(job),
            lambda: self._http.ask(lambda: self._http.post(f"{_path(job)}/cancel")),
        )

    def close(self) -> None:
        self._http.client.close()

    def _file(self, submission: Submission) -> str | None:
        for file in rows_of(self._http.get("/files"), "data"):
            if file.get("filename") == _file_name(submission):
                return text_of(file, "id")
        return None

    def _job(self, submission: Submission) -> str | None:
        for job in rows_of(self._http.get("/fine-tunes"), "data"):
            # The suffix is in newer replies only, the name of the model to come in all.
            named = str(job.get("model_output_name") or "")
            if job.get("suffix") == submission.tag or submission.tag in named:
                return text_of(job, "id")
        return None


def _file_name(submission: Submission) -> str:
    return f"elicit-{submission.tag}.jsonl"


def _path(job: str) -> str:
    return f"/fine-tunes/{quote(job, safe='')}"


def _present(reply: httpx2.Response) -> str | None:
    """The id of a file with the same content, where that is why one was refused."""
    if reply.status_code != httpx2.codes.CONFLICT:
        return None
    try:
        body = reply.json()
    except ValueError:
        return None
    name = body.get("file_id") if isinstance(body, Mapping) else None
    return name if isinstance(name, str) and name else None


def _status(job: Json, events: tuple[JobEvent, ...], why: str) -> Status:
    word = text_of(job, "status")
    state, said = _STATES.get(word, "running"), word
    if state == "failed":
        said += f": {why or 'Together does not say why'}"
    name = job.get("model_output_name")
    if state == "done" and not name:
        state, said = "running", f"{said}; the model has no name yet"
    tokens = job.get("token_count")
    return Status(
        state,
        said,
        f"together:{name}" if state == "done" else None,
        tokens if state == "done" and type(tokens) is int else None,
        events,
    )


def _event(row: Json) -> JobEvent:
    """An event. It has no id of its own, so what it says is its id."""
    digest = hashlib.blake2b(canonical_json(dict(row)).encode(), digest_size=8).hexdigest()
    step = number_of(row.get("step"))
    at = unix_time(row.get("created_at"))
    return JobEvent(digest, at, _message(row), int(step) if step else None)


def _message(row: Json) -> str:
    return cut(str(row.get("message") or row.get("type") or ""))


def _is_error(row: Json) -> bool:
    kind, level = str(row.get("type") or ""), str(row.get("level") or "")
    return kind.lower() in {"job_error", "job_user_error"} or level.lower().endswith("error")


def _points(rows: list[Json], updated: float) -> list[JobEvent]:
    """The curve. Together dates no point of it, so each bears the time of the job's update."""
    points = []
    for row in rows:
        step, loss = number_of(row.get("train/global_step")), number_of(row.get("train/loss"))
        if step is not None and loss is not None:
            name = f"step {step:.0f}"
            points.append(JobEvent(name, updated, name, int(step), loss))
    return points
