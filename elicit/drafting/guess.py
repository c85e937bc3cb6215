"""Looks at the columns of data that has no task yet and guesses what each is for.

Guesses come from names and shapes: which values repeat, how long texts are, how few values
there are. What follows from a gold column's values is the list of labels and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elicit.data import Row
from elicit.drafting import words
from elicit.drafting.columns import Column, columns_of, label_texts, stem_and_side
from elicit.drafting.pairs import Swapped, pair_of, swapped_rows
from elicit.drafting.texts import Finding, guess_texts
from elicit.drafting.toml_text import shown
from elicit.prompt import TaskError

UNKNOWN_LABELS = ("False", "True")
"""What a draft has where nothing says what the labels are."""

MOST_LABELS = 20
"""A column with more values than these is not taken for labels unless it is named."""

MOST_IN_GROUP = 50


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
    return _Guesser(columns_of(rows), len(rows), tuple(labels), gold, asked).guess()


class _Guesser:
    """Takes columns one role after another; what has a role is not asked for another."""

    def __init__(
        self,
        columns: tuple[Column, ...],
        n_rows: int,
        labels: tuple[str, ...],
        gold: str | None,
        asked: frozenset[str] | None,
    ) -> None:
        self.columns, self.n_rows = columns, n_rows
        self.given, self.said_gold, self.asked = labels, gold, asked
        self.taken: set[str] = set()
        self.aside: set[str] = set()
        """Columns that may tell the label, and so are in no prompt."""
        self.findings: list[Finding] = []

    def guess(self) -> Guess:
        gold = self._gold()
        values = label_texts(self._named(gold)) if gold is not None else None
        labels = self.given or values or UNKNOWN_LABELS
        human = self._human(labels)
        identifier = self._id()
        pair = self._pair()
        group = self._group(pair)
        texts = self._texts(pair)
        swapped = Swapped(0, None, False)
        if pair is not None:
            others = [self._named(name) for name in texts if name not in pair]
            within = None if group is None else self._named(group)
            swapped = swapped_rows(self._named(pair[0]), self._named(pair[1]), others, within)
        self._labels(labels, gold)
        return Guess(
            columns=self.columns,
            n_rows=self.n_rows,
            labels=labels,
            labels_known=bool(self.given or values),
            id=identifier,
            texts=texts,
            group=group,
            gold=gold,
            human=human,
            pair=pair,
            swapped=swapped,
            answer=self._first(
                lambda c: c.name != group and c.words <= 3 and c.named(words.ANSWERS)
            ),
            links=self._first(lambda c: c.named(words.LINKS)),
            findings=tuple(self.findings),
        )

    def _named(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)

    def _first(self, wanted: Callable[[Column], bool]) -> str | None:
        return next(
            (
                c.name
                for c in self.columns
                if c.name not in self.taken | self.aside and not c.absent and wanted(c)
            ),
            None,
        )

    def _tell(self, what: str, columns: Sequence[str], said: str, mend: str) -> None:
        self.findings.append(Finding(what, tuple(columns), said, mend))

    def _gold(self) -> str | None:
        if self.said_gold is not None:
            return self._gold_as_said(self.said_gold)
        ranked = sorted(
            (
                min(words.GOLD.index(word) for word in column.tokens if word in words.GOLD),
                number,
            )
            for number, column in enumerate(self.columns)
            if column.named(words.GOLDEN) and self._may_be_labels(column)
        )
        found = [self.columns[number] for _, number in ranked]
        self.aside |= {c.name for c in found}
        usable = [
            c for c in found if self._fits(c) and not c.absent and not c.named(words.HUMAN)
        ]
        if not usable:
            return None
        chosen, *others = usable
        more = "".join(
            f" {shown(c.name)} looks like labels too and is in no prompt." for c in others
        )
        self._tell(
            "gold",
            [chosen.name],
            f"{shown(chosen.name)} is named like labels and has "
            f"{len(label_texts(chosen) or ())} values. No search and no prompt sees it: it is "
            f"kept for `elicit eval` and `elicit baselines`.{more}",
            "if it is no label, drop the line `gold`, and use the column where you want it; "
            "--gold COLUMN names another",
        )
        self.taken.add(chosen.name)
        return chosen.name

    def _gold_as_said(self, name: str) -> str:
        column = self._known(name, "--gold")
        values = label_texts(column)
        if values is None or len(values) < 2:
            raise TaskError(
                f"--gold {shown(name)}: holds no labels, which are at least two texts, whole "
                "numbers or truth values; name another column"
            )
        if not self.given and len(values) > 5 * MOST_LABELS:
            raise TaskError(
                f"--gold {shown(name)}: has {len(values):,} different values; name a column "
                "with a few, or say which are labels: --labels A,B"
            )
        strange = [v for v in values if self.given and v not in self.given]
        if strange:
            raise TaskError(
                f"--gold {shown(name)}: holds {shown(strange[0])}, which is none of the labels "
                f"{', '.join(self.given)}: give all of them with --labels"
            )
        if self.asked is not None and name in self.asked:
            raise TaskError(
                f"--item uses {shown(name)}, the gold column: the model would see the answer"
            )
        self._tell("gold", [name], f"{shown(name)}, as --gold says.", "drop the line `gold`")
        self.taken.add(name)
        return name

    def _known(self, name: str, what: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        names = ", ".join(shown(c.name) for c in self.columns)
        raise TaskError(f"{what} {shown(name)}: there is no such column; columns: {names}")

    def _may_be_labels(self, column: Column) -> bool:
        if self.asked is not None and column.name in self.asked:
            return False
        values = label_texts(column)
        if column.words > 3 or self._has_partner(column):
            return False
        return values is not None and (
            2 <= len(values) <= MOST_LABELS and len(values) * 2 <= self.n_rows
        )

    def _has_partner(self, column: Column) -> bool:
        """Whether it is one of two texts of a kind, as `answer_a` is beside `answer_b`."""
        own = stem_and_side(column.name)
        others = (stem_and_side(c.name) for c in self.columns if c is not column)
        return own is not None and any(o is not None and o[0] == own[0] for o in others)

    def _fits(self, column: Column) -> bool:
        return not self.given or set(label_texts(column) or ()) <= set(self.given)

    def _human(self, labels: Sequence[str]) -> str | None:
        named = [
            c
            for c in self.columns
            if c.name not in self.taken and c.named(words.HUMAN) and self._may_be_labels(c)
        ]
        self.aside |= {c.name for c in named}
        for column in named:
            if set(label_texts(column) or ()) <= set(labels) and not column.absent:
                self._tell(
                    "human",
                    [column.name],
                    f"{shown(column.name)} is named like labels that people gave. It is kept "
                    "for `elicit baselines`.",
                    "drop the line `human`",
                )
                self.taken.add(column.name)
                return column.name
        return None

    def _id(self) -> str | None:
        twice = None
        for column in self.columns:
            if column.name in self.taken or not column.named(words.ID):
                continue
            if column.is_unique and column.longest <= 80:
                self._tell(
                    "id",
                    [column.name],
                    f"{shown(column.name)} differs in every row and is named like an id.",
                    "name another column, or drop the line: rows are then numbered",
                )
                self.taken.add(column.name)
                return column.name
            twice = twice or column
        why = (
            "No column is named like an id and differs in every row."
            if twice is None
            else f"{shown(twice.name)} is named like an id, but is not different in every row."
        )
        self._tell(
            "id",
            [],
            f"{why} Items are numbered by their rows, so labels belong to other items once "
            "rows are moved.",
            'add a column of ids, and the line: id = "COLUMN"',
        )
        return None

    def _pair(self) -> tuple[str, str] | None:
        free = [c for c in self.columns if c.name not in self.taken | self.aside]
        pair = pair_of(free)
        if pair is not None:
            self._tell(
                "pair",
                pair,
                f"{shown(pair[0])} and {shown(pair[1])} are two texts of a kind, such as are "
                "compared.",
                "write the prompt as you want them asked about",
            )
        return pair

    def _group(self, pair: tuple[str, str] | None) -> str | None:
        def rank(column: Column) -> int | None:
            if column.named(words.GROUP):
                return 0
            if column.named(words.ID):
                return 1
            return 2 if column.named(words.GROUPED) else None

        ranked = [
            (order, number)
            for number, c in enumerate(self.columns)
            if c.name not in (*self.taken, *self.aside, *(pair or ()))
            and not c.absent
            and c.kind in ("text", "number")
            and 2
            <= c.distinct
            < self.n_rows - c.missing - c.empty
            <= MOST_IN_GROUP * c.distinct
            and (order := rank(c)) is not None
        ]
        if not ranked:
            return None
        column = self.columns[min(ranked)[1]]
        self._tell(
            "group",
            [column.name],
            f"{shown(column.name)} repeats ({column.distinct:,} values in {self.n_rows:,} "
            "rows): rows equal in it are taken to belong together.",
            "drop the line `group`; rows are then taken to be independent",
        )
        return column.name

    def _texts(self, pair: tuple[str, str] | None) -> tuple[str, ...]:
        if self.asked is not None:
            for name in sorted(self.asked):
                self._known(name, "--item asks for")
            return tuple(c.name for c in self.columns if c.name in self.asked)
        free = [c for c in self.columns if c.name not in self.taken]
        texts, findings = guess_texts(free, self.aside, self.n_rows, pair)
        self.findings += findings
        return texts

    def _labels(self, labels: Sequence[str], gold: str | None) -> None:
        if self.given:
            said, mend = "as --labels says.", "change `labels`"
        elif gold is not None:
            said, mend = f"the values of {shown(gold)}.", "change `labels` and `gold`"
        else:
            said = "nothing in the data says what the labels are."
            mend = "write your own in `labels`, with what a model says for each in verbalizers"
        self._tell(
            "labels", [gold] if gold else [], f"{', '.join(map(shown, labels))}: {said}", mend
        )
