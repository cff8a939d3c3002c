"""A server kept busy, in closed form: what requests that arrive while others decode do to each other.

A first form until serving is modelled. c requests are always in flight (a closed loop); prefills of the others
interrupt a decode, and a new prompt shares the device with decodes:

    tpot = t_dec(c, S + T/2) + interrupted·(c − 1)·t_pre/T
    ttft = start + t_pre·(alone + shared·(c − 1)^power) + steps·t_dec
    throughput = c·T/(ttft + (T − 1)·tpot)

t_pre is the prefill of one prompt alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from perfmodel.arithmetic import Number, maximum, minimum
from perfmodel.deployment import Deployment
from perfmodel.latency import Time, decode_time, prefill_time
from perfmodel.memory import memory
from perfmodel.workload import Workload


@dataclass(frozen=True, slots=True)
class Serving:
    """What requests of one engine do to each other.

    interrupted  part of the other requests' prefills that falls into one's own decode
    alone        prefills of its own that a first token takes
    shared       of the others', with its growth by their number to the power of `power`
    steps        decode steps that it waits for
    start_s      a request's way in
    """

    interrupted: float
    alone: float
    shared: float
    power: float
    steps: float
    start_s: float


# engine → constants of requests of fixed lengths. TensorRT-LLM of 2024: GenAI-Perf sweeps of NVIDIA NIM with Llama 3 8B
# and 70B on H100, A100, L40S (345 runs). The others: 640 runs of aiconfigurator-core 0.12.0 on H100 to GB300, fitted
# 2026-11-21 (perfmodel.fitting.engines): time per token 6 to 9 % in the median, time to first token 12 to 24 %.
SERVING = {
    "trtllm 0+": Serving(0.9, 0.82, 0.63, 0.82, 0.18, 0.0),
    "trtllm": Serving(1.04, 1.41, 0.16, 0.85, 0.53, 86e-3),
    "vllm": Serving(1.09, 1.32, 0.19, 0.83, 0.51, 20e-3),
    "sglang": Serving(0.62, 1.28, 0.99, 0.84, 0.52, 14e-3),
}


def serving_of(plan: Deployment) -> Serving:
    """The constants of the engine's generation, of the engine, or of vLLM."""
    return SERVING.get(plan.engine.runs) or SERVING.get(plan.engine.name) or SERVING["vllm"]


FIRST_SPREAD, STEP_SPREAD = 1.5, 1.2
"""Factors up and down that hold 80 % of what arrivals alone do to times to first token and per token: the same fits,
settings left out."""
IN_FLIGHT = 8192
"""Most tokens of a pass of a server that batches in flight, whatever its engine would take of a batch at once."""
SATURATED = 256
"""Sequences of a saturated server, where memory holds as many and nothing else is stated."""


@dataclass(frozen=True)
class ClosedLoop:
    """`work.batch` requests always in flight, as many of them at work as memory holds; the others wait.

    `held` is how many it holds, and `serving` the constants, where they are known.
    """

    plan: Deployment
    work: Workload
    held: Number | None = None
    serving: Serving | None = None

    @cached_property
    def running(self) -> Number:
        held = sequences_held(self.plan, self.work) if self.held is None else self.held
        return minimum(self.work.batch, maximum(held, 1))

    @cached_property
    def _serving(self) -> Serving:
        return self.serving or serving_of(self.plan)

    @cached_property
    def _prefill(self) -> Time:
        return prefill_time(self.plan, replace(self.work, batch=np.ones_like(self.running)))

    @cached_property
    def _step(self) -> Time:
        middle = self.work.prompt + self.work.output / 2
        return decode_time(self.plan, replace(self.work, batch=self.running), middle)

    @cached_property
    def tpot(self) -> Time:
        others = self._serving.interrupted * (self.running - 1) / self.work.output
        return _wider(self._step.plus(self._prefill.times(others)), STEP_SPREAD)

    @cached_property
    def _first(self) -> Time:
        """Time to first token of a request that need not wait."""
        c = self._serving
        spent = self._prefill.times(c.alone + c.shared * (self.running - 1) ** c.power)
        together = spent.plus(self._step.times(c.steps))
        whole = replace(together, expected=together.expected + c.start_s, overhead=together.overhead + c.start_s)
        return _wider(whole, FIRST_SPREAD)

    @cached_property
    def _service(self) -> Time:
        return self._first.plus(self.tpot.times(maximum(self.work.output - 1, 0)))

    @cached_property
    def ttft(self) -> Time:
        """With the wait for a place, by Little's law: (c − running)/throughput."""
        return self._first.plus(self._service.times(self.work.batch / self.running - 1))

    @cached_property
    def e2e(self) -> Time:
        return self._service.times(self.work.batch / self.running)


def _wider(time: Time, factor: float) -> Time:
    """`time` with an interval that an independent cause of error widens by `factor`."""
    return replace(time, spread=np.exp(np.hypot(np.log(time.spread), np.log(factor))))


def sequences_held(plan: Deployment, work: Workload, limit: float = 2.0**20) -> Number:
    """The most sequences of `work`'s lengths that fit in memory beside the weights; arrays at once, by halving."""
    budget = min(plan.engine.token_budget, IN_FLIGHT)
    plan = replace(plan, engine=replace(plan.engine, token_budget=budget))
    low = np.zeros(np.broadcast_shapes(np.shape(work.prompt), np.shape(work.output)))
    high = np.full_like(low, limit)
    for _ in range(20):
        middle = np.ceil((low + high) / 2)
        fits = memory(plan, replace(work, batch=middle)).fits
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    return low
