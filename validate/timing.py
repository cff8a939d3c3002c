"""How long a call takes on a device: warmed up, repeated, in turn with others, and told as a median with quartiles.

On a GPU calls are captured in a graph and timed by the device's own events, so that the host's time to launch them is
not in it; `eager=True` leaves it in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, NamedTuple

import torch

from .device import Device

Call = Callable[[], Any]
SAMPLE_S = 300e-6
"""Seconds that one reading should last at least: clocks and their overheads are far below it."""
COLD_S = 3e-3
"""Seconds in which any device reads far more than its cache holds."""
MOST_CALLS = 256


class Timing(NamedTuple):
    """Seconds of one call: the median of so many readings, and their quartiles."""

    median: float
    low: float
    high: float
    repeats: int

    @classmethod
    def of(cls, readings: Sequence[float]) -> Timing:
        if len(readings) == 1:
            return cls(readings[0], readings[0], readings[0], 1)
        low, _, high = quantiles(readings, n=4, method="inclusive")
        return cls(median(readings), low, high, len(readings))


@dataclass
class Stopwatch:
    """Reads how long `calls` take on `device`, each in its turn: they do the same on other data, so that what they read
    is not in a cache still.

    `cost_s` is what one reading takes in all, known after the first.
    """

    device: Device
    calls: Sequence[Call]
    eager: bool = False
    readings: list[float] = field(default_factory=list)
    cost_s: float = 0.0
    _inner: int = 1
    _cold: int = 1
    _at: int = 0
    _graph: Any = None

    def warm_up(self) -> None:
        """Run each once at least, find how many fill a reading, and capture them where the device has graphs."""
        for call in self.calls[:3]:
            call()
        self.device.synchronize()
        seconds = self._host_seconds(1)
        self._cold = math.ceil(COLD_S / max(seconds, 1e-7))
        self._inner = max(1, min(round(SAMPLE_S / max(seconds, 1e-7)), MOST_CALLS))
        if self.device.is_gpu and not self.eager:
            self._graph = self._captured()

    def read(self) -> float:
        """Seconds of one call, by one more reading."""
        begun = time.perf_counter()
        seconds = self._device_seconds() if self.device.is_gpu else self._host_seconds(self._inner)
        self.cost_s = time.perf_counter() - begun
        self.readings.append(seconds)
        return seconds

    @property
    def timing(self) -> Timing:
        return Timing.of(self.readings)

    def _next(self, count: int) -> list[Call]:
        n = len(self.calls)
        chosen = [self.calls[(self._at + i) % n] for i in range(count)]
        self._at = (self._at + count) % n
        return chosen

    def _host_seconds(self, count: int) -> float:
        chosen = self._next(count)
        begun = time.perf_counter()
        for call in chosen:
            call()
        self.device.synchronize()
        return (time.perf_counter() - begun) / count

    def _captured(self) -> Any:
        """One graph that holds so many calls; every replay of it goes through the same data."""
        graph = torch.cuda.CUDAGraph()
        chosen = self._next(max(self._inner, min(len(self.calls), self._cold)))
        self._inner = len(chosen)
        with torch.cuda.graph(graph):
            for call in chosen:
                call()
        graph.replay()
        torch.cuda.synchronize()
        return graph

    def _device_seconds(self) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        chosen = [] if self._graph is not None else self._next(self._inner)
        torch.cuda.synchronize()
        start.record()
        if self._graph is not None:
            self._graph.replay()
        for call in chosen:
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3 / self._inner
