"""The fenced blocks of a page, as the tests of the documentation run them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(`{3,}|~{3,})\s*([\w-]*)(.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_MARK = re.compile(r"^<!--\s*not run:\s*(.*?)\s*-->$")
RUN = ("sh", "bash", "console", "python")
DATA = ("toml", "json", "jsonl", "csv")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    """Of its first fence, from 1."""
    language: str
    text: str
    title: str = ""
    """The file that it is written to."""
    reason: str | None = None
    """Why it is not run; None where it is, empty where no reason is given."""
    shown: str | None = None
    """What stands after it as its output."""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a block in console style, and the output that stands below it."""

    text: str
    shown: str


def blocks(page: Path) -> list[Block]:
    """All blocks; a `text` one that directly follows another is that one's output.

    Raises:
        ValueError: a fence names no language, or one that is neither run nor output, or does
            not begin its line.
    """
    found: list[Block] = []
    lines = page.read_text("utf-8").split("\n")
    number, since, reason = 0, "", None
    while number < len(lines):
        line = lines[number]
        number += 1
        fence = _FENCE.match(line)
        if fence is None:
            if line.lstrip().startswith(("```", "~~~")):
                raise ValueError(f"{page.name}:{number}: a fence that does not begin its line")
            mark = _MARK.match(line.strip())
            reason = mark[1] if mark else reason if not line.strip() else None
            since += line.strip()
            continue
        first, body = number, []
        while not lines[number].startswith(fence[1]):
            body.append(lines[number])
            number += 1
        number += 1
        text = "\n".join(body) + "\n"
        language, title = fence[2], _TITLE.search(fence[3])
        if language == "text":
            if since or not found or found[-1].language not in RUN:
                raise ValueError(f"{page.name}:{first}: output of nothing that is run")
            found[-1] = _with_output(found[-1], text)
        elif language in (*RUN, *DATA):
            made = title[1] if title else ""
            found.append(Block(page.name, first, language, text, made, reason))
        else:
            raise ValueError(f"{page.name}:{first}: a fence of the language {language!r}")
        since, reason = "", None
    return found


def commands(text: str) -> list[Command]:
    """Commands of a console block: lines after `$ `, gone on with after `> `."""
    found: list[Command] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        elif not found:
            raise ValueError(f"output before the first command: {line!r}")
        elif line.startswith("> "):
            found[-1] = Command(f"{found[-1].text}\n{line[2:]}", "")
        else:
            found[-1] = Command(found[-1].text, f"{found[-1].shown}{line}\n")
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether what a page shows is what was printed. `…` alone on a line stands for any
    lines, within a line for any text of it; spaces at the end of lines count for nothing."""
    pattern = ""
    for line in _stripped(shown):
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.split("…")) + r"[ ]*\n"
    lines = "".join(f"{line}\n" for line in _stripped(printed))
    return re.fullmatch(pattern, lines) is not None


def _stripped(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").split("\n")]


def _with_output(block: Block, text: str) -> Block:
    return Block(
        block.page, block.line, block.language, block.text, block.title, block.reason, text
    )
