"""Whole-process time of `perfmodel estimate`, side by side with importing its dependencies and nothing else.

    python benchmarks/startup.py [runs]

Prints medians and the ratio of pairs run in turn. With the PyPI package `aiconfigurator` installed, also against its
`cli estimate` of the same case.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time

OURS = [sys.executable, "-m", "perfmodel", "estimate", "--model", "llama3.1-8b", "--gpu", "h100"]
IMPORTS = [sys.executable, "-c", "import numpy, pydantic, typer, rich, yaml"]
PEER = (
    "cli estimate --model-path meta-llama/Meta-Llama-3.1-8B --system h100_sxm --backend vllm "
    "--isl 1024 --osl 256 --batch-size 1 --tp-size 1"
)


# as a user has it: bytecode is kept from the first run on
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - start


def compare(name: str, ours: list[str], other: list[str], runs: int) -> None:
    seconds(ours), seconds(other)  # warm the disk cache
    pairs = [(seconds(ours), seconds(other)) for _ in range(runs)]
    a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(x / y for x, y in pairs)
    print(f"{name:<34} perfmodel {a * 1e3:7.0f} ms   other {b * 1e3:7.0f} ms   perfmodel/other {ratio:.3f}")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    compare("against importing dependencies", OURS, IMPORTS, runs)
    peer = shutil.which("aiconfigurator")
    if peer is None:
        print("aiconfigurator is not installed here: pip install aiconfigurator to compare with it")
        return
    try:
        compare("against aiconfigurator", OURS, [peer, *PEER.split()], max(3, runs // 5))
    except subprocess.CalledProcessError as error:
        print(f"aiconfigurator could not answer (exit {error.returncode}); run it by hand to see why: {PEER}")


if __name__ == "__main__":
    main()
