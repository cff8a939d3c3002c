"""Stopwatches: every call in its turn, medians and quartiles, and readings that are long enough."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.cli.scripts import script

pytest.importorskip("torch")
timing, device = script("timing"), script("device")


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=30))
def test_a_timing_lies_between_its_quartiles(readings: list[float]) -> None:
    found = timing.Timing.of(readings)
    assert min(readings) <= found.low <= found.median <= found.high <= max(readings)
    assert found.repeats == len(readings)


class Clock:
    """A clock that calls move on, and nothing else."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(timing, "time", found)
    return found


@pytest.mark.parametrize("seconds", [2e-6, 1e-4, 0.5])
def test_seconds_are_of_one_call_however_many_fill_a_reading(clock: Clock, seconds: float) -> None:
    made = Counter[int]()

    def call(i: int) -> Any:
        def moved() -> None:
            made[i] += 1
            clock.now += seconds

        return moved

    watch = timing.Stopwatch(device.device("cpu"), [call(i) for i in range(3)])
    watch.warm_up()
    before = sum(made.values())
    for _ in range(6):
        assert watch.read() == pytest.approx(seconds)
    a_reading = (sum(made.values()) - before) / 6
    assert a_reading * seconds >= timing.SAMPLE_S / 2 or a_reading == timing.MOST_CALLS
    assert (
        max(made.values()) - min(made.values()) <= 1
    )  # in turn: what one reads is out of the cache when it comes again
    assert watch.timing.repeats == 6
