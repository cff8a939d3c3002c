"""Constants from measured kernels: a robust fit on logarithms, and its error on shapes that the fit has not seen."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

import numpy as np

SHARE = "share"
"""A constant of this kind is a share of a physical limit: above 0, at most 1."""

TIME = "time"
"""A constant of this kind is any number above 0."""

HELD_OUT = 0.3  # share of the shapes that the fit does not see

Predict = Callable[[Mapping[str, float]], Any]


@dataclass(frozen=True, slots=True)
class Errors:
    """Absolute percentage errors of `n` predictions, as fractions."""

    n: int
    median: float
    p90: float
    mean: float
    bias: float

    @classmethod
    def of(cls, predicted: Any, measured: Any) -> Errors:
        signed = np.asarray(predicted) / np.asarray(measured) - 1
        off = np.abs(signed)
        if not off.size:
            return cls(0, float("nan"), float("nan"), float("nan"), float("nan"))
        return cls(
            off.size, float(np.median(off)), float(np.quantile(off, 0.9)), float(off.mean()), float(np.median(signed))
        )


@dataclass(frozen=True, slots=True)
class Start:
    """Where the fit of one constant begins, of which kind it is, and how far from there it may well end.

    `pull` is the standard deviation of a prior on its logarithm, in units of one measurement's typical residual
    over all; None leaves it free.
    """

    value: float
    kind: str = TIME
    pull: float | None = None


class Scorable(Protocol):
    """Rows of one table: what they took, the naive roofline's time, and what constants predict."""

    @property
    def seconds(self) -> Any: ...
    @property
    def roofline_s(self) -> Any: ...
    def predicted(self, constants: Mapping[str, Any]) -> Any: ...


class Case(NamedTuple):
    """The rows that the constants of one kernel and format of a library are scored on."""

    library: str
    kernel: str
    key: str
    version: str
    seconds: Any
    roofline_s: Any
    predicted: Predict

    @classmethod
    def of(cls, library: str, kernel: str, key: str, version: str, rows: Scorable) -> Case:
        return cls(library, kernel, key, version, rows.seconds, rows.roofline_s, rows.predicted)


def fitted(
    predict: Callable[[Mapping[str, Any]], Any],
    seconds: Any,
    start: Mapping[str, Start],
    weights: Any | None = None,
    scale: float = 0.1,
) -> dict[str, float]:
    """The constants for which `predict` comes nearest to `seconds`.

    Least squares of ln(predicted/measured) with a soft-L1 loss, which lets outliers pull linearly beyond `scale`.
    Shares go through a logistic, times through an exponential, so that no step leaves physics.
    """
    from scipy.optimize import least_squares

    names = list(start)
    begin = np.array([_inward(start[name]) for name in names])
    root_weights = 1.0 if weights is None else np.sqrt(np.asarray(weights))
    target = np.log(seconds)
    count = np.sqrt(len(target))

    def residuals(x: Any) -> Any:
        off = (np.log(predict(_outward(names, start, x))) - target) * root_weights
        pulls = [
            count * 0.1 * (x[i] - begin[i]) / pull for i, n in enumerate(names) if (pull := start[n].pull) is not None
        ]
        return np.concatenate([off, pulls]) if pulls else off

    with np.errstate(over="ignore", divide="ignore"):  # steps too far, which are taken back
        found = least_squares(residuals, begin, loss="soft_l1", f_scale=scale, x_scale="jac", max_nfev=200)
    return {name: float(value) for name, value in _outward(names, start, found.x).items()}


def _inward(start: Start) -> float:
    if start.kind == SHARE:
        return float(np.log(start.value / (1 - start.value)))
    return float(np.log(start.value))


def _outward(names: list[str], start: Mapping[str, Start], x: Any) -> dict[str, Any]:
    return {
        name: 1 / (1 + np.exp(-x[i])) if start[name].kind == SHARE else np.exp(x[i]) for i, name in enumerate(names)
    }


def held_out(keys: Any, share: float = HELD_OUT) -> Any:
    """Which rows are kept from the fit: all rows of a shape or none, by a hash of its key, the same in every run."""
    kept = {key: zlib.crc32(str(key).encode()) % 1000 < share * 1000 for key in set(keys)}
    return np.array([kept[key] for key in keys])


FOLDS = 3


def folds(keys: Any) -> Any:
    """Which of three parts each row is kept from the fit with: all rows of a key together, by a hash of it."""
    part = {key: zlib.crc32(str(key).encode()) % FOLDS for key in set(keys)}
    return np.array([part[key] for key in keys])


def unseen(rows: Any, fold: Any, constants_of: Callable[[Any], Mapping[str, float]]) -> Any:
    """Predictions of `rows`, each fold by constants that come from the other two; NaN where there are no others.

    `rows` has `.part(mask)`, and `.predicted(constants)` of the part.
    """
    predicted = np.full(len(fold), np.nan)
    for one in range(FOLDS):
        kept = fold == one
        if kept.any() and not kept.all():
            predicted[kept] = rows.part(kept).predicted(constants_of(rows.part(~kept)))
    return predicted


def four_digits(form: Any, values: Mapping[str, float]) -> dict[str, float]:
    """The constants of a kernel's form (a dataclass) among `values`, for a hardware file."""
    return {f.name: float(f"{values[f.name]:.4g}") for f in fields(form)}


def rests_on(version: str, points: int, errors: Errors) -> dict[str, Any]:
    """What constants rest on, for a hardware file beside them."""
    return {"version": version, "points": points, "median": round(errors.median, 4), "p90": round(errors.p90, 4)}
