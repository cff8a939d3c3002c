"""One device, as its vendor describes it, and apart from that what was fitted to measurements of it."""

from __future__ import annotations

import datetime
from typing import Literal, cast

from pydantic import Field, field_validator, model_validator

from perfmodel.calibrated import Calibration
from perfmodel.spec import Spec, nearest
from perfmodel.units import Bytes, BytesPerSecond, Count, FlopPerSecond, Hertz, UsdPerHour, Watts

Format = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4", "int4"]


class Link(Spec):
    """Devices joined so that any two can talk: NVLink, xGMI, ICI, PCIe.

    `bandwidth` is per device and per direction, summed over its lanes; `domain` is how many devices one
    such network joins.
    """

    name: str
    bandwidth: BytesPerSecond
    domain: Count


class Network(Spec):
    """The scale-out network as one device sees it: its share of the node's NICs, per direction."""

    name: str
    bandwidth: BytesPerSecond


class Price(Spec):
    """A public on-demand list price of one device, and the day it was seen."""

    per_hour: UsdPerHour
    date: datetime.date


class Source(Spec):
    """Where figures come from; `figures` names the fields it vouches for."""

    title: str
    figures: tuple[str, ...]
    url: str | None = None
    date: datetime.date | None = None
    note: str | None = None


class GPU(Spec):
    """A datasheet: dense peaks, decimal bandwidth, memory as the driver reports it.

    `scale_up` lists the links inside a node, the narrowest domain first (an NVLink bridge that pairs two
    cards, then the PCIe that joins all of them). `host_link` is the way to the host's memory where that is not the
    PCIe of `scale_up`; a device whose memory is the host's has none. `calibration` holds fitted constants apart from
    the datasheet, by engine (perfmodel.calibration).
    """

    name: str = ""
    title: str
    vendor: str
    architecture: str
    compute_capability: str | None = None
    year: Count | None = None
    aliases: tuple[str, ...] = ()
    memory: Bytes
    memory_sold: Bytes
    memory_bandwidth: BytesPerSecond
    peak_flops: dict[Format, FlopPerSecond]
    compute_units: Count
    boost_clock: Hertz | None = None
    l2_cache: Bytes | None = None
    scale_up: tuple[Link, ...] = ()
    scale_out: Network | None = None
    host_link: Network | None = None
    power: Watts | None = None
    price: Price | None = None
    notes: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    calibration: dict[str, Calibration] = Field(default_factory=dict)

    @field_validator("peak_flops")
    @classmethod
    def _computes_something(cls, peaks: dict[str, float]) -> dict[str, float]:
        if not peaks.keys() & {"fp32", "fp16", "bf16"}:
            raise ValueError("needs at least one of fp32, fp16, bf16, which activations are kept in")
        return peaks

    @field_validator("scale_up")
    @classmethod
    def _widening(cls, links: tuple[Link, ...]) -> tuple[Link, ...]:
        domains = [link.domain for link in links]
        if domains != sorted(domains):
            raise ValueError(f"must list the smallest domain first; got domains {domains}")
        return links

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> GPU:
        if not 0.5 < self.memory / self.memory_sold < 1.1:
            raise ValueError(
                f"memory {self.memory:,} bytes contradicts memory_sold {self.memory_sold:,} bytes; "
                "memory is what the driver reports, within 10 % above and half below what is sold"
            )
        known = type(self).model_fields
        for source in self.sources:
            for figure in source.figures:
                if (name := figure.split(".")[0]) not in known:
                    guess = nearest(name, known)
                    hint = f'did you mean "{guess}"?' if guess else "name a field of this file"
                    raise ValueError(f'sources: figures: no figure is called "{figure}"; {hint}')
        return self

    @property
    def domain(self) -> int:
        """Devices that scale-up links join: the largest tensor-parallel group."""
        return max((link.domain for link in self.scale_up), default=1)

    def link(self, ranks: int) -> Link | Network | None:
        """The fastest network that joins `ranks` devices; None when there is none."""
        inside = next((link for link in self.scale_up if link.domain >= ranks), None)
        return inside or self.scale_out

    @property
    def host(self) -> Link | Network | None:
        """The way to the host's memory, per direction; None where there is none, or none is on file."""
        return self.host_link or next((link for link in self.scale_up if link.name.startswith("PCIe")), None)

    def peak(self, number_format: str) -> float:
        """Dense FLOP/s in a format; "vector" is the rate of element-wise work.

        Vector work runs in FP32 outside the matrix units; where the vendor gives no such rate (TPU), the
        16-bit matrix rate stands in, which keeps a bound a bound.
        """
        peaks = cast("dict[str, float]", self.peak_flops)
        if number_format == "vector":
            return peaks.get("fp32") or max(peaks[f] for f in ("bf16", "fp16") if f in peaks)
        return peaks[number_format]

    @property
    def half_sum_peak(self) -> float:
        """FLOP/s of 16-bit products that are summed in 16 bits.

        Half the INT8 rate on NVIDIA since Turing: GeForce devices sum in 32 bits at half of that (their peak here),
        all others at the full rate (NVIDIA Ada GPU architecture whitepaper v2.02, app. A).
        """
        if "int8" in self.peak_flops:
            return max(self.peak_flops["int8"] / 2, self.peak_flops.get("fp16", 0))
        return max(self.peak(name) for name in self.peak_flops if name in ("fp32", "fp16", "bf16"))

    def source_of(self, figure: str) -> Source | None:
        """The source that vouches for a field, such as "memory" or "peak_flops.bf16"."""
        names = {figure, figure.split(".")[0]}
        return next((s for s in self.sources if names & set(s.figures)), None)
