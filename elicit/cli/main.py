"""The command line: parses, calls the library, prints. Results go to stdout."""

from __future__ import annotations

import signal
import sys

import typer

from elicit.cache.errors import ElicitError
from elicit.cli.output import notes
from elicit.cli.verbs import Verbs

app = typer.Typer(cls=Verbs, pretty_exceptions_enable=False)


@app.callback()
def elicit() -> None:
    """Label data with a language model and no labels at all."""


def _terminated(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; exit codes are those of the README."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app(standalone_mode=True)
    except ElicitError as error:
        notes.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
