"""Writes what commands print into docs/accuracy.md: every block that begins with "$ perfmodel …", anew.

python benchmarks/accuracy.py            # all of them; some need perfmodel[calibrate]
python benchmarks/accuracy.py --recorded # those of what hardware files record

"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).parent.parent / "docs" / "accuracy.md"
BLOCK = re.compile(r"^```\n\$ perfmodel (.*)\n(?:.*\n)*?```$", re.MULTILINE)


def printed(block: re.Match[str]) -> str:
    """The block with what its command prints now."""
    if "--recorded" in sys.argv and "--recorded" not in block[1]:
        return block[0]
    command = [sys.executable, "-m", "perfmodel", *shlex.split(block[1])]
    done = subprocess.run(command, env=os.environ | {"COLUMNS": "110"}, capture_output=True, text=True, check=True)
    return f"```\n$ perfmodel {block[1]}\n{done.stdout}```"


if __name__ == "__main__":
    FILE.write_text(BLOCK.sub(printed, FILE.read_text(encoding="utf-8")), encoding="utf-8")
