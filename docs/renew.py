"""What the handbook shows, made anew by perfmodel itself: `python docs/renew.py`, after constants or screens change.

Pictures: each module of docs/pictures but draw.py has a `picture()` that returns the SVG of the file of its name.
Answers: a block of docs/levers/*.md that begins with "$ perfmodel …" holds what that command prints.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ANSWER = re.compile(r"(?<=^```\n)\$ perfmodel (.*)\n((?:(?!```).*\n)*)(?=```$)", re.M)


def pictures() -> dict[Path, str]:
    """File → the SVG that should stand in it."""
    folder = DOCS / "pictures"
    sys.path.insert(0, str(folder))
    try:
        modules = sorted(path for path in folder.glob("*.py") if path.name != "draw.py")
        return {path.with_suffix(".svg"): runpy.run_path(str(path))["picture"]() for path in modules}
    finally:
        sys.path.remove(str(folder))


def printed(command: str) -> str:
    """What `perfmodel command` prints in a terminal of 100 columns, whatever its exit code."""
    asked = [sys.executable, "-m", "perfmodel", *shlex.split(command)]
    answer = subprocess.run(asked, capture_output=True, text=True, env=os.environ | {"COLUMNS": "100"}, check=False)
    return answer.stdout + answer.stderr


def renewed(text: str) -> str:
    """A page with the answers of its commands."""
    return ANSWER.sub(lambda block: f"$ perfmodel {block[1]}\n{printed(block[1])}", text)


if __name__ == "__main__":
    for file, drawn in pictures().items():
        file.write_text(drawn, encoding="utf-8")
    for page in sorted((DOCS / "levers").glob("*.md")):
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
