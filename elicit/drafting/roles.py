"""Which column has which role so far: what the guesses of a draft share.

Columns take one role after another, and what has a role is not asked for another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from elicit.drafting.columns import Column
from elicit.drafting.toml_text import shown
from elicit.prompt import TaskError


@dataclass(frozen=True, slots=True)
class Finding:
    """One guess: what it is for, the columns, why, and what to do where it is wrong."""

    what: str
    columns: tuple[str, ...]
    said: str
    mend: str


@dataclass(slots=True)
class Roles:
    """The columns, what the user said of them, and what is guessed so far."""

    columns: tuple[Column, ...]
    n_rows: int
    given: tuple[str, ...]
    """Labels that the user named; empty where none were."""
    asked: frozenset[str] | None
    """Columns that the user's own template shows; None where there is no template."""
    taken: set[str] = field(default_factory=set)
    """Columns that have a role."""
    aside: set[str] = field(default_factory=set)
    """Columns that may tell the label, and so are in no prompt."""
    findings: list[Finding] = field(default_factory=list)

    def named(self, name: str, what: str = "column") -> Column:
        """The column of this name.

        Raises:
            TaskError: there is none; `what` asked for it.
        """
        for column in self.columns:
            if column.name == name:
                return column
        names = ", ".join(shown(c.name) for c in self.columns)
        raise TaskError(f"{what} {shown(name)}: there is no such column; columns: {names}")

    def free(self) -> list[Column]:
        """Columns without a role that tell no label."""
        return [c for c in self.columns if c.name not in self.taken | self.aside]

    def first(self, wanted: Callable[[Column], bool]) -> str | None:
        """The first free column of these that every row has."""
        return next((c.name for c in self.free() if not c.absent and wanted(c)), None)

    def tell(self, what: str, columns: Sequence[str], said: str, mend: str) -> None:
        self.findings.append(Finding(what, tuple(columns), said, mend))
