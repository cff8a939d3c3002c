"""Everything that this device can tell, in one go and within one budget: calibrated, then real models beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from perfmodel.catalog import add_path, load_gpu, load_model
from perfmodel.errors import PerfModelError
from perfmodel.measured.results import Results

from . import calibrate, run
from .device import Device

CALIBRATING = 0.4
"""Share of the time that calibration gets."""

Tell = Callable[[str, float], None]


class Step(NamedTuple):
    """One model in one way: what share of the time it gets, and on which workloads."""

    model: str
    weights: str
    way: str
    batches: tuple[int, ...]
    prompts: tuple[int, ...]
    share: float = 1.0
    draft: str = ""
    ops: bool = False


_BATCHES, _PROMPTS = (1, 8, 64, 256), (128, 2048, 32768)
ON_GPU = (
    Step("llama3.2-1b", "bf16", "eager", (1, 16, 128), (128, 2048), 0.7, ops=True),
    Step("llama3.2-1b", "bf16", "graphs", _BATCHES, _PROMPTS, 0.5),
    Step("llama3-8b", "bf16", "eager", _BATCHES, _PROMPTS, 1.2, draft="llama3.2-1b", ops=True),
    Step("llama3-8b", "bf16", "graphs", _BATCHES, _PROMPTS),
    Step("llama3-8b", "fp8", "eager", (1, 32), (128, 4096), 0.7),
    Step("llama3-8b", "fp8", "graphs", (1, 32, 256), (128, 4096), 0.7),
    Step("llama3-8b", "int4", "eager", (1, 32), (128, 4096), 0.7),
    Step("llama3-8b", "int4", "graphs", (1, 32, 256), (128, 4096), 0.7),
    Step("llama3-70b", "bf16", "eager", (1, 8, 64), (128, 2048)),
    Step("llama3-70b", "bf16", "graphs", (1, 8, 64), (128, 2048)),
)
ON_CPU = (
    Step("llama3.2-1b", "bf16", "eager", (1, 4, 12), (40, 150, 600), 2.0, draft="self:4", ops=True),
    Step("llama3.2-1b", "fp32", "eager", (1, 6), (30, 120)),
    Step("llama3-8b", "bf16", "eager", (1, 3), (25, 100)),
)


@dataclass(frozen=True)
class Outcome:
    """What came of it: all results, and what is to be said about them."""

    results: tuple[Results, ...]
    notes: tuple[str, ...]


def steps_of(device: Device, formats: tuple[str, ...]) -> tuple[Step, ...]:
    """What is worth running on a device, in formats that it has."""
    known = (*formats, *(name for name, kept in (("int8", "w8"), ("int4", "w4")) if kept in formats))
    return tuple(step for step in (ON_GPU if device.is_gpu else ON_CPU) if step.weights in known)


def battery(asked: calibrate.Asked, tell: Tell) -> Outcome:
    """Calibrate within its share of the budget, then run every model within what is left."""
    begun = time.monotonic()
    calibrated = calibrate.calibrated(replace(asked, budget_s=CALIBRATING * asked.budget_s), tell)
    add_path(asked.hardware)
    gpu, found, notes = load_gpu(str(calibrated.file)), list(calibrated.results), list[str]()
    steps = steps_of(asked.device, asked.formats)
    for i, step in enumerate(steps):
        left = asked.budget_s - (time.monotonic() - begun)
        share = step.share / sum(later.share for later in steps[i:])
        if left <= 0:
            notes.append(f"{step.model} in {step.weights}, {step.way}: no time was left for it")
            continue
        for outcome in _tried(step, _asked(step, asked, gpu, share * left), tell, notes):
            found.append(outcome.results)
            notes += [f"{step.model} in {step.weights}, {step.way}: {note}" for note in outcome.notes]
    return Outcome(tuple(found), tuple(notes))


def _tried(step: Step, asked: run.Asked, tell: Tell, notes: list[str]) -> Iterator[run.Outcome]:
    """Run a step; what cannot run here is a note, for the steps after it may."""
    try:
        yield run.run(asked, tell)
    except (PerfModelError, RuntimeError) as error:
        told = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        notes.append(f"{step.model} in {step.weights}, {step.way} could not run: {told}")


def _asked(step: Step, asked: calibrate.Asked, gpu: Any, budget_s: float) -> run.Asked:
    return run.Asked(
        asked.device, gpu, load_model(step.model), step.weights, step.way, "flash", step.batches, step.prompts, 33,
        asked.command, asked.results, ops=step.ops, budget_s=budget_s, fresh=asked.fresh,
        draft=(step.draft, 4) if step.draft else None,
    )  # fmt: skip
