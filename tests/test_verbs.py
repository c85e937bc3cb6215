"""The list of commands is kept by hand, so that it can be shown without loading any."""

from __future__ import annotations

import subprocess
import sys

import pytest

from elicit.cli.verbs import VERBS, Later
from elicit.cli.welcome import PANELS

HEAVY = ("numpy", "scipy", "pyarrow", "jinja2", "sqlite3", "elicit.labelling")


@pytest.mark.parametrize("name", VERBS)
def test_what_the_list_says_of_a_command_is_what_its_help_begins_with(name: str) -> None:
    command = Later(name, VERBS[name]).loaded()
    assert command.name == name
    assert " ".join(command.help.split()).startswith(VERBS[name].told)


def test_every_command_is_in_a_group() -> None:
    assert set(PANELS) == set(VERBS)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_commands_are_listed_without_what_they_need(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['elicit', *{arguments}]\n"
        "from elicit.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "baselines" in done.stdout
    assert done.stdout.rstrip().endswith("loaded []")
