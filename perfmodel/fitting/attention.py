"""Attention: constants of the engines' kernels for prefill and decode, from tables of single calls.

Decode rows attend to `isl + step` keys. Prefill rows of one new token are calls of decode kernels, and left out. Caches
that fit into L2 are warm in the tables, and cold in a model: a nuisance term takes the warmth, and is not shipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perfmodel.catalog import load_gpu
from perfmodel.fitting.fit import SHARE, Case, Errors, Start, fitted, held_out, rests_on
from perfmodel.fitting.tables import DEVICES, LIBRARIES, table
from perfmodel.gpu import GPU
from perfmodel.kernels.attention import REFERENCE, Decode, Prefill, Queries, decode_waits, prefill_waits

FORMATS = {"bf16": ("bfloat16", "bfloat16"), "fp8-kv": ("bfloat16", "fp8"), "fp8": ("fp8", "fp8")}
"""What computes, and what the cache is kept in."""

KERNELS = ("prefill", "decode", "decode-mha", "mla-prefill", "mla-decode")
"""Decode kernels differ where each query head has a KV head of its own."""

UNTRUSTED = {("a100_sxm", "trtllm", "decode", "1.0.0"), ("a100_sxm", "trtllm", "decode-mha", "1.0.0")}
"""Tables that no device could have measured: more bytes a second than its memory gives."""

COLD = 1.5  # L2 caches that a decode row's keys and values fill at least, where it counts as cold
COLD_WEIGHT = 3.0
TILES = (64.0, 128.0, 256.0)
LATENT, KEY, VALUE = 576.0, 192.0, 128.0  # of DeepSeek: cached vector, and what it is expanded to for prefill
FEWEST = 100  # rows of a table that is fitted
FEWEST_HEADS = 8  # of DeepSeek's 128, what as many as 16 devices share

ATTENTION_HEADS = (
    (32, 32), (32, 8), (64, 8), (128, 8), (40, 40), (28, 4), (40, 8), (48, 8), (24, 8), (16, 8), (32, 4), (64, 4),
    (96, 8), (96, 96), (16, 16), (16, 2), (8, 1), (64, 64),
)  # fmt: skip
"""Query and KV heads of models that people run."""

MODEL_HEADS = {(n // tp, max(k // tp, 1)) for n, k in ATTENTION_HEADS for tp in (1, 2, 4, 8) if n % tp == 0}
"""What of them falls to one of 1 to 8 devices."""

FREE = 20.0  # a pull so weak that it only keeps what rows do not tell from running away
PREFILL = {
    "launch_s": Start(1e-5),
    "compute": Start(0.6, SHARE, FREE),
    "tile_s": Start(1e-6, pull=FREE),
    "tail": Start(0.4, SHARE, FREE),
    "memory": Start(0.8, SHARE, FREE),
}
DECODE = {
    "launch_s": Start(1e-5),
    "chunk_s": Start(5e-7, pull=FREE),
    "memory": Start(0.85, SHARE, FREE),
    "compute": Start(0.2, SHARE, FREE),
    "unit_s": Start(2e-6, pull=FREE),
    "exposed": Start(0.2, SHARE, FREE),
}
WARM = {"warmth": Start(2.0, pull=0.3), "warm_part": Start(0.7, pull=0.2)}
WALK = {"key_s": Start(1e-8, pull=FREE)}
WALKS = 0.6  # what is left of the distance to the rows where a kernel does not split
SOFTMAX = 30.0  # where only one head size is measured


@dataclass(frozen=True, slots=True)
class Rows:
    """Calls of one kernel on one device, as arrays."""

    gpu: GPU
    kernel: str
    format: str
    q: Queries
    seconds: Any

    def __len__(self) -> int:
        return len(self.seconds)

    def part(self, mask: Any) -> Rows:
        return replace(self, q=Queries(*(a[mask] for a in self.q)), seconds=self.seconds[mask])

    @property
    def is_prefill(self) -> bool:
        return self.kernel.endswith("prefill")

    @property
    def is_latent(self) -> bool:
        return self.kernel.startswith("mla")

    @property
    def peak(self) -> float:
        """Of what computes: in latent attention, as narrow as the cache."""
        narrow = self.format == "fp8" or (self.is_latent and self.format == "fp8-kv")
        if narrow and "fp8" in self.gpu.peak_flops:
            return self.gpu.peak("fp8")
        return self.gpu.peak(self.format if self.format in ("fp16", "fp32") else "bf16")

    @property
    def kv_element(self) -> float:
        return {"bf16": 2.0, "fp16": 2.0, "fp32": 4.0}.get(self.format, 1.0)

    @property
    def cached(self) -> Any:
        """Elements that one token leaves in the cache."""
        return LATENT * np.ones_like(self.seconds) if self.is_latent else 2 * self.q.kv_heads * self.q.head_size

    @property
    def kv_bytes(self) -> Any:
        q = self.q
        if self.kernel == "mla-prefill":
            return 2 * q.sequences * q.reach * q.heads * (KEY + VALUE)
        return q.sequences * q.reach * self.cached * self.kv_element

    @property
    def keys(self) -> list[tuple[float, ...]]:
        """What makes a shape."""
        return list(zip(*self.q, strict=True))

    @property
    def in_models(self) -> Any:
        if self.is_latent:
            return self.q.heads >= FEWEST_HEADS
        return np.array([(n, k) in MODEL_HEADS for n, k in zip(self.q.heads, self.q.kv_heads, strict=True)])

    @property
    def is_cold(self) -> Any:
        return self.is_prefill | (self.kv_bytes >= COLD * float(self.gpu.l2_cache or 0))

    @property
    def in_reference(self) -> Any:
        """The head size that constants are told at; all there is of latent attention."""
        return self.is_latent | (self.q.head_size == REFERENCE)

    @property
    def used(self) -> Any:
        """Rows that constants are fitted to: heads of models, no windows; other head sizes only for `softmax`."""
        return self.in_models & (self.q.reach == self.q.context) & (self.in_reference | self.is_prefill)

    @property
    def scored(self) -> Any:
        """Rows as real inference meets them: heads of models, and in decode a cold cache."""
        return self.used & self.is_cold & self.in_reference

    @property
    def per_pair(self) -> Any:
        """FLOPs of a query head and a key; and bytes of each product's operand and result, two for each element."""
        return 2 * (LATENT + 512) if self.kernel == "mla-decode" else 4 * self.q.head_size

    @property
    def flops(self) -> Any:
        q = self.q
        pairs = q.reach * (q.reach + 1) / 2 + (q.tokens - q.reach) * q.reach if self.is_prefill else q.reach
        return self.per_pair * q.sequences * q.heads * pairs

    @property
    def queries(self) -> Any:
        """Bytes of queries and output."""
        wide = 2 if self.format == "fp32" else 1
        return wide * self.q.sequences * self.q.tokens * self.q.heads * self.per_pair

    @property
    def written(self) -> Any:
        """Bytes of the new tokens' keys and values in the cache."""
        return self.q.sequences * self.q.tokens * self.cached * self.kv_element

    @property
    def roofline_s(self) -> Any:
        moved = self.queries + self.kv_bytes + self.written * self.is_prefill
        return np.maximum(self.flops / self.peak, moved / self.gpu.memory_bandwidth)

    def predicted(self, constants: Mapping[str, float]) -> Any:
        gpu, own = self.gpu, {name: value for name, value in constants.items() if name not in WARM}
        units, bandwidth, kv = gpu.compute_units, gpu.memory_bandwidth, self.kv_bytes
        if self.is_prefill:
            l2 = float(gpu.l2_cache or 0)
            sizes = (self.flops, self.queries, kv, self.written, self.q, self.peak, bandwidth, units, l2)
            return prefill_waits(*sizes, Prefill(**own)).total
        bandwidth = bandwidth * self._warmth(constants)
        other = self.queries + 2 * self.written
        return decode_waits(self.flops, kv, other, self.q, self.peak, bandwidth, units, Decode(**own)).total

    def _warmth(self, constants: Mapping[str, float]) -> Any:
        """How much faster than device memory a cache is read that lies in L2."""
        if "warmth" not in constants or not float(self.gpu.l2_cache or 0):
            return 1.0
        filled = self.kv_bytes / (constants["warm_part"] * float(self.gpu.l2_cache or 0))
        return 1 + constants["warmth"] / (1 + filled**4)


def rows(device: str, library: str, kernel: str, number_format: str) -> tuple[str, Rows] | None:
    """(version, rows) of one kernel: the one that serves most calls at head size 128, and all else that it serves."""
    is_prefill, is_latent = kernel.endswith("prefill"), kernel.startswith("mla")
    folder = "mla" if is_latent else "attention"
    found = table(device, folder, library, f"{'context' if is_prefill else 'generation'}_{folder}_perf")
    if found is None or (device, library, kernel, found[0]) in UNTRUSTED:
        return None
    version, frame = found
    computes, keeps = FORMATS[number_format]
    mine = (frame["mla_dtype" if is_latent else "attn_dtype"] == computes) & (frame["kv_cache_dtype"] == keeps)
    if is_prefill:
        mine &= frame["isl"] > 1
    if kernel.startswith("decode"):
        mine &= (frame["num_heads"] == frame["num_key_value_heads"]) == (kernel == "decode-mha")
    frame = frame[mine]
    reference = frame if is_latent else frame[frame["head_dim"] == REFERENCE]
    if len(reference) < FEWEST:
        return None
    frame = frame[frame["kernel_source"] == reference["kernel_source"].mode()[0]]
    heads, context = (frame[name].to_numpy(float) for name in ("num_heads", "isl"))
    kv_heads = heads if kernel == "mla-prefill" else np.ones_like(heads)
    head_size = np.full_like(heads, (KEY + VALUE) / 2 if is_prefill else LATENT)
    if not is_latent:
        kv_heads, head_size = (frame[name].to_numpy(float) for name in ("num_key_value_heads", "head_dim"))
    tokens = context
    if not is_prefill:
        context = context + frame["step"].to_numpy(float)
    window = frame["window_size"].to_numpy(float) if "window_size" in frame else np.zeros_like(heads)
    reach = np.where(window > 0, np.minimum(context, window), context)
    q = Queries(frame["batch_size"].to_numpy(float), tokens, context, reach, heads, kv_heads, head_size)
    return version, Rows(load_gpu(DEVICES[device]), kernel, number_format, q, frame["seconds"].to_numpy(float))


def constants_of(measured: Rows, library: str) -> dict[str, float]:
    """The constants that serve these rows best: at head size 128 first, then what other head sizes change."""
    reference = measured.part(measured.used & measured.in_reference)
    if not measured.is_prefill:
        return cleaned(_decode_constants(reference))
    start = PREFILL | ({"write_s": Start(3e-7, pull=FREE)} if library == "vllm" else {})
    best = min((_at_tile(reference, start, tile) for tile in TILES), key=lambda found: found[0])[1]
    other = measured.part(measured.used & ~measured.in_reference)
    if len(other):
        best |= fitted(lambda c: other.predicted(best | dict(c)), other.seconds, {"softmax": Start(SOFTMAX, pull=3.0)})
    return cleaned(best)


def _at_tile(reference: Rows, start: Mapping[str, Start], tile: float) -> tuple[float, dict[str, float]]:
    fixed = {"tile": tile, "softmax": SOFTMAX}
    found = fitted(lambda c: reference.predicted({**c, **fixed}), reference.seconds, start) | fixed
    return _distance(reference, found), found


def _decode_constants(reference: Rows) -> dict[str, float]:
    """With a walk over the keys only where that alone explains the rows: latent attention that is not split."""
    weights = np.where(reference.is_cold, COLD_WEIGHT, 1.0)
    found = fitted(reference.predicted, reference.seconds, DECODE | WARM, weights)
    if reference.is_latent:
        walking = fitted(reference.predicted, reference.seconds, DECODE | WALK | WARM, weights)
        if _distance(reference, walking) < WALKS * _distance(reference, found):
            found = walking
    return {name: value for name, value in found.items() if name not in WARM}


def _distance(measured: Rows, constants: Mapping[str, float]) -> float:
    off = np.abs(np.log(measured.predicted(constants) / measured.seconds))
    return float(np.minimum(off, 0.3).mean())


def cleaned(constants: Mapping[str, float]) -> dict[str, float]:
    """Four digits, and 0 for what is nothing beside a microsecond or the whole."""
    least = {name: 1e-10 if name.endswith("_s") else 1e-4 for name in constants}
    return {name: float(f"{value:.4g}") if value > least[name] else 0.0 for name, value in constants.items()}


def fits(device: str) -> dict[str, dict[str, dict[str, Any]]]:
    """library → "kernel format" → constants of all rows, and their errors on shapes that a fit had not seen."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for library, kernel, number_format in _cases():
        measured = rows(device, library, kernel, number_format)
        if measured is None:
            continue
        version, whole = measured
        kept = held_out(whole.keys)
        tested = whole.part(kept & whole.scored)
        errors = Errors.of(tested.predicted(constants_of(whole.part(~kept), library)), tested.seconds)
        found.setdefault(library, {})[f"{kernel} {number_format}"] = constants_of(whole, library) | rests_on(
            version, int(whole.used.sum()), errors
        )
    return found


def cases(device: str) -> Iterator[Case]:
    """Every table of a device: the rows that `fits` tells its errors on."""
    for library, kernel, number_format in _cases():
        measured = rows(device, library, kernel, number_format)
        if measured is not None:
            version, whole = measured
            yield Case.of(library, kernel, number_format, version, whole.part(held_out(whole.keys) & whole.scored))


def _cases() -> Iterator[tuple[str, str, str]]:
    for library in LIBRARIES:
        for kernel in KERNELS:
            for number_format in FORMATS:
                yield library, kernel, number_format
