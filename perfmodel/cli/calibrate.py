"""`perfmodel calibrate`: measurements → the constants of hardware files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli import benchmarked as b
from perfmodel.cli import measuring as m
from perfmodel.cli import options as o
from perfmodel.errors import RequestError

TABLES = "aiconfigurator"
MODES = "fixed_batch,single_stream,concurrency"
Source = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Instead of this device: a benchmark's result file, or rows that validate import wrote (your own runs); "
        "aiconfigurator: its tables of kernels; FILE.csv: runs of whole models; FILE.csv,aiconfigurator: both's.",
        metavar="SOURCE",
    ),
]
Device = Annotated[str | None, typer.Option("--device", help="Only these devices (comma list).", metavar="NAMES")]
Kernels = Annotated[
    str | None,
    typer.Option(
        help="Only these: gemm, attention, grouped, collective, scan, exchange (comma list).", metavar="NAMES"
    ),
]
Mode = Annotated[
    str | None, typer.Option("--mode", help=f"Of a file of runs: only these modes ({MODES}).", metavar="MODES")
]
Hardware = Annotated[
    Path | None,
    typer.Option(help="Folder of hardware files to write to; for kernels the catalog's own by default.", metavar="DIR"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Fit and print, write nothing.")]


def calibrate(
    source: Source = None,
    device: Device = None,
    kernels: Kernels = None,
    mode: Mode = None,
    hardware: Hardware = None,
    dry_run: DryRun = False,
    on: m.On = None,
    name: m.Name = None,
    formats: m.Formats = None,
    budget: m.Budget = None,
    results: m.Kept = None,
    fresh: m.Fresh = False,
    busy: m.Busy = False,
    html: o.Html = None,
    json: o.Json = False,
    model: b.Model = None,
    gpu: b.Gpu = None,
    gpu_count: b.Count = None,
    tp: o.Tp = None,
    pp: o.Pp = None,
    weights: b.Weights = None,
    kv: o.Kv = None,
    engine: b.Engine = None,
    engine_version: b.Version = None,
    prompt: b.Prompt = None,
    output: b.Output = None,
    batch: b.Batch = None,
    path: o.Folders = None,
) -> None:
    """Measure this device and write its file, or fit constants to what was measured elsewhere (--from)."""
    every = dict(locals())
    given = {name: every[name] for name in b.GIVEN}
    o.take_up(path)
    if source is None:
        _without("--from", every, (*b.GIVEN, "device", "kernels", "mode", "dry_run"))
        asked = m.asked(on, name, formats, m.seconds(budget, m.BUDGET_S), results, fresh, busy, hardware)
        return m.told(m.measured(asked), html, json)
    _with("--from", every, m.FLAGS)
    file, _, more = source.partition(",")
    own = None if more or not Path(file).is_file() else _own_rows(file, given)
    if own is None:
        _for_results(given)
    if own is not None:
        _unasked({"--device": device, "--kernels": kernels})
        _own(own, file, mode or MODES, None if hardware is None or dry_run else _folder(hardware), json)
    elif file.endswith(".csv") and more in ("", TABLES):
        _unasked({"--device": device, "--kernels": kernels})
        _runs(_rows(file, mode or MODES, bool(more)), source, hardware, dry_run, json)
    elif source == TABLES:
        _tables(device, kernels, None if dry_run else _folder(hardware), json)
    else:
        raise RequestError(f'--from takes "{TABLES}" or a file of runs, like runs.csv; got "{source[:40]}".')
    return None


def _without(use: str, every: dict[str, Any], flags: tuple[str, ...]) -> None:
    for name in (name for name in flags if every[name] not in (None, False)):
        raise RequestError(f"--{name.replace('_', '-')} is for {use} FILE; without it, this device is measured.")


def _with(use: str, every: dict[str, Any], flags: tuple[str, ...]) -> None:
    for name in (name for name in flags if every[name] not in (None, False)):
        raise RequestError(f"--{name} is for measuring this device, which {use} does not.")


def _own_rows(file: str, given: dict[str, Any]) -> list[Any] | None:
    """The user's own runs; None where the file is a table of others'."""
    from perfmodel.benchmarked.run import Given
    from perfmodel.benchmarked.tools import rows_to_fit

    return rows_to_fit(file, Given(**given))


def _for_results(given: dict[str, Any]) -> None:
    for name in (name for name, value in given.items() if value is not None):
        raise RequestError(f"--{name.replace('_', '-')} is for a benchmark's result file, which may not say it.")


def _own(rows: list[Any], file: str, mode: str, folder: Path | None, json: bool) -> None:
    """What an engine costs on the user's device, by a few runs; written into its file where a folder is given."""
    import datetime

    from perfmodel.fitting.own import own_fits, write_own
    from perfmodel.published.rows import chosen

    fits, left_out = own_fits(chosen(rows, mode, "ok", file).rows)
    written = [] if folder is None else write_own(fits, Path(file).name, folder, datetime.date.today())
    told = {"own": [fit.to_dict() for fit in fits], "left_out": left_out, "written": list(map(str, written))}
    reasons = "".join(f"\n{n} rows left out: {reason}" for reason, n in left_out.items())
    print(o.dumped(told) if json else "\n".join(fit.text() for fit in fits) + f"{reasons}\n\n{_end(written)}")


def _folder(hardware: Path | None) -> Path:
    from perfmodel.catalog import data_folder

    folder = hardware or data_folder("hardware")
    if not folder.is_dir():
        raise RequestError(f"--hardware: {folder} is no folder; give one that holds the files of the devices.")
    return folder


def _tables(device: str | None, kernels: str | None, folder: Path | None, json: bool) -> None:
    from perfmodel.fitting.aiconfigurator import plan
    from perfmodel.fitting.recorded import BY, Records

    fits, written = _fitted(plan(device, kernels, folder), folder)
    told = [o.dumped(_contract(fits, written))] if json else [_text(Records(BY, fits)), _end(written)]
    print("\n".join(told))


def _fitted(steps: list[tuple[str, str]], folder: Path | None) -> tuple[list[Any], list[Path]]:
    """The fits of every step, each device's in its file as soon as they are done."""
    fits, written = list[Any](), dict[Path, None]()
    try:
        for found, files in _device_by_device(steps, folder):
            fits += found
            written |= dict.fromkeys(files)
    except KeyboardInterrupt:
        print(f"perfmodel: stopped. {_end(list(written))}", file=sys.stderr)
        raise
    return fits, list(written)


def _device_by_device(steps: list[tuple[str, str]], folder: Path | None) -> Any:
    import datetime

    from perfmodel.cli.progress import passed
    from perfmodel.fitting.aiconfigurator import SECONDS, calibrated

    return calibrated(passed(steps, SECONDS), folder, datetime.date.today())


def _end(written: list[Path]) -> str:
    return f"Written: {', '.join(map(str, written))}." if written else "Nothing is written."


def _contract(fits: list[Any], written: list[Path]) -> dict[str, Any]:
    return {"fits": [fit.to_dict() for fit in fits], "written": [str(file) for file in written]}


def _text(records: Any) -> str:
    from perfmodel.cli.screen import bold, narrowed

    table = records.table()
    return f"{bold(table.title)}\n{narrowed(table.columns, ('version', 'points'))}"


def _unasked(others: dict[str, Any]) -> None:
    for flag in (flag for flag, value in others.items() if value is not None):
        raise RequestError(f"{flag} is for kernels; runs of whole models are fitted together.")


def _rows(file: str, mode: str, more: bool) -> list[Any]:
    """The rows of a file in the modes asked, and where asked the runs of aiconfigurator."""
    from perfmodel.published.rows import chosen, rows_of

    rows = list(chosen(rows_of(file), mode, "ok", file).rows)
    if more:
        from perfmodel.fitting.silicon import silicon_rows

        rows += silicon_rows()
    return rows


def _runs(rows: list[Any], source: str, hardware: Path | None, dry_run: bool, json: bool) -> None:
    """The constants of engines that runs of whole models tell, and their errors; written where a folder is given."""
    import os

    from perfmodel.fitting.engines import fitted

    folder = None if hardware is None or dry_run else _folder(hardware)
    fit = fitted(rows, jobs=os.cpu_count() or 1)
    written = [] if folder is None else _written(fit, source, folder)
    told = fit.to_dict() | {"written": list(map(str, written))}
    print(o.dumped(told) if json else f"{fit.text()}\n\n{_end(written)}")


def _written(fit: Any, source: str, folder: Path) -> list[Path]:
    import datetime

    from perfmodel.fitting.kept import write_runs

    told = " and ".join(Path(part).name for part in source.split(","))
    return write_runs(fit, told, folder, datetime.date.today())
