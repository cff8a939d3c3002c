"""The tutorial is true: its commands run, and what it shows of their output is what they print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TEXT = (Path(__file__).parent.parent / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python|)\n(.*?)^```", TEXT, re.M | re.S)


def commands(kind: str) -> Iterator[str]:
    return (body for language, body in BLOCKS if language == kind)


SHOWN = [body.partition("\n")[::2] for body in commands("")]
PLAIN = [line for body in commands("sh") for line in body.splitlines()]


def in_order(shown: str, printed: str) -> bool:
    """Whether what is shown stands in what was printed, in order; `...` stands for anything."""
    pattern = ".*?".join(re.escape(part.strip()) for part in shown.split("..."))
    return re.search(pattern, printed, re.S) is not None


def test_the_tutorial_has_commands() -> None:
    assert len(SHOWN) >= 6
    assert len(PLAIN) >= 3
    assert len(list(commands("python"))) >= 2


@pytest.mark.slow
@pytest.mark.parametrize(("command", "shown"), SHOWN, ids=[command for command, _ in SHOWN])
def test_what_is_shown_is_printed(command: str, shown: str, run: Callable[..., Any]) -> None:
    assert command.startswith("$ perfmodel ")
    ran = run(*shlex.split(command)[2:])
    assert in_order(shown, ran.out + ran.err), ran.out + ran.err


@pytest.mark.slow
@pytest.mark.parametrize("command", PLAIN)
def test_commands_run(command: str, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*shlex.split(command)[1:]).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("code", list(commands("python")), ids=["sweep", "plan"])
def test_code_runs(code: str) -> None:
    exec(compile(code, "tutorial.md", "exec"), {})


def test_what_is_not_printed_is_found_out() -> None:
    assert in_order("a\n...\nc", "a\nb\nc")
    assert not in_order("a\n...\nd", "a\nb\nc")
