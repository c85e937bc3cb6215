"""Pages of the site that stand elsewhere in the repository, as a hook of mkdocs.

In the repository pages link to files outside `docs`; in the site those files are pages of
their own, or, where they are code, plain text.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
BORROWED = {
    "benchmarks.md": "benchmarks/README.md",
    "model-card.md": "elicit/organism/MODEL_CARD.md",
}
"""Page of the site → file of the repository."""
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)]*)?\)")


def examples() -> list[Path]:
    """The scripts that have a page each."""
    return sorted((ROOT / "examples").glob("[0-9]*.py"))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what stands outside `docs`."""
    for name, source in BORROWED.items():
        text = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, name, content=_relinked(text, Path(source).parent)))
    for script in examples():
        code = script.read_text("utf-8")
        page = f"---\ntitle: {script.stem}\n---\n\n# {script.name}\n\n````python\n{code}````\n"
        files.append(File.generated(config, f"examples/{script.stem}.md", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Have links that leave `docs` lead to the page that the site has for the file."""
    generated = page.file.generated_by is not None
    return markdown if generated else _relinked(markdown, Path("docs"))


def _relinked(text: str, folder: Path) -> str:
    """Links of a text that stands in `folder`, as they are from the top of the site."""
    return _LINK.sub(lambda found: _relink(found, folder), text)


def _relink(found: re.Match[str], folder: Path) -> str:
    mark, words, target, anchor = found.groups(default="")
    path = (ROOT / folder / target).resolve().relative_to(ROOT).as_posix()
    pages = {source: name for name, source in BORROWED.items()}
    pages |= {f"examples/{s.name}": f"examples/{s.stem}.md" for s in examples()}
    if path in pages:
        return f"{mark}[{words}]({pages[path]}{anchor})"
    if path.startswith("docs/"):
        return f"{mark}[{words}]({path.removeprefix('docs/')}{anchor})"
    return words if words.startswith("`") else f"{words} (`{path}`)"
