"""Files that commands write: all of a file or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perfmodel.errors import RequestError


def write_whole(file: Path, text: str) -> None:
    """Write `text`, which takes its place when it is whole; RequestError where it cannot."""
    with placed_whole(file) as beside:
        beside.write_text(text, encoding="utf-8")


@contextmanager
def placed_whole(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to, which takes its place at the end; RequestError where it cannot."""
    beside = file.with_name(f".perfmodel-{os.getpid()}")
    try:
        yield beside
        os.replace(beside, file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"{file} cannot be written ({reason.lower()}).") from None
    finally:  # also of a run that is interrupted here
        beside.unlink(missing_ok=True)


def made_folder(path: Path) -> Path:
    """The folder, made where it is not there; RequestError where it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RequestError(f"{path} cannot be made a folder ({reason.lower()}).") from None
    return path
