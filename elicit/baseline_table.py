"""The baselines of a task in one table: what its labels are worth without a search.

The rows are those of the paper's comparison (arXiv 2506.10139): the model alone, after
demonstrations with random, gold or human labels, and the labels of finished runs. Each
baseline puts all its questions in one call of the provider, over all its seeds, so that a
batch endpoint or many calls at once can be used. What was answered is in the store behind
the provider: a table that was interrupted is made again and pays for the rest alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass

import numpy as np

from elicit.cache.errors import InputError
from elicit.constraints import UNLABELLED
from elicit.evaluate import evaluate, over_seeds
from elicit.evaluation import Estimate
from elicit.prompt import RenderedTask
from elicit.providers.base import PromptTooLong, Usage
from elicit.providers.usage import Meter
from elicit.scorer import Ask, IntArray, Scorer
from elicit.search.baselines import few_shot_ask, many_shot_asks, zero_shot
from elicit.search.bootstrap import calibrated
from elicit.task import Task

CHAT = "zero-shot, chat form"


@dataclass(frozen=True, slots=True)
class Baseline:
    """One row: how it labels, how well, and what it took."""

    name: str
    accuracy: Estimate | None
    """Over seeds where demonstrations are drawn, else over items; None without gold. Items
    without a label are left out."""
    shares: tuple[float, ...]
    """Share of each label among those given, in the task's order. Far from what is expected
    means that the model prefers a label, whatever it is asked."""
    answered: float
    """Share of the items asked that have a label, 0 to 1: less than 1 where a run abstained
    or people left items out."""
    mean_coverage: float | None
    """Mean total probability of the labels, 0 to 1; None where no model was asked."""
    usage: Usage


@dataclass(frozen=True, slots=True)
class BaselineTable:
    """Every baseline of a task."""

    items: int
    gold_items: int
    """Items with a gold label."""
    shots: int
    many: int | None
    """Bound on the demonstrations of many-shot; None for all there are."""
    seeds: int
    rows: tuple[Baseline, ...]
    usage: Usage

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def baseline_table(
    task: Task,
    rendered: RenderedTask,
    meter: Meter,
    *,
    gold: IntArray | None = None,
    human: IntArray | None = None,
    shots: int = 32,
    many: int | None = 128,
    seeds: int = 5,
    runs: Mapping[str, IntArray] | None = None,
    chat: Meter | None = None,
    chat_rendered: RenderedTask | None = None,
) -> BaselineTable:
    """Zero-shot, and after `shots` demonstrations or many of them with random, gold and human
    labels.

    Many-shot predicts every item from the labelled items of the half of the data that it is
    not in, at most `many` of them. `rendered` is the task written for the model; `chat` is
    another model, one that is asked in a form of chat, with the task written for it.

    `gold`, `human` and the labels of `runs`, by the run's name, are (n_items,) with
    `UNLABELLED` where an item has none. An item without gold is not measured. Where too few
    items are labelled to be shown, the row is left out.

    Raises:
        InputError: more demonstrations are asked for than there are items to show, or `chat`
            does not go with the model.
        PromptTooLong: the demonstrations do not fit the model's context.
        ElicitError: a score could not be had, or a budget was reached. What was paid for is
            in the store.
    """
    _check(task, shots, many, seeds)
    if (chat is None) != (chat_rendered is None):
        raise ValueError("a chat model and the task written for it come together")
    if chat is not None:
        _check_chat(meter, chat)
    outside = {"golden": gold, "human": human}
    asks = _Asks(
        len(task.items),
        len(task.labels),
        {name: labels for name, labels in outside.items() if labels is not None},
        None if gold is None else np.flatnonzero(gold != UNLABELLED),
    )
    trial = _Trial(task, rendered, meter, gold)
    own = CHAT if meter.capabilities.form == "chat" else "zero-shot"
    rows = list(trial.zero_shot((own, f"{own}, calibrated")))
    used = Usage()
    if chat is not None and chat_rendered is not None:
        rows += _Trial(task, chat_rendered, chat, gold).zero_shot((CHAT,))
        used = chat.usage
    for name, found in asks.few_shot(shots, seeds).items():
        rows.append(trial.shown(f"{name} few-shot ({shots})", found, "--shots"))
    for name, found in asks.many_shot(many, seeds).items():
        most = max(ask.context.size for seed in found for ask in seed)
        rows.append(trial.shown(f"{name} many-shot ({most})", found, "--many"))
    if human is not None:
        rows.append(trial.given("human labels", human))
    for name, labels in (runs or {}).items():
        rows.append(trial.given(f"run {name}", labels))
    known = 0 if gold is None else int((gold != UNLABELLED).sum())
    return BaselineTable(
        len(task.items), known, shots, many, seeds, tuple(rows), meter.usage + used
    )


def _check(task: Task, shots: int, many: int | None, seeds: int) -> None:
    if seeds < 1:
        raise InputError(f"--seeds: must be at least 1, not {seeds}")
    if many is not None and many < 1:
        raise InputError(f"--many: must be at least 1, not {many}")
    if len(task.items) < 2:
        raise InputError("few-shot needs two items at least: one to show and one to score")
    if not 1 <= shots < len(task.items):
        raise InputError(
            f"--shots: must be from 1 to {len(task.items) - 1}, one less than there are items, "
            f"not {shots}"
        )


def _check_chat(meter: Meter, chat: Meter) -> None:
    if chat.capabilities.form != "chat":
        raise InputError(
            f"--chat-model: {chat.name} continues text; name a model that is asked in a form "
            "of chat (a local one by ?chat=on)"
        )
    if meter.capabilities.form == "chat":
        raise InputError(
            f"--chat-model: {meter.name} is itself asked in a form of chat, so its zero-shot "
            "row is that one; leave --chat-model out"
        )


@dataclass(frozen=True, slots=True)
class _Asks:
    """What is asked for each kind of demonstrations: a list an ask, of a list a seed."""

    n_items: int
    n_labels: int
    outside: Mapping[str, IntArray]
    measured: IntArray | None
    """Items with gold; None without gold: then all are asked about."""

    def few_shot(self, shots: int, seeds: int) -> dict[str, list[list[Ask]]]:
        found: dict[str, list[list[Ask]]] = {"random": []}
        for seed in range(seeds):
            rng = np.random.default_rng([seed, 1])
            labels = rng.integers(self.n_labels, size=self.n_items)
            ask = few_shot_ask(np.arange(self.n_items), labels, shots, rng)
            found["random"].append([ask])
            after = deepcopy(rng)
            for name, given in self.outside.items():
                known = np.flatnonzero(given != UNLABELLED)
                # The same draw for both, so that they show the same items where they can.
                ask = few_shot_ask(known, given, shots, deepcopy(after), self.measured)
                if known.size >= shots and ask.items.size:
                    found.setdefault(name, []).append([ask])
        return found

    def many_shot(self, many: int | None, seeds: int) -> dict[str, list[list[Ask]]]:
        found: dict[str, list[list[Ask]]] = {}
        for name, given in self.outside.items():
            for seed in range(seeds):
                rng = np.random.default_rng([seed, 2])
                asks = many_shot_asks(given, rng, many, self.measured)
                shown, asked = [a.context.size for a in asks], [a.items.size for a in asks]
                if all(shown) and any(asked):
                    found.setdefault(name, []).append(list(asks))
        return found


@dataclass(frozen=True, slots=True)
class _Trial:
    task: Task
    rendered: RenderedTask
    meter: Meter
    gold: IntArray | None

    def zero_shot(self, names: Sequence[str]) -> Iterator[Baseline]:
        """As the model says it; by a second name, less what it says of all items alike."""
        before = self.meter.usage
        scorer = Scorer(self.rendered, self.meter)
        raw = zero_shot(scorer)
        usage = self.meter.usage - before
        for name, scores in zip(names, (raw, calibrated(raw)), strict=False):
            labels = scores.argmax(axis=1)
            accuracy = self._over_items(labels)
            yield self._row(name, accuracy, labels, scorer.mean_coverage, usage)
            usage = Usage()

    def shown(self, name: str, seeds: Sequence[Sequence[Ask]], option: str) -> Baseline:
        """After demonstrations; the asks of all seeds in one call. `option` is what a user
        can lower where they are too long."""
        before = self.meter.usage
        scorer = Scorer(self.rendered, self.meter)
        try:
            scores = iter(scorer.log_probs([ask for asks in seeds for ask in asks]))
        except PromptTooLong as error:
            raise PromptTooLong(f"{name}: {error}; here {option} N shows fewer") from error
        labels = [np.concatenate([next(scores).argmax(axis=1) for _ in asks]) for asks in seeds]
        items = [np.concatenate([ask.items for ask in asks]) for asks in seeds]
        usage = self.meter.usage - before
        accuracy = self._over_seeds(items, labels)
        return self._row(name, accuracy, np.concatenate(labels), scorer.mean_coverage, usage)

    def given(self, name: str, labels: IntArray) -> Baseline:
        """Labels that are there already, (n_items,)."""
        return self._row(name, self._over_items(labels), labels, None, Usage())

    def _over_items(self, labels: IntArray) -> Estimate | None:
        """None without gold, or where no item with gold has a label."""
        if self.gold is None or not ((self.gold != UNLABELLED) & (labels != UNLABELLED)).any():
            return None
        groups = [item.cluster for item in self.task.items]
        return evaluate(labels, None, self.gold, groups).accuracy

    def _over_seeds(
        self, items: Sequence[IntArray], found: Sequence[IntArray]
    ) -> Estimate | None:
        """None without gold, or where no scored item has any."""
        if self.gold is None:
            return None
        right = []
        for asked, labels in zip(items, found, strict=True):
            gold = self.gold[asked]
            if (gold != UNLABELLED).any():
                right.append(float((labels == gold)[gold != UNLABELLED].mean()))
        return over_seeds(right) if right else None

    def _row(
        self,
        name: str,
        accuracy: Estimate | None,
        labels: IntArray,
        coverage: float | None,
        usage: Usage,
    ) -> Baseline:
        given = labels[labels != UNLABELLED]
        counts = np.bincount(given, minlength=len(self.task.labels))
        shares = tuple((counts / max(1, given.size)).tolist())
        return Baseline(name, accuracy, shares, given.size / labels.size, coverage, usage)
