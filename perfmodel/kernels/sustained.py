"""What whole models sustain, against kernels that were measured one at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sustained:
    """Factors between a kernel measured alone and the same kernel inside a running model.

    compute   speed of matrix units: power and heat lower the clock under minutes of load
    memory    speed of device memory
    layer     time of the small kernels of a layer, against data-centre devices
    host      time of the host that launches kernels one by one, against hosts of Hopper devices
    """

    compute: float = 1.0
    memory: float = 1.0
    layer: float = 1.0
    host: float = 1.0
