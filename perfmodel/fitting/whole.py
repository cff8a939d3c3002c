"""What torch takes for itself on one's own device: overheads fitted to small whole models that ran there.

Kernels are fitted to kernels first (device.py); what is left of whole passes is the framework's: time a layer and a
pass, what element-wise traffic costs where nothing is fused, and how kernels run when others ran just before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from perfmodel.deployment import Deployment
from perfmodel.fitting.fit import Errors, Start, fitted, folds
from perfmodel.fitting.own import stated, with_overheads
from perfmodel.fitting.write import Fitted
from perfmodel.kernels.overheads import Overheads
from perfmodel.latency import decode_time, prefill_time
from perfmodel.workload import Workload

START = {
    "layer_s": Start(5e-5, pull=8),
    "pass_s": Start(1e-4, pull=8),
    "sequence_s": Start(1e-6, pull=8),
    "fusion": Start(1.5, pull=8),
    "compute": Start(1.0, pull=0.7),
    "memory": Start(1.0, pull=0.7),
}
"""Constants that are told by runs of whole models, where each begins, and how far from there it may well end."""
HOST = {"host_layer_s": Start(2e-4, pull=8)}
"""Of eager runs on a device that works beside the host."""


@dataclass(frozen=True)
class Ran:
    """Passes of one model: arrays of (batch, prompt or context, seconds), of prefill or of decode."""

    plan: Deployment
    phase: str
    batch: Any
    tokens: Any
    seconds: Any

    def predicted(self, constants: Mapping[str, float]) -> Any:
        """Expected seconds by the production code, with these overheads in place of the engine's."""
        plan = with_overheads(self.plan, asdict(prior(self.plan)) | dict(constants))
        if self.phase == "prefill":
            return np.asarray(prefill_time(plan, Workload(self.tokens, 1, self.batch)).expected, dtype=float)
        work = Workload(self.tokens, 2, self.batch)
        return np.asarray(decode_time(plan, work, self.tokens).expected, dtype=float)

    @property
    def keys(self) -> list[str]:
        """What is kept from a fit together: a workload of a model."""
        name = self.plan.model.title
        return [f"{name} {self.phase} {b} {t}" for b, t in zip(self.batch, self.tokens, strict=True)]


def prior(plan: Deployment) -> Overheads:
    """What holds of an engine that nobody has measured here: nothing but what the fit finds between its kernels."""
    return replace(plan.engine.overheads, prompt_s=0.0, host_layer_s=0.0, launch=1.0, lag=0.0, request_s=0.0)


def overheads(ran: Sequence[Ran], data: str, version: str, host: bool) -> tuple[Fitted, Errors]:
    """Overheads of the engine that all of `ran` has, and errors on passes that a fit had not seen.

    `host` says that the device works beside the host, which launches its kernels one by one.
    """
    start = START | (HOST if host else {})
    parts = folds([key for one in ran for key in one.keys])
    unseen = np.full(len(parts), np.nan)
    for fold in set(parts.tolist()):
        found = _fit(ran, parts != fold, start)
        unseen[parts == fold] = _predicted(ran, found)[parts == fold]
    seconds = np.concatenate([one.seconds for one in ran])
    errors, constants = Errors.of(unseen, seconds), _fit(ran, parts >= 0, start)
    spread = {phase: _spread(ran, unseen, phase) for phase in ("prefill", "decode")}
    plan = ran[0].plan
    whole = {name: float(f"{value:.4g}") for name, value in stated(asdict(prior(plan)) | constants).items()}
    model = f"{plan.model.layers} x {plan.model.hidden_size}"
    more: dict[str, Mapping[str, float]] = {
        "devices": {plan.gpu.name: len(seconds)},
        "models": {model: len(seconds)},
        "spreads": {f"{phase} setting": value for phase, value in spread.items()},
    }
    told = Fitted(
        plan.gpu.name, plan.engine.runs, "overheads", "any", whole, data, version, len(seconds), errors.median,
        errors.p90, more,
    )  # fmt: skip
    return told, errors


def _fit(ran: Sequence[Ran], seen: Any, start: Mapping[str, Start]) -> dict[str, float]:
    seconds = np.concatenate([one.seconds for one in ran])[seen]
    return fitted(lambda c: _predicted(ran, c)[seen], seconds, start, scale=0.05)


def _predicted(ran: Sequence[Ran], constants: Mapping[str, float]) -> Any:
    return np.concatenate([one.predicted(constants) for one in ran])


def _spread(ran: Sequence[Ran], predicted: Any, phase: str) -> float:
    """The factor up and down that holds 80 % of the passes of a phase."""
    seconds = np.concatenate([one.seconds for one in ran])
    mine = np.concatenate([np.full(len(one.seconds), one.phase == phase) for one in ran])
    off = np.abs(np.log(predicted[mine] / seconds[mine]))
    return round(float(np.exp(np.quantile(off, 0.8))), 3) if len(off) else 1.2
