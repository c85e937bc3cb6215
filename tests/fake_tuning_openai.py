"""OpenAI as far as models are tuned there; see `fake_tuning_servers`.

What it replies is what the SDK's own types validate, but for a state that a test invents.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from fake_tuning_servers import File, Job, Json, Line, Reply, Request, error
from openai.types import FileDeleted, FileObject
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent


@dataclass
class FakeOpenAI:
    """OpenAI's files and fine-tuning jobs."""

    states: Sequence[str] = ("validating_files", "queued", "running", "succeeded")
    """Of every job, a look each."""
    listed_after: float = 0.0
    """Seconds of the line's clock after which a job is in the list."""
    page: int = 2
    """Entries of a list that one reply has at most."""
    closed: str = ""
    """The words with which no job is begun any more."""
    line: Line = field(default_factory=Line)
    files: list[File] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    def reply(self, request: Request) -> Reply:  # noqa: PLR0911  one a call of the API
        match request.method, request.path.removeprefix("/v1/").split("/"):
            case "POST", ["files"]:
                return self._upload(request)
            case "GET", ["files"]:
                told = [_file(file) for file in reversed(self.files) if not file.deleted]
                return _page(told, request, self.page)
            case "DELETE", ["files", name]:
                return self._delete(name)
            case "POST", ["fine_tuning", "jobs"]:
                return self._create(request.json)
            case "GET", ["fine_tuning", "jobs"]:
                listed = [
                    job
                    for job in reversed(self.jobs)
                    if self.line.now - job.made >= self.listed_after
                ]
                return _page([_job(job) for job in listed], request, self.page)
            case "GET", ["fine_tuning", "jobs", name]:
                return self._look(name)
            case "POST", ["fine_tuning", "jobs", name, "cancel"]:
                return self._cancel(name)
            case "GET", ["fine_tuning", "jobs", name, "events"]:
                job = self._found(name)
                return _page(job.events[::-1], request, self.page) if job else _missing(name)
        return error(404, f"no {request.path}")

    def _found(self, name: str) -> Job | None:
        return next((job for job in self.jobs if job.id == name), None)

    def _upload(self, request: Request) -> Reply:
        assert request.form["purpose"][1] == b"fine-tune"
        name, content = request.form["file"]
        file = File(f"file-{len(self.files)}", str(name), content, int(time.time()))
        self.files.append(file)
        return Reply(200, _file(file))

    def _delete(self, name: str) -> Reply:
        for file in self.files:
            file.deleted = file.deleted or file.id == name
        told = FileDeleted(id=name, deleted=True, object="file")
        return Reply(200, told.model_dump())

    def _create(self, asked: Json) -> Reply:
        if self.closed:
            return error(403, self.closed)
        file = next((f for f in self.files if f.id == asked["training_file"]), None)
        if file is None or file.deleted:
            return error(400, f"File '{asked['training_file']}' does not exist", "not_found")
        assert asked["method"]["type"] == "supervised"
        assert "hyperparameters" not in asked
        why = _invalid(file.content)
        states = ["validating_files", "failed"] if why else list(self.states)
        name = f"ftjob-{len(self.jobs)}"
        job = Job(name, asked, int(time.time()), self.line.now, states, why)
        self._say(job, f"Created fine-tuning job: {name}")
        self.jobs.append(job)
        return Reply(200, _job(job))

    def _look(self, name: str) -> Reply:
        job = self._found(name)
        if job is None:
            return _missing(name)
        told = _job(job)
        if job.state == "running":
            number = len(job.events)
            data = {"step": number, "train_loss": 1 / number, "total_steps": 9}
            self._say(job, f"Step {number}: training loss={1 / number:.2f}", data)
        job.step()
        return Reply(200, told)

    def _cancel(self, name: str) -> Reply:
        job = self._found(name)
        if job is None:
            return _missing(name)
        if job.state in {"succeeded", "failed", "cancelled"}:
            return error(400, f"Job has already completed: {name}")
        job.left = ["cancelled"]
        return Reply(200, _job(job))

    def _say(self, job: Job, message: str, data: Json | None = None) -> None:
        told = FineTuningJobEvent(
            id=f"ftevent-{job.id}-{len(job.events)}",
            created_at=int(time.time()),
            level="info",
            message=message,
            object="fine_tuning.job.event",
            data=data or {},
            type="metrics" if data else "message",
        )
        job.events.append(told.model_dump())


def _missing(name: str) -> Reply:
    return error(404, f"Could not find fine tune: {name}", "fine_tune_not_found")


def _page(told: Sequence[Json], request: Request, most: int) -> Reply:
    """A page of a list, from after the entry that is named."""
    names = [entry["id"] for entry in told]
    after = request.query.get("after")
    begin = names.index(after) + 1 if after else 0
    end = begin + min(most, int(request.query.get("limit", most)))
    data, more = list(told[begin:end]), end < len(told)
    return Reply(200, {"object": "list", "data": data, "has_more": more})


def _file(file: File) -> Json:
    return FileObject(
        id=file.id,
        bytes=len(file.content),
        created_at=file.created,
        filename=file.name,
        object="file",
        purpose="fine-tune",
        status="processed",
    ).model_dump()


def _invalid(content: bytes) -> Json | None:
    """Why a file fails validation."""
    try:
        rows = [json.loads(line)["messages"] for line in content.splitlines()]
        fault = "" if len(rows) >= 10 else f"it has {len(rows)} example(s), 10 are needed"
    except (ValueError, KeyError, TypeError):
        fault = "its format is wrong"
    if not fault:
        return None
    message = f"The job failed due to an invalid training file: {fault}."
    return {"code": "invalid_training_file", "message": message, "param": "training_file"}


def _job(job: Job) -> Json:
    done = job.state == "succeeded"
    told = {
        "id": job.id,
        "created_at": job.created,
        "error": job.why if job.state == "failed" else None,
        "fine_tuned_model": (
            f"ft:{job.asked['model']}:org:{job.asked['suffix']}:{job.id[6:]}" if done else None
        ),
        "hyperparameters": {"n_epochs": "auto"},
        "model": job.asked["model"],
        "object": "fine_tuning.job",
        "organization_id": "org-1",
        "result_files": [],
        "seed": job.asked.get("seed") or 0,
        "status": job.state,
        "trained_tokens": 1234 if done else None,
        "training_file": job.asked["training_file"],
        "metadata": job.asked["metadata"],
        "method": job.asked["method"],
    }
    known = FineTuningJob.model_json_schema()["properties"]["status"]["enum"]
    status = job.state if job.state in known else "running"
    FineTuningJob.model_validate({**told, "status": status})
    return told
