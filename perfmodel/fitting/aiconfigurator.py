"""Every device, library, kernel and format of the operator tables → constants, as hardware files hold them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

from perfmodel.catalog import load_gpu
from perfmodel.errors import RequestError
from perfmodel.fitting import attention, collective, exchange, gemm, grouped, products, scan
from perfmodel.fitting.fit import Case
from perfmodel.fitting.tables import DEVICES, PACKAGE, package_version, root
from perfmodel.fitting.write import Fitted, file_of, write
from perfmodel.kernels.forms import FORMS
from perfmodel.spec import nearest

Found = Mapping[str, Mapping[str, Mapping[str, Any]]]

MODULES: dict[str, tuple[ModuleType, ...]] = {
    "gemm": (gemm,),
    "attention": (attention, products),
    "grouped": (grouped,),
    "collective": (collective,),
    "scan": (scan,),
    "exchange": (exchange,),
}
"""What is fitted together, and the modules that do it."""

SECONDS = {"gemm": 5.0, "attention": 7.0, "grouped": 3.0, "collective": 18.0, "scan": 2.0, "exchange": 2.0}
"""About how long the fits of a device take."""

EXACT = ("gemm", "collective", "exchange")
"""Forms whose constants are left out where they say nothing: no such term, no such kernel."""


def devices(words: str | None = None) -> list[str]:
    """Names in the tables of the devices of a comma list; all of them without one."""
    if words is None:
        return list(DEVICES)
    known = {load_gpu(name).name: device for device, name in DEVICES.items()}
    return list(dict.fromkeys(_of(load_gpu(word.strip()).name, known) for word in words.split(",")))


def shown(device: str) -> str:
    """What a device of the tables is called in the catalog."""
    return load_gpu(DEVICES[device]).name


def _of(name: str, known: Mapping[str, str]) -> str:
    if name not in known:
        raise RequestError(f"{PACKAGE} has not measured {name}; it has {', '.join(known)}.")
    return known[name]


def kernels(words: str | None = None) -> list[str]:
    """The kernels of a comma list; all of them without one."""
    names = list(MODULES) if words is None else list(dict.fromkeys(word.strip() for word in words.split(",")))
    for name in names:
        if name not in MODULES:
            guess = nearest(name, MODULES)
            hint = f'did you mean "{guess}"?' if guess else f"known: {', '.join(MODULES)}."
            raise RequestError(f'--kernels: no kernels are called "{name[:40]}"; {hint}')
    return names


def fits(device: str, kernel: str) -> list[Fitted]:
    """What the tables tell of one device, named as there, and of one of `MODULES`."""
    told = ((module, module.fits(device)) for module in MODULES[kernel])
    return [fit for module, found in told for fit in _fitted(device, module, found)]


def calibrated(
    steps: Iterable[tuple[str, str]], hardware: Path | None, date: datetime.date
) -> Iterator[tuple[list[Fitted], list[Path]]]:
    """The fits of each device that (device, kernel) steps come to, and the files they were written to at once.

    Without a folder of hardware nothing is written.
    """
    for device, own in groupby(steps, key=lambda step: step[0]):
        found = [fit for _, kernel in own for fit in fits(device, kernel)]
        yield found, [] if hardware is None or not found else write(found, hardware, date)


def plan(devices_: str | None, kernels_: str | None, hardware: Path | None) -> list[tuple[str, str]]:
    """What there is to fit, one device after the other. RequestError where that could not be, or not be written."""
    root()
    steps = [(device, kernel) for device in devices(devices_) for kernel in kernels(kernels_)]
    for device, _ in steps if hardware else ():
        assert hardware is not None
        file_of(hardware, shown(device))
    return steps


def cases(device: str, kernel: str) -> Iterator[Case]:
    """The rows of one device that the constants of one of `MODULES` are scored on."""
    for module in MODULES[kernel]:
        yield from module.cases(device)


def _fitted(device: str, module: ModuleType, found: Found) -> Iterator[Fitted]:
    name, data = load_gpu(DEVICES[device]).name, f"{PACKAGE} {package_version()}"
    for library, by_key in found.items():
        for told, entry in by_key.items():
            form, key = _NAMES.get(module, _both)(told, device)
            rests = (entry["version"], entry["points"], entry["median"], entry["p90"])
            yield Fitted(name, library, form, key, shipped(form, entry), data, *rests)


def shipped(form: str, entry: Mapping[str, Any]) -> dict[str, float]:
    """The constants of an entry that a hardware file holds, by the names of the form's fields."""
    known = {f.name: f for f in fields(FORMS[form])}
    needed = {name for name, f in known.items() if f.default is MISSING or form not in EXACT}
    return {name: entry[name] for name in known if name in entry and (entry[name] or name in needed)}


def _both(told: str, device: str) -> tuple[str, str]:
    form, key = told.split(" ")
    return form, key


def _of_one_form(form: str) -> Callable[[str, str], tuple[str, str]]:
    return lambda told, device: (form, told)


_NAMES: dict[ModuleType, Callable[[str, str], tuple[str, str]]] = {
    gemm: _of_one_form("gemm"),
    grouped: _of_one_form("grouped"),
    scan: _of_one_form("scan"),
    collective: lambda told, device: ("collective", f"{collective.link_of(device)} {told}"),
    exchange: lambda told, device: ("exchange", f"{collective.link_of(device)} {told}"),
}
"""How a module names what it fitted → form and format, or what else tells its constants apart."""
