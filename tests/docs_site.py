"""The links of a built site: where they lead, and whether that is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
}
_FETCHED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "manifest"}


@dataclass
class Links(HTMLParser):
    """What a page links to, what it has a browser fetch, and its anchors."""

    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        for name in ("id", "name"):
            if given.get(name):
                self.anchors.add(given[name])
        self.fetched += [given[name] for name in _FETCHED.get(tag, ()) if given.get(name)]
        if tag == "link":
            kinds = set(given.get("rel", "").split())
            target = self.fetched if kinds & _FETCHED_LINKS else self.links
            target.append(given.get("href", ""))
        elif given.get("href"):
            self.links.append(given["href"])


@cache
def links_of(page: Path) -> Links:
    """The links of a page, read once."""
    reader = Links()
    reader.feed(page.read_text("utf-8"))
    return reader


def is_elsewhere(link: str) -> bool:
    """Whether it leads to another host, or to a program that is no browser."""
    parts = urlsplit(link)
    return bool(parts.scheme or parts.netloc)


def broken(site: Path) -> list[str]:
    """`page: link` of every link of a site to itself that leads nowhere."""
    wrong = []
    for page in sorted(site.rglob("*.html")):
        found = links_of(page)
        for link in (*found.links, *found.fetched):
            if is_elsewhere(link) or not link:
                continue
            parts = urlsplit(link)
            path = unquote(parts.path)
            base = site if path.startswith("/") else page.parent
            target = page if not path else (base / path.lstrip("/")).resolve()
            if target.is_dir():
                target /= "index.html"
            if not target.exists() or not _has_anchor(target, unquote(parts.fragment)):
                wrong.append(f"{page.relative_to(site)}: {link}")
    return wrong


def elsewhere(site: Path) -> Mapping[str, list[str]]:
    """Link to another host → the pages that have it."""
    found: dict[str, list[str]] = {}
    for page in sorted(site.rglob("*.html")):
        for link in filter(is_elsewhere, links_of(page).links):
            pages = found.setdefault(link, [])
            if page.name not in pages:
                pages.append(page.name)
    return dict(sorted(found.items()))


def fetched_elsewhere(site: Path) -> list[str]:
    """`page: address` of all that a browser would fetch from another host."""
    return [
        f"{page.relative_to(site)}: {address}"
        for page in sorted(site.rglob("*.html"))
        for address in links_of(page).fetched
        if is_elsewhere(address) and not address.startswith("data:")
    ]


def _has_anchor(page: Path, anchor: str) -> bool:
    # `#__...` are the theme's own; one of text is found by the browser.
    if not anchor or page.suffix != ".html" or anchor.startswith(":~:"):
        return True
    return anchor in links_of(page).anchors
