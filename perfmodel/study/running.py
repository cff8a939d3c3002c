"""Parts of a study, computed here, on all cores, or on workers elsewhere: one interface, joblib's."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from perfmodel.errors import RequestError
from perfmodel.study.encoded import encoded
from perfmodel.study.parts import Part
from perfmodel.study.rows import Columns, Rows, keeps, kept
from perfmodel.study.study import Study
from perfmodel.study.summary import Best, Summary, summary

_last: list[tuple[Study, Rows]] = []


def columns_of(study: Study, part: Part) -> Columns:
    """The rows of a part."""
    if not _last or _last[0][0] != study:  # a worker is given many parts of one study
        _last[:] = [(study, Rows(study))]
    return _last[0][1].of(part)


LOST = (
    *("TerminatedWorkerError", "BrokenProcessPool"),  # loky: killed, or out of memory
    *("KilledWorker", "CommClosedError", "CancelledError", "FutureCancelledError", "FuturesCancelledError"),  # Dask
    *("RayActorError", "ActorDiedError", "WorkerCrashedError", "NodeDiedError"),  # Ray
)
"""What says that workers are gone, by name: their packages need not be there."""
ROUND = 64
"""Parts that are handed to a Ray cluster at a time."""


class Computed(NamedTuple):
    """What came of a part: its columns, or the bytes of a file, or nothing but its summary."""

    number: int
    data: Any
    summary: Summary


@dataclass(frozen=True)
class Wanted:
    """What parts are computed for: "columns", "summary" alone, or the bytes of a form; and the best rows."""

    form: str = "columns"
    best: Best | None = None


def computed(study: Study, part: Part, wanted: Wanted, version: str) -> Computed:
    """What a worker makes of a part."""
    from perfmodel import __version__

    if version != __version__:
        raise RequestError(
            f"A worker has perfmodel {__version__}, this is {version}; install the same version on both."
        )
    _take_up(study.folders)
    columns = columns_of(study, part)
    keep = keeps(study, columns)
    told = summary(study, columns, keep, wanted.best)
    if wanted.form == "summary":
        return Computed(part.number, None, told)
    own = kept(study, columns, keep)
    return Computed(part.number, own if wanted.form == "columns" else encoded(own, study.kept, wanted.form), told)


def _take_up(folders: tuple[str, ...]) -> None:
    """Know the user's own specs by name, in a process that was not told of them."""
    from perfmodel.catalog import add_path, known_paths

    for folder in folders:
        if Path(folder) not in known_paths() and Path(folder) != Path.cwd():
            add_path(folder)


def results(
    study: Study,
    parts: Iterable[Part],
    wanted: Wanted,
    jobs: int = 1,
    scheduler: str | None = None,
    ordered: bool = True,
) -> Iterator[Computed]:
    """What comes of each part: as soon as it is there, or in order.

    `jobs` processes on this machine (0: one a core), or the workers of a `scheduler`: "tcp://host:8786" (Dask),
    "ray://host:10001" or "ray" (Ray). RequestError where it cannot be reached, or a package is missing.
    """
    from perfmodel import __version__

    count = jobs_checked(jobs)
    if scheduler is None and count == 1:
        for part in parts:
            yield computed(study, part, wanted, __version__)
        return
    joblib = _joblib()
    # what is interrupted is not finished: the command says so itself
    warnings.filterwarnings("ignore", r".*tasks which were still being processed", UserWarning, "joblib")
    with _backend(joblib, scheduler, count) as workers:
        tasks = (joblib.delayed(computed)(study, part, wanted, __version__) for part in parts)
        try:
            if _ray_named(scheduler):  # its pool hands results over all together (joblib's MultiprocessingBackend)
                while some := list(islice(tasks, ROUND)):
                    yield from joblib.Parallel(n_jobs=workers, batch_size=1)(some)
                return
            yield from _as_they_come(joblib, tasks, workers, ordered)
        except Exception as error:
            if type(error).__name__ not in LOST:  # any other is a bug, and keeps its traceback
                raise
            raise RequestError(_lost(error)) from None


def _as_they_come(joblib: Any, tasks: Iterator[Any], workers: int, ordered: bool) -> Iterator[Computed]:
    parallel = joblib.Parallel(
        n_jobs=workers,
        return_as="generator" if ordered else "generator_unordered",
        pre_dispatch="3*n_jobs",
        batch_size=1,
    )
    with _uninterrupted():
        found = parallel(tasks)
    try:
        yield from found
    finally:
        found.close()


def _ray_named(scheduler: str | None) -> bool:
    return scheduler is not None and (scheduler == "ray" or scheduler.startswith("ray://"))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What is started in here is spared interrupts from the keyboard: they are for this process, which ends the others.

    Processes inherit that a signal is ignored. (That one is blocked they would inherit too, but Python's own tracker of
    resources unblocks it.)
    """
    if threading.current_thread() is not threading.main_thread():  # no other may say what signals do
        yield
        return
    before, told = signal.signal(signal.SIGINT, signal.SIG_IGN), os.environ.get("PYTHONWARNINGS")
    # what killed workers leave is cleared away, and nobody need be warned of it
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (told, "ignore:resource_tracker")))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if told is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = told


def jobs_checked(jobs: Any) -> int:
    """How many processes; RequestError for what is no number of them."""
    if isinstance(jobs, bool) or not isinstance(jobs, int) or not 0 <= jobs <= 4096:
        raise RequestError(f"--jobs must be a whole number of processes, 0 for one a core; got {jobs!r}.")
    return jobs or os.cpu_count() or 1


def _lost(error: Exception) -> str:
    told = " ".join(str(error).split())[:200]
    return f"A worker was lost for good ({type(error).__name__}: {told}); what is finished is kept with --out."


def _joblib() -> Any:
    try:
        import joblib
    except ImportError:
        raise RequestError('--jobs and --scheduler need joblib: pip install "perfmodel[sweep]".') from None
    return joblib


@contextmanager
def _backend(joblib: Any, scheduler: str | None, jobs: int) -> Iterator[int]:
    """How many workers there are, while joblib hands parts to them."""
    if scheduler is None:
        with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
            yield jobs
    elif _ray_named(scheduler):
        with _ray(joblib, scheduler):
            yield -1
    else:
        with _dask(joblib, scheduler):
            yield -1


@contextmanager
def _dask(joblib: Any, address: str) -> Iterator[None]:
    if not address.startswith(("tcp://", "tls://", "ucx://", "inproc://")):
        raise RequestError(
            f'--scheduler {address[:60]}: needs an address, "tcp://host:8786" (Dask) or "ray://host:10001" (Ray).'
        )
    try:
        from distributed import Client
    except ImportError:
        raise RequestError('--scheduler tcp://… needs Dask: pip install "perfmodel[dask]".') from None
    try:
        client: Any = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        told = " ".join(str(error).split())[:120]
        raise RequestError(f"--scheduler {address}: no Dask scheduler answers there ({told}).") from None
    try:
        if not client.scheduler_info()["workers"]:
            raise RequestError(f"--scheduler {address}: it has no workers; start one: dask worker {address}.")
        with joblib.parallel_config(backend="dask", client=client):
            yield
    finally:
        client.close()


@contextmanager
def _ray(joblib: Any, address: str) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError:
        raise RequestError('--scheduler ray needs Ray: pip install "ray[client]".') from None
    register_ray()
    try:
        ray.init(address="auto" if address == "ray" else address, ignore_reinit_error=True, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        told = " ".join(str(error).split())[:120]
        raise RequestError(f"--scheduler {address}: no Ray cluster answers there ({told}).") from None
    with joblib.parallel_config(backend="ray"):
        yield
