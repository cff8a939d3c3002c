"""What no deployment can beat: the least device time of a request, by the bound of physics, and so the least cost.

A bound of one device that does all of a pass is at most n times that of n devices that share it, for every op asks
at least as much of all of them together. So nothing on n devices needs less device time than one needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from perfmodel.batch import Batch, Group
from perfmodel.batching import Passes
from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.latency import decode_time, pipelined
from perfmodel.planning.demand import Demand
from perfmodel.workload import Workload

BATCHES = 2.0 ** np.arange(0, 19)
"""Sequences at once at which a step's bound is worked out."""


@dataclass(frozen=True, slots=True)
class Least:
    """Bounds of deployments like `plan` that serve the requests of `demand`, whatever their split and limits.

    prompt_s   device seconds of a request's prompt, in the fullest pass
    steps_s    device seconds of a step at each of BATCHES
    kept       bytes of cache that a sequence holds half-way through its output
    """

    plan: Deployment
    demand: Demand
    prompt_s: float
    steps_s: Any
    kept: float

    @classmethod
    def of(cls, plan: Deployment, demand: Demand) -> Least:
        single, c = plan.split(1, 1), Constants(plan.gpu, plan.engine)
        prompt, output = demand.prompts.mean, demand.outputs.mean
        computed = max(prompt - demand.hit * min(demand.cached, prompt - 1), 1.0)
        # a prompt's own attention is least when all are as long as the mean, and weights are read for many at once
        prompts = Batch((Group(BATCHES[-1] / computed, computed, prompt - computed),))
        whole = pipelined(c, single, Passes(1, prompts), "prefill").bound * computed / BATCHES[-1]
        work = Workload(prompt, 2, BATCHES)
        steps = decode_time(single, work, prompt + output / 2, c).bound
        middle, whole_length = prompt + output / 2, prompt + output
        per_token = single.model.kv_bytes(whole_length, single.precision, 1) / whole_length
        kept = min(single.model.kv_bytes(middle, single.precision, 1), per_token * middle)
        return cls(single, demand, float(whole), np.asarray(steps, dtype=float), float(kept))

    def request_s(self, devices: int) -> float:
        """Least device seconds of a request, with as many sequences at once as the memory of `devices` could hold."""
        most = BATCHES[-1] if self.kept <= 0 else devices * self.plan.gpu.memory / self.kept
        at = int(np.searchsorted(BATCHES, most))  # the next one up: a step's share of a token falls with the batch
        at = min(at, len(BATCHES) - 1)
        return self.prompt_s + self.demand.outputs.mean * float(self.steps_s[at] / BATCHES[at])

    def replicas(self, devices: int) -> int:
        """Fewest replicas of so many devices that could carry the load."""
        if self.demand.interactive:  # how many users a replica has depends on how long it lets them wait
            return 1
        return max(ceil(self.demand.load * self.request_s(devices) / devices - 1e-9), 1)

    def e2e_s(self, devices: int) -> float:
        """Least time of a request that has the devices for itself."""
        return max(self.demand.outputs.mean - 1, 0.0) * float(self.steps_s[0]) / devices
