"""A study → a file, part by part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from perfmodel.errors import RequestError
from perfmodel.study.encoded import form_of
from perfmodel.study.kept import Kept
from perfmodel.study.parts import parts
from perfmodel.study.running import Wanted, jobs_checked, results
from perfmodel.study.study import Study
from perfmodel.study.summary import Best, Summary, merged


def written(
    study: Study,
    file: Path,
    resume: bool = False,
    jobs: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    best: Best | None = None,
) -> Summary:
    """Compute what is not there yet, keep each part as it comes, and put the file together at the end.

    `progress` is told the rows that are done, and of how many. KeyboardInterrupt leaves the finished parts.
    """
    jobs_checked(jobs)
    if study.breakdown:
        raise RequestError("A breakdown has columns of its own for each model; take it as a table, not as a file.")
    form = form_of(file)
    kept = Kept(file, study, form, best, resume)
    there = kept.finished
    every = list(parts(study))
    sizes = {part.number: part.rows for part in every}
    left = (part for part in every if part.number not in there)
    done = sum(sizes[number] for number in there)
    if progress is not None:
        progress(done, study.cases)
    for part in results(study, left, Wanted(form, best), jobs, scheduler, ordered=False):
        kept.keep(part)
        done += sizes[part.number]
        if progress is not None:
            progress(done, study.cases)
    found = merged((kept.summary(number) for number in range(kept.count)), best)
    kept.finish()
    return found


def summarised(
    study: Study, best: Best, jobs: int, scheduler: str | None, progress: Callable[[int, int], None]
) -> Summary:
    """The summary of a study whose rows nobody keeps, in the memory of a few parts."""
    found, done = Summary(), 0
    progress(0, study.cases)
    for part in results(study, parts(study), Wanted("summary", best), jobs, scheduler):
        found.add(part.summary, best)
        done += part.summary.cases
        progress(done, study.cases)
    return found
