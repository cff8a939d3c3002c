"""`perfmodel calibrate`: measurements → the constants of hardware files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli import options as o
from perfmodel.errors import RequestError

TABLES = "aiconfigurator"
Source = Annotated[
    str,
    typer.Option(
        "--from",
        help="aiconfigurator: its tables of kernels. FILE.csv: runs of whole models; FILE.csv,aiconfigurator: both's.",
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
Mode = Annotated[str, typer.Option("--mode", help="Of a file of runs: only these modes (comma list).")]
Hardware = Annotated[
    Path | None,
    typer.Option(help="Folder of hardware files to write to; for kernels the catalog's own by default.", metavar="DIR"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Fit and print, write nothing.")]


def calibrate(
    source: Source,
    device: Device = None,
    kernels: Kernels = None,
    mode: Mode = "fixed_batch,single_stream,concurrency",
    hardware: Hardware = None,
    dry_run: DryRun = False,
    json: o.Json = False,
) -> None:
    """Fit the constants of kernels to measurements and write them into hardware/. Needs perfmodel[calibrate]."""
    file, _, more = source.partition(",")
    if file.endswith(".csv") and more in ("", TABLES):
        _unasked({"--device": device, "--kernels": kernels})
        _runs(_rows(file, mode, bool(more)), source, hardware, dry_run, json)
    elif source == TABLES:
        _tables(device, kernels, None if dry_run else _folder(hardware), json)
    else:
        raise RequestError(f'--from takes "{TABLES}" or a file of runs, like runs.csv; got "{source[:40]}".')


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
