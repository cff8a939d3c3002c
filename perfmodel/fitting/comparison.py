"""Operator tables against the constants of hardware files, beside what the fits recorded and the naive roofline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.catalog import load_gpu
from perfmodel.fitting import aiconfigurator
from perfmodel.fitting.fit import Case, Errors
from perfmodel.fitting.recorded import Tables, columns, forms_of, grouped, in_formats
from perfmodel.fitting.tables import DEVICES, PACKAGE, package_version, root
from perfmodel.fitting.write import Fitted, Name, means, told
from perfmodel.table import Table, flush_right, percent

BY = "kernel,format"
SOURCE = "aiconfigurator-core"


@dataclass(frozen=True, slots=True)
class Held:
    """One table's rows that its errors are told on, each prediction as a multiple of what was measured.

    shipped    by the constants of the device's file, which were refitted to all rows; empty where it has none
    roofline   by max(FLOPs/peak, bytes/bandwidth) of the datasheet
    without    by what devices like it would have told, had nobody measured it: others of its architecture or, where
               there are none, all others; empty where it was not asked for, or no other device has such a kernel
    family_out   the same by devices of other architectures only
    recorded   what the fit recorded; None where there is none
    """

    device: str
    library: str
    kernel: str
    key: str
    shipped: Any
    roofline: Any
    without: Any
    family_out: Any
    recorded: Fitted | None


@dataclass(frozen=True)
class Comparison:
    """Every held-out row of the chosen tables, told by the columns `by`."""

    by: tuple[str, ...]
    left_out: bool
    held: list[Held]

    def title(self) -> str:
        rows = sum(len(h.roofline) for h in self.held)
        return f"{rows:,} rows of {len(self.held)} tables of {PACKAGE} {package_version()}"

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        groups = [
            {"by": dict(zip(self.by, key, strict=True)), **self._told(g)} for key, g in grouped(self.held, self.by)
        ]
        return {"overall": self._told(self.held), "groups": groups}

    def table(self) -> Table:
        groups = grouped(self.held, self.by)
        told = [*(self._told(members) for _, members in groups), self._told(self.held)]
        first, *others = self.by
        names = {name: [key[i] for key, _ in groups] for i, name in enumerate(self.by)}
        names = {first: [*names[first], "all"]} | {name: [*names[name], ""] for name in others}
        figures: dict[str, list[Any]] = {"rows": [one["n"] for one in told]}
        for title, key, sign in (("median", "median_ape", ""), ("mean", "mean_ape", ""), ("90th", "p90_ape", ""),
                                 ("bias", "bias", "+")):  # fmt: skip
            figures[title] = flush_right([percent(one[key], sign) for one in told])
        for title, key in (("recorded", "recorded"), ("roofline", "roofline"), *self._also()):
            figures[title] = flush_right([pair(one[key]) for one in told])
        return Table(names | figures, f"Errors by {', '.join(self.by)}: {self.title()}")

    def legend(self) -> list[tuple[str, str]]:
        """(column, what it is) of the figures that the table has side by side."""
        lines = [
            (
                "median, …",
                "of the shipped constants, which were refitted to all rows, on shapes that the recorded fits had not "
                "seen: of real models, and cold in cache",
            ),
            (
                "recorded",
                "median / 90th percentile of constants that had not seen these shapes, as hardware files record them; "
                "the mean over tables",
            ),
            ("roofline", "of max(FLOPs/peak, bytes/bandwidth) on the same rows"),
        ]
        if self.left_out:
            lines.append(("left out", "of the means of the other devices of the architecture, or of all other devices"))
            lines.append(("family out", "of the means of devices of other architectures"))
        return lines

    def _also(self) -> tuple[tuple[str, str], ...]:
        return (("left out", "left_out"), ("family out", "family_left_out")) if self.left_out else ()

    def _told(self, members: list[Held]) -> dict[str, Any]:
        recorded = [h.recorded for h in members if h.recorded is not None]
        whole: dict[str, Any] = {
            "n": sum(len(h.roofline) for h in members),
            "scored": sum(len(h.shipped) for h in members),
        }
        whole |= _errors([h.shipped for h in members]) or _NOTHING
        whole |= {
            "recorded": Tables.of(recorded).to_dict() if recorded else None,
            "roofline": _errors([h.roofline for h in members]),
        }
        if self.left_out:
            whole["left_out"] = _errors([h.without for h in members])
            whole["family_left_out"] = _errors([h.family_out for h in members])
        return whole


_NOTHING = {"median_ape": None, "mean_ape": None, "p90_ape": None, "bias": None}


def _errors(ratios: list[Any]) -> dict[str, Any] | None:
    every = np.concatenate(ratios)
    if not every.size:
        return None
    e = Errors.of(every, 1.0)
    return {"median_ape": e.median, "mean_ape": e.mean, "p90_ape": e.p90, "bias": e.bias}


def pair(errors: Mapping[str, Any] | None) -> str:
    """The median and the 90th percentile, as "4.9 / 14.2 %"."""
    return f"{errors['median_ape'] * 100:.1f} / {percent(errors['p90_ape'])}" if errors else ""


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


SECONDS = {"gemm": 2.5, "attention": 1.5, "grouped": 1.0, "collective": 0.1, "scan": 1.0, "exchange": 0.1}
"""About how long the rows of a device take."""


def plan(devices: str | None, kernels: str | None, by: str | None = None) -> list[tuple[str, str]]:
    """(device, kernel), as the tables and `aiconfigurator.MODULES` name them, of what is asked for."""
    columns(by or BY)
    root()
    forms = forms_of(kernels)
    chosen = [name for name in aiconfigurator.MODULES if forms & forms_of(name)]
    return [(device, kernel) for device in aiconfigurator.devices(devices) for kernel in chosen]


def compared(
    steps: Iterable[tuple[str, str]], kernels: str | None, formats: str | None, by: str | None, left_out: bool
) -> Comparison:
    """The comparison of the steps of a plan, taken one by one."""
    names, forms, known = columns(by or BY), forms_of(kernels), Shipped()
    held = [
        _held(device, case, known, left_out) for device, name in steps for case in aiconfigurator.cases(device, name)
    ]
    return Comparison(names, left_out, in_formats([h for h in held if h.kernel in forms and len(h.roofline)], formats))


class Shipped:
    """The constants of the devices that have tables, as their files hold them."""

    def __init__(self) -> None:
        gpus = {device: load_gpu(name) for device, name in DEVICES.items()}
        self.names = {device: gpu.name for device, gpu in gpus.items()}
        self.kinds = {device: gpu.architecture for device, gpu in gpus.items()}
        self.fits: dict[str, dict[Name, Fitted]] = {
            device: {fit.name: fit for fit in told(gpu) if fit.source == SOURCE} for device, gpu in gpus.items()
        }

    def without(self, device: str, name: Name) -> Fitted | None:
        """What the device would get if nobody had measured it."""
        near = [d for d in self.kinds if d != device and self.kinds[d] == self.kinds[device]]
        return self._mean(near, name) or self._mean([d for d in self.kinds if d != device], name)

    def family_out(self, device: str, name: Name) -> Fitted | None:
        """What it would get if nobody had measured its architecture."""
        return self._mean([d for d in self.kinds if _family(self.kinds[d]) != _family(self.kinds[device])], name)

    def _mean(self, devices: list[str], name: Name) -> Fitted | None:
        known = [self.fits[d][name] for d in devices if name in self.fits[d]]
        return means(known)[0] if known else None


def _family(architecture: str) -> str:
    """Blackwell and Blackwell Ultra are one."""
    return architecture.removesuffix(" Ultra")


def _held(device: str, case: Case, known: Shipped, left_out: bool) -> Held:
    name = (case.library, case.kernel, case.key)
    own = known.fits[device].get(name)
    others = (known.without(device, name), known.family_out(device, name)) if left_out else (None, None)
    ratios = [_ratios(case, fit) for fit in (own, *others)]
    roofline = case.roofline_s / case.seconds
    return Held(known.names[device], *name, ratios[0], roofline, ratios[1], ratios[2], own)


def _ratios(case: Case, fit: Fitted | None) -> Any:
    return np.empty(0) if fit is None else case.predicted(fit.constants) / case.seconds
