"""A real Llama on a real device: prefill and decode timed, memory weighed, op by op where asked.

    run = Run(build(load_model("llama3.2-1b"), device="cuda"), device())
    run.prefill(Setting(batch=4, prompt=512, output=32))     # a Stopwatch

What is timed is what a user waits for: the whole pass, eager or captured, the cache in its place before it begins.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from perfmodel.errors import RequestError

from .decoding import Step
from .device import Device
from .llama import Llama
from .timing import Call, Stopwatch, Timing

WAYS = ("eager", "compiled", "graphs")
PHASES = {"eager": ("prefill", "decode"), "compiled": ("prefill", "decode"), "graphs": ("decode",)}
"""What is timed in each way: prompts have too many lengths to be captured, and run eagerly."""
STEPS = 8
"""Decode steps that one reading goes through, at most: their contexts are those about the middle of the output."""
KEEP_FREE = 0.08
"""Share of a device's memory that is left alone."""


class Setting(NamedTuple):
    """What is run: `batch` sequences of `prompt` tokens, `output` more of each; without `cache` all of it anew."""

    batch: int
    prompt: int
    output: int
    cache: bool = True

    @property
    def length(self) -> int:
        return self.prompt + self.output


@dataclass
class Run:
    """One model on one device, in one way: "eager", "compiled" (torch.compile), "graphs" (CUDA graphs of decode)."""

    llama: Llama
    device: Device
    way: str = "eager"

    def __post_init__(self) -> None:
        check_way(self.way, self.device)

    def fits(self, setting: Setting) -> bool:
        """Whether cache and activations of it find room beside the weights, by a cautious count."""
        s, free = self.llama.shape, self.device.memory_bytes * (1 - KEEP_FREE) - self.llama.weight_bytes
        size = self.llama.embedding.weight.element_size()
        kept = 2 * s.layers * s.kv_heads * s.head_size * setting.batch * setting.length * size
        wide = setting.batch * setting.prompt * (4 * s.width + 4 * s.ffn) * size
        return kept + wide + 8 * setting.batch * s.vocabulary < free

    def tokens(self, setting: Setting, length: int | None = None) -> Tensor:
        """[B, T] ids at random, the same in every run."""
        made = torch.Generator().manual_seed(setting.batch * 1_000_003 + setting.prompt)
        shape = (setting.batch, length or setting.prompt)
        return torch.randint(self.llama.shape.vocabulary, shape, generator=made).to(self.device.torch)

    def prefill(self, setting: Setting) -> Stopwatch:
        """Time to first token: the pass over all prompts, and the choice of the first token."""
        tokens = self.tokens(setting)
        return Stopwatch(self.device, [lambda: self.llama.prefill(tokens).argmax(-1)], eager=True)

    def decode(self, setting: Setting) -> tuple[Stopwatch, int]:
        """Some decode steps about the middle of the output, one after the other, and how many they are."""
        n = min(max(setting.output - 1, 1), STEPS) if self.way == "eager" else 1
        first = setting.prompt + max(setting.output - 1 - n, 0) // 2
        token = self.tokens(setting, 1)[:, 0]
        step = self._step(setting, first)

        def steps() -> None:
            chosen = token
            for position in range(first, first + n):
                chosen = step(chosen, position).argmax(-1)

        return Stopwatch(self.device, [steps], eager=True), n

    def _step(self, setting: Setting, position: int) -> Any:
        """(tokens [B], position) → logits [B, V]; compiled and captured ones serve that position alone."""
        if not setting.cache:
            text = self.tokens(setting, setting.length)
            return lambda token, position: self._anew(text, position)
        if self.way == "eager":
            return self.llama.decode
        return Step(self.llama, position + 1, masked=False, compiled=self.way == "compiled", graph=self.device.is_gpu)

    @torch.inference_mode()
    def _anew(self, text: Tensor, position: int) -> Tensor:
        return self.llama(text[:, : position + 1], last=True)[:, -1]

    def readings(self, phase: str, setting: Setting, count: int) -> list[float]:
        """Seconds of a prefill, or of one decode step, so many times over."""
        self.allocated(setting)
        watch, steps = (self.prefill(setting), 1) if phase == "prefill" else self.decode(setting)
        watch.warm_up()
        rounds([watch], count)
        return [seconds / steps for seconds in watch.readings]

    # ── what a setting takes ─────────────────────────────────────────────────────────────────────

    def allocated(self, setting: Setting) -> None:
        """The cache of a setting, in place of the one before."""
        self.llama.allocate(1, 1)
        collect(self.device)
        self.llama.allocate(setting.batch, setting.length + 1)

    def peak_bytes(self, setting: Setting) -> int:
        """The most that the allocator had given out at once in a prefill and a decode step, weights and cache in it."""
        tokens = self.tokens(setting)
        with peak_of(self.device) as told:
            chosen = self.llama.prefill(tokens).argmax(-1)
            self._step(setting, setting.prompt)(chosen, setting.prompt)
        return self.llama.weight_bytes + self.llama.kv_bytes + told.pop()

    def ops(self, setting: Setting, phase: str, readings: int = 5) -> dict[str, Timing]:
        """Seconds of each kind of module in one pass, layers added up; eager only."""
        tokens = self.tokens(setting)
        watched = Watched(self.llama, self.device)
        with watched:
            for _ in range(readings + 1):
                if phase == "prefill":
                    self.llama.prefill(tokens)
                else:
                    self.llama.decode(tokens[:, 0], setting.prompt)
                watched.next_pass()
        return watched.timings()


def check_way(way: str, device: Device) -> None:
    """RequestError where a device cannot run that way."""
    if way not in WAYS:
        raise RequestError(f"--way must be one of {', '.join(WAYS)}; got {way[:40]}.")
    if way == "graphs" and not device.is_gpu:
        raise RequestError(f"--way graphs needs CUDA; {device.name} has none. Use eager or compiled.")


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def peak_of(device: Device) -> Iterator[list[int]]:
    """Bytes that the allocator gave out at most, beyond what it had given before; a list that holds them afterwards.

    On a GPU by torch's own count. Elsewhere by torch's profiler, which sees every allocation and release.
    """
    told: list[int] = []
    device.synchronize()
    if device.is_gpu:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        yield told
        device.synchronize()
        told.append(torch.cuda.max_memory_allocated() - before)
        return
    with _quiet(), torch.profiler.profile(activities=[_CPU], profile_memory=True) as profiler:
        yield told
    held = most = 0
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    told.append(most)


_CPU = torch.profiler.ProfilerActivity.CPU


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the profiler's own library writes to stderr, beneath Python."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def collect(device: Device) -> None:
    """Give back what nothing uses."""
    gc.collect()
    if device.is_gpu:
        torch.cuda.empty_cache()


# ── ops ──────────────────────────────────────────────────────────────────────────────────────────

NAMES = {
    "attention_norm": "attention_norm",
    "attention.qkv": "qkv",
    "attention.out": "o_proj",
    "attention": "attention",
    "ffn_norm": "ffn_norm",
    "ffn.gate_up": "gate_up",
    "ffn.down": "ffn_down",
    "ffn": "ffn",
    "embedding": "embedding",
    "norm": "final_norm",
    "head": "lm_head",
}
"""Modules → what their time is told as; of "attention" and "ffn" what their own modules leave: attention with positions
and cache, and the activation."""


class Watched:
    """Hooks that time every module of a model, on the device's own clock where it has one."""

    def __init__(self, llama: Llama, device: Device) -> None:
        self.llama, self.device = llama, device
        self.passes: list[dict[str, float]] = []
        self._spans: list[tuple[str, Any, Any]] = []
        self._open: list[Any] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> Watched:
        for name, module in self.llama.named_modules():
            short = name.split(".", 2)[2] if name.startswith("layers.") and name.count(".") > 1 else name
            if short in NAMES:
                self._hook(module, NAMES[short])
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _hook(self, module: nn.Module, name: str) -> None:
        def entered(*_: Any) -> None:
            self._open.append(self._now())

        def left(*_: Any) -> None:
            self._spans.append((name, self._open.pop(), self._now()))

        self._hooks += [module.register_forward_pre_hook(entered), module.register_forward_hook(left)]

    def _now(self) -> Any:
        if not self.device.is_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def next_pass(self) -> None:
        """Sum up what the pass before took, module by module."""
        self.device.synchronize()
        spent: dict[str, float] = {}
        for name, start, end in self._spans:
            seconds = start.elapsed_time(end) * 1e-3 if self.device.is_gpu else end - start
            spent[name] = spent.get(name, 0.0) + seconds
        inner = {"attention": ("qkv", "o_proj"), "ffn": ("gate_up", "ffn_down")}
        for name, parts in inner.items():
            spent[name] -= sum(spent[part] for part in parts)
        spent["activation"] = spent.pop("ffn")
        self.passes.append(spent)
        self._spans.clear()

    def timings(self) -> dict[str, Timing]:
        """Of every pass but the first."""
        return {name: Timing.of([one[name] for one in self.passes[1:]]) for name in self.passes[0]}


def rounds(watches: list[Stopwatch], readings: int) -> None:
    """Read all in turn, so that what drifts drifts for all of them."""
    for _ in range(readings):
        for watch in watches:
            watch.read()


def time_of(call: Call, device: Device, readings: int) -> Timing:
    """One call by itself."""
    watch = Stopwatch(device, [call], eager=True)
    watch.warm_up()
    rounds([watch], readings)
    return watch.timing
