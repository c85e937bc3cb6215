"""Take the README's picture of a report: `python docs/report_picture.py` (needs Chromium)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import elicit
from elicit.cli.report import gathered
from elicit.cli.tasks import task_file
from elicit.report.page import page
from elicit.task_file import load_task

WIDTH, HEIGHT = 1200, 1120


def main() -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        store, shown = Path(name) / "e.db", Path(name) / "report.html"
        task = load_task(task_file("claims"), 64)
        elicit.label(task, "tiny", cache=store, name="claims-1", method="icm", chains=3)
        shown.write_text(page(gathered("claims-1", None, store)), "utf-8")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        view = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        view.goto(shown.as_uri())
        view.screenshot(path=Path(__file__).parent / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
