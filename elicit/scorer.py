"""Asks a provider on a search's behalf: item and label numbers in, log-probabilities out.

A search speaks of items and labels as integers. The scorer renders them, groups them by
context (the demonstrations), and remembers recent contexts as arrays, so that an objective
may ask for everything it needs each time: what has not changed costs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elicit.prompt import RenderedTask
from elicit.providers.base import LabelScores, Provider, ProviderError, ScoreRequest
from elicit.providers.chat import excerpt
from elicit.providers.sampled import log_prob_variances

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MEMORY_BYTES = 256 * 2**20
"""Bound on the contexts held as arrays; older ones are read from the store again."""

COVERAGE_UNITS = 2**52
"""Of a coverage of 1."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Score `items` after demonstrations of `context`, whose labels are `labels`."""

    context: IntArray
    labels: IntArray
    items: IntArray


def may_as_well(ask: Ask, n_items: int) -> IntArray:
    """The items that a call about one of `ask.items` may as well be about, where a call takes
    many: all but the demonstrations.

    Another item costs its own text; in a call of its own it would cost the demonstrations
    once more. And a search does ask for most: the next item it draws is mostly among them.
    """
    wanted = np.ones(n_items, bool)
    wanted[ask.context] = False
    wanted[ask.items] = True
    return np.flatnonzero(wanted)


class Scorer:
    """Label log-probabilities of a task's items under any demonstrations.

    Values are natural logs, normalised over the labels, so that a row's exponentials sum to
    one; the share the labels had before normalising is averaged in `mean_coverage`.
    """

    def __init__(self, rendered: RenderedTask, provider: Provider) -> None:
        self.provider = provider
        self.rendered = rendered
        self.n_items = len(rendered.questions)
        self.n_labels = len(rendered.labels)
        self._longest: tuple[int | None, int | None] | None = None
        self._coverage_sum = 0
        self.coverage_count = 0
        self.bounded_count = 0
        self._memory: OrderedDict[bytes, FloatArray] = OrderedDict()
        self._sampled = provider.capabilities.evidence == "sampled"
        row = max(1, self.n_items * self.n_labels * 8 * (1 + self._sampled))
        self._memory_limit = max(16, MEMORY_BYTES // row)

    @property
    def mean_coverage(self) -> float | None:
        """Mean total probability of the labels over all scores read so far, 0 to 1."""
        if not self.coverage_count:
            return None
        return self._coverage_sum / self.coverage_count / COVERAGE_UNITS

    @property
    def bounded_share(self) -> float | None:
        """Share of the scores read so far in which a label has an upper bound, not a number,
        0 to 1."""
        return self.bounded_count / self.coverage_count if self.coverage_count else None

    def longest_tokens(self) -> tuple[int | None, int | None]:
        """Tokens of the longest item with its label, and of the longest demonstration; counted
        once."""
        if self._longest is None:
            self._longest = self._longest_tokens()
        return self._longest

    def _longest_tokens(self) -> tuple[int | None, int | None]:
        questions, shown = self.rendered.questions, self.rendered.shown
        labels = self.rendered.verbalizers
        opening = self.rendered.opening
        alone = self.provider.count_tokens(
            [ScoreRequest((*opening, q), labels) for q in questions]
        )
        after = self.provider.count_tokens(
            [
                ScoreRequest((*opening, *d, questions[0]), labels)
                for every in shown
                for d in every
            ]
        )
        if alone is None or after is None:
            return None, None
        return max(alone), max(after) - alone[0]

    def log_probs(self, asks: Sequence[Ask]) -> list[FloatArray]:
        """For each ask an array of shape (len(items), n_labels).

        Raises:
            ElicitError: a prompt could not be scored. Those scored before it are stored.
        """
        return [rows[:, 0] for rows in self._rows(asks)]

    def variances(self, asks: Sequence[Ask]) -> list[FloatArray]:
        """Variances of what `log_probs` gives, in the same shapes; 0 where a model tells its
        probabilities. See `log_probs` for what it raises."""
        if not self._sampled:
            return [np.zeros_like(rows) for rows in self.log_probs(asks)]
        return [rows[:, 1] for rows in self._rows(asks)]

    def _rows(self, asks: Sequence[Ask]) -> Iterator[FloatArray]:
        """In parts, as the arrays of all contexts of a call may be more than memory holds."""
        for first in range(0, len(asks), self._memory_limit):
            yield from self._answered(asks[first : first + self._memory_limit])

    def _answered(self, asks: Sequence[Ask]) -> list[FloatArray]:
        known = [self._remembered(ask) for ask in asks]
        shares = self.provider.capabilities.items_per_call > 1
        missing = []
        # Asks of one context share an array: what one of them is about to fetch, another
        # need not.
        under_way: dict[int, set[int]] = {}
        for row, ask in enumerate(asks):
            fetched = under_way.setdefault(id(known[row]), set())
            new = ask.items[np.isnan(known[row][ask.items, 0, 0])]
            if new.size and shares:
                others = may_as_well(ask, self.n_items)
                new = others[np.isnan(known[row][others, 0, 0])]
            missing += [(row, item) for item in new.tolist() if item not in fetched]
            fetched.update(new.tolist())
        if missing:
            self._fetch(asks, known, missing)
        return [rows[ask.items] for ask, rows in zip(asks, known, strict=True)]

    def _remembered(self, ask: Ask) -> FloatArray:
        """The (n_items, 1 or 2, n_labels) array of a context: log-probabilities and, of a
        sampled model, their variances; NaN where not yet known."""
        key = ask.context.tobytes() + b"|" + ask.labels.tobytes()
        rows = self._memory.get(key)
        if rows is None:
            rows = np.full((self.n_items, 1 + self._sampled, self.n_labels), np.nan)
            self._memory[key] = rows
            if len(self._memory) > self._memory_limit:
                self._memory.popitem(last=False)
        else:
            self._memory.move_to_end(key)
        return rows

    def _fetch(
        self,
        asks: Sequence[Ask],
        known: Sequence[FloatArray],
        missing: Sequence[tuple[int, int]],
    ) -> None:
        contexts = {
            row: self.rendered.context(asks[row].context, asks[row].labels)
            for row in {row for row, _ in missing}
        }
        requests = [
            ScoreRequest(
                (*contexts[row], self.rendered.questions[item]), self.rendered.verbalizers
            )
            for row, item in missing
        ]
        # Closed at once if it is left early: what is under way is then stored.
        with closing(self.provider.score(requests)) as units:
            for unit in units:
                for index, scores in unit.scores:
                    row, item = missing[index]
                    raw = np.array(scores.log_probs)
                    total = np.logaddexp.reduce(raw)
                    if total == -np.inf:
                        raise ProviderError(
                            f"{self.provider.name} gives no label any probability after "
                            f"{excerpt(requests[index].prompt)}: reword the prompt or the "
                            "verbalizers"
                        )
                    known[row][item, 0] = raw - total
                    if self._sampled:
                        known[row][item, 1] = log_prob_variances(scores)
                    self._note(scores, min(1.0, float(np.exp(total))))

    def _note(self, scores: LabelScores, coverage: float) -> None:
        # In whole units, so that the mean is the same whatever order scores come in.
        self._coverage_sum += round(coverage * COVERAGE_UNITS)
        self.coverage_count += 1
        self.bounded_count += bool(scores.bounded)
