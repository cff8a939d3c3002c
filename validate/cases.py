"""Which kernels are measured, and at which shapes: a spread of sizes as models have, none of them a known model's own.

That the shapes of Llama itself are not among them lets whole models of it tell how well the fit generalises.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from perfmodel.fitting.fit import held_out

ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192)
MATRICES = (
    # columns, depth: output and down projections, Q K V, gate and up, LM heads
    (640, 640), (1280, 1280), (2560, 2560), (5120, 5120),
    (1920, 1280), (3840, 2560), (6400, 5120),
    (6912, 1280), (13824, 2560), (27648, 5120),
    (1280, 3456), (2560, 6912), (5120, 13824),
    (512, 5120), (5120, 512), (50304, 1280), (100352, 2560),
)  # fmt: skip
HEADS = ((12, 4, 64), (20, 5, 128), (40, 8, 128), (20, 20, 64), (12, 12, 128), (48, 8, 64))
"""Query heads, KV heads, head size."""
PROMPTS = (32, 96, 192, 384, 768, 1536, 3072, 6144, 12288, 24576)
CONTEXTS = (48, 192, 640, 1536, 3072, 6144, 12288, 24576, 49152)
SEQUENCES = (1, 3, 6, 12, 24, 48, 96, 192)
WIDTHS = (640, 1280, 2560, 5120, 13824)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384)
SIZES = tuple(2**n for n in range(12, 33, 2))
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter")


class Case(NamedTuple):
    """One kernel in one format at one shape, as (name, size) pairs."""

    kernel: str
    format: str
    shape: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, kernel: str, number_format: str, **sizes: int) -> Case:
        return cls(kernel, number_format, tuple(sizes.items()))

    @property
    def sizes(self) -> dict[str, int]:
        return dict(self.shape)

    @property
    def element(self) -> float:
        """Bytes of an element of weights, of keys and values, or of what is passed over."""
        return {"fp32": 4.0, "w8": 1.0, "fp8": 1.0, "w4": 0.5}.get(self.format, 2.0)

    @property
    def work(self) -> tuple[float, float]:
        """(FLOPs, bytes), roughly: to tell what a device can measure in its time and hold in its memory."""
        s = self.sizes
        if self.kernel == "gemm":
            m, n, k = s["rows"], s["columns"], s["depth"]
            return 2.0 * m * n * k, n * k * self.element + 2.0 * m * (n + k)
        if self.kernel == "prefill":
            b, t, heads, h = s["sequences"], s["tokens"], s["heads"], s["head_size"]
            return 2.0 * b * heads * h * t * t, 2 * b * t * h * (2.0 * heads + 2 * s["kv_heads"])
        if self.kernel.startswith("decode"):
            kept = 2.0 * s["sequences"] * s["context"] * s["kv_heads"] * s["head_size"]
            return 2 * kept * s["heads"] / s["kv_heads"], kept * self.element
        if "width" in s:
            return 0.0, 3.0 * s["tokens"] * s["width"] * self.element
        return 0.0, 2.0 * s.get("bytes", 0)

    @property
    def matrix(self) -> str:
        """What is kept from a fit together: all rows of a matrix, all lengths of a set of heads are apart."""
        s = self.sizes
        return str((s["columns"], s["depth"])) if self.kernel == "gemm" else str(self.shape)


def kernels(formats: tuple[str, ...], caches: tuple[str, ...], ranks: int = 1) -> Iterator[Case]:
    """Every case, in an order in which any first part of it is a fair sample of all."""
    every = [*_products(formats), *_attention(caches), *_passes(caches), *_collectives(ranks)]
    step = 61  # a prime larger than any run of cases that are alike
    yield from (case for start in range(step) for case in every[start::step])


def unseen(cases: list[Case]) -> list[bool]:
    """Which are kept from a fit to tell its error."""
    return [bool(kept) for kept in held_out([case.matrix for case in cases])] if cases else []


def _products(formats: tuple[str, ...]) -> Iterator[Case]:
    for name in formats:
        for columns, depth in MATRICES:
            for rows in ROWS:
                if rows <= 1024 or columns <= 32768:
                    yield Case.of("gemm", name, rows=rows, columns=columns, depth=depth)


def _attention(formats: tuple[str, ...]) -> Iterator[Case]:
    for name in formats:
        for heads, kv_heads, head_size in HEADS:
            sizes = {"heads": heads, "kv_heads": kv_heads, "head_size": head_size}
            for i, tokens in enumerate(PROMPTS):
                for sequences in SEQUENCES[: max(len(PROMPTS) - i - 2, 1) : 2]:
                    yield Case.of("prefill", name, sequences=sequences, tokens=tokens, **sizes)
            for i, context in enumerate(CONTEXTS):
                for sequences in SEQUENCES[: len(SEQUENCES) - max(i - 3, 0)]:
                    form = "decode-mha" if heads == kv_heads else "decode"  # libraries have kernels of their own
                    yield Case.of(form, name, sequences=sequences, context=context, **sizes)


def _passes(formats: tuple[str, ...]) -> Iterator[Case]:
    for size in SIZES:
        for kernel in ("copy", "read"):
            yield Case.of(kernel, "bytes", bytes=size)
    for name in formats:
        for kernel in ("norm", "glu", "add"):
            for width in WIDTHS:
                for tokens in TOKENS:
                    yield Case.of(kernel, name, tokens=tokens, width=width)
    for way in ("eager", "graph"):
        yield Case.of("launch", way, bytes=4)


def _collectives(ranks: int) -> Iterator[Case]:
    if ranks > 1:
        for name in COLLECTIVES:
            for size in SIZES:
                yield Case.of("collective", name, bytes=size, ranks=ranks)
