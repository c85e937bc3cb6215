"""Write cli.md, the reference of the command line: `python docs/cli_reference.py`.

A test holds that the file is what this writes, so no command or option is undocumented.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from elicit.cli.main import app

PAGE = Path(__file__).resolve().parent / "cli.md"
HEAD = """\
# Commands

Results go to stdout, progress and notes to stderr. `--json` prints one JSON value in place of
text. `elicit COMMAND --help` says the same as this page.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | failed |
| 2 | bad input: the message names the file or setting and the mend ([errors](errors.md)) |
| 3 | a budget was reached; `elicit resume` goes on |
| 130 | interrupted; `elicit resume` goes on |

Settings of a run come from options, then the task file's `[run]`, then `ELICIT_NAME` variables,
then defaults. `ELICIT_CACHE` names the store's file, `ELICIT_PRICES` a file of
[prices](hosted.md#money). `NO_COLOR` and pipes are respected. `elicit --install-completion` has
your shell complete commands, options and the names of runs and tasks.
"""
MORE = {
    "align": "alignment.md",
    "baselines": "methods.md",
    "batches": "hosted.md#money",
    "cache": "resuming.md",
    "demo": "tutorial.md",
    "diagnose": "methods.md#diagnosis",
    "doctor": "hosted.md",
    "estimate": "hosted.md#money",
    "eval": "methods.md#confidence",
    "export": "finetuning.md#exports",
    "finetune": "finetuning.md",
    "iterate": "finetuning.md#in-turns",
    "report": "report.md",
    "resume": "resuming.md",
    "run": "methods.md",
    "runs": "resuming.md",
    "tasks": "tasks.md",
}
"""Command → the page that says more."""


def commands(command: Any, path: tuple[str, ...] = ("elicit",)) -> Iterator[tuple[str, Any]]:
    """`(words, command)` of a command and all below it."""
    # Those of the top are imported when they are called.
    command = command.loaded() if hasattr(command, "loaded") else command
    yield " ".join(path), command
    for name, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from commands(below, (*path, name))


def options(command: Any) -> list[Any]:
    """Its options, `--help` left out."""
    return [
        p for p in command.params if p.param_type_name == "option" and "--help" not in p.opts
    ]


def spellings(option: Any) -> list[str]:
    """Every way to write an option, the longest first."""
    return sorted([*option.opts, *option.secondary_opts], key=len, reverse=True)


def reference() -> str:
    """The whole page."""
    sections = [
        _section(words, found) for words, found in commands(typer.main.get_command(app))
    ]
    return "\n".join([HEAD, *sections])


def _section(words: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    below = [name for name, c in getattr(command, "commands", {}).items() if not c.hidden]
    usage = [
        words,
        "[OPTIONS]",
        *map(_metavar, arguments),
        *([command.subcommand_metavar or "COMMAND [ARGS]..."] if below else []),
    ]
    lines = [f"## {words}", "", _text(command.help), "", f"`{' '.join(usage)}`", ""]
    rows = [(f"`{_metavar(a)}`", _about(a)) for a in arguments]
    rows += [(_spelt(o), _about(o)) for o in options(command)]
    if rows:
        lines += [
            "| argument or option | what it does |",
            "| --- | --- |",
            *(f"| {a} | {b} |" for a, b in rows),
            "",
        ]
    page = MORE.get(words.removeprefix("elicit "))
    if page:
        name = page.partition("#")[0].removesuffix(".md")
        lines += [f"More: [{name}]({page}).", ""]
    return "\n".join(lines)


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = name.removesuffix("...") + "..." if argument.nargs == -1 else name
    return name if argument.required else f"[{name}]"


def _spelt(option: Any) -> str:
    written = ", ".join(f"`{way}`" for way in spellings(option))
    if option.is_flag:
        return written
    kind, again = _kind(option.type_descriptor.annotation)
    return f"{written} *{kind}*" + (", may be given again" if again else "")


def _kind(annotation: Any) -> tuple[str, bool]:
    """The words for a type, and whether it is a list."""
    if get_origin(annotation) is list:
        return _kind(get_args(annotation)[0])[0], True
    if get_origin(annotation) is Literal:
        return " ".join(map(str, get_args(annotation))), False
    return {str: "text", int: "number", float: "number", Path: "path"}[annotation], False


def _about(parameter: Any) -> str:
    """What it does, with its default, bounds and variable."""
    parts = [_text(parameter.help)]
    default = parameter.default
    if default not in {None, "", False}:
        parts.append(f"Default: `{str(default).encode('unicode_escape').decode()}`.")
    least = parameter.type_descriptor.parameter_info.min
    if least is not None:
        parts.append(f"At least {least}.")
    if parameter.envvar:
        parts.append(f"Variable: `{parameter.envvar}`.")
    return " ".join(part for part in parts if part).replace("|", r"\|")


def _text(help_text: str | None) -> str:
    return re.sub(r"\s+", " ", help_text or "").strip()


if __name__ == "__main__":
    PAGE.write_text(reference(), "utf-8")
