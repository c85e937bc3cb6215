"""Looks at the columns of data that has no task yet and guesses what each is for.

Guesses come from names and shapes: which values repeat, how long texts are, how few values
there are. What follows from a gold column's values is the list of labels and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elicit.data import Row
from elicit.drafting import words
from elicit.drafting.columns import Column, columns_of, label_texts
from elicit.drafting.keys import group_column, id_column
from elicit.drafting.label_columns import (
    gold_column,
    human_column,
    set_aside_by_name,
    set_aside_by_values,
    tell_candidates,
)
from elicit.drafting.pairs import Swapped, pair_of, swapped_rows
from elicit.drafting.roles import Finding, Roles
from elicit.drafting.texts import guess_texts
from elicit.drafting.toml_text import shown

UNKNOWN_LABELS = ("False", "True")
"""What a draft has where nothing says what the labels are."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What each column of the data is taken for; `columns` are all, in their order."""

    columns: tuple[Column, ...]
    n_rows: int
    labels: tuple[str, ...]
    labels_known: bool
    id: str | None
    texts: tuple[str, ...]
    group: str | None
    gold: str | None
    human: str | None
    pair: tuple[str, str] | None
    """Two texts that are compared, such as `answer_a` and `answer_b`."""
    swapped: Swapped
    answer: str | None
    """A short answer that the items of one group may share."""
    links: str | None
    """Ids of other items."""
    findings: tuple[Finding, ...]

    @property
    def compared(self) -> tuple[str, str] | None:
        """The pair, where a prompt shows both."""
        return self.pair if self.pair is not None and {*self.pair} <= {*self.texts} else None

    def column(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)


def guess(
    rows: Sequence[Row],
    *,
    labels: Sequence[str] = (),
    gold: str | None = None,
    asked: frozenset[str] | None = None,
) -> Guess:
    """Guess a task from its data. `labels` and `gold` are what the user says of it; `asked`
    are the fields of a template the user wrote, which are then the texts.

    Raises:
        TaskError: there is no text to show, or `gold` is no column of labels.
    """
    roles = Roles(columns_of(rows), len(rows), tuple(labels), asked)
    set_aside_by_name(roles)
    gold = gold_column(roles, gold)
    values = None if gold is None else label_texts(roles.named(gold))
    chosen = roles.given or values or UNKNOWN_LABELS
    human = human_column(roles, chosen)
    identifier = id_column(roles)
    pair = _pair(roles)
    group = group_column(roles, pair or ())
    answer = roles.first(lambda c: c.name != group and c.words <= 3 and c.named(words.ANSWERS))
    links = roles.first(lambda c: c.named(words.LINKS))
    set_aside_by_values(roles, pair or ())
    if gold is None:
        tell_candidates(roles)
    texts = _texts(roles, pair)
    _tell_labels(roles, chosen, gold)
    return Guess(
        columns=roles.columns,
        n_rows=roles.n_rows,
        labels=chosen,
        labels_known=bool(roles.given or values),
        id=identifier,
        texts=texts,
        group=group,
        gold=gold,
        human=human,
        pair=pair,
        swapped=_swapped(roles, pair, texts, group),
        answer=answer,
        links=links,
        findings=tuple(roles.findings),
    )


def _pair(roles: Roles) -> tuple[str, str] | None:
    pair = pair_of(roles.free())
    if pair is not None:
        roles.tell(
            "pair",
            pair,
            f"{shown(pair[0])} and {shown(pair[1])} are two texts of a kind, such as are "
            "compared.",
            "write the prompt as you want them asked about",
        )
    return pair


def _swapped(
    roles: Roles, pair: tuple[str, str] | None, texts: Sequence[str], group: str | None
) -> Swapped:
    if pair is None:
        return Swapped(0, None, False)
    left, right = map(roles.named, pair)
    others = [roles.named(name) for name in texts if name not in pair]
    return swapped_rows(left, right, others, None if group is None else roles.named(group))


def _texts(roles: Roles, pair: tuple[str, str] | None) -> tuple[str, ...]:
    if roles.asked is not None:
        for name in sorted(roles.asked):
            roles.named(name, "--item asks for")
        return tuple(c.name for c in roles.columns if c.name in roles.asked)
    texts, findings = guess_texts(roles, pair)
    roles.findings += findings
    return texts


def _tell_labels(roles: Roles, labels: Sequence[str], gold: str | None) -> None:
    mend = "write your own in `labels`, with what a model says for each in verbalizers"
    if roles.given:
        said, mend = "as --labels says.", "change `labels`"
    elif gold is not None:
        said, mend = f"the values of {shown(gold)}.", "change `labels` and `gold`"
    elif any(finding.what == "gold" for finding in roles.findings):
        said = "only to begin with, as no column is taken for labels."
    else:
        said = "nothing in the data says what the labels are."
    roles.tell(
        "labels", [gold] if gold else [], f"{', '.join(map(shown, labels))}: {said}", mend
    )
