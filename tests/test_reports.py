"""The example reports: all of them are made, sound, and pictured."""

from __future__ import annotations

import runpy
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from read_pages import check, data

FOLDER = Path(__file__).parent.parent / "reports"
SCRIPT: dict[str, Any] = runpy.run_path(str(FOLDER / "make.py"))


def png_size(file: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its header (ISO/IEC 15948, 11.2.2)."""
    head = file.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made: list[Path] = SCRIPT["make"](tmp_path_factory.mktemp("reports"))
    return made


def test_three_reports_are_made_and_sound(pages: list[Path]) -> None:
    assert [page.stem for page in pages] == list(SCRIPT["REPORTS"])
    assert len(pages) == 3
    for page in pages:
        text = page.read_text(encoding="utf-8")
        check(text)
        assert len(data(text)["plots"]) >= 5
        assert f"perfmodel {SCRIPT['REPORTS'][page.stem]} --html {page}" in unescape(text)


def test_each_has_a_picture_and_its_command_in_the_readme() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, command in SCRIPT["REPORTS"].items():
        assert f"perfmodel report {command}" in text
        assert f"({name}.png)" in text
        picture = FOLDER / f"{name}.png"
        assert picture.stat().st_size < 300_000
        assert png_size(picture) == (SCRIPT["WIDTH"], SCRIPT["HEIGHT"])
    ignored = (FOLDER.parent / ".gitignore").read_text(encoding="utf-8")
    assert "/reports/*.html" in ignored


def test_pictures_are_taken(pages: list[Path]) -> None:
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("needs a Chromium: apt-get install chromium")
    taken = SCRIPT["pictures"](pages[:1])
    assert [picture.name for picture in taken] == ["estimate.png"]
    assert png_size(taken[0]) == (SCRIPT["WIDTH"], SCRIPT["HEIGHT"])
    assert 20_000 < taken[0].stat().st_size < 300_000
