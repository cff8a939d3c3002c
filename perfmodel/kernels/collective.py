"""Talk between devices: what a collective costs beyond the bytes that it must send."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.arithmetic import Number, log2, minimum, norm
from perfmodel.collectives import all_reduce_bytes, sent_bytes, steps
from perfmodel.kernels.waits import Waits

COPY = 0.2  # of a ring: what each device copies and sums by itself costs as if it sent this share of the tensor more
NEVER_S = 1e4  # what a way that is not open costs


@dataclass(frozen=True, slots=True)
class Collective:
    """How one library talks over one kind of link.

    start_s       seconds to start NCCL's (oneCCL's) ring
    step_s        seconds of each of its steps, one neighbour to the next
    share         part of the link's bandwidth that a long message reaches
    fill_s        what bulk transfers cost more than they save beside the protocol for short messages
    fill          how dear that protocol's bytes are: 1 doubles each
    in_network    part of the bandwidth that an all-reduce reaches whose sums the switches do; 0 without such switches
    one_start_s   of an all-reduce in one step, in which each device sends all it has to each other: its start,
    one_group_s   seconds more for every doubling of the group,
    one_share     part of the bandwidth it reaches,
    one_limit     and the most bytes that a device sends in it; 0 where there is no such kernel
    two_start_s   of an all-reduce in two steps (reduce-scatter, all-gather), all pairs at once: its start,
    two_group_s   seconds more for every doubling of the group,
    two_share     part of the bandwidth it reaches,
    two_limit     and the longest tensor it takes; 0 where there is no such kernel
    """

    start_s: float
    step_s: float
    share: float
    fill_s: float = 0.0
    fill: float = 1.0
    in_network: float = 0.0
    one_start_s: float = 0.0
    one_group_s: float = 0.0
    one_share: float = 1.0
    one_limit: float = 0.0
    two_start_s: float = 0.0
    two_group_s: float = 0.0
    two_share: float = 1.0
    two_limit: float = 0.0


def collective_waits(operation: str, size: Number, ranks: Number, bandwidth: Number, c: Collective) -> Waits:
    """The quickest way that is open for `size` bytes of the whole tensor on links of `bandwidth` bytes/s.

    A library's own all-reduce kernels serve small tensors, NCCL's ring the rest.
    """
    ring = ring_s(operation, size, ranks, bandwidth, c)
    if operation != "all-reduce":
        return Waits(link=ring)
    return Waits(link=minimum(ring, direct_s(size, ranks, bandwidth, c)))


def ring_s(operation: str, size: Number, ranks: Number, bandwidth: Number, c: Collective) -> Number:
    """start + steps·step + w + fill, where w = (sent + copied) / (share·bandwidth).

        steps  n − 1 for all-gather and reduce-scatter, twice that for all-reduce (Thakur et al. 2005, §4)
        fill   the protocol for short messages sends a flag beside each word and costs fill·w more; the one for long
               ones sends whole buffers and costs fill_s until its pipeline runs: fill·w·fill_s / ‖fill·w, fill_s‖₂

    Switches that sum (NVLink SHARP) turn an all-reduce into sending the tensor up once and each n-th part of the
    result: (1 + 1/n)·size at a share of the bandwidth of their own (Graham et al. 2020). `size` is the whole tensor:
    what is gathered, what is reduced, all that a device holds for an exchange.
    """
    n = ranks
    moving = (sent_bytes(operation, size, n) + COPY * size * (n > 1)) / (c.share * bandwidth)
    if operation == "all-reduce" and c.in_network:
        moving = minimum(moving, (1 + 1 / n) * size * (n > 1) / (c.in_network * bandwidth))
    start = (n > 1) * c.start_s + steps(operation, n) * c.step_s
    if not c.fill_s:
        return start + moving
    short = c.fill * moving
    return start + moving + short * c.fill_s / norm(short, c.fill_s)


def direct_s(size: Number, ranks: Number, bandwidth: Number, c: Collective) -> Number:
    """The better of two kernels in which every device reaches into every other's memory (vLLM, TensorRT-LLM, SGLang).

        one step    one_start + one_group·log₂(n/2) + (n − 1)·size / (one_share·bandwidth)
        two steps   two_start + two_group·log₂(n/2) + 2·(n − 1)/n·size / (two_share·bandwidth)

    Each as far as its buffers, or its author's choice, reach.
    """
    n, doublings = ranks, log2(ranks / 2)
    all_of_it = (n - 1) * size
    one = c.one_start_s + c.one_group_s * doublings + all_of_it / (c.one_share * bandwidth)
    two = c.two_start_s + c.two_group_s * doublings + all_reduce_bytes(size, n) / (c.two_share * bandwidth)
    return minimum(one + NEVER_S * (all_of_it > c.one_limit), two + NEVER_S * (size > c.two_limit))
