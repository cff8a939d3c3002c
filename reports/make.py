"""Make the example reports, and pictures of them: `python reports/make.py [FOLDER] [--pictures]`.

The pages go into FOLDER (this one); with --pictures also a PNG of the beginning of each, taken by a headless Chromium
(`pip install playwright`, and a Chromium of the system).
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
REPORTS = {
    "estimate": "estimate --model llama3-70b --gpu h100 --tp 4 --batch 32 --prompt 2048 --output 512",
    "plan": "plan --model llama3.1-8b --gpu l40s,h100,h200 --rate 20 --ttft '1 s' --tpot '50 ms' --availability n+1",
    "validation": "validate report",
}
"""Name of a page's file → the command whose answer it shows."""
WIDTH, HEIGHT = 1100, 1500
"""Pixels of a picture."""


def make(folder: Path) -> list[Path]:
    """The pages, made in a folder."""
    from perfmodel.cli import main

    made = []
    for name, command in REPORTS.items():
        made.append(folder / f"{name}.html")
        if code := main(["report", "--html", str(made[-1]), *shlex.split(command)]):
            raise SystemExit(code)
    return made


def pictures(pages: list[Path]) -> list[Path]:
    """A picture of the beginning of each page, beside it."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("reports/make.py: pictures need a Chromium; apt-get install chromium.")
    taken = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for page in pages:
            shown = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            shown.goto(page.resolve().as_uri())
            shown.wait_for_selector(".plot svg")
            shown.wait_for_timeout(500)  # what plotly draws comes with the next frames
            taken.append(page.with_suffix(".png"))
            shown.screenshot(path=str(taken[-1]))
        browser.close()
    return taken


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--pictures"]
    into = Path(given[0]) if given else HERE
    into.mkdir(parents=True, exist_ok=True)
    pages = make(into)
    for picture in pictures(pages) if "--pictures" in sys.argv[1:] else ():
        print(f"Written {picture}")
