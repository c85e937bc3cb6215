"""A report of many items: bytes, seconds to make it, and to open and filter it in Chromium.

    python benchmarks/report.py [--items 1000 5000 20000] [--repeats 5]

Statements of the embedded world, labelled by a bootstrap with 64 demonstrations a prompt. In
one more row each text is 100 kB long. A page is opened from a file in a browser that has no
network; seconds are what its own clock says, to the table's first row and from a key pressed in
the search field to the rows that match: medians with the least and the most.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from large import statements
from playwright.sync_api import Browser, sync_playwright

import elicit
from elicit.report.facts import RunFacts
from elicit.report.gather import gather
from elicit.report.page import page

LONG = 100_000
"""Characters of a long text."""
OPENED = "() => document.querySelectorAll('#items-tool tbody tr').length > 0"
FILTERED = """(text) => new Promise((resolve) => {
  const field = document.querySelector('#items-tool input[type=search]');
  const began = performance.now();
  const shown = new MutationObserver(() => {
    shown.disconnect();
    resolve(performance.now() - began);
  });
  shown.observe(document.querySelector('#items-tool tbody'), { childList: true });
  field.value = text;
  field.dispatchEvent(new Event('input', { bubbles: true }));
})"""


def facts_of(items: int, folder: Path) -> tuple[RunFacts, float, float]:
    """A run's facts, with the seconds that labelling and gathering took."""
    task, _ = statements(items)
    began = time.monotonic()
    result = elicit.label(
        task, "tiny?threads=1", cache=folder / f"{items}.db", demonstrations="64"
    )
    middle = time.monotonic()
    found = gather(result.record, task)
    return found, middle - began, time.monotonic() - middle


def lengthened(facts: RunFacts) -> RunFacts:
    """The same with long texts."""
    items = [
        replace(item, text=item.text.ljust(LONG, "x"), characters=LONG) for item in facts.items
    ]
    return replace(facts, items=tuple(items))


def looked_at(browser: Browser, path: Path, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds to open a page and to filter it, of each repeat."""
    opened, filtered = [], []
    for _ in range(repeats):
        view = browser.new_page(viewport={"width": 1200, "height": 900})
        view.goto(path.as_uri())
        view.wait_for_function(OPENED)
        opened.append(view.evaluate("performance.getEntriesByType('navigation')[0].duration"))
        filtered.append(view.evaluate(FILTERED, "plums"))
        view.close()
    return [ms / 1000 for ms in opened], [ms / 1000 for ms in filtered]


def told(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, nargs="+", default=[1_000, 5_000, 20_000])
    parser.add_argument("--repeats", type=int, default=5)
    a = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium on the path")
    columns = ["items", "bytes", "gathered, s", "written, s", "opened, s", "filtered, s"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        rows = []
        for items in a.items:
            facts, _, gathered = facts_of(items, folder)
            rows.append((f"{items:,}", facts, gathered))
            if items == a.items[0]:
                rows.append((f"{items:,}, texts of 100 kB", lengthened(facts), gathered))
        for what, facts, gathered in rows:
            began = time.monotonic()
            content = page(facts).encode()
            written = time.monotonic() - began
            path = folder / "page.html"
            path.write_bytes(content)
            opened, filtered = looked_at(browser, path, a.repeats)
            print(
                f"| {what} | {len(content):,} | {gathered:.2f} | {written:.2f} "
                f"| {told(opened)} | {told(filtered)} |",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    main()
