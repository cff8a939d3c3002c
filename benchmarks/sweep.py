"""Rows a second of a sweep over models × GPUs × splits × sizes, beside the loop of single estimates.

    python benchmarks/sweep.py

One core, but for the last lines. Prints rates and ratios that were measured side by side: the loop of single estimates,
one deployment, a mixed grid in memory and streamed to Parquet (with extra "sweep"), a grid of deployments of one size
each, one process against two, and the peak of memory while far more rows are streamed than it could hold.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import perfmodel as pm
from perfmodel.study.parts import parts
from perfmodel.study.rows import Rows

ONE: dict[str, Any] = {
    "model": "llama3-70b",
    "gpu": "h100",
    "tp": 4,
    "batch": range(1, 65),
    "prompt": range(64, 8193, 64),
    "output": range(16, 2049, 16),
}
MIXED: dict[str, Any] = {
    "model": ["llama3-8b", "llama3-70b", "mixtral-8x7b", "deepseek-v3", "qwen3-32b"],
    "gpu": ["h100", "h200", "b200", "l40s"],
    "tp": [1, 2, 4, 8],
    "batch": "1:64",
    "prompt": "128:4096:+128",
    "output": "32:512:+32",
}
"""80 deployments × 32,768 sizes, among them some that cannot be and many that do not fit."""
DEPLOYMENTS: dict[str, Any] = {
    "model": ["llama3-8b", "llama3-70b", "qwen3-32b"],
    "gpu": ["h100", "h200", "b200", "l40s", "a100"],
    "tp": [1, 2, 4, 8],
    "pp": [1, 2],
    "kv": ["bf16", "fp8"],
    "memory_share": [0.85, 0.9],
}


def looped(count: int = 300) -> float:
    """Estimates a second, one by one."""
    model, gpu = pm.load_model("llama3-70b"), pm.load_gpu("h100")
    start = time.perf_counter()
    for i in range(count):
        pm.estimate(model, gpu, tp=4, batch=1 + i % 64, prompt=64 + i, output=16, must_fit=False)
    return count / (time.perf_counter() - start)


def rate(axes: dict[str, Any], **options: Any) -> float:
    """Rows a second of a table in memory, specs read and all."""
    start = time.perf_counter()
    found = len(pm.sweep(**axes, **options))
    return found / (time.perf_counter() - start)


def streamed(axes: dict[str, Any], file: Path, jobs: int = 1) -> float:
    """Rows a second into a file."""
    start = time.perf_counter()
    rows = pm.sweep(**axes, jobs=jobs).write(file).rows
    return rows / (time.perf_counter() - start)


def peak() -> float:
    """MiB that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def told(name: str, value: float, beside: float, of: str) -> None:
    print(f"{name:<44} {value:12,.0f} rows/s {value / beside:10,.2f} times {of}")


def main() -> None:
    rate({**ONE, "output": [16]})
    single = looped()
    print(f"{'loop of single estimates':<44} {single:12,.0f} rows/s")
    study = pm.sweep(**MIXED).study
    rows, start, count = Rows(study), time.perf_counter(), 0
    for part in parts(study):
        count += len(rows.of(part)["fits"])
    mixed = count / (time.perf_counter() - start)
    told(f"mixed grid of {count:,}, part by part", mixed, single, "the loop")
    print(f"{'':<44} peak of memory {peak():,.0f} MiB")
    told("one deployment, in memory", rate(ONE), single, "the loop")
    told(
        "one deployment, with breakdown",
        rate({**ONE, "output": range(16, 257, 16)}, breakdown=True),
        single,
        "the loop",
    )
    told("deployments of one size each", rate(DEPLOYMENTS), single, "the loop")
    with tempfile.TemporaryDirectory() as folder:
        try:
            one = streamed(MIXED, Path(folder) / "grid.parquet")
            told("mixed grid to Parquet", one, single, "the loop")
            streamed({**DEPLOYMENTS, "kv": "fp8"}, Path(folder) / "warm.parquet", jobs=2)
            told("the same by two processes", streamed(MIXED, Path(folder) / "two.parquet", jobs=2), one, "one process")
        except pm.RequestError as error:
            print(error)


if __name__ == "__main__":
    main()
