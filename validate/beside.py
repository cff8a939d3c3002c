"""What is measured of a run, each figure beside what perfmodel says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from perfmodel.batch import Batch
from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.expected import seconds_by_name
from perfmodel.forward import forward
from perfmodel.latency import mean_decode_time, prefill_time
from perfmodel.measured import measurements
from perfmodel.measured.measurements import Predicted, RunMeasurement
from perfmodel.measured.results import RunResults
from perfmodel.memory import memory
from perfmodel.model import Model
from perfmodel.op import totals
from perfmodel.workload import Workload

from .measure import STEPS, Run, Setting
from .timing import Timing

FIGURES = {"prefill": "ttft_s", "decode": "tpot_s"}
OPS = {
    "attention_norm": ("attention_norm",),
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "attention": ("rope", "scores", "softmax", "values"),
    "o_proj": ("o_proj",),
    "ffn_norm": ("ffn_norm",),
    "gate_up": ("ffn_gate", "ffn_up"),
    "activation": ("ffn_activation",),
    "ffn_down": ("ffn_down",),
    "embedding": ("embedding",),
    "final_norm": ("final_norm",),
    "lm_head": ("lm_head",),
}
"""Modules as they are timed → the ops that perfmodel has in their place."""
LAUNCHED = {"attention_norm": 1, "ffn_norm": 1, "attention": 4, "activation": 2, "residuals": 2}
"""Element-wise kernels of a layer, among which its overhead is shared: norms, positions and writing the cache, the
activation and its product; sums with the residual are in no module that is timed."""
WITHIN = 0.02
"""How far a count of memory may be off."""


@dataclass(frozen=True)
class Beside:
    """Figures of one model that runs as `plan` says; `weights` is its format as it was asked for."""

    ran: Run
    plan: Deployment
    weights: str
    of_layers: int

    def measurement(self, setting: Setting, figure: str, timing: Timing, **more: Any) -> RunMeasurement:
        """One figure as it is kept."""
        given = {
            **self.kept_as(setting)._asdict(),
            "figure": figure,
            "value": timing.median,
            "low": timing.low,
            "high": timing.high,
            "repeats": timing.repeats,
        }
        return RunMeasurement(**(given | more))

    def kept_as(self, s: Setting) -> measurements.Setting:
        """What tells a setting from others in a results file."""
        model, attention = self.plan.model, "naive" if self.plan.attention == "naive" else "flash"
        return measurements.Setting(
            model.name, model.layers, self.of_layers, self.weights, self.plan.precision.kv.name, self.ran.way,
            attention, s.cache, None, s.batch, s.prompt, s.output,
        )  # fmt: skip

    def timed(self, setting: Setting, phase: str, timing: Timing) -> RunMeasurement:
        """Seconds of a prefill or of a decode step."""
        told = predicted(self.plan, FIGURES[phase], Workload(setting.prompt, setting.output, setting.batch))
        done = totals(forward(self.plan, _batch(setting, phase)))
        amounts = {"flops": float(done.flops), "bytes": float(done.bytes)}
        return self.measurement(setting, FIGURES[phase], timing, predicted=told, **amounts)

    def memory_and_ops(self, setting: Setting, ops: bool) -> Iterator[RunMeasurement]:
        """The allocator's peak, and where `ops` are asked for, every kind of module."""
        if not setting.cache or self.ran.way != "eager":  # captured graphs keep memory of their own
            return
        yield self.memory(setting)
        if ops:
            for phase in FIGURES:
                yield from self.ops(setting, phase)

    def memory(self, setting: Setting) -> RunMeasurement:
        """The allocator's peak beside weights, cache and activations by perfmodel.memory."""
        self.ran.allocated(setting)
        peak = float(self.ran.peak_bytes(setting))
        held = memory(self.plan, Workload(setting.prompt, setting.output, setting.batch))
        ours = float(held.weights + held.kv_cache + held.activations)
        told = Predicted(expected=ours, low=ours * (1 - WITHIN), high=ours * (1 + WITHIN))
        return self.measurement(setting, "peak_memory_bytes", Timing(peak, peak, peak, 1), predicted=told)

    def ops(self, setting: Setting, phase: str) -> Iterator[RunMeasurement]:
        """Every kind of module beside the ops that stand for it; a layer's overhead is its element-wise kernels'."""
        self.ran.allocated(setting)
        c, ops = Constants(self.plan.gpu, self.plan.engine), forward(self.plan, _batch(setting, phase))
        ours = seconds_by_name(ops, c)
        each = float(c.costs.layer_s) * self.plan.model.layers / sum(LAUNCHED.values())
        for name, timing in self.ran.ops(setting, phase).items():
            if timing.low <= 0:  # what other modules leave of a module may be nothing
                continue
            expected = float(sum(ours.get(part, 0.0) for part in OPS[name])) + each * LAUNCHED.get(name, 0)
            done = totals([op for op in ops if op.name in OPS[name]])
            amounts = {"flops": float(done.flops), "bytes": float(done.bytes)}
            told = Predicted(expected=expected, low=expected, high=expected)
            yield self.measurement(setting, f"{phase}_op:{name}_s", timing, predicted=told, **amounts)

    def of_all_layers(self, held: RunResults, model: Model) -> Iterator[str]:
        """What the whole model would take: what ran, times what perfmodel says the other layers add to it."""
        layers, whole = self.plan.model.layers, replace(self.plan, model=model)
        yield f"{layers} of {model.layers} layers ran; times and predictions are of those"
        for m in held.measurements:
            if m.figure in FIGURES.values() and m.setting.layers == layers:
                setting = Setting(m.batch, m.prompt, m.output, m.cache)
                phase = 0 if m.figure == "ttft_s" else 1
                ratio = expected_s(whole, setting)[phase] / expected_s(self.plan, setting)[phase]
                name = ("prefill", "a decode step")[phase]
                yield (
                    f"batch {m.batch}, prompt {m.prompt}: {name} of all {model.layers} layers would take about "
                    f"{m.value * ratio * 1e3:.4g} ms (what ran, × {ratio:.4g})"
                )


def predicted(plan: Deployment, figure: str, work: Workload) -> Predicted:
    """What is expected of a time, by its figure."""
    time = prefill_time(plan, work) if figure == FIGURES["prefill"] else mean_decode_time(plan, work)
    return Predicted(expected=float(time.expected), low=float(time.low), high=float(time.high))


def expected_s(plan: Deployment, setting: Setting) -> tuple[float, float]:
    """Expected seconds of a prefill, and of the decode steps that one reading goes through."""
    work = Workload(setting.prompt, setting.output, setting.batch)
    steps = min(max(setting.output - 1, 1), STEPS)
    return float(prefill_time(plan, work).expected), steps * float(mean_decode_time(plan, work).expected)


def _batch(setting: Setting, phase: str) -> Batch:
    if phase == "prefill" or not setting.cache:
        return Batch.prefill(setting.batch, setting.prompt)
    return Batch.decode(setting.batch, setting.prompt + (setting.output - 1) / 2)
