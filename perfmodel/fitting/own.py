"""The user's own few runs → what an engine costs on their device: a light fit, held to what is known before it.

The fit of engines.py needs hundreds of rows of many devices to tell engines from devices. A handful of one engine on
one device tells a few constants, each drawn to the value that it has now; what the rows do not tell stays. Errors are
those of settings that were left out one at a time; where these come no nearer than before, nothing is written.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from math import exp, log
from pathlib import Path
from typing import Any, cast

import numpy as np

from perfmodel.calibrated import Calibration, Fit, Kernel
from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.errors import RequestError
from perfmodel.fitting.fit import Errors, Start, fitted
from perfmodel.fitting.free import LIMITS, SPREADS, TIMES
from perfmodel.fitting.kept import FEW, PULL
from perfmodel.fitting.runs import UNDER, Group, expected, groups_of, phase, setting
from perfmodel.fitting.write import Fitted, file_of, put
from perfmodel.interval import SETTING, size_of
from perfmodel.kernels.overheads import Overheads
from perfmodel.published.rows import Row

FOLDS = 10
"""Settings left out one at a time up to so many; of more, a tenth each time."""
MOVED = {"prefill": ("prompt_s", "compute"), "decode": ("layer_s", "pass_s", "memory"),
         "end to end": ("layer_s", "pass_s", "compute", "memory")}  # fmt: skip
"""Constants that a phase's rows tell of."""
LOADED = ("request_s",)
"""And those that a server's tell besides."""
UNSTATED: Any = cast(Any, Fit).model_construct(points=1, median=0.0, p90=0.0, devices={}, models={}, spreads={})


@dataclass(frozen=True)
class OwnFit:
    """Constants of one engine's generation on one device: as they were, as the rows have them, and errors of both.

    before  errors of the rows by the constants that they had
    fitted  by the fitted constants, which saw them
    unseen  by constants that were fitted without each row's setting; None where there is one row alone
    points  the rows, and those that the constants before rested on: they are the priors
    """

    device: str
    engine: str
    rows: int
    settings: int
    was: dict[str, float]
    constants: dict[str, float]
    before: Errors
    fitted: Errors
    unseen: Errors | None
    points: int
    more: dict[str, dict[str, Any]]
    overheads: dict[str, float]

    @property
    def better(self) -> bool:
        """Whether rows that were left out come nearer than before."""
        return self.unseen is not None and self.unseen.mean < self.before.mean

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        names = ("device", "engine", "rows", "settings", "was", "constants")
        errors = {"before": self.before, "fitted": self.fitted, "unseen": self.unseen}
        told = {name: None if e is None else _told(e) for name, e in errors.items()}
        return {name: getattr(self, name) for name in names} | told | {"better": self.better}

    def text(self) -> str:
        """Constants and errors as lines of text."""
        lines = [f"{self.engine} on {self.device}: {self.rows} rows of {self.settings} settings"]
        lines += [
            f"  {n:12} {_constant(n, self.was[n])} → {_constant(n, v)}{_end(n, v)}" for n, v in self.constants.items()
        ]
        errors = (("before", self.before), ("left out", self.unseen), ("fitted", self.fitted))
        lines += [f"  error {n:8} median {e.median:.1%}, mean {e.mean:.1%}, bias {e.bias:+.1%}" for n, e in errors if e]
        if not self.better:
            lines.append("  Rows that were left out come no nearer: these constants are not worth having.")
        return "\n".join(lines)

    def entry(self, data: str) -> Fitted:
        """The entry of the device's file. Its source names the engine, so that others' entries stay."""
        told = f"own/{self.engine.replace(' ', '-')} runs of {data}"
        errors = self.unseen or self.before
        return Fitted(
            self.device, self.engine, "overheads", "any", self.overheads, told, None, self.points, errors.median,
            errors.p90, self.more,
        )  # fmt: skip


def _told(errors: Errors) -> dict[str, float]:
    return {"median_ape": errors.median, "p90_ape": errors.p90, "mean_ape": errors.mean, "bias": errors.bias}


def _constant(name: str, value: float) -> str:
    return f"{value * 1e6:9.1f} µs" if name.endswith("_s") else f"{value:9.3f}   "


def _end(name: str, value: float) -> str:
    """A word on a constant that went as far as it may: something else is wrong."""
    return " (as far as it may: what the rows tell is something else)" if value in LIMITS.get(name, ()) else ""


def own_fits(rows: Iterable[Row]) -> tuple[list[OwnFit], dict[str, int]]:
    """A fit of each engine on each device of the rows, and why others were left out."""
    if find_spec("scipy") is None:
        raise RequestError('This needs scipy: pip install "perfmodel[calibrate]".')
    groups, left_out = groups_of(rows)
    if not groups:
        reasons = "; ".join(f"{n} rows: {reason}" for reason, n in left_out.most_common(3))
        raise RequestError(f"no row of quality ok can be predicted, so that there is nothing to fit ({reasons})")
    found: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        found.setdefault((group.plan.gpu.name, group.plan.engine.runs), []).append(group)
    return [_Problem(tuple(members)).fit() for members in found.values()], dict(left_out.most_common())


@dataclass(frozen=True)
class _Problem:
    """The rows of one engine on one device."""

    groups: tuple[Group, ...]

    @property
    def plan(self) -> Deployment:
        return self.groups[0].plan

    @cached_property
    def settings(self) -> list[str]:
        return [setting(q) for group in self.groups for q in group.asked]

    @cached_property
    def phases(self) -> list[str]:
        return [phase(q) for group in self.groups for q in group.asked]

    @cached_property
    def measured(self) -> Any:
        return np.array([q.row.value for group in self.groups for q in group.asked])

    @cached_property
    def costs(self) -> dict[str, float]:
        """Overheads as they are without these rows: an own entry of before is not its own prior."""
        bare = _without(self.plan)
        return asdict(Constants(bare.gpu, bare.engine).costs)

    @cached_property
    def starts(self) -> dict[str, Start]:
        """What the rows tell of, and where it begins. A setting's rows err together: they tell as much as one."""
        told = len(set(self.settings)) ** 0.5
        names: dict[str, None] = {}
        for kind in self.phases:
            names |= dict.fromkeys(MOVED[kind.removesuffix(UNDER)])
            names |= dict.fromkeys(LOADED if kind.endswith(UNDER) else ())
        return {
            name: Start(self.costs[name], pull=SPREADS.get(name, TIMES) * told)
            for name in names
            if self.costs[name] > 0
        }

    def predicted(self, constants: Mapping[str, float]) -> Any:
        """Every row by these constants, within what they can be."""
        kept = self.costs | _limited(constants)
        return np.concatenate([expected(group, with_overheads(group.plan, kept)) for group in self.groups])

    def fit(self) -> OwnFit:
        """The fit of all rows, and what rows left out of it get."""
        was = {name: start.value for name, start in self.starts.items()}
        constants = self._fitted(np.ones(len(self.measured), dtype=bool))
        unseen = self._unseen()
        return OwnFit(
            self.plan.gpu.name,
            self.plan.engine.runs,
            len(self.measured),
            len(set(self.settings)),
            was,
            constants,
            Errors.of(self.predicted(was), self.measured),
            Errors.of(self.predicted(constants), self.measured),
            None if unseen is None else Errors.of(unseen, self.measured),
            len(self.measured) + (self._before.points if self._before.devices else 0),
            self._more(unseen),
            stated(self.costs | constants),
        )

    @cached_property
    def _before(self) -> Any:
        """What the constants before rest on."""
        bare = _without(self.plan)
        runs = Constants(bare.gpu, bare.engine).runs
        return UNSTATED if runs is None else runs.origin.fit

    def _fitted(self, seen: Any) -> dict[str, float]:
        found = fitted(lambda c: self.predicted(c)[seen], self.measured[seen], self.starts)
        return _limited(found)

    def _unseen(self) -> Any:
        """Each row by constants from the rows of other settings; from the other rows, where there is one setting."""
        keys = self.settings if len(set(self.settings)) > 1 else [str(i) for i in range(len(self.measured))]
        if len(set(keys)) < 2:
            return None
        number = {key: i % FOLDS for i, key in enumerate(dict.fromkeys(keys))}
        parts = np.array([number[key] for key in keys])
        predicted = np.empty(len(keys))
        for part in set(parts.tolist()):
            out = parts == part
            predicted[out] = self.predicted(self._fitted(~out))[out]
        return predicted

    def _more(self, unseen: Any) -> dict[str, dict[str, Any]]:
        """What else the entry tells: what was measured before and now, and how far off rows are, by phase."""
        old = self._before
        models, versions = dict(old.models), dict(getattr(old, "versions", {}))
        for group in self.groups:
            n, version = len(group.asked), group.plan.engine.version
            models[size_of(group.plan.model)] = models.get(size_of(group.plan.model), 0) + n
            versions |= {version: versions.get(version, 0) + n} if version else {}
        devices = dict(old.devices) | {self.plan.gpu.name: old.devices.get(self.plan.gpu.name, 0) + len(self.measured)}
        spreads = dict(old.spreads) | dict(self._spreads(old.spreads, unseen))
        return {"devices": devices, "models": models, "versions": versions, "spreads": spreads}

    def _spreads(self, old: Mapping[str, float], unseen: Any) -> Iterable[tuple[str, float]]:
        """The factor that holds 80 % of each phase: what the rows show, drawn to what was known."""
        off = None if unseen is None else np.abs(np.log(unseen / self.measured))
        for kind in ("prefill", "decode"):
            usual = old.get(f"{kind} setting", SETTING[kind])
            rows = np.array([p.removesuffix(UNDER) in (kind, "end to end") for p in self.phases])
            if off is not None and rows.any():
                n = min(int(rows.sum()), FEW)
                shown = float(np.quantile(off[rows], 0.8))
                yield f"{kind} setting", round(exp((n * shown + PULL * log(usual)) / (n + PULL)), 3)


def _limited(constants: Mapping[str, float]) -> dict[str, float]:
    ends = {name: LIMITS.get(name, (0.0, float("inf"))) for name in constants}
    return {name: float(min(max(value, ends[name][0]), ends[name][1])) for name, value in constants.items()}


def _without(plan: Deployment) -> Deployment:
    """The deployment on its device as it was before any own runs."""
    kept = {}
    for library, held in plan.gpu.calibration.items():
        own = held.kernels.get("overheads", {}).get("any")
        if own is None or not own.fit.data.startswith("own/"):
            kept[library] = held
    return replace(plan, gpu=plan.gpu.model_copy(update={"calibration": kept}))


def with_overheads(plan: Deployment, constants: Mapping[str, float]) -> Deployment:
    """`plan` with its engine's overheads on its device replaced; all else stays."""
    entry = Kernel.model_construct(constants=stated(constants), fit=UNSTATED)
    held = plan.gpu.calibration.get(plan.engine.runs)
    kernels = {} if held is None else dict(held.kernels)
    kernels["overheads"] = {"any": entry}
    blocks = plan.gpu.calibration | {plan.engine.runs: Calibration.model_construct(kernels=kernels)}
    return replace(plan, gpu=plan.gpu.model_copy(update={"calibration": blocks}))


def stated(constants: Mapping[str, float]) -> dict[str, float]:
    """All but what is 0 anyway."""
    usual = asdict(Overheads())
    return {name: value for name, value in constants.items() if value or usual[name]}


def write_own(fits: list[OwnFit], data: str, hardware: Path, date: datetime.date) -> list[Path]:
    """Put the fits that are better into the files of their devices; the files written."""
    written: dict[Path, None] = {}
    for fit in fits:
        if fit.better:
            written[put(file_of(hardware, fit.device), [fit.entry(data)], {"overheads"}, date)] = None
    return list(written)
