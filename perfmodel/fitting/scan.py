"""Recurrences: constants of gated delta nets (Qwen3-Next, Qwen3.5), Kimi's KDA and causal convolutions.

Rows are single kernels, or the chain of kernels of one prefill, with `batch_size` sequences of `seq_len` tokens. States
are in FP32. There is no row of Mamba-2's own scan: its tables hold only the convolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from perfmodel.catalog import load_gpu
from perfmodel.fitting.fit import SHARE, Case, Errors, Start, fitted, folds, four_digits, rests_on, unseen
from perfmodel.fitting.tables import DEVICES, LIBRARIES, table
from perfmodel.gpu import GPU
from perfmodel.kernels.scan import Scan, scan_waits

TABLES = (("linear_attention", "gdn_perf"), ("kda", "kda_perf"), ("linear_attention", "mamba2_perf"))
KERNELS = {
    "chunk_gated_delta_rule": "gated-delta prefill",
    "chunk_gated_delta_rule_flashinfer": "gated-delta prefill",
    "fused_recurrent_gated_delta_rule": "gated-delta decode",
    "fused_recurrent_gated_delta_rule_packed_decode": "gated-delta decode",
    "chunk_kda": "kda prefill",
    "flashkda_fwd": "kda prefill",
    "fused_recurrent_kda_packed_decode": "kda decode",
    "causal_conv1d_fn": "convolution prefill",
    "causal_conv1d_update": "convolution decode",
}
"""kernel_source → kernel. A delta net's prefill with tokens that are no whole chunk is padded to one."""

UNTRUSTED = {
    ("", "trtllm", "convolution prefill"),
    ("", "trtllm", "gated-delta decode"),
    ("a100_sxm", "sglang", "convolution prefill"),
    ("h200_sxm", "sglang", "convolution prefill"),
    ("h200_sxm", "sglang", "gated-delta prefill"),
    ("h200_sxm", "sglang", "gated-delta decode"),
}
"""(device or all, library, kernel). TensorRT-LLM's and the A100's are faster than memory can deliver what they must
read: fewer channels, or smaller states, than the rows say. On the H200 calls of one size differ by a factor of two."""

CHUNK = 64
STATE = 4
STREAM = 2
COLD = 3.0  # L2 caches that a decode row's states fill at least, where it counts as cold
MOST, FEWEST = 4000, 12  # rows of a fit

START = {"launch_s": Start(5e-6, pull=3.0), "compute": Start(0.2, SHARE), "memory": Start(0.8, SHARE, pull=2.0)}
SERIAL = {"chunk_s": Start(2e-6, pull=3.0)}


@dataclass(frozen=True, slots=True)
class Rows:
    """Calls of one kernel on one device, as arrays."""

    gpu: GPU
    kernel: str
    key: Any
    tokens: Any
    flops: Any
    states: Any
    moved: Any
    seconds: Any

    def __len__(self) -> int:
        return len(self.seconds)

    def part(self, mask: Any) -> Rows:
        arrays = {f.name: getattr(self, f.name)[mask] for f in fields(self) if f.name not in ("gpu", "kernel")}
        return replace(self, **arrays)

    @property
    def chunked(self) -> bool:
        return self.kernel.endswith("prefill") and not self.kernel.startswith("convolution")

    @property
    def cold(self) -> Any:
        """Steps whose states no cache holds, and prefills of a chunk or more, whose rows a model just wrote, too."""
        if self.kernel.endswith("decode"):
            return self.states >= COLD * (self.gpu.l2_cache or 0)
        return self.tokens >= CHUNK

    @property
    def peak(self) -> float:
        return self.gpu.peak("bf16" if self.chunked else "vector")

    @property
    def roofline_s(self) -> Any:
        return np.maximum(self.flops / self.peak, (self.states + self.moved) / self.gpu.memory_bandwidth)

    def predicted(self, constants: Mapping[str, float]) -> Any:
        c = Scan(**{**constants, "chunk": float(CHUNK if self.chunked else 1)})
        bandwidth = self.gpu.memory_bandwidth
        return scan_waits(self.tokens, self.flops, self.states, self.moved, self.peak, bandwidth, c).total


def delta_work(
    sequences: Any, tokens: Any, key_heads: Any, value_heads: Any, key: Any, value: Any
) -> tuple[Any, Any, Any]:
    """(FLOPs, bytes of states, of rows) of a gated delta rule as `GatedDeltaNet` counts: P·N·(6H + 4U) + 6·M·N·H·U."""
    whole, rest = np.floor(tokens / CHUNK), tokens % CHUNK
    pairs = sequences * (whole * CHUNK * (CHUNK + 1) / 2 + rest * (rest + 1) / 2)
    rows = sequences * tokens
    flops = pairs * value_heads * (6 * key + 4 * value) + 6 * rows * value_heads * key * value
    state = 2 * sequences * value_heads * key * value * STATE
    return flops, state, rows * (2 * key_heads * key + 2 * value_heads * value) * STREAM


def convolution_work(sequences: Any, tokens: Any, channels: Any, kernel: Any) -> tuple[Any, Any, Any]:
    """(FLOPs, bytes of states, of rows) of a causal convolution: 2·M·channels·kernel; the last inputs are kept."""
    rows = sequences * tokens
    return 2 * rows * channels * kernel, 2 * sequences * kernel * channels * STREAM, 2 * rows * channels * STREAM


def kernel_rows(device: str, library: str) -> dict[str, tuple[str, Rows]]:
    """kernel → (version, rows) of everything that is measured of it."""
    found: dict[str, tuple[str, Rows]] = {}
    for op, file in TABLES:
        measured = table(device, op, library, file)
        if measured is None:
            continue
        version, frame = measured
        for source, one in frame[frame["phase"] != "verify"].groupby("kernel_source"):
            kernel = KERNELS.get(str(source))
            if kernel is None or kernel in found or UNTRUSTED & {("", library, kernel), (device, library, kernel)}:
                continue
            found[kernel] = version, _rows(load_gpu(DEVICES[device]), kernel, one)
    return found


def _rows(gpu: GPU, kernel: str, frame: Any) -> Rows:
    by = [c for c in frame if c not in ("latency", "seconds", "model_name", "d_model", "num_tokens", "version")]
    by = [c for c in by if frame[c].nunique() > 1] or ["batch_size"]
    frame = frame.groupby([*dict.fromkeys([*by, "batch_size", "seq_len"])], as_index=False).agg(
        {"seconds": "median", **{c: "first" for c in frame if c not in (*by, "seconds", "batch_size", "seq_len")}}
    )
    if len(frame) > MOST:
        frame = frame.sample(MOST, random_state=0)
    sequences = frame["batch_size"].to_numpy(float)
    tokens = np.ones(len(frame)) if kernel.endswith("decode") else frame["seq_len"].to_numpy(float)
    if "nheads" in frame:
        heads, width = frame["nheads"].to_numpy(float), frame["d_state"].to_numpy(float)
        channels = heads * frame["head_dim"].to_numpy(float) + 2 * frame["n_groups"].to_numpy(float) * width
        keys = list(zip(heads, width, strict=True))
    else:
        k, n = frame["num_k_heads"].to_numpy(float), frame["num_v_heads"].to_numpy(float)
        h, u = frame["head_k_dim"].to_numpy(float), frame["head_v_dim"].to_numpy(float)
        channels = 2 * k * h + n * u
        keys = list(zip(k, n, strict=True))
    if kernel.startswith("convolution"):
        flops, states, moved = convolution_work(sequences, tokens, channels, frame["d_conv"].to_numpy(float))
    else:
        flops, states, moved = delta_work(sequences, tokens, k, n, h, u)
    key = np.array([f"{heads} {int(s)}" for heads, s in zip(keys, sequences, strict=True)])
    return Rows(gpu, kernel, key, tokens, flops, states, moved, frame["seconds"].to_numpy(float))


def constants_of(rows: Rows) -> dict[str, float]:
    """Constants of one kernel: only chunked prefills compute on matrix units and wait for chunks before them."""
    fixed: dict[str, float] = {}
    starts = [START]
    if rows.chunked:
        starts = [
            START | SERIAL | {"compute": Start(compute, SHARE), "rows": Start(rows, SHARE)}
            for compute in (0.08, 0.6)
            for rows in (0.1, 0.5)
        ]
    elif rows.kernel.endswith("decode"):
        fixed |= {"compute": 1.0, "chunk_s": 0.0}
        starts = [{"launch_s": START["launch_s"], "memory": START["memory"], "rows": Start(0.6, SHARE, pull=2.0)}]
    else:  # a convolution: bytes and instructions grow alike, so that one device alone cannot tell which binds
        fixed["chunk_s"] = 0.0
        starts = [START | {"compute": Start(0.07, SHARE), "rows": Start(0.8, SHARE, pull=0.5)}]
    if rows.kernel.endswith("prefill"):
        starts = [start | {"held": Start(0.3 * (rows.gpu.l2_cache or 1), pull=3.0)} for start in starts]
    else:
        fixed["held"] = 0.0
    found = [fixed | fitted(lambda c: rows.predicted({**fixed, **c}), rows.seconds, start) for start in starts]
    return min(found, key=lambda c: float(np.abs(np.log(rows.predicted(c) / rows.seconds)).mean()))


def held_out_errors(rows: Rows) -> Errors:
    """Errors of shapes (heads and sequences) that the fit had not seen."""
    predicted = unseen(rows, folds(list(rows.key)), constants_of)
    known = np.isfinite(predicted)
    return Errors.of(predicted[known], rows.seconds[known])


def tables(device: str) -> Iterator[tuple[str, str, str, Rows]]:
    """(library, kernel, version, cold rows) of every kernel that has enough of them."""
    for library in LIBRARIES:
        for kernel, (version, rows) in kernel_rows(device, library).items():
            cold = rows.part(rows.cold)
            if len(cold) >= FEWEST:
                yield library, kernel, version, cold


def fits(device: str) -> dict[str, dict[str, dict[str, Any]]]:
    """library → kernel → constants and what they rest on."""
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for library, kernel, version, cold in tables(device):
        errors, constants = held_out_errors(cold), constants_of(cold)
        whole = {**constants, "chunk": float(CHUNK if cold.chunked else 1)}
        result.setdefault(library, {})[kernel] = four_digits(Scan, whole) | rests_on(version, len(cold), errors)
    return result


def cases(device: str) -> Iterator[Case]:
    """Every table of a device: the rows that `fits` tells its errors on."""
    for library, kernel, version, cold in tables(device):
        yield Case.of(library, "scan", kernel, version, cold)
