"""Fits to one's own device: constants come back from times made of them, and a new spec keeps bounds bounds."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.catalog import read_yaml
from perfmodel.deployment import Deployment, precision_for
from perfmodel.engine import engine
from perfmodel.fitting import device as fitting
from perfmodel.fitting.own import with_overheads
from perfmodel.fitting.whole import Ran, overheads, prior
from perfmodel.gpu import GPU
from perfmodel.kernels.gemm import Gemm, gemm_waits
from perfmodel.kernels.overheads import Overheads
from perfmodel.measured.measurements import KernelMeasurement
from perfmodel.spec import checked

pytest.importorskip("scipy")
GEMM = {"launch_s": 2e-5, "compute": 0.8, "memory": 0.7, "step_s": 6e-8, "tail": 0.3, "epilogue": 0.3, "packing": 1.0}
SHAPES = [(m, n, k) for m in (1, 2, 8, 40, 200, 900) for n, k in ((512, 512), (2048, 640), (1024, 4096), (6144, 1536))]


@pytest.fixture(scope="module")
def cpu() -> GPU:
    return pm.load_gpu("cpu-server")


def measurement(kernel: str, number_format: str, seconds: float, **shape: float) -> KernelMeasurement:
    sizes = {name: float(size) for name, size in shape.items()}
    return KernelMeasurement(
        kernel=kernel, format=number_format, shape=sizes, value=seconds, low=seconds, high=seconds, repeats=3
    )


def products(cpu: GPU, constants: dict[str, float], number_format: str = "fp32") -> list[KernelMeasurement]:
    made = []
    for m, n, k in SHAPES:
        blank = [measurement("gemm", number_format, 1.0, rows=m, columns=n, depth=k)]
        seconds = float(fitting.gemm_rows(cpu, number_format, blank).predicted(constants)[0])
        made.append(measurement("gemm", number_format, seconds, rows=m, columns=n, depth=k))
    return made


def test_products_come_back(cpu: GPU) -> None:
    found = {fit.kernel: fit for fit in fitting.kernel_fits(products(cpu, GEMM), cpu, "made", "1")}
    fit = found["gemm"]
    assert (fit.library, fit.key, fit.points) == ("torch", "fp32", len(SHAPES))
    assert fit.median < 0.05  # of matrices that the fit had not seen
    again = fitting.gemm_rows(cpu, "fp32", products(cpu, GEMM))
    assert np.abs(again.predicted(fit.constants) / again.seconds - 1).max() < 0.1


def test_packing_is_paid_by_more_rows_than_one() -> None:
    def seconds(rows: float, packing: float) -> float:
        c = Gemm(0.0, 1.0, 1.0, 0.0, packing=packing)
        weights, others = 4.0 * 4096 * 4096, 4.0 * rows * 2 * 4096
        return float(gemm_waits(1.0, weights + others, rows, 4096, 4096, 1e15, 1e10, 1, c, 0, others).total)

    assert seconds(1, 1.0) == seconds(1, 0.0)
    assert seconds(8, 1.0) == pytest.approx(2 * seconds(8, 0.0), rel=0.01)


@pytest.mark.parametrize(("kernel", "sizes"), [("decode", "context"), ("prefill", "tokens")])
def test_attention_comes_back(cpu: GPU, kernel: str, sizes: str) -> None:
    constants = {
        "decode": {"launch_s": 8e-6, "chunk_s": 5e-7, "memory": 0.6, "compute": 0.01, "unit_s": 2e-6, "exposed": 0.2},
        "prefill": {"launch_s": 1e-5, "compute": 0.15, "softmax": 20.0, "tile": 128.0, "tile_s": 2e-6, "tail": 0.3,
                    "memory": 0.5},
    }[kernel]  # fmt: skip
    made = []
    for b in (1, 4, 16):
        for length in (40, 300, 2000, 9000):
            for heads, kv in ((8, 2), (32, 8)):
                shape = {"sequences": b, sizes: length, "heads": heads, "kv_heads": kv, "head_size": 64}
                rows = fitting.attention_rows(kernel, cpu, "bf16", [measurement(kernel, "bf16", 1.0, **shape)])
                made.append(measurement(kernel, "bf16", float(rows.predicted(constants)[0]), **shape))
    (fit,) = fitting.kernel_fits(made, cpu, "made", "1")
    assert fit.median < 0.05
    told = fitting.fitted_to(made, cpu)
    assert told == made  # nothing on file for this device


def test_collectives_come_back() -> None:
    gpu = pm.load_gpu("h100")
    constants = {"start_s": 2e-5, "step_s": 1e-6, "share": 0.8, "fill_s": 1e-5}
    sizes, ranks = np.array([2.0**n for n in range(12, 31, 2)]), np.full(10, 8.0)
    seconds = fitting.Talks(gpu, "all-gather", sizes, ranks, np.ones(10)).predicted(constants)
    made = [
        measurement("collective", "all-gather", float(t), bytes=n, ranks=8) for n, t in zip(sizes, seconds, strict=True)
    ]
    (fit,) = fitting.kernel_fits(made, gpu, "made", "1")
    assert (fit.kernel, fit.key) == ("collective", "NVLink all-gather 8")
    again = fitting.Talks(gpu, "all-gather", sizes, ranks, seconds)
    assert np.abs(again.predicted(fit.constants) / seconds - 1).max() < 0.1


def test_too_few_measurements_have_no_constants(cpu: GPU) -> None:
    assert not list(fitting.kernel_fits(products(cpu, GEMM)[: fitting.FEWEST - 1], cpu, "made", "1"))


def test_a_new_device_is_never_slower_than_its_bounds(cpu: GPU, tmp_path: Path) -> None:
    made = products(cpu, GEMM) + products(cpu, GEMM | {"compute": 0.9}, "bf16")
    made.append(measurement("read", "bytes", 0.01, bytes=2**30))
    flops, bandwidth = fitting.peaks(made, 2**20)
    facts = {"name": 'A "CPU": of 2', "memory_bytes": 16 * 2**30, "compute_units": 2, "clock_hz": 2e9,
             "cache_bytes": 2**20, "architecture": "CPU"}  # fmt: skip
    file = tmp_path / "mine.yaml"
    file.write_text(fitting.spec_text("mine", facts, flops, bandwidth, "measured: here"), encoding="utf-8")
    gpu = checked(GPU, read_yaml(file), "mine")
    assert gpu.title == 'A "CPU": of 2'
    for one in made[:-1]:
        s = one.shape
        kept = fitting.KEPT[one.format]
        assert one.value >= 2 * s["rows"] * s["columns"] * s["depth"] / gpu.peak(kept.computes)
    assert made[-1].value >= 2**30 / gpu.memory_bandwidth


# ── whole models ─────────────────────────────────────────────────────────────────────────────────

TRUTH = {"layer_s": 1.2e-4, "pass_s": 3e-4, "sequence_s": 5e-6, "fusion": 2.0, "compute": 0.9, "memory": 1.1}


def ran(cpu: GPU) -> list[Ran]:
    found = []
    for sizes in ("layers=4,hidden=1024,ffn=2816", "layers=8,hidden=512,ffn=1408", "layers=2,hidden=2048,ffn=8192"):
        model = pm.estimate("llama3.2-1b", "cpu-server", prune=sizes).plan.model
        plan = Deployment(model, cpu, precision_for(cpu), engine("torch"))
        batch, tokens = (a.ravel().astype(float) for a in np.meshgrid((1, 3, 12), (16, 200, 1500)))
        for phase in ("prefill", "decode"):
            blank = Ran(plan, phase, batch, tokens, np.ones_like(batch))
            found.append(replace(blank, seconds=blank.predicted(TRUTH)))
    return found


def test_overheads_come_back(cpu: GPU) -> None:
    every = ran(cpu)
    told, errors = overheads(every, "small models", "1", host=False)
    assert errors.median < 0.02
    assert (told.library, told.kernel, told.key, told.points) == ("torch any", "overheads", "any", 54)
    assert set(told.more["spreads"]) == {"prefill setting", "decode setting"}
    for one in every:
        assert one.predicted(told.constants) == pytest.approx(one.seconds, rel=0.05)
    # what a file leaves out is as it is by default, which is not nothing
    assert asdict(Overheads(**told.constants)) | told.constants == asdict(prior(every[0].plan)) | told.constants


def test_the_production_code_takes_them_up(cpu: GPU) -> None:
    """What a file with these overheads predicts is what the fit saw."""
    one = ran(cpu)[0]
    usual = asdict(prior(one.plan)) | TRUTH
    slow, fast = (with_overheads(one.plan, usual | {"layer_s": seconds}) for seconds in (1e-2, TRUTH["layer_s"]))
    work = pm.Workload(64, 1, 1)
    from perfmodel.latency import prefill_time

    more = prefill_time(slow, work).expected - prefill_time(fast, work).expected
    assert more == pytest.approx(one.plan.model.layers * (1e-2 - TRUTH["layer_s"]))
