"""Matrix products: constants of the engines' kernels in every format, from tables of single calls.

Every row is one product of m × k inputs and n × k weights inside a captured graph. Collectors go round several copies
of the weights, so that they come from memory as in a model; where those copies fit into L2 they do not, and such rows
serve only where moving the weights takes no time worth telling. Inputs are warm in the tables, as they are in a model,
whose kernel before wrote them: the kernel's own formula has what the cache holds of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from perfmodel.catalog import load_gpu
from perfmodel.fitting.fit import SHARE, Case, Errors, Start, fitted, four_digits, held_out, rests_on
from perfmodel.fitting.tables import DEVICES, LIBRARIES, table, versions
from perfmodel.gpu import GPU
from perfmodel.kernels.gemm import QUANTIZED_BYTES, QUANTIZED_ROW, Gemm, gemm_waits

MODELS = {
    # hidden, query heads, KV heads, head size, inner, vocabulary
    "llama3.2-1b": (2048, 32, 8, 64, 8192, 128256),
    "llama3.2-3b": (3072, 24, 8, 128, 8192, 128256),
    "llama3-8b": (4096, 32, 8, 128, 14336, 128256),
    "llama3-70b": (8192, 64, 8, 128, 28672, 128256),
    "llama3.1-405b": (16384, 128, 8, 128, 53248, 128256),
    "llama2-7b": (4096, 32, 32, 128, 11008, 32000),
    "llama2-13b": (5120, 40, 40, 128, 13824, 32000),
    "mistral-7b": (4096, 32, 8, 128, 14336, 32768),
    "mistral-nemo": (5120, 32, 8, 128, 14336, 131072),
    "mistral-small-24b": (5120, 32, 8, 128, 32768, 131072),
    "qwen2.5-7b": (3584, 28, 4, 128, 18944, 152064),
    "qwen2.5-14b": (5120, 40, 8, 128, 13824, 152064),
    "qwen2.5-32b": (5120, 40, 8, 128, 27648, 152064),
    "qwen2.5-72b": (8192, 64, 8, 128, 29568, 152064),
    "qwen3-8b": (4096, 32, 8, 128, 12288, 151936),
    "gemma-2-27b": (4608, 32, 16, 128, 36864, 256000),
}
"""Dense models whose products are scored."""

RANKS = (1, 2, 4, 8)
NEAR = 0.15  # how far from a model's product a measured one may be, each way, to stand for it
ROWS = 16384  # the most that is scored and fitted


@dataclass(frozen=True, slots=True)
class Kept:
    """A format of the tables: its name there, bytes of a weight (scales included) and of an input, what computes."""

    name: str
    weight: float
    computes: str
    quantizes: bool
    stream: float = 2


FORMATS = {
    "bf16": Kept("bfloat16", 2, "bf16", quantizes=False),
    "fp8": Kept("fp8", 1, "fp8", quantizes=True),
    "fp8-block": Kept("fp8_block", 1, "fp8", quantizes=True),
    "fp4": Kept("nvfp4", 0.5625, "fp4", quantizes=True),
    "int8": Kept("sq", 1, "int8", quantizes=True),
    "w8": Kept("int8_wo", 1, "bf16", quantizes=False),
    "w4": Kept("int4_wo", 0.5, "bf16", quantizes=False),
}
UNTRUSTED = {("vllm", "fp8-block"), ("sglang", "w8")}
"""Tables of something else: of the host (collected without a graph: 55 to 350 µs however small the product), and of
the collector's own quantization of inputs, op by op, under the name of weight-only INT8."""

COPIES = {"vllm": 6, "sglang": 6}
ONE_COPY = {("vllm", "fp8-block"), ("vllm", "fp4")}
COLD = 1.5  # L2 caches that the copies of the weights must fill to come from memory
MANY = 512  # rows from which on it makes no difference where weights come from
BRIEF = 3e-7  # seconds of moving weights below which the same holds
LEAST_SIZE, DEEPEST, SLIMMEST = 128, 16384, 16  # columns and depth, depth, depth by columns of what no model has

START = {
    "launch_s": Start(3e-6, pull=15),
    "compute": Start(0.8, SHARE, pull=15),
    "memory": Start(0.85, SHARE, pull=15),
    "step_s": Start(6e-8, pull=15),
    "tail": Start(0.2, pull=15),
    "epilogue": Start(0.4, pull=15),
}
THROTTLE = {"throttle": Start(0.05, pull=15)}
QUANTIZE = {"quantize": Start(1.0, pull=15)}
SCALE = {"scale_s": Start(7e-6, pull=15), "scale": Start(1.5, pull=15)}

OTHER_WEIGHT = 0.1  # of products that no model has
DECODE = 256  # rows up to which a product is one of decode
DECODE_WEIGHT = 4.0  # at most, of cold decode rows, where they are few
SAMPLE = 8000  # rows of a fit


@dataclass(frozen=True, slots=True)
class Rows:
    """Calls in one format on one device, as arrays."""

    gpu: GPU
    kept: Kept
    rows: Any
    columns: Any
    depth: Any
    copies: Any
    seconds: Any
    scaling: Any
    """What of `seconds` went to the search for dynamic scales."""

    def __len__(self) -> int:
        return len(self.seconds)

    def part(self, mask: Any) -> Rows:
        arrays = ("rows", "columns", "depth", "copies", "seconds", "scaling")
        return replace(self, **{name: getattr(self, name)[mask] for name in arrays})

    @property
    def keys(self) -> list[tuple[float, float]]:
        """What makes a shape: the matrix of weights."""
        return list(zip(self.columns, self.depth, strict=True))

    @property
    def weight_bytes(self) -> Any:
        return self.columns * self.depth * self.kept.weight

    @property
    def in_models(self) -> Any:
        near = {key: _in_models(*key) for key in set(self.keys)}
        return np.array([near[key] for key in self.keys], dtype=bool) & (self.rows <= ROWS)

    @property
    def cold(self) -> Any:
        filled = self.copies * self.weight_bytes / float(self.gpu.l2_cache or 1)
        return (self.rows >= MANY) | (filled >= COLD)

    @property
    def telling(self) -> Any:
        """Rows that a fit may see: warm weights make no difference to them."""
        brief = self.weight_bytes < BRIEF * self.gpu.memory_bandwidth
        sized = (self.columns >= LEAST_SIZE) & (self.depth >= LEAST_SIZE) & (self.rows <= ROWS)
        likely = (self.depth <= DEEPEST) & (self.depth <= SLIMMEST * self.columns)
        return sized & (likely | self.in_models) & (self.cold | brief)

    @property
    def weights(self) -> Any:
        mine, few = self.in_models, self.rows <= DECODE
        here, there = max(int((mine & few).sum()), 1), int((mine & ~few).sum())
        more = np.clip(there / here / 2, 1, DECODE_WEIGHT)
        return np.where(mine, np.where(few, more, 1.0), OTHER_WEIGHT)

    @property
    def peak(self) -> float:
        return self.gpu.peak(self.kept.computes if self.kept.computes in self.gpu.peak_flops else "bf16")

    @property
    def flops(self) -> Any:
        return 2 * self.rows * self.columns * self.depth

    @property
    def activation_bytes(self) -> Any:
        return self.kept.stream * self.rows * (self.depth + self.columns)

    @property
    def roofline_s(self) -> Any:
        moved = self.weight_bytes + self.activation_bytes
        return np.maximum(self.flops / self.peak, moved / self.gpu.memory_bandwidth)

    def predicted(self, constants: Mapping[str, Any], dynamic: float = 0.0) -> Any:
        m, n, k, gpu, moving = self.rows, self.columns, self.depth, self.gpu, self.activation_bytes
        return gemm_waits(
            self.flops, self.weight_bytes + moving, m, n, k, self.peak, gpu.memory_bandwidth, gpu.compute_units,
            Gemm(**constants), dynamic, moving, float(gpu.l2_cache or 0),
        ).total  # fmt: skip


class Measured(NamedTuple):
    """One table's rows of one format."""

    library: str
    format: str
    version: str
    rows: Rows


def _in_models(columns: float, depth: float) -> bool:
    return any(abs(columns / n - 1) <= NEAR and abs(depth / k - 1) <= NEAR for n, k in shapes())


def shapes() -> set[tuple[float, float]]:
    """(columns, depth) of the products of `MODELS` on 1 to 8 devices: qkv, output, gate and up, down, LM head."""
    found: set[tuple[float, float]] = set()
    for D, N, K, H, F, V in MODELS.values():
        for tp in RANKS:
            found |= {
                ((N / tp + 2 * max(K / tp, 1)) * H, D), (D, N * H / tp), (2 * F / tp, D), (D, F / tp), (V / tp, D),
            }  # fmt: skip
    return found


def rows(device: str, library: str, number_format: str) -> tuple[str, Rows] | None:
    """(version, rows) of the newest table that holds this format."""
    kept = FORMATS[number_format]
    if (library, number_format) in UNTRUSTED:
        return None
    for version in reversed(versions(device, "gemm", library, "gemm_perf")):
        found = table(device, "gemm", library, "gemm_perf", version)
        frame = found[1] if found else None
        if frame is not None and (frame["gemm_dtype"] == kept.name).any():
            return version, _rows(device, library, number_format, kept, frame[frame["gemm_dtype"] == kept.name])
    return None


def _rows(device: str, library: str, number_format: str, kept: Kept, frame: Any) -> Rows:
    gpu = load_gpu(DEVICES[device])
    m, n, k = (frame[name].to_numpy(float) for name in ("m", "n", "k"))
    if library == "trtllm":
        plain = n * k * {"bf16": 2, "fp4": 0.5}.get(number_format, 1)
        copies = np.clip(np.ceil(float(gpu.l2_cache or 1) / plain), 1, 5)
    else:
        copies = np.full(len(frame), 1.0 if (library, number_format) in ONE_COPY else COPIES[library])
    seconds = frame["seconds"].to_numpy()
    return Rows(gpu, kept, m, n, k, copies, seconds, _scaling(device, library, number_format, m, k))


def _scaling(device: str, library: str, number_format: str, m: Any, k: Any) -> Any:
    """Seconds that TensorRT-LLM's FP8 rows spend on scales that a checkpoint may bring; 0 where rows have none."""
    measured = table(device, "quantize", library, "computescale_perf") if (library, number_format) in SCALED else None
    if measured is None:
        return np.zeros(len(m))
    known = {(row.m, row.k): row.seconds for row in measured[1].itertuples()}
    return np.array([known.get(key, 0.0) for key in zip(m, k, strict=True)])


SCALED = {("trtllm", "fp8")}
"""Tables whose inputs have dynamic scales, found in a kernel of its own that is measured as well."""


def constants_of(measured: Rows, throttle: float | None = None) -> dict[str, float]:
    """The constants that serve these rows best, with that of power given or, where it is None, fitted as well."""
    seen = measured.part(measured.telling & (measured.seconds > measured.scaling))
    if len(seen) > SAMPLE:
        chosen = np.random.default_rng(0).choice(len(seen), SAMPLE, replace=False)
        seen = seen.part(np.sort(chosen))
    given = {} if throttle is None else {"throttle": throttle}
    start = START | (QUANTIZE if seen.kept.quantizes else {}) | ({} if given else THROTTLE)
    found = fitted(lambda c: seen.predicted({**c, **given}), seen.seconds - seen.scaling, start, seen.weights)
    return found | given | _scaling_constants(seen)


def _scaling_constants(measured: Rows) -> dict[str, float]:
    """Of the search for dynamic scales: seconds to start, and how often over the inputs."""
    some = measured.scaling > 0
    if not some.any():
        return {}
    size = QUANTIZED_BYTES * measured.rows * (measured.depth + QUANTIZED_ROW) / measured.gpu.memory_bandwidth
    size, seconds = size[some], measured.scaling[some]
    return fitted(lambda c: c["scale_s"] + c["scale"] * size, seconds, SCALE)


def scored(measured: Rows, constants: Mapping[str, float], mask: Any = True) -> Errors:
    """Errors on products of models with cold weights."""
    part = measured.part(measured.in_models & measured.cold & mask)
    return Errors.of(part.predicted(constants, dynamic=1.0), part.seconds)


def fits(device: str) -> dict[str, dict[str, dict[str, Any]]]:
    """library → format → constants and what they rest on."""
    every = measured(device)
    unseen = [held_out(m.rows.keys) for m in every]
    tried = constants([m._replace(rows=m.rows.part(~kept)) for m, kept in zip(every, unseen, strict=True)])
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for m, kept, without, whole in zip(every, unseen, tried, constants(every), strict=True):
        errors = scored(m.rows, without, kept)
        found.setdefault(m.library, {})[m.format] = four_digits(Gemm, asdict(Gemm(**whole))) | rests_on(
            m.version, int(m.rows.telling.sum()), errors
        )
    return found


def cases(device: str) -> Iterator[Case]:
    """Every table of a device: the rows that `fits` tells its errors on."""
    for library, name, version, whole in measured(device):
        part = whole.part(held_out(whole.keys) & whole.in_models & whole.cold)
        dynamic = partial(part.predicted, dynamic=1.0)
        yield Case.of(library, "gemm", name, version, part)._replace(predicted=dynamic)


def constants(every: list[Measured]) -> list[dict[str, float]]:
    """The constants of each table of one device: what power does shows in 16 bits, and is the same in all formats."""
    plain = [constants_of(m.rows)["throttle"] for m in every if m.format == "bf16"]
    throttle = float(np.median(plain)) if plain else None
    return [constants_of(m.rows, throttle) for m in every]


def measured(device: str) -> list[Measured]:
    """Every table of a device that holds products of models."""
    found = ((library, name, rows(device, library, name)) for library in LIBRARIES for name in FORMATS)
    return [Measured(lib, name, *told) for lib, name, told in found if told is not None and told[1].in_models.any()]
