"""The `calibration:` blocks of hardware files: fitted constants, and what they were fitted to."""

from __future__ import annotations

import datetime
from dataclasses import fields
from typing import Annotated, Any

from pydantic import Field, model_validator

from perfmodel.kernels.forms import FORMS
from perfmodel.spec import Spec, nearest
from perfmodel.units import Count

Error = Annotated[float, Field(ge=0, allow_inf_nan=False)]

SHARES = ("compute", "memory", "share", "one_share", "two_share")
"""Constants of kernels that are shares of what the hardware can do."""
FACTORS = ("sustained", "overheads")
"""Forms that hold factors of such names, which may be above 1."""


class Fit(Spec):
    """What the constants of one kernel rest on.

    `median` and `p90` are absolute errors, as fractions, on shapes (or runs) that the fit had not seen. Of runs of
    whole models also: how many were of each device, model and version of the engine, and `spreads`, the factors up and
    down that hold 80 % of them, by phase and by what the fit had not seen ("decode device").
    """

    data: str
    version: str | None = None
    date: datetime.date
    points: Count
    median: Error
    p90: Error
    devices: dict[str, int] = Field(default_factory=dict)
    models: dict[str, int] = Field(default_factory=dict)
    versions: dict[str, int] = Field(default_factory=dict)
    spreads: dict[str, float] = Field(default_factory=dict)


class Kernel(Spec):
    """The constants of one kernel in one format, by the names of its form's fields."""

    constants: dict[str, float]
    fit: Fit


class Calibration(Spec):
    """The kernels of one library or engine on one device: form → format → constants."""

    kernels: dict[str, dict[str, Kernel]]

    @model_validator(mode="after")
    def _of_known_forms(self) -> Calibration:
        for name, by_format in self.kernels.items():
            if name not in FORMS:
                guess = nearest(name, FORMS)
                hint = f'did you mean "{guess}"?' if guess else "known: " + ", ".join(FORMS)
                raise ValueError(f'no kernel is called "{name}"; {hint}')
            for number_format, kernel in by_format.items():
                _checked(name, number_format, kernel.constants)
        return self


class Architecture(Spec):
    """What devices of one architecture have in common; serves those that nobody measured.

    `watts_per_flops` is the board power for each FLOP/s of the 16-bit peak of the devices that its constants come
    from (or of a typical one), which tells what more or less power does to the clock of another.
    """

    name: str = ""
    title: str
    watts_per_flops: float | None = None
    notes: tuple[str, ...] = ()
    calibration: dict[str, Calibration] = Field(default_factory=dict)


def _checked(name: str, number_format: str, constants: dict[str, float]) -> None:
    where, known = f"{name}.{number_format}", {f.name: f for f in fields(FORMS[name])}
    for constant, value in constants.items():
        if constant not in known:
            guess = nearest(constant, known)
            hint = f'did you mean "{guess}"?' if guess else "known: " + ", ".join(known)
            raise ValueError(f'{where} has no constant "{constant}"; {hint}')
        if constant in SHARES and name not in FACTORS and not 0 < value <= 1:
            raise ValueError(f"{where}.{constant} must be a share above 0, at most 1, like 0.85; got {value!r}")
        if not 0 <= value < float("inf"):
            raise ValueError(f"{where}.{constant} must be a number of at least 0; got {value!r}")
    missing = [f.name for f in known.values() if _needed(f) and f.name not in constants]
    if missing:
        raise ValueError(f"{where} lacks its constant {missing[0]}; add it")


def _needed(field: Any) -> bool:
    from dataclasses import MISSING

    return field.default is MISSING and field.default_factory is MISSING
