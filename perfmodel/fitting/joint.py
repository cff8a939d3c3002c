"""A fit of many constants at once to rows of which each constant moves only some.

The model is a black box that predicts the rows of one group from the few constants that it depends on. What was
predicted is remembered, a change of one constant predicts only its groups again, and several processes share them.

    cost(x) = Σ w·ρ((ln predicted − ln measured)²/s²) + Σ ((x − prior)/spread)²,    ρ(z) = 2(√(1 + z) − 1)

over logarithms x of the constants: Levenberg (1944) and Marquardt (1963) with reweighted residuals, as deterministic as
the black box. Fits without some rows start from the optimum of all of them and use its derivatives.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

SCALE = 0.1
"""s: residuals beyond it pull linearly instead of by their square."""
STEP = 0.01
"""Change of a logarithm from which derivatives are taken."""
STEPS = 20
"""Most steps of the fit."""
FRESH = 4
"""Steps after which derivatives are taken anew."""

Predict = Callable[[int, Mapping[str, float]], Any]
"""(number of a group, its constants) → a prediction of each of its rows; not finite where there is none."""


@dataclass(frozen=True, slots=True)
class Free:
    """One constant to fit: where it starts, how far from there it may well end, and where it must end.

    `prior` is the value that it has without data, `spread` the standard deviation of its logarithm around that.
    """

    prior: float
    spread: float
    low: float = 0.0
    high: float = float("inf")


@dataclass(frozen=True, slots=True)
class Optimum:
    """The constants at the least cost, what they predict (as logarithms), and the derivatives there."""

    x: Any
    logs: Any
    slopes: Any
    cost: float


_predict: Predict | None = None  # of the worker processes, which are forked


def _one(task: tuple[int, dict[str, float]]) -> Any:
    assert _predict is not None
    return _predict(*task)


@dataclass
class Joint:
    """Groups of rows, the constants each depends on, and what was measured.

    names     the constants of each group
    measured  the figures of each group's rows
    weights   how much each row counts
    """

    free: dict[str, Free]
    predict: Predict
    names: list[tuple[str, ...]]
    measured: list[Any]
    weights: Any
    jobs: int = 1
    _known: list[dict[tuple[float, ...], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._known = [{} for _ in self.names]
        self.at = {name: i for i, name in enumerate(self.free)}
        self.prior = np.log([f.prior for f in self.free.values()])
        self.spread = np.array([f.spread for f in self.free.values()])
        with np.errstate(divide="ignore"):
            self.low = np.log([f.low for f in self.free.values()])
        self.high = np.log([f.high for f in self.free.values()])
        ends = np.cumsum([0, *(len(m) for m in self.measured)])
        self.rows = [slice(a, b) for a, b in pairwise(ends)]
        self.target = np.log(np.concatenate(self.measured))
        self.moved_by: dict[str, list[int]] = {name: [] for name in self.free}
        for i, used in enumerate(self.names):
            for name in used:
                self.moved_by[name].append(i)

    def fitted(self) -> Optimum:
        """The constants of least cost for all rows."""
        with _Pool(self.predict, self.jobs) as pool:
            x, damping = self.prior.copy(), 1e-3
            logs = self._logs(pool, x)
            cost, age = self.cost(x, logs), 0
            slopes = self._slopes(pool, x, logs)
            for _ in range(STEPS):
                tried = self._stepped(x, logs, slopes, np.ones_like(logs), damping)
                there = self._logs(pool, tried)
                now, moved, before = self.cost(tried, there), tried - x, cost
                with np.errstate(invalid="ignore"):
                    missed = np.nan_to_num(there - logs - slopes @ moved)
                if now < cost:
                    x, logs, cost, damping = tried, there, now, damping / 10
                else:
                    damping = max(damping, 1e-3) * 30
                if age >= FRESH or now >= before:
                    if age == 0 and now >= before and damping > 1e3:
                        break
                    slopes, age = (self._slopes(pool, x, logs), 0) if age else (slopes, 0)
                else:  # Broyden (1965): the least change of the derivatives that explains the step
                    slopes, age = slopes + np.outer(missed, moved) / max(moved @ moved, 1e-12), age + 1
                if now < before and before - cost < 3e-4 * before:
                    break
            return Optimum(x, logs, self._slopes(pool, x, logs), cost)

    def without(self, best: Optimum, left_out: Any) -> Any:
        """Predicted logarithms of the rows `left_out`, by constants fitted to the others.

        The fit follows the derivatives at the optimum of all rows; the predictions are the model's own.
        """
        kept = np.where(left_out, 0.0, 1.0)
        x = best.x.copy()
        for _ in range(30):
            logs = best.logs + best.slopes @ (x - best.x)
            new = self._stepped(x, logs, best.slopes, kept, 0.0)
            moved, x = np.abs(new - x).max(), new
            if moved < 1e-5:
                break
        found = np.full(len(self.target), np.nan)
        with _Pool(self.predict, 1) as pool:
            touched = [i for i, rows in enumerate(self.rows) if left_out[rows].any()]
            for i, logs in zip(touched, self._of_groups(pool, x, touched), strict=True):
                found[self.rows[i]] = np.where(left_out[self.rows[i]], logs, np.nan)
        return found

    def cost(self, x: Any, logs: Any) -> float:
        off = np.where(np.isfinite(logs), logs - self.target, 0.0) / SCALE
        rows = 2 * (np.sqrt(1 + off * off) - 1)
        return float((self.weights * rows).sum() + (((x - self.prior) / self.spread) ** 2).sum())

    def values(self, x: Any) -> dict[str, float]:
        """The constants by name."""
        return {name: float(np.exp(v)) for name, v in zip(self.free, x, strict=True)}

    def _stepped(self, x: Any, logs: Any, slopes: Any, kept: Any, damping: float) -> Any:
        known = np.isfinite(logs)
        off = np.where(known, logs - self.target, 0.0) / SCALE
        weight = kept * known * self.weights / np.sqrt(1 + off * off)
        curve = slopes.T @ (weight[:, None] * slopes) / SCALE**2 + np.diag(self.spread**-2.0)
        slope = slopes.T @ (weight * off) / SCALE + (x - self.prior) / self.spread**2
        step = np.linalg.solve(curve + damping * np.diag(np.diag(curve)), slope)
        return np.clip(x - np.clip(step, -1.5, 1.5), self.low, self.high)

    def _slopes(self, pool: _Pool, x: Any, logs: Any) -> Any:
        found = np.zeros((len(logs), len(x)))
        tasks = [(name, i) for name, groups in self.moved_by.items() for i in groups]
        moved = []
        for name, i in tasks:
            there = x.copy()
            there[self.at[name]] += STEP
            moved.append((i, there))
        for (name, i), there in zip(tasks, self._each(pool, moved), strict=True):
            change = (there - logs[self.rows[i]]) / STEP
            found[self.rows[i], self.at[name]] = np.where(np.isfinite(change), change, 0.0)
        return found

    def _logs(self, pool: _Pool, x: Any) -> Any:
        return np.concatenate(self._of_groups(pool, x, range(len(self.names))))

    def _of_groups(self, pool: _Pool, x: Any, groups: Any) -> list[Any]:
        return self._each(pool, [(i, x) for i in groups])

    def _each(self, pool: _Pool, asked: list[tuple[int, Any]]) -> list[Any]:
        """Predicted logarithms of groups at constants; only what is not known yet is predicted."""
        keys = [(i, tuple(x[self.at[name]] for name in self.names[i])) for i, x in asked]
        new = list(dict.fromkeys(key for key in keys if key[1] not in self._known[key[0]]))
        tasks = [(i, dict(zip(self.names[i], map(float, np.exp(key)), strict=True))) for i, key in new]
        for (i, key), predicted in zip(new, pool.map(tasks), strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                self._known[i][key] = np.log(predicted)
        return [self._known[i][key] for i, key in keys]


class _Pool:
    """Processes that predict, forked after the groups were made; this process itself where one is enough."""

    def __init__(self, predict: Predict, jobs: int) -> None:
        global _predict
        _predict = predict
        self._pool = multiprocessing.get_context("fork").Pool(jobs) if jobs > 1 else None

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.terminate()

    def map(self, tasks: list[tuple[int, dict[str, float]]]) -> list[Any]:
        if self._pool is None:
            return [_one(task) for task in tasks]
        return self._pool.map(_one, tasks, chunksize=max(len(tasks) // 64, 1))
