"""A study → a file, part by part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from perfmodel.errors import RequestError
from perfmodel.study.encoded import form_of
from perfmodel.study.kept import Kept
from perfmodel.study.parts import Part, parts
from perfmodel.study.running import jobs_checked, results
from perfmodel.study.study import Study


class Written(NamedTuple):
    """What was written: rows in the file, how many of them fit, and how many this run computed anew."""

    rows: int
    fitting: int
    computed: int


def written(
    study: Study,
    file: Path,
    resume: bool = False,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Compute what is not there yet, keep each part as it comes, and put the file together at the end.

    `progress` is told the rows that are done, and of how many. KeyboardInterrupt leaves the finished parts.
    """
    jobs_checked(jobs)
    if study.breakdown:
        raise RequestError("A breakdown has columns of its own for each model; take it as a table, not as a file.")
    form = form_of(file)
    kept = Kept(file, study, form, resume)
    there = kept.finished
    counts = {number: kept.counts(number) for number in there}
    left: list[Part] = [part for part in parts(study) if part.number not in there]
    sizes = {part.number: part.rows for part in left}
    done = study.cases - sum(sizes.values())
    if progress is not None:
        progress(done, study.cases)
    for number, data, counted in results(study, left, form, jobs, scheduler, ordered=False):
        kept.keep(number, data, counted)
        counts[number] = counted
        done += sizes[number]
        if progress is not None:
            progress(done, study.cases)
    kept.finish()
    rows, fitting = (sum(pair[i] for pair in counts.values()) for i in (0, 1))
    return Written(rows, fitting, sum(sizes.values()))
