"""The documentation: it builds, its links lead somewhere, and all it tells to type works."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_cpp", reason="needs the extra local")

from docs_blocks import DATA, Block, blocks, commands, matches
from docs_session import Ended, Session, environment
from docs_site import broken, elsewhere, fetched_elsewhere
from docs_world import FILES, INSTEAD, NEEDS, SERVERS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SECONDS = 300.0
"""A block's, at most."""
REASONS = ("a GPU", "a cluster", "hours", "a vendor", "a download")
"""What a block may need that is not run; its reason begins with one of them."""


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("accuracy 93.8 %\n", "accuracy 93.8 %  \n", True),
        ("accuracy 93.8 %\n", "accuracy 93.9 %\n", False),
        ("objective -11.8…\n", "objective -11.884871\n", True),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nd\n", True),
        ("a\n", "a\nb\n", False),
        ("", "a\n", False),
    ],
)
def test_output_is_what_a_page_shows_but_for_what_an_ellipsis_leaves_out(
    shown: str, printed: str, same: bool
) -> None:
    assert matches(shown, printed) is same


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```\nelicit demo\n```\n", "language ''"),
        ("```text\n0.5\n```\n", "output of nothing"),
        ("1. so\n   ```sh\n   elicit demo\n   ```\n", "does not begin its line"),
    ],
)
def test_no_block_escapes(text: str, words: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=words):
        blocks(page)


@pytest.mark.parametrize(
    "text",
    ["```sh\nfalse\ntrue\n```\n", "```console\n$ echo 1\n2\n```\n", "```python\n1 / 0\n```\n"],
)
def test_a_page_that_is_wrong_is_found_out(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        test_everything_a_page_says_to_type_works_and_prints_what_it_shows(
            page, tmp_path, tmp_path / "demo.db"
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_link_within_the_site_leads_to_a_page_and_an_anchor(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert broken(site) == []
    listed = [f"{link}   ({', '.join(pages)})" for link, pages in elsewhere(site).items()]
    _tell(capsys, ["links to other hosts, not followed:", *listed])


def test_the_pages_fetch_nothing_from_another_host(site: Path) -> None:
    assert fetched_elsewhere(site) == []


def test_the_search_index_holds_every_page(site: Path) -> None:
    found = json.loads((site / "search" / "search_index.json").read_text("utf-8"))["docs"]
    indexed = {entry["location"].partition("#")[0] for entry in found}
    pages = {page.relative_to(site).as_posix() for page in site.rglob("*.html")}
    assert pages - {"404.html"} <= indexed | {"index.html"}


def test_the_reference_of_commands_is_what_the_commands_say() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "cli_reference.py"))
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert page == written["reference"](), "run python docs/cli_reference.py"


def test_every_command_and_option_is_in_the_reference_and_nothing_else() -> None:
    import typer

    from elicit.cli.main import app

    walk: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "cli_reference.py"))
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (elicit[^\n]*)\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    there: dict[str, set[str]] = {
        words: {way for option in walk["options"](found) for way in walk["spellings"](option)}
        for words, found in walk["commands"](typer.main.get_command(app))
    }
    named = {words: _options_in(text) for words, text in sections.items()}
    assert named == there


def _options_in(section: str) -> set[str]:
    cells = re.findall(r"^\| ((?:`-[^`]+`(?:, )?)+)", section, re.M)
    return {way for cell in cells for way in re.findall(r"`(-[^`]+)`", cell)}


def test_what_is_not_run_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    unrun = [b for page in PAGES for b in blocks(page) if b.reason is not None]
    _tell(capsys, ["not run:", *(f"{block.where}: {block.reason}" for block in unrun)])
    assert [b.where for b in unrun if not (b.reason or "").startswith(REASONS)] == []


def test_every_message_that_the_page_of_errors_quotes_is_one_of_ours() -> None:
    code = "\n".join(
        path.read_text("utf-8")
        for folder in ("cache", "elicit", "providers")
        for path in sorted((ROOT / folder).rglob("*.py"))
    )
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    page = (ROOT / "docs" / "errors.md").read_text("utf-8").partition("## Results that look")[0]
    cells = re.findall(r"^\| ([^|]*`[^|]*) \|", page, re.M)
    quoted = [
        part
        for cell in cells
        for text in re.findall(r"`([^`]+)`", cell)
        for part in text.split("…")
    ]
    assert [part for part in quoted if part.strip() not in code] == []


@pytest.fixture(scope="module")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the demonstration, which more than one page shows."""
    return tmp_path_factory.mktemp("demo") / "demo.db"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_everything_a_page_says_to_type_works_and_prints_what_it_shows(
    page: Path, tmp_path: Path, demo_store: Path
) -> None:
    found = [block for block in blocks(page) if block.reason is None]
    if not found:
        return
    missing = [name for name in NEEDS.get(page.name, ()) if find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    for name in ("home", "control", "work"):
        (tmp_path / name).mkdir()
    if page.name in FILES:
        FILES[page.name](tmp_path / "work")
    nothing: dict[str, str] = {}
    with SERVERS.get(page.name, lambda: nullcontext(nothing))() as told:
        variables = environment(tmp_path / "home", {"DEMO_STORE": str(demo_store), **told})
        session = Session(tmp_path / "work", tmp_path / "control", variables)
        try:
            for block in found:
                _run(block, session)
        finally:
            session.close()


def _tell(capsys: pytest.CaptureFixture[str], lines: Sequence[str]) -> None:
    """Show lines to whoever runs the tests."""
    with capsys.disabled():
        sys.stdout.write("\n" + "\n  ".join(lines) + "\n")


def _run(block: Block, session: Session) -> None:
    if block.language in DATA:
        _written(block, session.folder)
    elif block.language == "console":
        _run_console(block, session)
    elif block.language == "python":
        path = session.control / f"line{block.line}.py"
        path.write_text(block.text, "utf-8")
        _compare(block, block.shown, session.run(f"python '{path}'", SECONDS))
    else:
        script, compared = _runnable(block)
        _compare(block, block.shown if compared else None, session.run(script, SECONDS))


def _written(block: Block, folder: Path) -> None:
    """Data is sound, and stands in the file that it is said to be."""
    match block.language:
        case "toml":
            tomllib.loads(block.text)
        case "json":
            json.loads(block.text)
        case "jsonl":
            [json.loads(line) for line in block.text.splitlines()]
    if block.title:
        (folder / block.title).write_text(block.text, "utf-8")


def _run_console(block: Block, session: Session) -> None:
    typed = commands(block.text)
    for command, following in zip(typed, [*typed[1:], None], strict=True):
        script, compared = _runnable(block, command.text)
        ended = session.run(script, SECONDS, strict=False)
        status_is_shown = following is not None and following.text == "echo $?"
        assert ended.status == 0 or status_is_shown, _told(block, command.text, ended)
        if compared:
            _compare(block, command.shown, Ended(0, ended.out, ended.err), command.text)


def _compare(block: Block, shown: str | None, ended: Ended, what: str = "") -> None:
    assert ended.status == 0, _told(block, what or block.text, ended)
    if shown is not None:
        printed = (ended.out, ended.out + ended.err)
        assert any(matches(shown, text) for text in printed), _told(block, what, ended)


def _told(block: Block, what: str, ended: Ended) -> str:
    return f"{block.where}\n{what}\nstatus {ended.status}\n{ended.out}\n{ended.err}"


def _runnable(block: Block, text: str | None = None) -> tuple[str, bool]:
    """The shell text less what is looked up and not run; whether it prints what is shown."""
    kept, compared = [], True
    instead = INSTEAD.get(block.page, {})
    for line in (block.text if text is None else text).splitlines():
        other = instead.get(line.partition("#")[0].strip())
        if other is not None:
            kept.append(other.command)
            compared &= other.same_output
        elif not _is_looked_up(line, block):
            kept.append(line)
    return "\n".join(kept), compared


def _is_looked_up(line: str, block: Block) -> bool:
    """Whether it installs the package or makes a target, as there are."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    installs = re.match(r"pip install '?(?:elicit-lm|\.)(?:\[([\w,-]+)\])?'?(?:\s|$)", line)
    if installs:
        extras = set(filter(None, (installs[1] or "").split(",")))
        unknown = extras - project["optional-dependencies"].keys()
        assert not unknown, f"{block.where}: no extra {unknown}"
        return True
    makes = re.match(r"make ([\w-]+)", line)
    if makes:
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        assert makes[1] in targets, f"{block.where}: no target {makes[1]}"
        return True
    return False
