"""Results as a harness could have written them, made up for tests: nothing here was measured."""

from __future__ import annotations

from typing import Any

from perfmodel.measured.measurements import KernelMeasurement, Predicted, RunMeasurement
from perfmodel.measured.results import Device, KernelResults, RunResults

SOFTWARE = {"torch": "2.13.0", "perfmodel": "0.1.0", "python": "3.12.1", "os": "Linux 6.8"}
OPS = {
    "attention.qkv": 0.2,
    "attention.attend": 0.25,
    "attention.out": 0.1,
    "ffn.up": 0.25,
    "ffn.down": 0.15,
    "norm": 0.05,
}


def device(**given: Any) -> Device:
    figures: dict[str, Any] = {"memory_bytes": 150 * 10**9, "compute_units": 132, "clock_hz": 1.98e9}
    return Device(**{"name": "NVIDIA H200", "kind": "cuda", "gpu": "h200", "driver": "580.1"} | figures | given)


def predicted(expected: float, half: float = 0.1) -> Predicted:
    return Predicted(expected=expected, low=expected * (1 - half), high=expected * (1 + half))


def figure(name: str = "ttft_s", value: float = 1.0, told: float | None = None, **given: Any) -> RunMeasurement:
    """A measurement whose prediction is `told`."""
    setting: dict[str, Any] = {
        "model": "llama3-8b", "layers": 4, "of_layers": 32, "weights": "bf16", "kv": "bf16", "way": "graphs",
        "attention": "flash", "cache": True, "batch": 1, "prompt": 128, "output": 32, "repeats": 10,
    }  # fmt: skip
    guessed = None if told is None else predicted(told)
    held = {"figure": name, "value": value, "low": value * 0.99, "high": value * 1.02, "predicted": guessed}
    return RunMeasurement(**setting | held | given)


def kernel(name: str = "gemm", value: float = 1e-5, told: float | None = None, **given: Any) -> KernelMeasurement:
    guessed = None if told is None else predicted(told)
    held = {"kernel": name, "format": "bf16", "shape": {"m": 16, "n": 4096, "k": 4096}, "repeats": 50}
    times = {"value": value, "low": value * 0.99, "high": value * 1.01, "predicted": guessed}
    return KernelMeasurement(**held | times | given)


def runs(*measurements: RunMeasurement, **given: Any) -> RunResults:
    header: dict[str, Any] = {"device": device(), "software": SOFTWARE, "date": "2025-11-30", "complete": True}
    held = {"command": "perfmodel validate run --gpu h200", "measurements": measurements}
    return RunResults(**header | held | given)


def kernels(*measurements: KernelMeasurement, **given: Any) -> KernelResults:
    header: dict[str, Any] = {"device": device(), "software": SOFTWARE, "date": "2025-11-30", "complete": True}
    return KernelResults(**header | {"command": "perfmodel calibrate --run", "measurements": measurements} | given)


def full_run(models: tuple[str, ...] = ("llama3-8b", "llama3-70b"), **given: Any) -> RunResults:
    """A grid of batches and prompts with every figure, off by amounts that follow from the sizes."""
    found = []
    for i, model in enumerate(models):
        for batch in (1, 2, 4, 8, 16, 32):
            for prompt in (128, 512, 2048, 8192):
                found += _setting(model, 1 + i, batch, prompt)
    return runs(*found, **given)


def _setting(model: str, size: float, batch: int, prompt: int) -> list[RunMeasurement]:
    wobble = ((batch * 7 + prompt // 128 * 13) % 11 - 5) / 60
    asked = {"model": model, "batch": batch, "prompt": prompt, "used_in_fit": (batch + prompt // 128) % 3 == 0}
    prefill, decode = 3e-7 * size * batch * prompt + 2e-3, 4e-3 * size + 2e-5 * batch + 2e-9 * batch * prompt
    flops, moved = 3.2e9 * size * batch * prompt, 3.2e9 * size
    found = [
        figure("ttft_s", prefill, prefill * (1.04 + wobble), flops=flops, bytes=moved, **asked),
        figure("tpot_s", decode, decode * (0.97 + wobble), flops=3.2e9 * batch, bytes=moved, **asked),
        figure("peak_memory_bytes", moved * 1.1 + 1e5 * batch * prompt, moved * 1.05 + 1e5 * batch * prompt, **asked),
    ]
    for i, (op, share) in enumerate(OPS.items()):
        off = 1 + wobble + (i - 2) / 40
        for phase, whole, work in (("prefill", prefill, flops), ("decode", decode, 3.2e9 * batch)):
            held = {"flops": share * work, "bytes": share * moved}
            found.append(figure(f"{phase}_op:{op}_s", share * whole, share * whole * off, **held, **asked))
    return found


def full_kernels(**given: Any) -> KernelResults:
    """Products, prefill attention and copies of many sizes."""
    found = []
    for i in range(40):
        m = 2 ** (i % 13)
        flops, moved = 2.0 * m * 4096 * 4096, 2.0 * (4096 * 4096 + 2 * m * 4096)
        seconds = max(flops / 7e14, moved / 4e12) + 4e-6
        shape = {"m": m, "n": 4096 + i, "k": 4096}
        found.append(kernel("gemm", seconds, seconds * (0.9 + i / 200), shape=shape, flops=flops, bytes=moved))
        found.append(kernel("prefill", seconds * 3, seconds * 3.2, shape={"tokens": m, "heads": 32 + i}, format="fp8"))
        found.append(kernel("copy", moved / 4e12, moved / 4.1e12, shape={"bytes": moved + i}, bytes=moved))
    return kernels(*found, **given)
