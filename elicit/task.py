"""A task: unlabelled items, the labels they may get, how they are asked, what must hold.

A task has no gold labels. They live in `elicit.gold`, which no search imports, and the
loader takes their column away before anything else sees the rows.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from elicit.cache.keys import json_digest
from elicit.constraints import Constraint, Custom, Rules, compile_rules, is_missing
from elicit.prompt import RenderedTask, TaskError, Template, Writing, render


@dataclass(frozen=True, slots=True)
class Item:
    """Something to label. `where` names its origin in errors."""

    id: str
    fields: Mapping[str, object]
    group: str | None = None
    where: str = field(default="", compare=False)

    @property
    def cluster(self) -> tuple[str, str]:
        """Equal for items that are not independent: those of one group."""
        return ("item", self.id) if self.group is None else ("group", self.group)


@dataclass(frozen=True, init=False)
class Task:
    """What to label and how to ask.

    Raises:
        TaskError: labels, items, template or constraints do not fit together.
    """

    name: str
    labels: tuple[str, ...]
    items: tuple[Item, ...]
    template: Template
    constraints: tuple[Constraint | Custom, ...]
    instruction: str | None
    settings: Mapping[str, object]
    """Of a task file's `[run]` table."""
    beyond: tuple[Item, ...]
    """Items after a limit: not labelled, but they say which groups the limit cuts."""
    path: str
    """The task file it was read from; empty for a task made in Python."""

    def __init__(
        self,
        *,
        labels: Sequence[str],
        items: Sequence[Item | Mapping[str, object]],
        template: Template | str,
        name: str = "task",
        constraints: Sequence[Constraint | Custom] = (),
        instruction: str | None = None,
        group: str | None = None,
        settings: Mapping[str, object] = MappingProxyType({}),
        beyond: Sequence[Item] = (),
        path: str = "",
    ) -> None:
        """`items` may be plain dicts and `template` plain text; `group` then names the
        field whose equal values make a group."""
        _check_labels(labels)
        if isinstance(template, str):
            template = Template(template, tuple(labels))
        made = tuple(
            item if isinstance(item, Item) else _item(i, item, group)
            for i, item in enumerate(items, 1)
        )
        values = {
            "name": name,
            "labels": tuple(labels),
            "items": made,
            "template": template,
            "constraints": tuple(constraints),
            "instruction": instruction,
            "settings": MappingProxyType(dict(settings)),
            "beyond": tuple(beyond),
            "path": path,
        }
        for key, value in values.items():
            object.__setattr__(self, key, value)
        _check_items(made)
        _check_template(template, made, len(labels))

    def head(self, count: int) -> Task:
        """The task with its first `count` items only. Constraints hold among them as they
        did; one that asks something of a whole group is left out where the group is cut."""
        return Task(
            labels=self.labels,
            items=self.items[:count],
            beyond=(*self.items[count:], *self.beyond),
            path=self.path,
            template=self.template,
            name=self.name,
            constraints=self.constraints,
            instruction=self.instruction,
            settings=self.settings,
        )

    def some(self, items: Sequence[int], name: str | None = None) -> Task:
        """A task of its own of the items with these numbers, in this order. Constraints hold
        among them as if there were no others: whoever cuts a group gives part of it up."""
        return Task(
            labels=self.labels,
            items=[self.items[i] for i in items],
            template=self.template,
            name=name or self.name,
            constraints=self.constraints,
            instruction=self.instruction,
            settings=self.settings,
        )

    def render(self, writing: Writing = "text") -> RenderedTask:
        """Every piece of every prompt, written as plain text or in a form of a chat.

        Raises:
            TaskError: an item can't be rendered; it is named.
        """
        rows = [(item.where, item.fields) for item in self.items]
        return render(self.template, self.labels, rows, self.instruction, writing)

    def rules(self) -> Rules:
        """The constraints over item numbers."""
        items = (*self.items, *self.beyond)
        return compile_rules(
            [item.id for item in items],
            [item.fields for item in items],
            [item.group for item in items],
            self.labels,
            self.constraints,
            len(self.items),
        )

    def digest(self) -> str:
        """Hex of everything that decides prompts, labels and rules. Custom rules in Python
        have no text to digest and count by their position only."""
        rendered = self.render()
        rules = self.rules()
        parts = {
            "labels": list(self.labels),
            "verbalizers": list(rendered.verbalizers),
            "questions": [segment.digest.hex() for segment in rendered.questions],
            "separator": self.template.separator,
            "instruction": self.instruction,
            "pairs": rules.pairs.tolist(),
            "allowed": rules.allowed.astype(int).tolist(),
            "groups": [[list(g.items), g.at_least_one] for g in rules.groups],
            "related": [item.group for item in self.items],
        }
        return json_digest(parts)


def _item(number: int, fields: Mapping[str, object], group: str | None) -> Item:
    where = f"item {number}"
    if group is not None and group not in fields:
        raise TaskError(f"{where}: no field {group!r} to group by")
    return Item(
        str(number),
        MappingProxyType(dict(fields)),
        None if group is None or is_missing(fields[group]) else str(fields[group]),
        where,
    )


def _check_labels(labels: Sequence[str]) -> None:
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise TaskError(f"labels: must be a list of texts, not {labels!r}")
    if len(labels) < 2:
        raise TaskError(f"labels: at least two are needed, not {len(labels)}")
    if "" in labels:
        raise TaskError("labels: a label is empty")
    for label in labels:
        if list(labels).count(label) > 1:
            raise TaskError(f"labels: {label!r} stands twice")


def _check_items(items: Sequence[Item]) -> None:
    if not items:
        raise TaskError("there is nothing to label: the task has no items")
    seen: dict[str, Item] = {}
    for item in items:
        if item.id in seen:
            raise TaskError(
                f"{item.where}: id {item.id!r} is taken by {seen[item.id].where}; "
                "ids must differ"
            )
        seen[item.id] = item


def _check_template(template: Template, items: Sequence[Item], n_labels: int) -> None:
    """Every item renders, and the words for the labels can be told apart."""
    if len(template.verbalizers) != n_labels:
        raise TaskError("[prompt] verbalizers: there must be one for each label")
    for text in template.verbalizers:
        if not text.strip():
            raise TaskError("[prompt] verbalizers: one is empty")
        if template.verbalizers.count(text) > 1:
            raise TaskError(f"[prompt] verbalizers: {text!r} stands for two labels")
    names = template.names
    if not names:
        raise TaskError(
            f"{template.origin}: [prompt] item names no field, so all prompts would be the same"
        )
    for item in items:
        for name in sorted(names - item.fields.keys()):
            near = difflib.get_close_matches(name, item.fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = ", ".join(sorted(item.fields))
            raise TaskError(
                f"{item.where}: [prompt] item asks for field {name!r}, which is not there"
                f"{hint} "
                f"(fields: {known})"
            )


def without(fields: Mapping[str, object], name: str | None) -> Mapping[str, object]:
    """Fields less one column, read-only."""
    return MappingProxyType({k: v for k, v in fields.items() if k != name})
