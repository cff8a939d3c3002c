"""Talk between devices: how many bytes each must send, and how many steps it takes.

Ring and direct forms of Thakur et al. 2005 (MPICH collectives) as NCCL uses them. `size` is the whole
tensor in bytes, n the devices; each term is zero at one device.
"""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.arithmetic import Number, minimum


def all_reduce_bytes(size: Number, n: Number) -> Number:
    """Bytes each device sends in a ring: 2·(n − 1)/n·size (Thakur et al. 2005, §4.5)."""
    return 2 * (n - 1) / n * size


def all_gather_bytes(size: Number, n: Number) -> Number:
    """Bytes each device sends: (n − 1)/n·size (Thakur et al. 2005, §4.1)."""
    return (n - 1) / n * size


def reduce_scatter_bytes(size: Number, n: Number) -> Number:
    """Bytes each device sends: (n − 1)/n·size (Thakur et al. 2005, §4.2)."""
    return (n - 1) / n * size


def all_to_all_bytes(size: Number, n: Number) -> Number:
    """Bytes each device sends of the `size` it holds: all but its own part, (n − 1)/n·size."""
    return (n - 1) / n * size


def send_bytes(size: Number, n: Number) -> Number:
    """Bytes of a point-to-point message; none when there is nobody to send to."""
    return size * (n > 1)


SENT_BYTES = {
    "all-reduce": all_reduce_bytes,
    "all-gather": all_gather_bytes,
    "reduce-scatter": reduce_scatter_bytes,
    "all-to-all": all_to_all_bytes,
    "dispatch": all_to_all_bytes,
    "combine": all_to_all_bytes,
    "send": send_bytes,
}
STEPS = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1, "dispatch": 1, "combine": 1, "send": 0}
"""How often a ring goes round."""


def sent_bytes(operation: str, size: Number, n: Number) -> Number:
    """Bytes that each device puts on the wire in one `operation`."""
    return SENT_BYTES[operation](size, n)


def least_sent_bytes(operation: str, size: Number, n: Number) -> Number:
    """The fewest bytes that each device can send, however the collective is done.

    Switches that sum (NVLink SHARP) need the tensor once and an n-th part of the result: (1 + 1/n)·size (Graham et
    al. 2020), which is less than a ring's from three devices on.
    """
    ring = sent_bytes(operation, size, n)
    return minimum(ring, (1 + 1 / n) * size) if operation == "all-reduce" else ring


class Leg(NamedTuple):
    """A part of a collective on one kind of link: `size` bytes among `ranks` devices."""

    size: Number
    ranks: int


def by_node(operation: str, size: Number, ranks: int, inside: int) -> tuple[Leg, Leg]:
    """A collective whose devices stand in nodes, `inside` of them in each: (its part inside a node, that between).

    Sums and gathers go first among the devices of a node, then each with its like in other nodes, for which it is left
    with an n-th part (Cho et al. 2019, BlueConnect; NCCL's trees and rings move as much). Of an exchange, what goes
    to other nodes goes to the like device there, and on inside its node (DeepSeek-AI 2024, V3, §3.2.2).
    """
    exchanged = operation in ("all-to-all", "dispatch", "combine")
    return Leg(size, inside), Leg(size if exchanged else size / inside, -(-ranks // inside))


def steps(operation: str, n: Number) -> Number:
    """Steps from neighbour to neighbour that one `operation` takes in a ring of n devices."""
    return STEPS[operation] * (n - 1)
