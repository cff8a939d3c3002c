"""Where weight-only quantization stops paying: the batch up to which narrow weights decode as fast as 16-bit ones.

Few sequences wait for the weights to arrive, so that fewer bytes are less time; many wait for the matrix units, which
run at the 16-bit rate whatever the weights are, and widening them comes on top (Frantar et al. 2024, Marlin, §2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.latency import decode_time
from perfmodel.precision import WEIGHT_ONLY, Precision, storage_of
from perfmodel.workload import Workload

MOST = 4096
"""Sequences beyond which nobody decodes."""


def weight_only(precision: Precision) -> bool:
    """Whether the layers' weights are narrow and their products are not."""
    return storage_of(precision.weights, precision.activations) in WEIGHT_ONLY


def in_sixteen_bits(plan: Deployment) -> Deployment:
    """The same deployment with its weights and their products in 16 bits; its cache stays as it is."""
    p = plan.precision
    return replace(plan, precision=Precision(p.stream, p.kv, p.stream, p.stream))


def break_even(plan: Deployment, work: Workload, other: Deployment | None = None) -> int | None:
    """The largest batch to which a decode step of `plan` takes no longer than that of `other` (16-bit weights).

    The prompt and half of the output stand in the cache. 0 where a single sequence takes longer already, None where
    no batch up to `MOST` does. Memory is not asked.
    """
    other = in_sixteen_bits(plan) if other is None else other
    context = work.prompt + work.output // 2
    constants = Constants(plan.gpu, plan.engine)

    def pays(batch: int) -> bool:
        asked = replace(work, batch=batch)
        mine, its = (decode_time(one, asked, context, constants).expected for one in (plan, other))
        return bool(mine <= its)

    return first_lost(pays, MOST)


def first_lost(pays: Callable[[int], bool], most: int) -> int | None:
    """The largest n below the first that does not pay, found by doubling, then halving; None where all to `most` do."""
    low, high = 0, 1
    while pays(high):
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if pays(middle) else (low, middle)
    return low
