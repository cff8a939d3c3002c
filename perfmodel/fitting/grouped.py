"""Mixture of experts: constants of grouped products, from tables of whole operators.

A row is one fused operator on one of `moe_tp_size`·`moe_ep_size` devices: rows gathered by expert, gate and up in one
product, the activation, down, and the sum over a token's experts. Its routing is known by its rule: "balanced" deals
experts out in turn; "power_law_α" draws popularities x^−α, and the device measured is the one with most rows. Rows of
experts on other devices take time in some kernels; a nuisance term takes that, and is not shipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np

from perfmodel.catalog import load_gpu
from perfmodel.fitting.fit import SHARE, Case, Errors, Start, fitted, folds, four_digits, rests_on, unseen
from perfmodel.fitting.tables import DEVICES, LIBRARIES, table, versions
from perfmodel.gpu import GPU
from perfmodel.kernels.grouped import Grouped, grouped_waits

FORMATS = {
    "bfloat16": ("bf16", "bf16", 2, 2),
    "fp8": ("fp8", "fp8", 1, 1),
    "fp8_block": ("fp8-block", "fp8", 1, 1),
    "nvfp4": ("fp4", "fp4", 0.5625, 0.5625),
    "int4_wo": ("w4", "bf16", 0.5 + 2 / 128, 2),
    "w4a16_mxfp4": ("mxfp4", "bf16", 0.5 + 1 / 32, 2),
    "w4a8_mxfp4_mxfp8": ("mxfp4-fp8", "fp8", 0.5 + 1 / 32, 1 + 1 / 32),
}
"""moe_dtype → what it is called here, what computes, bytes of a weight and of an element fed."""

UNGATED = {(1024, 2688), (2048, 5120), (8192, 5120), (2688, 1856)}
"""(hidden size, expert size) of models whose experts have no gate: Nemotron 3."""

UNTRUSTED_KERNELS = (
    "min_latency",  # faster than memory can deliver the weights that it should touch
    "vllm_modeloptfp8moe_flashinfer_cutlass_flashinferexperts@hopper",  # a quarter of the bandwidth: never tuned
    "sglang_flashinfer_cutlass_moe@hopper",  # the same kernel, the same quarter
)
UNTUNED = {("trtllm", 1, 16)}
"""(library, chosen, experts) that runs two to four times as long as the same product in any other library."""

WIDEST_TP, NARROWEST = 8, 64  # splits that nobody serves are left out: more devices, or narrower slices of an expert
COLD = 1.5  # L2 caches that the touched weights fill at least, where a row counts as cold
BUSY = 256  # or rows for each matrix, beyond which computing hides where the weights come from
MOST, FEWEST = 4000, 200  # rows of a fit
DRAWS = 8

START = {
    "launch_s": Start(1.2e-5),
    "compute": Start(0.5, SHARE),
    "memory": Start(0.85, SHARE, pull=1.0),
    "padding": Start(16.0, pull=3.0),
    "around": Start(1.0, pull=2.0),
}
NUISANCE = {"foreign": Start(0.3, pull=4.0), "hit_s": Start(1e-9, pull=4.0)}
"""What rows of other devices' experts cost: passes over them, and seconds each."""

NONE = dict.fromkeys(NUISANCE, 0.0)


@dataclass(frozen=True, slots=True)
class Rows:
    """Calls of one kernel on one device, as arrays."""

    gpu: GPU
    format: str
    shape: Any
    tokens: Any
    chosen: Any
    rows: Any
    matrices: Any
    width: Any
    size: Any
    ways_in: Any
    split: Any
    seconds: Any

    def __len__(self) -> int:
        return len(self.seconds)

    def part(self, mask: Any) -> Rows:
        arrays = {f.name: getattr(self, f.name)[mask] for f in fields(self) if f.name not in ("gpu", "format")}
        return replace(self, **arrays)

    @property
    def peak(self) -> float:
        compute = FORMATS[self.format][1]
        return self.gpu.peak(compute if compute in self.gpu.peak_flops else "bf16")

    @property
    def weight_bytes(self) -> Any:
        return self.matrices * (self.ways_in + 1) * self.size * self.width * FORMATS[self.format][2]

    @property
    def cold(self) -> Any:
        cache_size = self.gpu.l2_cache or 0
        return (self.weight_bytes >= COLD * cache_size) | (self.rows >= BUSY * self.matrices)

    @property
    def fold(self) -> Any:
        """Which fold a row is kept from: models whole where there are four or more, else their splits."""
        keys = [str(tuple(s[:4])) for s in self.shape]
        if len(set(keys)) < 4:
            keys = [str(tuple(s)) for s in self.shape]
        return folds(keys)

    @property
    def roofline_s(self) -> Any:
        _, _, stored, fed = FORMATS[self.format]
        elements = (self.ways_in + 1) * self.size * self.width
        wide = (self.width + self.size) * fed + (self.ways_in * self.size + self.width) * 2
        moved = self.matrices * elements * stored + self.rows * wide
        return np.maximum(2 * self.rows * elements / self.peak, moved / self.gpu.memory_bandwidth)

    def predicted(self, constants: Mapping[str, float]) -> Any:
        constants = NONE | dict(constants)
        c = Grouped(**{name: value for name, value in constants.items() if name not in NUISANCE})
        total = self._product(self.ways_in * self.size, self.width, c) + self._product(self.width, self.size, c)
        elsewhere = self.chosen * self.tokens - self.rows
        wide = ((self.ways_in + 1) * self.size + 2 * self.width) * 2 / self.gpu.memory_bandwidth
        return total + elsewhere * (constants["foreign"] * wide + constants["hit_s"])

    def _product(self, columns: Any, depth: Any, c: Grouped) -> Any:
        _, _, stored, fed = FORMATS[self.format]
        return grouped_waits(
            self.rows,
            self.matrices,
            columns,
            depth,
            self.matrices * columns * depth * stored,
            self.rows * (depth * fed + columns * 2),
            1,
            self.peak,
            self.gpu.memory_bandwidth,
            c,
        ).total


@cache
def local_load(tokens: int, chosen: int, experts: int, devices: int, distribution: str) -> tuple[float, float]:
    """(rows, experts touched) on the device that is measured: the first when balanced, else the busiest."""
    if distribution == "balanced":
        return _balanced(tokens, chosen, experts, experts // devices)
    return _skewed(tokens, chosen, experts, devices, float(distribution.rsplit("_", 1)[1]))


def _balanced(tokens: int, chosen: int, experts: int, here: int) -> tuple[float, float]:
    """Token i takes experts i, i + stride, i + 2·stride …; few tokens are spread over the first stride."""
    stride = -(-experts // chosen)
    counted = min(tokens, experts) if tokens > 4 * experts else tokens
    i, j = np.arange(counted)[:, None], np.arange(chosen)[None]
    first = i * stride // tokens if tokens < stride else i
    expert = (first + j * stride) % experts
    hits = expert[expert < here]
    return float(hits.size * tokens / counted), float(np.unique(hits).size)


def _skewed(tokens: int, chosen: int, experts: int, devices: int, power: float) -> tuple[float, float]:
    """Popularities drawn from a power law between 1 and 0.8·tokens, none above one hit a token; the mean of draws."""
    hits = tokens * chosen
    low, high = (1.0, max(0.8 * tokens, 1.001)) if hits > experts else (0.01, 2.0)
    uniform = np.random.default_rng(0).random((DRAWS, experts))
    drawn = ((high ** (1 - power) - low ** (1 - power)) * uniform + low ** (1 - power)) ** (1 / (1 - power))
    load = drawn / drawn.sum(1, keepdims=True) * hits
    for _ in range(4):
        over = np.maximum(load - tokens, 0).sum(1, keepdims=True)
        free = np.where(load >= tokens, 0, load)
        load = np.minimum(load, tokens) + free / np.maximum(free.sum(1, keepdims=True), 1e-12) * over
    load = np.minimum(load, tokens)
    whole = np.floor(load)
    missing = (hits - whole.sum(1)).round().astype(int)
    order = (whole - load + 9 * (whole >= tokens)).argsort(1).argsort(1)
    load = whole + (order < missing[:, None])
    grouped = load.reshape(DRAWS, devices, -1)
    busiest = grouped.sum(2).argmax(1)
    local = grouped[np.arange(DRAWS), busiest]
    return float(local.sum(1).mean()), float(max((local > 0).sum(1).mean(), 1e-3))


def newest_whole(device: str, library: str) -> str | None:
    """The newest version whose table is no mere supplement of another."""
    sizes = {}
    for version in versions(device, "moe", library, "moe_perf"):
        found = table(device, "moe", library, "moe_perf", version)
        sizes[version] = 0 if found is None else len(found[1])
    return next((v for v in reversed(sizes) if sizes[v] >= 0.5 * max(sizes.values())), None)


def kernel_rows(device: str, library: str, version: str) -> dict[str, Rows]:
    """moe_dtype → calls of the kernel that serves most splits with every expert on the device, cold or not."""
    found = table(device, "moe", library, "moe_perf", version)
    assert found is not None
    frame = found[1]
    gpu = load_gpu(DEVICES[device])
    frame = frame[(frame["moe_tp_size"] <= WIDEST_TP) & (frame["inter_size"] // frame["moe_tp_size"] >= NARROWEST)]
    for kernel in UNTRUSTED_KERNELS:
        name, _, where = kernel.partition("@")
        if where in ("", gpu.architecture.lower()):
            frame = frame[~frame["kernel_source"].str.endswith(name)]
    for untuned, chosen, experts in UNTUNED:
        if untuned == library:
            frame = frame[~((frame["topk"] == chosen) & (frame["num_experts"] == experts))]
    by = ["distribution", "num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size"]
    result = {}
    for name, one in frame.groupby("moe_dtype"):
        if name not in FORMATS:
            continue
        unsplit = one[one["moe_ep_size"] == 1]
        most = (unsplit if len(unsplit) else one)["kernel_source"].value_counts().index[0]
        one = one[one["kernel_source"] == most].groupby([*by, "moe_ep_size"], as_index=False)["seconds"].median()
        if len(one) > MOST:
            one = one.sample(MOST, random_state=0)
        result[str(name)] = _rows(gpu, str(name), one)
    return result


def _rows(gpu: GPU, name: str, frame: Any) -> Rows:
    whole = ("num_tokens", "topk", "num_experts", "moe_ep_size")
    loads = [
        local_load(*(int(row[c]) for c in whole), str(row["distribution"])) for row in frame.to_dict(orient="records")
    ]
    rows, matrices = np.array(loads).T
    shapes = frame[["hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size"]].to_numpy()
    ungated = np.array([(int(s[0]), int(s[1])) in UNGATED for s in shapes])
    all_of = Rows(
        gpu,
        name,
        shapes,
        frame["num_tokens"].to_numpy(float),
        frame["topk"].to_numpy(float),
        rows,
        matrices,
        frame["hidden_size"].to_numpy(float),
        (frame["inter_size"] / frame["moe_tp_size"]).to_numpy(float),
        np.where(ungated, 1.0, 2.0),
        frame["moe_ep_size"].to_numpy(float),
        frame["seconds"].to_numpy(float),
    )
    return all_of.part(rows > 0.5)


def constants_of(rows: Rows) -> dict[str, float]:
    """Constants through all rows, nuisance terms included."""
    start = START | (NUISANCE if (rows.split > 1).any() else {})
    return NONE | fitted(rows.predicted, rows.seconds, start)


def held_out_errors(rows: Rows) -> tuple[Errors, Errors]:
    """Errors of models that the fit had not seen: of all rows, and of those with every expert on the device."""
    predicted = unseen(rows, rows.fold, constants_of)
    known = np.isfinite(predicted)
    unsplit = known & (rows.split == 1)
    return Errors.of(predicted[known], rows.seconds[known]), Errors.of(predicted[unsplit], rows.seconds[unsplit])


def tables(device: str) -> Iterator[tuple[str, str, str, Rows]]:
    """(library, format, version, cold rows) of every format that has enough of them."""
    for library in LIBRARIES:
        version = newest_whole(device, library)
        for name, rows in kernel_rows(device, library, version).items() if version else ():
            cold = rows.part(rows.cold)
            if len(cold) >= FEWEST:
                assert version is not None
                yield library, FORMATS[name][0], version, cold


def fits(device: str) -> dict[str, dict[str, dict[str, Any]]]:
    """library → format → constants and what they rest on."""
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for library, name, version, cold in tables(device):
        errors, unsplit = held_out_errors(cold)
        result.setdefault(library, {})[name] = {
            **four_digits(Grouped, constants_of(cold)),
            **rests_on(version, len(cold), errors),
            "unsplit_points": unsplit.n,
            "unsplit_median": round(unsplit.median, 4),
            "unsplit_p90": round(unsplit.p90, 4),
        }
    return result


def cases(device: str) -> Iterator[Case]:
    """Every table of a device: rows with every expert on it, for which the constants are all there is."""
    for library, name, version, cold in tables(device):
        yield Case.of(library, "grouped", name, version, cold.part(cold.split == 1))
