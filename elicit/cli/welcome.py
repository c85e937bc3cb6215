"""What `elicit` says of itself: the commands in groups, and what to type first.

Also how it answers a misspelt command or option: one line that says what was meant.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup
from typer.exceptions import TyperException

from elicit.cache.location import store_path
from elicit.cli.output import notes, out

PANELS: Mapping[str, str] = {
    name: panel
    for panel, names in {
        "Label": "demo run resume estimate diagnose baselines",
        "Look": "runs report eval tasks doctor",
        "Use": "export finetune iterate align",
        "Keep": "cache batches",
    }.items()
    for name in names.split()
}
"""Command → the group it is shown in, in the order they are shown."""

_ABOUT = (
    "elicit labels your data with a language model and no labels. It searches for the labels "
    "that the model itself finds predictable from each other and that contradict nothing."
)
_FIRST = (
    ("elicit demo", "see it work, offline"),
    ("elicit tasks new my.csv", "describe your own data"),
    ("elicit run my.toml -m MODEL", "label it"),
)


def welcome(commands: Mapping[str, str]) -> Group:
    """What `elicit` alone prints; `commands` has a name and a sentence for each."""
    parts = [Text(_ABOUT), Text()]
    for typed, told in _FIRST:
        parts += [Text(f"  {typed}", style="bold"), Text(f"      {told}", style="dim")]
    rows: list[Text | Padding] = [*parts, Text()]
    for panel in dict.fromkeys(PANELS.values()):
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, min_width=max(map(len, PANELS)))
        table.add_column(overflow="fold")
        for name, told in commands.items():
            if PANELS.get(name) == panel:
                table.add_row(Text(name, style="bold"), Text(told))
        rows += [Text(panel), Padding(table, (0, 0, 0, 2), expand=False)]
    return Group(
        *rows,
        Text(),
        Text("elicit COMMAND --help explains a command."),
        Text("elicit --install-completion lets the shell complete them."),
        Text(f"Scores and runs are kept in {store_path()}", overflow="fold"),
    )


class Welcoming(TyperGroup):
    """The commands in their groups; alone it welcomes, and mistakes take it one line."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        order = list(PANELS)
        known = sorted(
            self.commands, key=lambda n: order.index(n) if n in order else len(order)
        )
        self.commands = {name: self.commands[name] for name in known}
        for name, command in self.commands.items():
            if name in PANELS:
                command.rich_help_panel = PANELS[name]  # type: ignore[attr-defined]  # only typer's own classes of commands have it, and all here are

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            sentences = {n: _sentence(c.help or "") for n, c in self.commands.items()}
            out.print(welcome(sentences))
            raise typer.Exit
        return super().parse_args(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Typer's own, but for errors in what was typed."""
        given = (args, prog_name, complete_var)
        if not standalone_mode:
            return super().main(*given, False, windows_expand_args, **extra)
        try:
            code = super().main(*given, False, windows_expand_args, **extra)
        except typer.Abort:
            notes.print("error: stopped", style="red")
            sys.exit(1)
        except TyperException as error:
            told = _told(error)
            if told:
                notes.print(f"error: {told}", style="red", markup=False, soft_wrap=True)
            sys.exit(error.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


def _sentence(text: str) -> str:
    """The first sentence of a help text, or what it says before a colon."""
    found = re.match(r"(.+?)(?:[.:](?=\s|$)|(?<=\?)\s|$)", " ".join(text.split()))
    return "" if found is None else found[1]


def _told(error: TyperException) -> str:
    """An error of typer's in one line, with the mend; empty where help was shown instead."""
    # Typer keeps its classes of such errors, and so their fields, to itself.
    name, near = getattr(error, "option_name", None), getattr(error, "possibilities", None)
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    path = "elicit" if context is None else context.command_path
    if name is not None and message.startswith("No such option"):
        found = difflib.get_close_matches(name, near or (), n=1)
        mend = f"did you mean {found[0]!r}?" if found else f"see `{path} --help`"
        return f"no such option {name!r}; {mend}"
    if not message:
        return ""
    message = message[0].lower() + message[1:].rstrip(".")
    if "Did you mean" in message:
        return message.replace(". Did", "; did")
    return f"{message}; see `{path} --help`"
