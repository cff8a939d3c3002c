"""The device under test: what torch finds here, what it is called, and whether it is free to be measured."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from perfmodel.errors import RequestError

KINDS = ("cuda", "rocm", "mps", "cpu")
BUSY = 0.25
"""Share of a device that others may use before measuring it would tell of them."""


@dataclass(frozen=True)
class Device:
    """One device of one kind ("cuda", "rocm", "mps" or "cpu"), and what its driver says of it.

    `cache_bytes` is the last cache before memory, 0 where nobody says; `clock_hz` the clock that is stated; `libraries`
    what computes beside torch.
    """

    kind: str
    name: str
    memory_bytes: int
    compute_units: int
    cache_bytes: int = 0
    clock_hz: float = 0.0
    driver: str = ""
    capability: str = ""
    count: int = 1

    @property
    def torch(self) -> torch.device:
        return torch.device({"rocm": "cuda"}.get(self.kind, self.kind))

    @property
    def is_gpu(self) -> bool:
        return self.kind in ("cuda", "rocm")

    def synchronize(self) -> None:
        """Wait until everything that was asked of it is done."""
        if self.is_gpu:
            torch.cuda.synchronize()
        elif self.kind == "mps":
            torch.mps.synchronize()

    def temperature(self) -> float | None:
        """°C now; None where nobody says."""
        told = _smi("temperature.gpu") if self.kind == "cuda" else None
        return float(told) if told and told.replace(".", "").isdigit() else None

    def clock(self) -> float | None:
        """Hz at which its compute units run now; None where nobody says."""
        told = _smi("clocks.sm") if self.kind == "cuda" else None
        if told and told.isdigit():
            return float(told) * 1e6
        return _cpu_clock() if self.kind == "cpu" else None

    def load(self) -> float:
        """Share of it that is used now, by others; call it when nothing of our own runs."""
        if self.kind == "cuda":
            told = _smi("utilization.gpu")
            return float(told) / 100 if told and told.isdigit() else 0.0
        return _cpu_load(self.compute_units) if self.kind == "cpu" else 0.0

    def facts(self) -> dict[str, Any]:
        """What is kept of it beside measurements (perfmodel.measured.results)."""
        return {
            "name": self.name,
            "kind": self.kind,
            "driver": self.driver,
            "memory_bytes": self.memory_bytes,
            "compute_units": self.compute_units,
            "clock_hz": self.clock(),
            "temperature_c": self.temperature(),
        }


def device(kind: str | None = None) -> Device:
    """The device of that kind, or the first that torch finds: CUDA, ROCm, MPS, then the CPU.

    RequestError where it is not there.
    """
    there = {"cuda": _has_cuda(), "rocm": _has_rocm(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind is None:
        kind = next(name for name, found in there.items() if found)
    if kind not in there:
        raise RequestError(f'--on takes {", ".join(KINDS)}; got "{kind[:40]}".')
    if not there[kind]:
        found = ", ".join(name for name, known in there.items() if known)
        raise RequestError(f"--on {kind}: torch {torch.__version__} finds no such device here; it finds {found}.")
    return {"cuda": _cuda, "rocm": _cuda, "mps": _mps, "cpu": _cpu}[kind]()


def wait_until_free(found: Device, patience_s: float = 20.0) -> str:
    """Nothing, or a sentence that the device is too busy to be measured; waits for it a while."""
    end = time.monotonic() + patience_s
    loads = [found.load()]
    while loads[-1] > BUSY and time.monotonic() < end:
        time.sleep(1.0)
        loads.append(found.load())
    if loads[-1] <= BUSY:
        return ""
    return (
        f"{found.name} is too busy to measure: others use {median(loads):.0%} of it; "
        "wait for them, or measure nevertheless with --busy."
    )


def software() -> dict[str, str]:
    """What runs here."""
    from perfmodel import __version__

    runtime = torch.version.cuda or torch.version.hip or ""
    found = {
        "torch": torch.__version__,
        "perfmodel": __version__,
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
    }
    return found | ({"runtime": runtime} if runtime else {})


def head(device: Device, gpu: str, command: str) -> dict[str, Any]:
    """What a results file begins with (perfmodel.measured.results): on what, by what, when."""
    today = datetime.date.today().isoformat()
    return {"device": device.facts() | {"gpu": gpu}, "software": software(), "date": today, "command": command}


# ── kinds of devices ─────────────────────────────────────────────────────────────────────────────


def _has_cuda() -> bool:
    return torch.cuda.is_available() and torch.version.hip is None


def _has_rocm() -> bool:
    return torch.cuda.is_available() and torch.version.hip is not None


def _cuda() -> Device:
    p = torch.cuda.get_device_properties(0)
    kind = "rocm" if _has_rocm() else "cuda"
    return Device(
        kind,
        p.name,
        int(p.total_memory),
        int(p.multi_processor_count),
        int(getattr(p, "L2_cache_size", 0)),
        float(_smi("clocks.max.sm") or 0) * 1e6 if kind == "cuda" else 0.0,
        f"driver {_smi('driver_version') or '?'}" if kind == "cuda" else f"HIP {torch.version.hip}",
        f"{p.major}.{p.minor}",
        torch.cuda.device_count(),
    )


def _mps() -> Device:
    name = _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or "Apple GPU"
    memory = int(torch.mps.recommended_max_memory())
    return Device("mps", name, memory, 1, driver=f"macOS {platform.mac_ver()[0]}")


def _cpu() -> Device:
    """As many cores as torch computes with; the memory that is there, not what is free."""
    return Device(
        "cpu",
        _cpu_name(),
        _memory(),
        torch.get_num_threads(),
        _cache(),
        _cpu_clock() or 0.0,
        torch.backends.cpu.get_cpu_capability(),
    )


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = dict(re.findall(r"^([\w ]+?)\s*: (.+)$", info.read_text(encoding="utf-8").split("\n\n")[0], re.M))
        where = f" (family {found['cpu family']}, model {found['model']})" if "cpu family" in found else ""
        if "model name" in found:
            return f"{found['model name'].strip()}{where}"
    return _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def _cache() -> int:
    """Bytes of the last level of cache of the first core, as Linux tells."""
    found = [
        (int((index / "level").read_text()), _bytes((index / "size").read_text().strip()))
        for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
        if (index / "size").is_file()
    ]
    return max(found, default=(0, 0))[1]


def _bytes(text: str) -> int:
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    return int(text[:-1]) * units[text[-1]] if text[-1:] in units else int(text)


def _cpu_clock() -> float | None:
    info = Path("/proc/cpuinfo")
    found = re.findall(r"^cpu MHz\s*: ([\d.]+)$", info.read_text(encoding="utf-8"), re.M) if info.is_file() else []
    return median(map(float, found)) * 1e6 if found else None


def _cpu_load(cores: int, window_s: float = 0.5) -> float:
    """Share of the cores' time that anything ran within a moment, while we sleep."""
    before = _jiffies()
    time.sleep(window_s)
    after = _jiffies()
    if before is None or after is None:
        return 0.0
    ran, passed = (new - old for new, old in zip(after, before, strict=True))
    every = os.cpu_count() or cores
    return min(ran / passed * every / cores, 1.0) if passed else 0.0


def _jiffies() -> tuple[int, int] | None:
    """(busy, all) ticks of all cores, time stolen from a virtual machine among the busy ones."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return None
    ticks = [int(n) for n in stat.read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _smi(figure: str) -> str | None:
    told = _output(["nvidia-smi", f"--query-gpu={figure}", "--format=csv,noheader,nounits", "-i", "0"])
    return told.splitlines()[0].strip() if told else None


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
