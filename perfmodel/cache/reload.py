"""Cached prompts that wait on the host: is it faster to load them back, or to compute them again?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.arithmetic import Number
from perfmodel.deployment import Deployment
from perfmodel.latency import loading_time, prefill_time
from perfmodel.workload import Workload


@dataclass(frozen=True, slots=True)
class Reload:
    """Of `tokens` of one sequence: seconds to load their cache, seconds to compute it again, and its bytes."""

    tokens: Number
    load_s: Number
    recompute_s: Number
    bytes: Number

    @property
    def even_bytes_per_s(self) -> Number:
        """The rate from which on loading wins (what really arrives, not what a data sheet has)."""
        return self.bytes / self.recompute_s


def reload(plan: Deployment, tokens: Number, place: str = "host") -> Reload:
    """Loading against computing, of a sequence alone on the devices (Liu et al. 2024, CacheGen, §2; LMCache).

    load = bytes/(0.8·rate), as each stage brings its own part; recompute = the prefill of so many tokens
    """
    at_rest = replace(plan, offload=replace(plan.offload, weights=0.0, kv=0.0, prefix=""))
    again = prefill_time(at_rest, Workload(tokens, 1, 1)).expected
    size = plan.model.kv_bytes(tokens, plan.precision, plan.tp)
    return Reload(tokens, loading_time(plan, tokens, place).expected, again, size)


def break_even_tokens(plan: Deployment, place: str = "host", most: int | None = None) -> int | None:
    """The fewest tokens from which on loading is faster than computing; None when it is not even at `most`.

    Computing grows faster than its first token costs, for attention is quadratic; loading grows in proportion. Below
    the tokens that a pass takes in the time of reading the weights, computing costs the same for any number, and
    loading a few can win as well: 1 means that it wins throughout.
    """
    most = most or plan.model.max_context

    def wins(n: int) -> bool:
        found = reload(plan, n, place)
        return bool(found.load_s <= found.recompute_s)

    if not wins(most):
        return None
    loses = [n for n in _probes(most) if not wins(n)]
    if not loses:
        return 1
    low = max(loses)
    high = next(n for n in _probes(most) if n > low)
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if wins(middle) else (middle, high)
    return high


def _probes(most: int) -> list[int]:
    """Powers of two up to `most`, and itself."""
    return [*(2**i for i in range(most.bit_length()) if 2**i < most), most]
