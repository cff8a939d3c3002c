"""The operator tables of `aiconfigurator-core`: where they are, which devices they measure, and what is in them.

A development-time data source (PyPI, Apache-2.0): latencies of single kernels in milliseconds, one Parquet file for
each device, kind of op, engine and version. Nothing of it is copied here; fitted constants carry its version.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from perfmodel.errors import RequestError

PACKAGE = "aiconfigurator-core"
LIBRARIES = ("vllm", "trtllm", "sglang")
"""Engines whose kernels are measured."""

DEVICES = {
    "a100_sxm": "a100",
    "h100_sxm": "h100",
    "h200_sxm": "h200",
    "b200_sxm": "b200",
    "b300_sxm": "b300",
    "gb200": "gb200",
    "gb300": "gb300",
    "l40s": "l40s",
    "rtx_pro_6000_server": "rtx-pro-6000",
    "b60": "b60",
}
"""Devices with tables, and what they are called here."""


NEEDED = {"aiconfigurator_core": PACKAGE, "pyarrow": "pyarrow", "scipy": "scipy"}


@cache
def root() -> Path:
    """The folder of the tables; RequestError where a package is missing that has, reads or fits them."""
    missing = [name for module, name in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise RequestError(f'This needs {" and ".join(missing)}: pip install "perfmodel[calibrate]".')
    return Path(str(import_module("aiconfigurator_core").__file__)).parent / "systems"


def package_version() -> str:
    return metadata.version(PACKAGE)


def versions(device: str, op: str, library: str, file: str) -> list[str]:
    """Versions of an engine measured for `file`, the newest last."""
    folder = root() / "data" / device / op / library
    if not folder.is_dir():
        return []
    return sorted((f.name for f in folder.iterdir() if (f / f"{file}.parquet").is_file()), key=_ordered)


def _ordered(version: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(n or 0), text) for n, text in re.findall(r"(\d*)(\D*)", version))


def table(device: str, op: str, library: str, file: str, version: str | None = None) -> tuple[str, Any] | None:
    """(version, DataFrame) of one file, the newest version unless told otherwise; None when there is none.

    A column `seconds` is added to `latency`, which is in ms.
    """
    known = versions(device, op, library, file)
    if not known:
        return None
    import pandas as pd

    chosen = version or known[-1]
    frame = pd.read_parquet(root() / "data" / device / op / library / chosen / f"{file}.parquet")
    if "latency" in frame:
        frame = frame[frame["latency"] > 0].copy()
        frame["seconds"] = frame["latency"] * 1e-3
    return chosen, frame
