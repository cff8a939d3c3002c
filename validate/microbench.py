"""Kernels one at a time, as a model calls them: products, attention, element-wise passes, copies, launches.

Weights and caches are cold: calls go round views of one pool that is larger than the device's cache, as layers of a
model do. Inputs are warm, for the kernel before has just written them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from .cases import Case
from .device import Device
from .llama import Norm, sdpa
from .quantized import Fp8, Int4, Int8
from .timing import Call, Stopwatch, Timing

NARROW: dict[str, Any] = {"w8": Int8, "w4": Int4, "fp8": Fp8}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
POOL = 4
"""Caches that the pool of weights fills."""
FEWEST_POOL = 256 * 2**20
MOST_COPIES = 64
READINGS = 3
"""Readings of a case before the next one has its turn."""
ROOFLINE_SLACK = 2
"""How much longer than by peak and bandwidth a call takes in the mean, to tell beforehand what there is time for."""
LARGEST = 0.02
"""Share of the time there is that one case may take."""


class Read(NamedTuple):
    """What a case took, or why it could not be measured."""

    case: Case
    timing: Timing | None
    reason: str = ""


@dataclass
class Microbench:
    """Kernels on `device`; `speed` is FLOP/s and bytes/s as far as is known, to leave out what would take too long."""

    device: Device
    budget_s: float
    speed: tuple[float, float]
    pool: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        size = max(POOL * self.device.cache_bytes, FEWEST_POOL)
        size = min(size, self.device.memory_bytes // 8)
        # two small numbers in BF16 are one in FP32: weights of either, without what would be no number
        self.pool = torch.empty(size // 2, dtype=torch.bfloat16, device=self.device.torch).normal_(0, 0.02)

    def affordable(self, cases: Iterable[Case]) -> list[Case]:
        """Those of them that take neither too much of the time nor of the memory."""
        flops, rate = self.speed
        kept = []
        for case in cases:
            work, moved = case.work
            seconds = (READINGS + 1) * ROOFLINE_SLACK * (work / flops + moved / rate)
            if seconds <= LARGEST * self.budget_s and 2 * moved <= self.device.memory_bytes / 2:
                kept.append(case)
        return kept

    def read(self, cases: list[Case]) -> Iterator[Read]:
        """Rounds over all cases until the time is used up, each with a few more readings of every case.

        Yields what is known after each case, so that an interruption loses nothing. Where the time is too short for
        all, the first of them are measured.
        """
        readings: dict[Case, list[float]] = {}
        end = time.monotonic() + self.budget_s
        while cases:
            for case in cases:
                if time.monotonic() > end:
                    return
                try:
                    readings.setdefault(case, []).extend(self._readings(case))
                except (RuntimeError, NotImplementedError) as error:  # what torch cannot do, running out of memory too
                    yield Read(case, None, _first_line(error))
                    continue
                yield Read(case, Timing.of(readings[case]))
            cases = [case for case in cases if readings.get(case)]

    @torch.inference_mode()
    def _readings(self, case: Case) -> list[float]:
        watch = Stopwatch(
            self.device, _CALLS[case.kernel](self, case), eager=case.format == "eager" or case.kernel == "collective"
        )
        watch.warm_up()
        for _ in range(READINGS):
            watch.read()
        return watch.readings

    # ── what is called ───────────────────────────────────────────────────────────────────────────

    def views(self, count: int, dtype: torch.dtype, least: int = 1) -> list[torch.Tensor]:
        """Stretches of the pool, each of `count` elements, one after the other; new ones where it lacks the `least`."""
        held = self.pool if dtype == torch.bfloat16 else self.pool.view(dtype)
        room = min(held.numel() // count, MOST_COPIES)
        found = [held[i * count : (i + 1) * count] for i in range(room)]
        new = (torch.full((count,), 0.01, dtype=dtype, device=self.device.torch) for _ in range(least - room))
        return [*found, *new]

    def pairs(self, count: int, dtype: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The same, two by two."""
        views = self.views(count, dtype, 2)
        return list(zip(views[::2], views[1::2], strict=False))

    def filled(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float32, device=self.device.torch).to(dtype)

    def products(self, case: Case) -> list[Call]:
        s, dtype = case.sizes, DTYPES.get(case.format, self.stream)
        m, n, k = s["rows"], s["columns"], s["depth"]
        x = self.filled(m, k, dtype=dtype)
        if case.format not in DTYPES:
            return self._narrow(case, x, n, k)
        return [_bound(functional.linear, x, w.view(n, k)) for w in self.views(n * k, dtype)]

    def _narrow(self, case: Case, x: torch.Tensor, n: int, k: int) -> list[Call]:
        """Quantized layers, as many as fill the cache some times over."""
        many = max(min(int(POOL * self.device.cache_bytes / (n * k * case.element)) + 1, 16), 2)
        weight = self.filled(n, k, dtype=x.dtype).mul_(0.02)
        layers = [NARROW[case.format](weight, None) for _ in range(many)]
        return [_bound(layer, x) for layer in layers]

    @property
    def stream(self) -> torch.dtype:
        return torch.bfloat16

    def prompts(self, case: Case) -> list[Call]:
        s, dtype = case.sizes, DTYPES[case.format]
        b, t, h = s["sequences"], s["tokens"], s["head_size"]
        q = self.filled(b, s["heads"], t, h, dtype=dtype)
        k, v = (self.filled(b, s["kv_heads"], t, h, dtype=dtype) for _ in range(2))
        return [_bound(sdpa, q, k, v, "causal")]

    def steps(self, case: Case) -> list[Call]:
        s, dtype = case.sizes, DTYPES[case.format]
        b, context, n, h = s["sequences"], s["context"], s["kv_heads"], s["head_size"]
        q = self.filled(b, s["heads"], 1, h, dtype=dtype)
        shape = b, n, context, h
        pairs = self.pairs(b * n * context * h, dtype)
        return [_bound(sdpa, q, k.view(shape), v.view(shape), None) for k, v in pairs]

    def copies(self, case: Case) -> list[Call]:
        return [_bound(into.copy_, out) for into, out in self.pairs(case.sizes["bytes"] // 4, torch.float32)]

    def reads(self, case: Case) -> list[Call]:
        return [_bound(torch.sum, view) for view in self.views(case.sizes["bytes"] // 4, torch.float32)]

    def passes(self, case: Case) -> list[Call]:
        """Element-wise work on what the kernel before has written."""
        s, dtype = case.sizes, DTYPES[case.format]
        x, y = (self.filled(s["tokens"], s["width"], dtype=dtype) for _ in range(2))
        if case.kernel == "norm":
            norm = Norm(s["width"], 1e-5).to(self.device.torch, dtype)
            return [_bound(norm, x)]
        if case.kernel == "glu":
            return [lambda: functional.silu(x) * y]
        return [_bound(torch.add, x, y)]

    def collectives(self, case: Case) -> list[Call]:
        """All devices of this process at once, by NCCL; `bytes` are those of the whole tensor."""
        ranks, size = case.sizes["ranks"], case.sizes["bytes"] // 2
        nccl = torch.cuda.nccl
        whole, part = (
            [torch.zeros(n, dtype=torch.bfloat16, device=f"cuda:{i}") for i in range(ranks)]
            for n in (size, max(size // ranks, 1))
        )
        if case.format == "all-reduce":
            return [_bound(nccl.all_reduce, whole, whole)]
        if case.format == "all-gather":
            return [_bound(nccl.all_gather, part, whole)]
        return [_bound(nccl.reduce_scatter, whole, part)]

    def launches(self, case: Case) -> list[Call]:
        x = torch.zeros(1, device=self.device.torch)
        return [_bound(x.add_, 1.0)]


def _bound(call: Callable[..., Any], *given: Any) -> Call:
    return lambda: call(*given)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


_CALLS: dict[str, Callable[[Microbench, Case], list[Call]]] = {
    "gemm": Microbench.products,
    "prefill": Microbench.prompts,
    "decode": Microbench.steps,
    "decode-mha": Microbench.steps,
    "copy": Microbench.copies,
    "read": Microbench.reads,
    "norm": Microbench.passes,
    "glu": Microbench.passes,
    "add": Microbench.passes,
    "collective": Microbench.collectives,
    "launch": Microbench.launches,
}


def known_speed(device: Device) -> tuple[float, float]:
    """FLOP/s and bytes/s of one large product and one large copy: only to tell what there is time for."""
    size = 2048 if device.is_gpu else 768
    x = torch.randn(size, size, device=device.torch).to(torch.bfloat16 if device.is_gpu else torch.float32)
    out, into = (torch.zeros(2**28 if device.is_gpu else 2**26, dtype=torch.uint8, device=device.torch) for _ in "ab")
    product = Stopwatch(device, [_bound(torch.matmul, x, x)], eager=True)
    copy = Stopwatch(device, [_bound(into.copy_, out)], eager=True)
    for watch in (product, copy):
        watch.warm_up()
        for _ in range(READINGS):
            watch.read()
    return 2 * size**3 / product.timing.median, 2 * out.numel() / copy.timing.median
