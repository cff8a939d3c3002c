"""`Offload`: what waits in memory of the host, or on a drive, and is sent to the device as it is needed."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.arithmetic import Number, minimum
from perfmodel.errors import RequestError
from perfmodel.gpu import GPU
from perfmodel.spec import nearest
from perfmodel.units import quantity

PLACES = ("host", "nvme")
NVME_BYTES_PER_S = 7e9
"""Sequential reading of a PCIe 4.0 × 4 drive, as data sheets have it: an assumption, unless told otherwise."""
REACHED = 0.8
"""Share of a link's rate that copies from pinned memory reach (recalled: 25 of 31.5 GB/s over PCIe 4.0 × 16)."""


@dataclass(frozen=True, slots=True)
class Offload:
    """Shares of weights and cache that do not stay on the device; every layer keeps the rest (FlexGen's percentages).

    weights    share of the layers' weights; embedding and LM head stay
    kv         share of the KV cache
    to         "host" or "nvme"
    bandwidth  bytes/s of the way there; None: the device's host link, and that of a drive behind it
    prefix     where a cached prefix waits: "" on the device, "host" or "nvme"
    """

    weights: float = 0.0
    kv: float = 0.0
    to: str = "host"
    bandwidth: float | None = None
    prefix: str = ""

    @property
    def streams(self) -> bool:
        """Whether every pass must wait for something."""
        return self.weights > 0 or self.kv > 0

    def bytes_per_s(self, gpu: GPU, place: str) -> Number:
        """The rate of one direction to `place`; RequestError where no way is known."""
        if self.bandwidth is not None:
            return self.bandwidth
        if gpu.host is None:
            raise RequestError(
                f"no link from {gpu.name} to a host is on file (its memory may be the host's own); "
                'give --offload-bandwidth, like "25 GB/s", or keep everything on the device.'
            )
        return minimum(gpu.host.bandwidth, NVME_BYTES_PER_S) if place == "nvme" else gpu.host.bandwidth

    def pass_bytes(self, weights: Number, read: Number, written: Number) -> Number:
        """Bytes that a pass waits for, of the stage's `weights` and the cache that it has `read` and `written`.

        PCIe and C2C send both ways at once; a drive does one thing at a time, and counts writing with reading.
        """
        into = self.weights * weights + self.kv * read
        return into + self.kv * written if self.to == "nvme" else into

    def resident(self, share: float, layers: Number) -> Number:
        """What of a size stays on the device: the rest, and of two layers what is under way (double buffers)."""
        return 1 - share * (1 - minimum(2, layers) / layers)


NOTHING_OFFLOADED = Offload()


def offload(weights: object, kv: object, to: str, bandwidth: str | None, prefix: str | None, gpu: GPU) -> Offload:
    """An `Offload` of what was asked; RequestError in one sentence where that makes no sense."""
    for use, value in (("--offload-to", to), ("--prefix-from", prefix or "host")):
        if value not in PLACES:
            guess = nearest(str(value), PLACES)
            hint = f" (did you mean {guess}?)" if guess else ""
            raise RequestError(f'{use} must be host or nvme; got "{value}"{hint}.')
    shares = [_share(value, use) for use, value in (("--offload-weights", weights), ("--offload-kv", kv))]
    rate = None if bandwidth is None else _rate(bandwidth)
    found = Offload(shares[0], shares[1], to, rate, prefix or "")
    if found.streams or found.prefix:
        found.bytes_per_s(gpu, to)
    return found if found.streams or found.prefix else NOTHING_OFFLOADED


def _share(value: object, use: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise RequestError(f"{use} must be a share from 0 (nothing) to 1 (all of it), like 0.5; got {value!r}.")
    return float(value)


def _rate(text: str) -> float:
    try:
        return quantity(text, "bytes/s")
    except ValueError as error:
        raise RequestError(f"--offload-bandwidth: {error}.") from None
