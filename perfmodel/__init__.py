"""perfmodel: what LLM inference costs, counted exactly and timed honestly.

    hardware/*.yaml ──┐ catalog
    models/*.yaml   ──┼───────► GPU · Model ──┐            ┌─► memory: does it fit, how many more
                      └─ precision, engine ───┴► Deployment┤
    prompt, output, batch ─► Workload ─► Batch ────────────┴─► forward ─► [Op …] ─► roofline: bound
                                                                              └───► kernels: expected
                                     Estimate ◄── latency: TTFT, TPOT, tokens/s ◄───────┘

A number flows one way. `forward` knows no hardware, `kernels` knows no model, `latency` knows no terminal.
Every number is counted (exact), a bound (physics), or expected (calibrated, with an interval).

>>> import perfmodel as pm
>>> answer = pm.estimate(model="llama3-70b", gpu="h100", tp=4, batch=8)
>>> answer.tpot_s.expected          # seconds; .bound, .low and .high beside it
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# a public name must not be a module's: importing perfmodel.x binds the module to perfmodel.x
_PUBLIC = {
    "estimate": "perfmodel.answer",
    "Estimate": "perfmodel.answer",
    "serve": "perfmodel.serving.question",
    "Serving": "perfmodel.serving.question",
    "Lengths": "perfmodel.serving.lengths",
    "plan": "perfmodel.planning.question",
    "Plan": "perfmodel.planning.answer",
    "advise": "perfmodel.planning.advising",
    "Advice": "perfmodel.planning.advising",
    "sweep": "perfmodel.study.asked",
    "Sweep": "perfmodel.study.result",
    "compare": "perfmodel.comparison",
    "Comparison": "perfmodel.comparison",
    "write_page": "perfmodel.report.pages",
    "load_gpu": "perfmodel.catalog",
    "load_model": "perfmodel.catalog",
    "names": "perfmodel.catalog",
    "GPU": "perfmodel.gpu",
    "Model": "perfmodel.model",
    "Batch": "perfmodel.batch",
    "Deployment": "perfmodel.deployment",
    "Precision": "perfmodel.precision",
    "Workload": "perfmodel.workload",
    "totals": "perfmodel.op",
    "Table": "perfmodel.table",
    "PerfModelError": "perfmodel.errors",
    "SpecError": "perfmodel.errors",
    "UnknownNameError": "perfmodel.errors",
    "RequestError": "perfmodel.errors",
    "DoesNotFitError": "perfmodel.errors",
}
__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> Any:
    """Public names are loaded when first asked for (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'perfmodel' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
