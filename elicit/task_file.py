"""Task files: TOML that names the data, the prompt and the constraints."""

from __future__ import annotations

import difflib
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from elicit.constraints import Constraint, is_missing
from elicit.data import Row, read_rows
from elicit.prompt import TaskError, Template
from elicit.task import Item, Task, without

Outside = Literal["gold", "human"]
"""Columns of labels from outside, which nothing but evaluation and baselines may see."""

_TOP = {"name", "labels", "data", "prompt", "constraint", "run"}
_DATA = {"path", "id", "group", *get_args(Outside)}
_PROMPT = {"item", "separator", "instruction", "verbalizers"}
_CONSTRAINT = {"kind", "label", "by", "left", "right", "answer", "then", "strict"}
_ROWS = (".csv", ".jsonl", ".parquet")
_KINDS = ("at_most_one", "exactly_one", "asymmetric", "same_answer", "implies")


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A task file as read, its values checked for type but not against the data."""

    path: Path
    name: str
    labels: tuple[str, ...]
    data: Mapping[str, str]
    template: Template
    instruction: str | None
    constraints: tuple[Constraint, ...]
    settings: Mapping[str, object]

    def outside(self) -> dict[str, Outside]:
        """Column → what labels from outside are in it."""
        return _outside(self.data)

    def rows(self) -> list[tuple[str, Row]]:
        """`(id, row)` of every row, labels from outside still in it."""
        rows = read_rows(self.data["path"], self.path.parent)
        key = self.data.get("id")
        found = []
        for number, row in enumerate(rows, 1):
            if key is None:
                found.append((str(number), row))
                continue
            require(row, key, "[data] id")
            if not isinstance(row.fields[key], str | int) or row.fields[key] == "":
                raise TaskError(f"{row.where}: id must be a text or whole number")
            found.append((str(row.fields[key]), row))
        return found


def load_task(path: str | Path, limit: int | None = None) -> Task:
    """Read a task file and its data; `limit` keeps the first so many items.

    Raises:
        TaskError: names the file, row or setting that is wrong, and the mend.
    """
    file = read_task_file(path)
    group = file.data.get("group")
    items = []
    for identifier, row in file.rows():
        if group is not None:
            require(row, group, "[data] group")
        fields = row.fields
        for column, kind in file.outside().items():
            # A name that takes no column away would leave the answer in the prompts.
            require(row, column, f"[data] {kind}")
            fields = without(fields, column)
        value = None if group is None else row.fields[group]
        name = None if is_missing(value) else str(value)
        items.append(Item(identifier, fields, name, row.where))
    task = Task(
        labels=file.labels,
        items=items,
        template=file.template,
        name=file.name,
        constraints=file.constraints,
        instruction=file.instruction,
        settings=file.settings,
        path=str(file.path.resolve()),
    )
    task.rules()
    return task if limit is None else task.head(limit)


def read_task_file(path: str | Path) -> TaskFile:
    """Parse a task file; see `load_task`."""
    path = Path(path)
    if path.suffix.lower() in _ROWS and path.is_file():
        raise TaskError(
            f"{path}: is data, not a task file; `elicit tasks new {shlex.quote(str(path))}` "
            "drafts one"
        )
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise TaskError(f"{path}: there is no such task file") from error
    except IsADirectoryError as error:
        raise TaskError(f"{path}: is a folder; name a task file (.toml)") from error
    except OSError as error:
        raise TaskError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"{path}: not TOML: {error}") from error
    return _checked(path, data)


def _checked(path: Path, data: Mapping[str, Any]) -> TaskFile:
    _known(data, _TOP, f"{path}")
    source = _table(path, data, "data")
    prompt = _table(path, data, "prompt")
    _known(source, _DATA, f"{path}: [data]")
    _known(prompt, _PROMPT, f"{path}: [prompt]")
    for key, value in source.items():
        if not isinstance(value, str):
            raise TaskError(f"{path}: [data] {key}: must be a text, not {value!r}")
    if "path" not in source:
        raise TaskError(f"{path}: [data] path is missing: name a .jsonl, .csv or .parquet file")
    labels = data.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise TaskError(f'{path}: labels must be a list of texts, like ["False", "True"]')
    template = _template(path, prompt, labels)
    outside = _outside(source)
    if "human" in source and source["human"] == source.get("gold"):
        raise TaskError(f"{path}: [data] human is {source['human']!r}, the gold column")
    constraints = tuple(_constraint(path, c, outside) for c in _constraint_tables(path, data))
    for column, kind in outside.items():
        if column in template.names:
            raise TaskError(
                f"{path}: [prompt] item uses {column!r}, the {kind} column: "
                "the model would see the answer"
            )
        for key in ("id", "group"):
            if source.get(key) == column:
                raise TaskError(f"{path}: [data] {key} is {column!r}, the {kind} column")
    return TaskFile(
        path,
        _text(path, data.get("name", path.stem), "name"),
        tuple(labels),
        source,
        template,
        None
        if "instruction" not in prompt
        else _text(path, prompt["instruction"], "[prompt] instruction"),
        constraints,
        _table(path, data, "run") if "run" in data else {},
    )


def _outside(source: Mapping[str, str]) -> dict[str, Outside]:
    kinds: tuple[Outside, ...] = get_args(Outside)
    return {source[kind]: kind for kind in kinds if kind in source}


def _template(path: Path, prompt: Mapping[str, Any], labels: list[str]) -> Template:
    if "item" not in prompt:
        raise TaskError(
            f"{path}: [prompt] item is missing: the text of an item, with {{{{ fields }}}}"
        )
    words = prompt.get("verbalizers", {})
    if not isinstance(words, dict):
        raise TaskError(f"{path}: [prompt] verbalizers: must be a table label = text")
    for label, word in words.items():
        if label not in labels:
            raise TaskError(f"{path}: [prompt] verbalizers: {label!r} is not one of the labels")
        _text(path, word, f"[prompt] verbalizers {label}")
    return Template(
        _text(path, prompt["item"], "[prompt] item"),
        tuple(words.get(label, label) for label in labels),
        _text(path, prompt.get("separator", "\n\n"), "[prompt] separator"),
        str(path),
    )


def _constraint_tables(path: Path, data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tables = data.get("constraint", [])
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise TaskError(f"{path}: constraint: write [[constraint]] with two brackets")
    return tables


def _constraint(
    path: Path, table: Mapping[str, Any], outside: Mapping[str, Outside]
) -> Constraint:
    where = f"{path}: [[constraint]]"
    _known(table, _CONSTRAINT, where)
    kind = table.get("kind")
    if kind in ("python", "custom"):
        raise TaskError(
            f"{where}: a task file can't name Python code, as it may come from a stranger; "
            "pass elicit.Custom(...) to elicit.Task in a script"
        )
    if kind not in _KINDS:
        near = difflib.get_close_matches(str(kind), _KINDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"{where} kind: {kind!r} is not one of {', '.join(_KINDS)}{hint}")
    if "label" not in table:
        raise TaskError(f"{where} {kind}: needs label = one of the labels")
    for option, value in table.items():
        if option == "strict":
            if not isinstance(value, bool):
                raise TaskError(f"{where} {kind}: strict must be true or false")
        else:
            _text(path, value, f"[[constraint]] {kind}: {option}")
        if option not in ("kind", "label", "strict") and value in outside:
            raise TaskError(
                f"{where} {kind}: {option} is {value!r}, the {outside[value]} column"
            )
    return Constraint(**table)


def _known(table: Mapping[str, Any], names: set[str], where: str) -> None:
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TaskError(
                f"{where}: unknown setting {key!r}{hint} (known: {', '.join(sorted(names))})"
            )


def _table(path: Path, data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = data.get(name)
    if not isinstance(table, dict):
        raise TaskError(f"{path}: the table [{name}] is missing")
    return table


def _text(path: Path, value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TaskError(f"{path}: {what}: must be a text, not {value!r}")
    return value


def require(row: Row, name: str, what: str) -> None:
    """Refuse a row without the field that a setting names, `what`."""
    if name not in row.fields:
        near = difflib.get_close_matches(name, row.fields, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"{row.where}: {what}: there is no field {name!r}{hint}")
