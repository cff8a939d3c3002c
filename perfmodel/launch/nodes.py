"""How the devices of a deployment lie on hosts."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.deployment import Deployment
from perfmodel.errors import RequestError
from perfmodel.gpu import GPU

HOST = 8
"""Devices of a host of today (HGX and MI300X boards, PCIe servers); a smaller scale-up domain is the host."""
TRAY = 4
"""Devices of a compute tray of GB200 and GB300 NVL72, 18 of which one NVLink domain joins (NVIDIA's data sheets)."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """`count` hosts with `devices` each that serve one copy."""

    count: int
    devices: int


def host_devices(gpu: GPU) -> int:
    """Devices of one host, where nothing else is stated."""
    if gpu.domain <= HOST:
        return max(gpu.domain, 1)
    return TRAY if gpu.name.startswith(("gb200", "gb300")) else HOST


def nodes(plan: Deployment, host: int | None) -> Nodes:
    """The hosts of one copy, all alike; RequestError where its devices do not fill them evenly."""
    size = host or host_devices(plan.gpu)
    if plan.joined <= size:
        return Nodes(1, plan.joined)
    if plan.joined % size:
        raise RequestError(
            f"--gpus-per-node {size}: {plan.joined} devices of one copy do not fill hosts of {size}; give a divisor "
            f"of {plan.joined}, or another --tp or --pp."
        )
    return Nodes(plan.joined // size, size)
