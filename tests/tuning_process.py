"""A process that takes a hosted job to its end, for tests that kill it.

    python tuning_process.py STORE JOB

What an intent made is looked for at once, as the servers of the tests list it at once.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from elicit.cache.jobs import JobStore
from elicit.cache.store import ScoreStore
from elicit.finetune.backends import open_tuning
from elicit.finetune.jobs import submitted, watched


def main() -> None:
    path, name = Path(sys.argv[1]), sys.argv[2]
    with ScoreStore(path) as store:
        jobs = JobStore(store)
        with (
            jobs.claim(jobs.get(name)) as job,
            closing(open_tuning(job.backend, listed_after=0.0)) as tuning,
        ):
            watched(jobs, submitted(jobs, job, tuning), tuning, lambda _: None, every=0.01)


if __name__ == "__main__":
    main()
