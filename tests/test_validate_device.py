"""The device under test: what it is called, whether it is free, and the wrong questions about it."""

from __future__ import annotations

import pytest

from perfmodel.cli.scripts import script
from perfmodel.errors import RequestError
from perfmodel.measured.known import catalogued
from perfmodel.measured.results import Device as Kept

pytest.importorskip("torch")
device = script("device")
GIB = 2**30


@pytest.mark.parametrize(
    ("name", "memory", "known"),
    [
        ("NVIDIA H200", 141e9, "h200"),
        ("NVIDIA H100 80GB HBM3", 85.5e9, "h100"),
        ("NVIDIA H100 PCIe", 85.5e9, "h100-pcie"),
        ("NVIDIA A100-SXM4-80GB", 85.1e9, "a100"),
        ("NVIDIA A100-SXM4-40GB", 42.3e9, "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", 85e9, "a100-pcie"),
        ("NVIDIA GeForce RTX 4090", 25.4e9, "rtx-4090"),
        ("NVIDIA RTX 6000 Ada Generation", 51e9, "rtx-6000-ada"),
        ("AMD Instinct MI300X", 206e9, "mi300x"),
        ("Tesla V100-SXM2-16GB", 16.9e9, "v100-16gb"),
        ("NVIDIA A100-SXM4-80GB", 20e9, None),  # a part of one
        ("NVIDIA GeForce RTX 9999", 25e9, None),
        ("../../etc/passwd", 1e9, None),
    ],
)
def test_names_of_drivers_are_found_in_the_catalog(name: str, memory: float, known: str | None) -> None:
    assert catalogued(name, int(memory)) == known


def test_the_cpu_is_always_there_and_its_facts_can_be_kept() -> None:
    found = device.device("cpu")
    kept = Kept(**found.facts())
    assert kept.compute_units >= 1
    assert kept.memory_bytes > GIB
    assert {"torch", "perfmodel", "python", "os"} <= set(device.software())


@pytest.mark.parametrize(("kind", "told"), [("tpu", "--on takes cuda, rocm, mps, cpu"), ("x" * 99, "--on takes")])
def test_other_kinds_are_refused(kind: str, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        device.device(kind)


def test_a_kind_that_is_not_here_is_refused() -> None:
    absent = [kind for kind, there in (("cuda", device._has_cuda()), ("rocm", device._has_rocm())) if not there]
    with pytest.raises(RequestError, match=f"--on {absent[0]}: torch .* finds no such device here; it finds .*cpu"):
        device.device(absent[0])


def test_a_busy_device_is_waited_for_and_then_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = device.device("cpu")
    loads = iter([0.9, 0.8, 0.1])
    monkeypatch.setattr(device.Device, "load", lambda self: next(loads))
    monkeypatch.setattr(device.time, "sleep", lambda seconds: None)
    assert device.wait_until_free(found) == ""
    monkeypatch.setattr(device.Device, "load", lambda self: 0.9)
    assert "others use 90% of it" in device.wait_until_free(found, patience_s=0.0)


def test_sizes_of_caches_are_read_as_linux_writes_them() -> None:
    assert [device._bytes(text) for text in ("32K", "4M", "1G", "512")] == [32768, 4 * 2**20, 2**30, 512]
