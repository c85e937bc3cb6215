"""The command line called in this process: what it prints, and the errors it raises."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from elicit.cli.main import app


def output(*arguments: str) -> str:
    """What goes to stdout; whatever is raised is raised here."""
    ended = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def told(*arguments: str) -> Any:
    """What `--json` prints."""
    return json.loads(output(*arguments, "--json"))
