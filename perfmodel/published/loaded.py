"""A server kept busy, in closed form: what requests that arrive while others decode do to each other.

A first form until serving is modelled. c requests are always in flight (a closed loop); prefills of the others
interrupt a decode, and a new prompt shares the device with decodes:

    tpot = t_dec(c, S + T/2) + φ·(c − 1)·t_pre/T
    ttft = t_pre·(0.82 + 0.63·(c − 1)^0.82) + 0.18·t_dec
    throughput = c·T/(ttft + (T − 1)·tpot)

t_pre is the prefill of one prompt alone. The constants are fitted to GenAI-Perf sweeps of NVIDIA NIM with Llama 3
8B and 70B (H100, A100, L40S; TensorRT-LLM of 2024): the form gets time between tokens and throughput at 5 to 6 %
in the median, time to first token, which is a property of the arrival protocol, at 14 %. φ = 0.9 is what serving runs
of vLLM and TensorRT-LLM on H100 to B200 give.
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

INTERRUPTED = 0.9
"""φ, the part of the other requests' prefills that falls into one's own decode."""
ALONE, SHARED, POWER, STEPS = 0.82, 0.63, 0.82, 0.18
"""Of the time to first token: prefills of one's own, of the others', its growth with them, and decode steps."""
IN_FLIGHT = 8192
"""Most tokens of a pass of a server that batches in flight, whatever its engine would take of a batch at once."""
SATURATED = 256
"""Sequences of a saturated server, where memory holds as many and nothing else is stated."""


@dataclass(frozen=True)
class ClosedLoop:
    """`work.batch` requests always in flight, as many of them at work as memory holds; the others wait."""

    plan: Deployment
    work: Workload

    @cached_property
    def running(self) -> Number:
        return minimum(self.work.batch, maximum(sequences_held(self.plan, self.work), 1))

    @cached_property
    def _prefill(self) -> Time:
        return prefill_time(self.plan, replace(self.work, batch=np.ones_like(self.running)))

    @cached_property
    def _step(self) -> Time:
        middle = self.work.prompt + self.work.output / 2
        return decode_time(self.plan, replace(self.work, batch=self.running), middle)

    @cached_property
    def tpot(self) -> Time:
        return self._step.plus(self._prefill.times(INTERRUPTED * (self.running - 1) / self.work.output))

    @cached_property
    def _first(self) -> Time:
        """Time to first token of a request that need not wait."""
        return self._prefill.times(ALONE + SHARED * (self.running - 1) ** POWER).plus(self._step.times(STEPS))

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
