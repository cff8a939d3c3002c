"""Collectives: constants of NCCL, oneCCL and the engines' own all-reduce kernels, from tables of single calls.

`message_size` counts elements; oneCCL's all-gather counts those of one device. Rows of engines that capture graphs are
those of the captured kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from perfmodel.catalog import load_gpu
from perfmodel.collectives import sent_bytes
from perfmodel.fitting.fit import SHARE, Case, Errors, Start, fitted, folds, four_digits, rests_on, unseen
from perfmodel.fitting.tables import DEVICES, LIBRARIES, table
from perfmodel.kernels.collective import Collective, collective_waits

OPERATIONS = {
    "all_reduce": "all-reduce",
    "all_gather": "all-gather",
    "reduce_scatter": "reduce-scatter",
    "alltoall": "all-to-all",
}
BYTES = {"half": 2, "bfloat16": 2, "int8": 1}
MIB = 2**20
SHORTEST, LONGEST = 4096, 512 * MIB
SCORED = (8192, 64 * MIB)
UNLIMITED = float(2**50)
COARSE = (0.0, *(float(2**p) for p in range(16, 28, 2)), UNLIMITED)
"""Limits that the search tries first."""
PCIE = ("l40s", "rtx_pro_6000_server", "b60")
HOST = {"gb200": (4,), "gb300": (4, 16)}
"""Largest groups that one set of constants serves, where hosts hold fewer than 8 devices."""
CHOOSY = {("b200_sxm", "vllm"), ("b300_sxm", "vllm"), ("gb200", "vllm"), ("gb300", "vllm")}
"""(device, engine) that takes another all-reduce kernel for each size of group."""

RING = {
    "start_s": Start(7e-6),
    "step_s": Start(1e-6),
    "share": Start(0.75, SHARE),
    "fill_s": Start(2e-5, pull=2.0),
}
DIRECT = {
    "one_start_s": Start(4e-6),
    "one_group_s": Start(4e-7, pull=2.0),
    "one_share": Start(0.7, SHARE, pull=2.0),
    "two_start_s": Start(1e-5, pull=2.0),
    "two_group_s": Start(1e-6, pull=2.0),
    "two_share": Start(0.7, SHARE, pull=2.0),
}
SWITCHED = {"h100_sxm", "h200_sxm", "b200_sxm", "b300_sxm", "gb200", "gb300"}  # their NVSwitches sum
FREE = 4.0


class Rows:
    """Calls of one operation on one device: sizes in bytes, ranks, seconds."""

    def __init__(self, operation: str, bandwidth: float, size: Any, ranks: Any, seconds: Any) -> None:
        self.operation, self.bandwidth = operation, bandwidth
        self.size, self.ranks, self.seconds = (np.asarray(a, dtype=float) for a in (size, ranks, seconds))

    def __len__(self) -> int:
        return len(self.seconds)

    def part(self, mask: Any) -> Rows:
        return Rows(self.operation, self.bandwidth, self.size[mask], self.ranks[mask], self.seconds[mask])

    def predicted(self, constants: Mapping[str, float]) -> Any:
        return collective_waits(
            self.operation, self.size, self.ranks, self.bandwidth, Collective(**{**BARE, **constants})
        ).total

    @property
    def roofline_s(self) -> Any:
        return sent_bytes(self.operation, self.size, self.ranks) / self.bandwidth

    @property
    def scored(self) -> Any:
        return (self.size >= SCORED[0]) & (self.size <= SCORED[1])


BARE = {"start_s": 1.0, "step_s": 0.0, "share": 1.0}


def bandwidth_of(device: str) -> float:
    link = load_gpu(DEVICES[device]).link(2)
    assert link is not None
    return link.bandwidth


def library_rows(device: str, operation: str) -> tuple[str, Rows] | None:
    """NCCL's calls, or oneCCL's."""
    library = "oneccl" if device == "b60" else "nccl"
    found = table(device, "comm", library, f"{library}_perf")
    if found is None:
        return None
    version, frame = found
    frame = frame[frame["op_name"] == operation]
    if frame.empty:
        return None
    stored = next(name for name in frame if name.endswith("_dtype"))
    size = frame["message_size"] * frame[stored].map(BYTES)
    if library == "oneccl" and operation == "all_gather":
        size = size * frame["num_gpus"]
    rows = Rows(OPERATIONS[operation], bandwidth_of(device), size, frame["num_gpus"], frame["seconds"])
    return version, rows.part((rows.size >= SHORTEST) & (rows.size <= LONGEST))


def engine_rows(device: str, engine: str) -> tuple[str, Rows] | None:
    """An engine's all-reduce inside a captured graph, where it captures any."""
    found = table(device, "comm", engine, "custom_allreduce_perf")
    if found is None:
        return None
    version, frame = found
    if "backend" in frame and frame["backend"].str.endswith("graph").any():
        frame = frame[frame["backend"].str.endswith("graph")]
    frame = frame.groupby(["num_gpus", "message_size"], as_index=False)["seconds"].median()
    size = 2 * frame["message_size"]
    rows = Rows("all-reduce", bandwidth_of(device), size, frame["num_gpus"], frame["seconds"])
    return version, rows.part((rows.size >= SHORTEST) & (rows.size <= LONGEST))


def groups(device: str, rows: Rows, engine: str = "") -> Iterator[tuple[int, Rows]]:
    """The rows by the largest group that shares their constants.

    PCIe differs with every switch that a group crosses, NVLink from one host to the next.
    """
    one_by_one = device in PCIE or (device, engine) in CHOOSY
    least = 0
    for most in (2, 4, 8, 16) if one_by_one else HOST.get(device, (8,)):
        part = rows.part((rows.ranks > least) & (rows.ranks <= most))
        least = most
        if len(part):
            yield most, part


def ring_constants(device: str, rows: Rows) -> dict[str, float]:
    """The ring through all rows of one group."""
    start = dict(RING)
    if rows.operation == "all-to-all":
        start |= {"fill": Start(20.0, pull=FREE), "fill_s": Start(8e-6, pull=FREE)}
    if rows.operation == "all-reduce" and device in SWITCHED:
        start["in_network"] = Start(0.55, SHARE, pull=FREE)
    if len(np.unique(rows.ranks)) == 1:
        start["step_s"] = Start(1e-6, pull=0.3)
    return fitted(rows.predicted, rows.seconds, start)


def all_reduce_constants(rows: Rows, ring: Mapping[str, float]) -> dict[str, float]:
    """An engine's kernels in front of a ring that is near NCCL's, and the limits that serve best."""
    near = {
        name: Start(value, SHARE if name in ("share", "in_network") else "time", pull=0.7)
        for name, value in ring.items()
    }

    def at(one: float, two: float) -> tuple[float, dict[str, float]]:
        limits = {"one_limit": one, "two_limit": two}
        start = dict(near)
        start |= {name: s for name, s in DIRECT.items() if limits[f"{name[:3]}_limit"]}
        if one:
            start["one_start_s"] = Start(float(rows.seconds.min()), pull=0.5)
        starts = [start | {"two_start_s": Start(s, pull=1.0)} for s in (8e-6, 2e-5)] if two else [start]
        found = [fitted(lambda c: rows.predicted({**c, **limits}), rows.seconds, s) | limits for s in starts]
        return min(((_off(rows, c), c) for c in found), key=_error)

    others = float(rows.ranks.max()) - 1
    best = min((at(one * others, two) for one in COARSE[:-1] for two in COARSE), key=_error)
    for _ in range(2):
        one, two = (best[1][name] for name in ("one_limit", "two_limit"))
        best = min([best, *(at(one * step, two) for step in (0.5, 2.0) if one)], key=_error)
        best = min([best, *(at(best[1]["one_limit"], two * step) for step in (0.5, 2.0) if two)], key=_error)
    return best[1]


def _off(rows: Rows, constants: Mapping[str, float]) -> float:
    return float(np.minimum(np.abs(np.log(rows.predicted(constants) / rows.seconds)), 0.5).mean())


def _error(candidate: tuple[float, dict[str, float]]) -> float:
    return candidate[0]


def scored(rows: Rows, constants_of: Any) -> Errors:
    """Errors of sizes that the fit had not seen, 8 KiB to 64 MiB."""
    predicted = unseen(rows, folds([int(size) for size in rows.size]), constants_of)
    mask = rows.scored
    return Errors.of(predicted[mask], rows.seconds[mask])


def complete(constants: Mapping[str, float]) -> dict[str, float]:
    """Every field of the form, for a hardware file."""
    whole = asdict(Collective(**constants))
    return four_digits(Collective, whole) | {name: whole[name] for name in whole if name.endswith("limit")}


def fits(device: str) -> dict[str, dict[str, dict[str, Any]]]:
    """library → "operation ≤ranks" → constants and what they rest on."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    rings: dict[int, dict[str, float]] = {}
    library = "oneccl" if device == "b60" else "nccl"
    for name, operation in OPERATIONS.items():
        measured = library_rows(device, name)
        if measured is None:
            continue
        version, whole = measured
        for most, rows in groups(device, whole):
            constants = ring_constants(device, rows)
            errors = scored(rows, lambda part: ring_constants(device, part))
            if operation == "all-reduce":
                rings[most] = constants
            found.setdefault(library, {})[f"{operation} {most}"] = complete(constants) | rests_on(
                version, len(rows), errors
            )
    for engine in LIBRARIES:
        measured = engine_rows(device, engine)
        if measured is None:
            continue
        version, whole = measured
        for most, rows in groups(device, whole, engine):
            ring = rings.get(most) or rings[max(rings)]
            constants = all_reduce_constants(rows, ring)
            errors = scored(rows, lambda part, ring=ring: all_reduce_constants(part, ring))
            found.setdefault(engine, {})[f"all-reduce {most}"] = complete(constants) | rests_on(
                version, len(rows), errors
            )
    return found


def cases(device: str) -> Iterator[Case]:
    """Every group of a device: the sizes that `fits` tells its errors on."""
    library = "oneccl" if device == "b60" else "nccl"
    told = [(library, "", name, library_rows(device, name)) for name in OPERATIONS]
    told += [(engine, engine, "all_reduce", engine_rows(device, engine)) for engine in LIBRARIES]
    for owner, engine, name, measured in told:
        for most, rows in groups(device, measured[1], engine) if measured else ():
            assert measured is not None
            key = f"{link_of(device)} {OPERATIONS[name]} {most}"
            yield Case.of(owner, "collective", key, measured[0], rows.part(rows.scored))


def link_of(device: str) -> str:
    """What kind of link joins the devices: the first word of its name."""
    link = load_gpu(DEVICES[device]).link(2)
    assert link is not None
    return link.name.split()[0]
