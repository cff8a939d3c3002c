"""A sweep on a cluster: a real Dask scheduler with two worker processes, one of which is killed on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import perfmodel as pm
from perfmodel.errors import RequestError

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        self.workers = [self._worker(number) for number in range(2)]

    def _worker(self, number: int) -> subprocess.Popen[bytes]:
        return self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", f"w{number}"
        )

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        path = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
            cwd=self.folder, env=os.environ | path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def wait(self, workers: int) -> None:
        from distributed import Client

        with Client(self.address, timeout="60s") as client:
            client.wait_for_workers(workers, timeout=60)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        found.wait(2)
        yield found
    finally:
        found.close()


@pytest.mark.filterwarnings("ignore")  # of distributed and tornado, about the connection that breaks
def test_a_lost_worker_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    axes: dict[str, Any] = {
        "model": ["llama3-8b", "deepseek-v3"],
        "gpu": ["h100", "h200", "l4"],
        "tp": [1, 2, 4, 8],
        "weights": ["fp8", "int4"],
        "kv": ["bf16", "fp8"],
        "batch": [1, 8, 64],
        "prompt": range(100, 1600, 100),
        "output": range(10, 310, 10),
    }
    alone = pm.sweep(**axes).write(tmp_path / "alone.parquet")
    lost: list[float] = []

    def watch(done: int, total: int) -> None:
        if done and not lost:
            os.kill(cluster.workers[0].pid, signal.SIGKILL)
            lost.append(done / total)

    together = pm.sweep(**axes, scheduler=cluster.address).write(tmp_path / "together.parquet", progress=watch)
    assert lost
    assert lost[0] < 1
    assert cluster.workers[0].wait() == -signal.SIGKILL
    assert cluster.workers[1].poll() is None
    assert (tmp_path / "together.parquet").read_bytes() == (tmp_path / "alone.parquet").read_bytes()
    assert together.to_dict() == alone.to_dict()


@pytest.mark.filterwarnings("ignore")
def test_workers_elsewhere_know_ones_own_specs(cluster: Cluster, tmp_path: Path) -> None:
    """The workers' folder is another one; what --path names is found all the same."""
    (tmp_path / "hardware").mkdir()
    text = (ROOT / "hardware" / "h100.yaml").read_text(encoding="utf-8").replace("3.35 TB/s", "6.70 TB/s")
    (tmp_path / "hardware" / "zzz-fast.yaml").write_text(
        text.replace("aliases: [", "aliases: [zzz, "), encoding="utf-8"
    )
    command = [
        *(sys.executable, "-m", "perfmodel", "sweep", "-m", "llama3-8b", "-g", "zzz-fast,h100", "--tp", "1,2"),
        *("--path", str(tmp_path), "--csv"),
    ]
    outs = [
        subprocess.run([*command, *more], capture_output=True, text=True, cwd=ROOT)
        for more in ((), ("--scheduler", cluster.address))
    ]
    assert outs[1].returncode == 0, outs[1].stderr
    assert outs[0].stdout == outs[1].stdout
    assert "zzz-fast" in outs[0].stdout


def test_no_scheduler_is_one_sentence() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sweep = pm.sweep("llama3-8b", "h100", tp=[1, 2], scheduler=f"tcp://127.0.0.1:{port}")
    started = time.monotonic()
    with pytest.raises(RequestError, match="no Dask scheduler answers") as error:
        sweep.to_frame()
    assert "\n" not in str(error.value)
    assert time.monotonic() - started < 60


def test_missing_dask_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(RequestError, match=r"perfmodel\[dask\]"):
        pm.sweep("llama3-8b", "h100", scheduler="tcp://127.0.0.1:1").to_frame()
