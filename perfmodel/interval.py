"""How wrong an expected time may be: the factor up and down that holds 80 % of measurements.

Factors come from runs of whole models that the fit of an engine's overheads had not seen, by phase and by what else it
had not seen: nothing but the setting, the device, the model. Errors of different causes are independent, so that
their logarithms' squares add up; those of one run's kernels go the same way, and are within these factors.
"""

from __future__ import annotations

from math import exp, log, sqrt

from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.model import Model

PHASES = ("prefill", "decode")

# engine that no run was fitted to: factors of engines that were left out of the fit of all others
NO_RUNS = {"prefill": 1.9, "decode": 1.45}
# what an engine's own runs do not tell, where too few were left out to know
SETTING = {"prefill": 1.25, "decode": 1.15}
DEVICE = {"prefill": 1.25, "decode": 1.18}
MODEL = {"prefill": 1.2, "decode": 1.15}
VERSION = {"prefill": 1.15, "decode": 1.12}
INHERITED = {"device": 1.0, "architecture": 1.08, "all": 1.25}
"""Kernels of a device that nobody measured: those of its architecture, or of all devices."""
HOSTS = 1.27
"""Groups over PCIe, whose hosts differ by more than their devices."""

SPECULATES = {True: 1.15, False: 1.3}
"""Guessing ahead, at acceptance that was measured or at a typical one: no run of it was fitted.

At the tokens a pass that were measured, Spec-Bench's twelve speed-ups on an A100 lie within 13 %; among its six tasks,
tokens a pass differ by some 20 % up and down.
"""


def spread(c: Constants, plan: Deployment, phase: str) -> float:
    """The factor up and down that holds 80 % of measurements of a phase ("prefill" or "decode")."""
    inherited = INHERITED[c.found("gemm", _main(plan)).origin.level]
    parts = []
    if plan.tp > 1 and (link := plan.gpu.link(plan.tp)) is not None and link.name.startswith("PCIe"):
        parts.append(HOSTS)
    if plan.speculation is not None and phase == "decode":
        parts.append(SPECULATES[plan.speculation.stated])
    if c.runs is None:
        return _together(NO_RUNS[phase], inherited, *parts)
    fit = c.runs.origin.fit
    base = fit.spreads.get(f"{phase} setting", SETTING[phase])
    if plan.gpu.name not in fit.devices:
        parts += [inherited, _beyond(fit.spreads.get(f"{phase} device", DEVICE[phase] * base), base)]
    if size_of(plan.model) not in fit.models:
        parts.append(_beyond(fit.spreads.get(f"{phase} model", MODEL[phase] * base), base))
    if plan.engine.version and plan.engine.version not in fit.versions:
        parts.append(_beyond(fit.spreads.get(f"{phase} version", VERSION[phase] * base), base))
    return _together(base, *parts)


def _main(plan: Deployment) -> str:
    """The format whose products tell whether a device was measured."""
    return "fp32" if plan.precision.stream.bits > 16 else "bf16"


def size_of(model: Model) -> str:
    """What tells whether a model like it was measured: its layers and its width, as "80 x 8192"."""
    return f"{model.layers} x {model.hidden_size}"


def basis(plan: Deployment) -> str:
    """What expected times and their intervals rest on, in words."""
    c = Constants(plan.gpu, plan.engine)
    title = plan.engine.title or plan.engine.name
    kernels = c.found("gemm", _main(plan)).origin
    where = {"device": f"measured on {kernels.of}", "architecture": f"of {kernels.of}", "all": "of all devices"}
    if c.runs is None:
        return f"no measurements of {title}; kernels {where[kernels.level]}"
    fit = c.runs.origin.fit
    here, same = fit.devices.get(plan.gpu.name, 0), fit.models.get(size_of(plan.model), 0)
    told = f"{here:,} of them on {plan.gpu.name}" if here else f"none on {plan.gpu.name}"
    model = "" if same else f", none of a model like {plan.model.name}"
    return f"{fit.points:,} measurements of {title}, {told}{model}; kernels {where[kernels.level]}"


def _together(*factors: float) -> float:
    return exp(sqrt(sum(log(factor) ** 2 for factor in factors)))


def _beyond(wide: float, base: float) -> float:
    """What a wider factor has beyond a narrower one that is part of it."""
    return exp(sqrt(max(log(wide) ** 2 - log(base) ** 2, 0.0)))
