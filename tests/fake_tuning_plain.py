"""Together and Fireworks as far as models are tuned there; see `fake_tuning_servers`.

The shapes are those of their documentation (see `elicit.finetune.together` and
`elicit.finetune.fireworks`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fake_tuning_servers import File, Job, Json, Line, Reply, Request, error


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


@dataclass
class FakeTogether:
    """Together's files and fine-tunes."""

    states: Sequence[str] = ("pending", "queued", "running", "uploading", "completed")
    tells_suffix: bool = True
    """Older replies do not."""
    listed_after: float = 0.0
    line: Line = field(default_factory=Line)
    files: list[File] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    def reply(self, request: Request) -> Reply:  # noqa: PLR0911  one a call of the API
        match request.method, request.path.removeprefix("/v1/").split("/"):
            case "POST", ["files", "upload"]:
                return self._upload(request)
            case "GET", ["files"]:
                return Reply(200, {"data": [self._file(file) for file in self.files]})
            case "POST", ["fine-tunes"]:
                return self._create(request.json)
            case "GET", ["fine-tunes"]:
                now = self.line.now
                listed = [j for j in self.jobs if now - j.made >= self.listed_after]
                return Reply(200, {"data": [self._job(job) for job in listed]})
            case method, ["fine-tunes", name, *rest]:
                job = next((job for job in self.jobs if job.id == name), None)
                if job is None:
                    return error(404, f"Fine-tune {name} not found")
                return self._of(job, method, rest)
        return error(404, f"no {request.path}")

    def _of(self, job: Job, method: str, rest: list[str]) -> Reply:
        match method, rest:
            case "GET", []:
                return self._look(job)
            case "GET", ["events"]:
                return Reply(200, {"data": job.events})
            case "GET", ["metrics"] if len(job.events) > 1:
                point = {"train/loss": 0.5, "train/learning_rate": 1e-4, "train/global_step": 7}
                return Reply(200, {"metrics": [point, {"eval/loss": 1.0}]})
            case "POST", ["cancel"]:
                if job.state in {"completed", "error", "cancelled"}:
                    return error(400, "Job is already in a final state")
                job.left = ["cancel_requested", "cancelled"]
                return Reply(200, self._job(job))
        return error(404, "there is none")

    def _look(self, job: Job) -> Reply:
        told = self._job(job)
        job.events.append(_said("epoch_complete", job.state, len(job.events)))
        if job.state == "error":
            job.events.append(_said("job_error", "the data ran out", 0, "error"))
        job.step()
        return Reply(200, told)

    def _upload(self, request: Request) -> Reply:
        form = request.form
        name, content = form["file"]
        for file in self.files:
            if file.content == content:
                return Reply(409, {"message": "file exists", "file_id": file.id})
        assert {n: v[1] for n, v in form.items() if n != "file"} == {
            "purpose": b"fine-tune",
            "file_name": str(name).encode(),
            "file_type": b"jsonl",
        }
        file = File(f"file-{len(self.files)}", str(name), content, int(time.time()))
        self.files.append(file)
        return Reply(200, self._file(file))

    def _file(self, file: File) -> Json:
        return {
            "id": file.id,
            "object": "file",
            "created_at": file.created,
            "filename": file.name,
            "bytes": len(file.content),
            "purpose": "fine-tune",
            "Processed": True,
            "FileType": "jsonl",
            "LineCount": len(file.content.splitlines()),
        }

    def _create(self, asked: Json) -> Reply:
        if all(file.id != asked["training_file"] for file in self.files):
            return error(400, f"file {asked['training_file']} not found")
        at = time.time()
        name = f"ft-{len(self.jobs)}"
        self.jobs.append(Job(name, asked, int(at), self.line.now, list(self.states)))
        return Reply(200, self._job(self.jobs[-1]))

    def _job(self, job: Job) -> Json:
        told: Json = {
            "id": job.id,
            "status": job.state,
            "created_at": _written(job.created),
            "updated_at": _written(job.created + 60),
            "user_id": "user_1",
            "total_price": 1500,
            "token_count": 850_000,
            "events": [],
            "model": job.asked["model"],
            "model_output_name": f"me/Llama-{job.asked['suffix']}-{job.id}",
            "n_epochs": job.asked.get("n_epochs", 1),
            "training_file": job.asked["training_file"],
        }
        return {**told, "suffix": job.asked["suffix"]} if self.tells_suffix else told


def _said(kind: str, message: str, step: int, level: str = "info") -> Json:
    return {
        "object": "fine-tune-event",
        "created_at": _written(time.time()),
        "level": level,
        "message": message,
        "type": kind,
        "step": step,
    }


ACCOUNT = "accounts/me"


@dataclass
class FakeFireworks:
    """Fireworks' accounts, data sets and supervised fine-tuning jobs."""

    states: Sequence[str] = ("CREATING", "PENDING", "RUNNING", "WRITING_RESULTS", "COMPLETED")
    accounts: Sequence[str] = (ACCOUNT,)
    ready_after: float = 0.0
    """Seconds of the line's clock from the file until the data set can be used."""
    refusal: str = ""
    """Why a data set is of no use."""
    line: Line = field(default_factory=Line)
    datasets: dict[str, Json] = field(default_factory=dict)
    sent: dict[str, float] = field(default_factory=dict)
    """When the file of a data set came."""
    contents: dict[str, bytes] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)

    def reply(self, request: Request) -> Reply:  # noqa: PLR0911  one a call of the API
        path = request.path.removeprefix("/v1/")
        if (request.method, path) == ("GET", "accounts"):
            told = [{"name": name, "email": "me@example.org"} for name in self.accounts]
            return Reply(200, {"accounts": told})
        if not path.startswith(f"{ACCOUNT}/"):
            return _refused(404, 5, "account not found")
        match request.method, path.removeprefix(f"{ACCOUNT}/").split("/"):
            case "POST", ["datasets"]:
                return self._make(request.json)
            case "GET", ["datasets", name]:
                return self._dataset(name)
            case "POST", ["datasets", name] if name.endswith(":upload"):
                return self._upload(name.removesuffix(":upload"), request)
            case "POST", ["supervisedFineTuningJobs"]:
                return self._create(request.query["supervisedFineTuningJobId"], request.json)
            case method, ["supervisedFineTuningJobs", name]:
                return self._of(name, method)
        return _refused(404, 5, f"no {path}")

    def _make(self, asked: Json) -> Reply:
        name = asked["datasetId"]
        if name in self.datasets:
            return _refused(409, 6, f"data set {name} exists")
        told = {**asked["dataset"], "name": f"{ACCOUNT}/datasets/{name}", "state": "UPLOADING"}
        self.datasets[name] = told
        return Reply(200, told)

    def _dataset(self, name: str) -> Reply:
        if name not in self.datasets:
            return _refused(404, 5, f"data set {name} not found")
        told = self.datasets[name]
        status = {"code": "OK", "message": ""}
        if name in self.sent and self.refusal:
            status = {"code": "INVALID_ARGUMENT", "message": self.refusal}
        elif name in self.sent and self.line.now - self.sent[name] >= self.ready_after:
            told["state"] = "READY"
        return Reply(200, {**told, "status": status})

    def _upload(self, name: str, request: Request) -> Reply:
        if name not in self.datasets:
            return _refused(404, 5, f"data set {name} not found")
        self.contents[name] = request.form["file"][1]
        self.sent[name] = self.line.now
        return Reply(200, {"id": name, "object": "file", "bytes": len(self.contents[name])})

    def _create(self, name: str, asked: Json) -> Reply:
        if any(job.id == name for job in self.jobs):
            return _refused(409, 6, f"job {name} exists")
        if self.datasets.get(asked["dataset"].rpartition("/")[2], {}).get("state") != "READY":
            return _refused(400, 9, f"data set {asked['dataset']} is not ready")
        states = [f"JOB_STATE_{state}" for state in self.states]
        self.jobs.append(Job(name, asked, int(time.time()), self.line.now, states))
        return Reply(200, self._job(self.jobs[-1]))

    def _of(self, name: str, method: str) -> Reply:
        verb = ":cancel" if method == "POST" else ""
        job = next((job for job in self.jobs if job.id == name.removesuffix(verb)), None)
        if job is None or not name.endswith(verb):
            return _refused(404, 5, f"job {name} not found")
        if method == "GET":
            told = self._job(job)
            job.step()
            return Reply(200, told)
        if len(job.left) == 1:
            return _refused(400, 9, "job has ended")
        job.left = ["JOB_STATE_CANCELLING", "JOB_STATE_CANCELLED"]
        return Reply(200, {})

    def _job(self, job: Job) -> Json:
        failed = job.state == "JOB_STATE_FAILED"
        status = {"code": "INTERNAL", "message": "a trainer failed"} if failed else {}
        return {
            **job.asked,
            "name": f"{ACCOUNT}/supervisedFineTuningJobs/{job.id}",
            "state": job.state,
            "status": status,
            "createTime": _written(job.created),
            "updateTime": _written(job.created + 60),
            "outputModel": f"{ACCOUNT}/models/{job.id}",
            "jobProgress": {"percent": 40, "epoch": 1},
        }


def _refused(status: int, code: int, message: str) -> Reply:
    """As Fireworks writes errors."""
    return Reply(status, {"code": code, "message": message, "details": []})
