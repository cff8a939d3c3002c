"""Which constants hold for a device: its own first, then its architecture's, then those of all devices."""

from __future__ import annotations

import pytest

from perfmodel.calibration import Constants
from perfmodel.catalog import load_architecture, load_gpu, names
from perfmodel.engine import ENGINES, engine, generations
from perfmodel.kernels.forms import FORMS


def constants(gpu: str, by: str = "vllm") -> Constants:
    return Constants(load_gpu(gpu), ENGINES[by])


def test_the_nearest_measured_thing_is_taken() -> None:
    own = constants("h100").found("gemm", "bf16").origin
    assert (own.level, own.of, own.library) == ("device", "h100", "vllm")
    assert constants("h100", "trtllm").found("gemm", "bf16").origin.library == "trtllm"
    sibling = constants("h100-pcie").found("gemm", "bf16").origin
    assert (sibling.level, sibling.of) == ("architecture", "Hopper")
    assert constants("mi300x").found("gemm", "bf16").origin.level == "all"
    # INT4 was measured on A100 alone: better another device's INT4 than the own BF16
    assert constants("h200").found("gemm", "w4").origin.level != "device"
    assert constants("h200").found("gemm", "fp8").origin.level == "device"


def test_power_makes_clocks() -> None:
    assert constants("h100").power == 1.0  # measured itself
    assert constants("h100-pcie").power == pytest.approx((350 / 756.5e12 / 7.075e-13) ** 0.4, rel=1e-3)
    assert constants("rtx-4090").power > 1 > constants("l4").power
    full, half = constants("rtx-4090", "vllm"), constants("rtx-4090", "llama.cpp")
    assert half.power == pytest.approx(full.power / 2**0.4, rel=1e-3)  # twice the rate for the same watts


def test_hosts_decide_over_pcie_and_devices_over_nvlink() -> None:
    c = constants("l40s")
    two, eight = (c.of_link("PCIe 4.0 x16", "all-reduce", n) for n in (2, 8))
    assert 0.2 < two.share < 1
    assert 0.2 < eight.share < 1
    assert c.of_link("PCIe 4.0 x16", "all-gather", 8).share > 0
    assert constants("h100").of_link("NVLink 4", "all-reduce", 8).one_limit > 0
    # an engine that calls NCCL for all has no kernels of its own
    assert constants("h100", "gpt-fast").of_link("NVLink 4", "all-reduce", 8).one_limit == 0


def test_generations_have_overheads_of_their_own() -> None:
    gpu = load_gpu("h100")
    times = {row.runs: Constants(gpu, row).costs.layer_s for name in ENGINES for row in generations(name)}
    assert times["vllm 0.8+"] < times["vllm 0.3+"]
    assert engine("vllm", "0.7.3").since == (0, 3)
    assert engine("vllm", "0.2").since == (0, 1)
    assert engine("vllm", "", "rocm").flavour == "rocm"
    assert engine("trtllm", "0.9.0").runs == "trtllm 0+"
    assert engine("llama.cpp").runs == "llama.cpp 2024.7+"


def test_every_file_of_an_architecture_loads_and_is_within_physics() -> None:
    found = {load_gpu(name).architecture for name in names("gpu")} | {"all devices"}
    for name in found:
        architecture = load_architecture(name)
        for library, block in (architecture.calibration if architecture else {}).items():
            for form, by_key in block.kernels.items():
                assert form in FORMS
                for key, entry in by_key.items():
                    for constant in ("memory", "share", "one_share", "two_share"):
                        if form not in ("sustained", "overheads"):
                            assert 0 <= entry.constants.get(constant, 1) <= 1, (name, library, form, key)
                    assert 0 <= entry.fit.median <= entry.fit.p90, (name, library, form, key)
    assert load_architecture("Never heard of") is None
