"""The seam to providers that tune models: what each of them must be able to do.

Whoever drives a job records what it is about to do before it asks for it. So a process that
finds such an intent, and not what came of it, first asks whether the provider has it: no file
is sent twice and no job paid for twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from elicit.cache.jobs import JobEvent

HostedState = Literal["waiting", "running", "done", "failed", "cancelled"]
"""Where a provider's job stands; a state that it has not documented counts as running."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a provider is asked to tune, on which file, how."""

    tag: str
    """A name of this job alone, letters, digits and `-`, under 40: it is in the names of the
    file and of the job at the provider, which are found again by it."""
    model: str
    """The model to start from, by the provider's name."""
    file: Path
    """Training examples, JSON Lines in the provider's format."""
    settings: Mapping[str, float | int | str] = field(default_factory=dict)
    """`epochs`, `batch_size`, `learning_rate`, `rank`, `seed`: what is left out, the provider
    chooses. What one can't be told is refused by `check`."""


@dataclass(frozen=True, slots=True)
class Status:
    """A job as the provider tells it."""

    state: HostedState
    said: str
    """The provider's own word for the state, and its reason where it failed."""
    model: str | None = None
    """The tuned model as elicit names it, `openai:ft:...`; only of a job that is done."""
    trained_tokens: int | None = None
    events: tuple[JobEvent, ...] = ()
    """All that it tells, the oldest first."""

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class HostedTuning(Protocol):
    """A provider that tunes models. Every method that asks raises `ProviderError` where the
    provider can't be asked or refuses, `InputError` where the mend is the user's."""

    @property
    def name(self) -> str:
        """The backend's name, `openai`."""
        ...

    def check(self, submission: Submission) -> None:
        """Refuse, before anything is sent, what the provider would refuse: format of the file,
        row by row, its size, the number of examples, settings it does not have."""
        ...

    def upload(self, submission: Submission) -> str:
        """Send the file; its id."""
        ...

    def uploaded(self, submission: Submission) -> str | None:
        """The id of the file of this tag that the provider has; None where it has none."""
        ...

    def create(self, submission: Submission, file: str) -> str:
        """Begin the job on the file of that id; the job's id."""
        ...

    def created(
        self, submission: Submission, file: str, unlisted_for: float | None = None
    ) -> str | None:
        """The id of the job of this tag that the provider has; None where it has none.

        `unlisted_for` is how long a job that was made may yet be missing from the provider's
        list, seconds: as long as it may for one made a moment ago, where None.
        """
        ...

    def look(self, job: str) -> Status:
        """Where the job stands; failed where the provider does not have it any more."""
        ...

    def cancel(self, job: str) -> Status:
        """End the job, if it has not ended; where it stands then."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
