"""What the `fit:` entries of hardware files record: errors on shapes that the constants had not seen."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from perfmodel.calibrated import FACTORS
from perfmodel.catalog import load_gpu, names
from perfmodel.errors import RequestError
from perfmodel.fitting.write import Fitted, told
from perfmodel.kernels.forms import FORMS
from perfmodel.spec import nearest
from perfmodel.table import Table, flush_right, percent

BY = ("device", "library", "kernel", "format")
ATTENTION = ("prefill", "decode", "decode-mha", "mla-prefill", "mla-decode", "mla-product")
KERNELS = {
    "attention": ATTENTION,
    **{form: (form,) for form in FORMS if form not in FACTORS},
}
"""What a kernel may be called, and the forms that it means."""


class Tables(NamedTuple):
    """What the fits of one group record; `median` and `p90` are means over its tables."""

    tables: int
    points: int
    median: float
    p90: float

    @classmethod
    def of(cls, fits: list[Fitted]) -> Tables:
        mean = statistics.fmean
        points = sum(fit.points for fit in fits)
        return cls(len(fits), points, mean(fit.median for fit in fits), mean(fit.p90 for fit in fits))

    def to_dict(self) -> dict[str, Any]:
        return {"tables": self.tables, "points": self.points, "median_ape": self.median, "p90_ape": self.p90}


@dataclass(frozen=True)
class Records:
    """The fits that files record, told by the columns `by`."""

    by: tuple[str, ...]
    fits: list[Fitted]

    def to_dict(self) -> dict[str, Any]:
        groups = [{"by": dict(zip(self.by, key, strict=True)), **Tables.of(f).to_dict()} for key, f in self.groups()]
        whole = Tables.of(self.fits).to_dict() if self.fits else {"tables": 0, "points": 0}
        return {"overall": whole, "groups": groups}

    def groups(self) -> list[tuple[tuple[str, ...], list[Fitted]]]:
        """The fits of each combination of the columns, in the order of the files, or of the kernels."""
        return grouped(self.fits, self.by)

    def legend(self) -> list[tuple[str, str]]:
        """(column, what it is), where the table does not say."""
        several = any(len(fits) > 1 for _, fits in self.groups())
        return [("median, …", "means over the tables of a group")] if several else []

    def table(self) -> Table:
        found = self.groups()
        tables = [Tables.of(fits) for _, fits in found]
        columns: dict[str, list[Any]] = {name: [key[i] for key, _ in found] for i, name in enumerate(self.by)}
        if any(t.tables > 1 for t in tables):
            columns["tables"] = [t.tables for t in tables]
        else:
            columns["version"] = [fits[0].version or "" for _, fits in found]
        columns["points"] = [t.points for t in tables]
        columns["median"] = flush_right([percent(t.median) for t in tables])
        columns["90th"] = flush_right([percent(t.p90) for t in tables])
        return Table(columns, "Errors on shapes that the fit had not seen, as hardware files record them")


def recorded(
    devices: str | None = None, kernels: str | None = None, formats: str | None = None, by: str | None = None
) -> Records:
    """The fits of kernels in the catalog's files: of the devices, kernels and formats of comma lists, or all."""
    names_, forms = columns(by or ",".join(BY)), forms_of(kernels)
    wanted = [load_gpu(word.strip()) for word in devices.split(",")] if devices else map(load_gpu, names("gpu"))
    held = [fit for gpu in wanted if gpu.calibration for fit in told(gpu) if fit.kernel in forms]
    return Records(names_, in_formats(held, formats))


def in_formats(held: list[Any], formats: str | None) -> list[Any]:
    """Those whose format is in a comma list, or has a word that is ("all-reduce"); RequestError where none is left."""
    words = {fit.key: {fit.key, *fit.key.split()} for fit in held}
    known = dict.fromkeys(name for own in words.values() for name in own)
    asked = formats.split(",") if formats else known
    chosen = {_known(word.strip(), known, "--format: no format is") for word in asked}
    found = [fit for fit in held if words[fit.key] & chosen]
    if not found:
        raise RequestError('No measured kernel is like that; "perfmodel show" tells what a device inherits.')
    return found


def columns(words: str) -> tuple[str, ...]:
    """Names of columns from a comma list."""
    return tuple(_known(word.strip(), BY, "--by: there is no column") for word in words.split(","))


def forms_of(words: str | None) -> set[str]:
    """The forms of the kernels of a comma list; all of them without one."""
    called = [_known(w.strip(), KERNELS, "--kernel: no kernel is") for w in words.split(",")] if words else KERNELS
    return {form for name in called for form in KERNELS[name]}


def _known(name: str, known: Iterable[str], complaint: str) -> str:
    if name not in known:
        guess = nearest(name, known)
        hint = f'did you mean "{guess}"?' if guess else f"known: {', '.join(known)}."
        raise RequestError(f'{complaint} called "{name[:40]}"; {hint}')
    return name


def grouped(fits: list[Any], by: tuple[str, ...]) -> list[tuple[tuple[str, ...], list[Any]]]:
    """Fits, or whatever else has their names, by the columns."""
    groups: dict[tuple[str, ...], list[Any]] = {}
    for fit in sorted(fits, key=lambda fit: _FORMS.index(fit.kernel)) if by[0] == "kernel" else fits:
        groups.setdefault(tuple(getattr(fit, "key" if name == "format" else name) for name in by), []).append(fit)
    return list(groups.items())


_FORMS = list(FORMS)
