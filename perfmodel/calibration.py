"""Which constants hold for a device under an engine, and where they come from.

A device's own measurements come first, then what its architecture shows, then what all devices do: each kernel and
number format by itself, so that one that nobody measured on this device is taken from the nearest that was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from perfmodel.calibrated import Calibration, Fit, Kernel
from perfmodel.catalog import ALL, RUNS, load_architecture
from perfmodel.engine import Engine
from perfmodel.gpu import GPU
from perfmodel.kernels.collective import Collective
from perfmodel.kernels.forms import FORMS
from perfmodel.kernels.overheads import Overheads

NEAREST_FORMAT = {
    "fp8-block": ("fp8", "int8"),
    "fp8": ("fp8-block", "int8"),
    "fp4": ("fp8", "fp8-block"),
    "int8": ("fp8",),
    "w4": ("w8",),
    "mxfp4": ("w4", "w8"),
    "mxfp4-fp8": ("fp4", "fp8"),
    "w8": ("w4",),
}
"""Formats whose kernels are most alike, for one that was measured nowhere; 16 bits after them."""


CLOCK_BY_POWER = 0.4
HOSTS = "hosts"
"""Where constants of PCIe groups stand that were fitted to runs of whole models."""
GROUPS = (2, 4, 8, 16)
"""Devices of the groups whose collectives were measured."""


class Origin(NamedTuple):
    """Where constants come from: how near the measured device is, whose kernels they are, and the fit."""

    level: str
    """"device", "architecture" or "all"."""
    of: str
    """Name of the device or architecture."""
    library: str
    fit: Fit


class Found(NamedTuple):
    """Constants, and where they come from."""

    constants: Any
    origin: Origin


@dataclass(slots=True)
class Constants:
    """The constants for one device under one engine, found on first use."""

    gpu: GPU
    engine: Engine
    _found: dict[tuple[str, str], Found] = field(default_factory=dict)

    @property
    def costs(self) -> Overheads:
        """What the engine takes for itself: as its runs told, or as is thought of it."""
        runs = self.runs
        overheads: Overheads = self.engine.overheads if runs is None else runs.constants
        return overheads

    @property
    def runs(self) -> Found | None:
        """What runs of whole models told of the engine's generation; None where there were none."""
        if ("overheads", "any") not in self._found:
            try:
                self._found["overheads", "any"] = self._search("overheads", ("any",))
            except LookupError:
                return None
        return self._found["overheads", "any"]

    @property
    def power(self) -> float:
        """How much faster matrix units run than on the devices that the constants come from, for the power they have.

        (watts for each FLOP/s of the peak, against those devices')^0.4: power goes with clock and voltage squared, and
        voltage with clock, so that a clock costs its 2.5th power. 1 where the device was measured itself.
        """
        if self.found("gemm", "bf16").origin.level == "device" or self.gpu.power is None:
            return 1.0
        architecture = load_architecture(self.gpu.architecture)
        reference = None if architecture is None else architecture.watts_per_flops
        peak = max(self.gpu.peak_flops.get(name, 0) for name in ("bf16", "fp16", "fp32"))
        if self.engine.half_sums:
            peak = self.gpu.half_sum_peak
        return 1.0 if reference is None else float((self.gpu.power / peak / reference) ** CLOCK_BY_POWER)

    def of(self, kernel: str, key: str) -> Any:
        """The constants of `kernel` for a number format (or a link)."""
        return self.found(kernel, key).constants

    def of_link(self, link: str, operation: str, span: int) -> Any:
        """The constants of a collective over `link`, of the smallest measured group that holds `span` devices.

        Over PCIe the host decides, not the device: what runs of whole models on many hosts show comes before a table
        of the one host that a device was measured in. Engines that call NCCL for all have NCCL's constants.
        """
        kind = link.split()[0]
        sizes = [n for n in GROUPS if n >= span] or [GROUPS[-1]]
        keys = [f"{kind} {operation} {n}" for n in (*sizes, *reversed(GROUPS))]
        if operation in ("dispatch", "combine"):
            return self._of_exchange(keys, link, span)
        known = self._found.get(("collective", keys[0]))
        if known is None:
            known = self._on_hosts(keys) if kind != "NVLink" else None
            known = known or self._search("collective", (*keys, "any"))
            self._found["collective", keys[0]] = known
        return known.constants

    def _of_exchange(self, keys: list[str], link: str, span: int) -> Any:
        """The constants of DeepEP's kernels; of an all-to-all where none were measured over such a link."""
        if ("exchange", keys[0]) not in self._found:
            try:
                self._found["exchange", keys[0]] = self._search("exchange", tuple(keys))
            except LookupError:
                return self.of_link(link, "all-to-all", span)
        return self._found["exchange", keys[0]].constants

    def _on_hosts(self, keys: list[str]) -> Found | None:
        for level, of, blocks in self._sources(runs=True):
            measured = blocks[HOSTS].kernels["collective"] if HOSTS in blocks else {}
            for key in keys:
                if key in measured:
                    return Found(Collective(**measured[key].constants), Origin(level, of, HOSTS, measured[key].fit))
        return None

    def found(self, kernel: str, key: str) -> Found:
        """The constants of `kernel`, and their origin."""
        known = self._found.get((kernel, key))
        if known is None:
            nearest = NEAREST_FORMAT.get(key, ()) if kernel != "scan" else (f"gated-delta {key.split()[-1]}",)
            measured = (key, *nearest) if key != "vector" else ()  # no table has element-wise work by itself
            known = self._found[kernel, key] = self._search(kernel, (*measured, "bf16", "any"))
        return known

    def _search(self, kernel: str, keys: tuple[str, ...]) -> Found:
        for own in (True,) if kernel == "overheads" else (True, False):
            for name in keys:
                for level, of, blocks in self._sources(own):
                    for library in self._libraries(blocks, own, kernel):
                        entry: Kernel | None = blocks[library].kernels.get(kernel, {}).get(name)
                        if entry is not None:
                            return Found(FORMS[kernel](**entry.constants), Origin(level, of, library, entry.fit))
        raise LookupError(f"no constants of {kernel} for {keys[0]}")

    def _sources(self, runs: bool) -> Iterator[tuple[str, str, dict[str, Calibration]]]:
        """Nearest first: (level, name, blocks) of what `runs` of whole models told, or of measured kernels."""
        yield "device", self.gpu.name, self.gpu.calibration
        for level, name in (("all", RUNS),) if runs else (("architecture", self.gpu.architecture), ("all", ALL)):
            found = load_architecture(name)
            if found is not None:
                yield level, ALL if runs else name, found.calibration

    def _libraries(self, blocks: dict[str, Calibration], own: bool, kernel: str) -> list[str]:
        """What runs of the engine's own generation showed; or the libraries of a file, those of its kernels first."""
        if own:
            return [self.engine.runs] if self.engine.runs in blocks else []
        talks = self.engine.talks if kernel == "collective" else ""
        first = [name for name in (talks, self.engine.name, self.engine.kernels) if name in blocks]
        return [*first, *(name for name in blocks if name not in first and " " not in name)]
