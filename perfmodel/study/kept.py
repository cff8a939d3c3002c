"""Finished parts on disk: what an interrupted sweep leaves, and goes on from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from perfmodel.errors import RequestError
from perfmodel.files import made_folder, placed_whole, write_whole
from perfmodel.reading import read_json
from perfmodel.study.encoded import assembled
from perfmodel.study.parts import BLOCK, PART_BLOCKS, PART_POINTS, PART_ROWS, part_count
from perfmodel.study.running import Computed
from perfmodel.study.study import Study
from perfmodel.study.summary import Best, Summary, summary_of

ABOUT = "study.json"


class Kept:
    """The parts of one study for one file, in the folder FILE.parts beside it."""

    def __init__(self, file: Path, study: Study, form: str, best: Best | None, resume: bool) -> None:
        self.file, self.study, self.form = file, study, form
        self._fingerprint = fingerprint(study, form, best)
        self.folder = file.with_name(f"{file.name}.parts")
        self.count = part_count(study)
        self._begin(resume)

    def _begin(self, resume: bool) -> None:
        about = self.folder / ABOUT
        if not about.is_file():
            if not self.file.parent.is_dir():
                raise RequestError(
                    f"--out {self.file}: there is no folder {self.file.parent} to write to; make it first."
                )
            if self.file.is_dir():
                raise RequestError(f"--out {self.file}: is a folder; give the name of a file.")
            made_folder(self.folder)
            write_whole(about, json.dumps({"fingerprint": self._fingerprint, "parts": self.count}))
            return
        if not resume:
            raise RequestError(
                f"{self.folder} holds parts of a sweep that was interrupted; --resume goes on with them, or delete it."
            )
        held = read_json(about, str(about))
        if not isinstance(held, dict) or held.get("fingerprint") != self._fingerprint:
            raise RequestError(
                f"{self.folder} holds parts of another sweep (its axes, specs or version differ); "
                f"ask as then, or delete it and leave out --resume."
            )

    def path(self, number: int) -> Path:
        """Where a part lies."""
        return self.folder / f"{number:07d}"

    @property
    def finished(self) -> set[int]:
        """Parts that are there."""
        return {int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()}

    def keep(self, part: Computed) -> None:
        """Add a part, all of it or nothing, and its summary."""
        self._note(part.number).write_text(json.dumps(part.summary.to_dict()), encoding="utf-8")
        with placed_whole(self.path(part.number)) as beside:
            beside.write_bytes(part.data)

    def summary(self, number: int) -> Summary:
        """The summary of a finished part."""
        return summary_of(read_json(self._note(number), str(self._note(number))))

    def _note(self, number: int) -> Path:
        return self.folder / f"{number:07d}.json"

    def finish(self) -> None:
        """Write the file from its parts, and take them away."""
        with placed_whole(self.file) as beside:
            assembled(self._all(), self.study.kept, self.form, beside)
        self.discard()

    def discard(self) -> None:
        """Take all parts away."""
        with suppress(OSError):
            shutil.rmtree(self.folder)

    def _all(self) -> Iterator[Path]:
        for number in range(self.count):
            yield self.path(number)


def fingerprint(study: Study, form: str, best: Best | None) -> str:
    """What tells studies apart: everything that changes a byte of the table, or of what is told of it."""
    from perfmodel import __version__

    asked = (study, study.digest, form, best, __version__, BLOCK, PART_ROWS, PART_BLOCKS, PART_POINTS)
    return hashlib.sha256(repr(asked).encode()).hexdigest()
