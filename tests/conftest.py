"""Shared fixtures: the command line run in this process, its output caught."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import settings

# no test reaches for the Hub; the library reads this when it is first imported
os.environ["HF_HUB_OFFLINE"] = "1"
# the width of a pipe, whatever the runner says of its own (pytest-xdist: 80)
os.environ["COLUMNS"] = "100"

from perfmodel.cli import main

# the same examples in every run of CI; new ones on every developer's machine
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


class Ran(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`run("estimate", "--model", …)` → exit code, stdout, stderr."""

    def command(*arguments: str) -> Ran:
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return command


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread: small products gain nothing from more, and lose much where other work runs."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
