"""Micro-benchmarks: the shapes that are measured, what is called at each, and what becomes of errors and of time."""

from __future__ import annotations

from collections import Counter

import pytest

import perfmodel as pm
from perfmodel.cli.scripts import script

torch = pytest.importorskip("torch")
cases, microbench, device = script("cases"), script("microbench"), script("device")
EVERY = list(cases.kernels(("bf16", "fp32"), ("fp32",), ranks=1))
SPEED = 1e11, 1e10


@pytest.fixture(scope="module")
def bench() -> object:
    found = device.device("cpu")
    small = device.Device("cpu", found.name, 2**28, found.compute_units, 2**16)
    return microbench.Microbench(small, 1.0, SPEED)


def case(kernel: str, number_format: str = "fp32", **sizes: int) -> object:
    return cases.Case.of(kernel, number_format, **sizes)


def test_each_case_is_there_once() -> None:
    assert len(set(EVERY)) == len(EVERY)


def test_any_first_part_is_a_fair_sample() -> None:
    whole, part = (Counter(one.kernel for one in some) for some in (EVERY, EVERY[: len(EVERY) // 5]))
    for kernel in ("gemm", "prefill", "decode", "decode-mha", "norm"):
        assert part[kernel] / whole[kernel] == pytest.approx(0.2, abs=0.12)


def test_no_matrix_is_one_of_a_llama() -> None:
    """Whole models tell how the fit generalises, for none of their products was measured."""
    mine = set(cases.MATRICES)
    for name in ("llama3.2-1b", "llama3.2-3b", "llama3-8b", "llama3-70b", "llama2-7b"):
        model = pm.load_model(name)
        for block in model.blocks:
            for layer in block.layers:
                for tensor in layer.tensors(model.hidden_size).values():
                    assert (tensor.rows, tensor.columns) not in mine


def test_products_are_products(bench: object) -> None:
    calls = bench.products(case("gemm", rows=3, columns=8, depth=16))
    assert len(calls) > 1
    one, other = calls[0](), calls[1]()
    assert one.shape == (3, 8)
    assert not torch.equal(one, other)  # other weights
    assert torch.isfinite(one).all()


def test_steps_attend_to_different_caches(bench: object) -> None:
    calls = bench.steps(case("decode", sequences=2, context=5, heads=4, kv_heads=2, head_size=8))
    assert calls[0]().shape == (2, 4, 1, 8)
    assert not torch.equal(calls[0](), calls[1]())


def test_copies_never_copy_a_stretch_onto_itself(bench: object) -> None:
    room = bench.pool.numel() * bench.pool.element_size()
    for size in (64, room // 2, room, 2 * room):
        for into, out in bench.pairs(size // 4, torch.float32):
            assert into.data_ptr() != out.data_ptr()


@pytest.mark.parametrize("kernel", ["norm", "glu", "add"])
def test_passes_keep_the_shape(bench: object, kernel: str) -> None:
    assert bench.passes(case(kernel, tokens=4, width=32))[0]().shape == (4, 32)


def test_every_kernel_can_be_called(bench: object) -> None:
    """The cheapest case of each kernel, once."""
    for kernel in dict.fromkeys(one.kernel for one in EVERY):
        cheapest = min((one for one in EVERY if one.kernel == kernel), key=lambda one: sum(one.work))
        assert all(reading >= 0 for reading in bench._readings(cheapest))


def test_what_takes_too_long_or_too_much_memory_is_left_out(bench: object) -> None:
    kept = bench.affordable(EVERY)
    assert 0 < len(kept) < len(EVERY)
    flops, rate = SPEED
    for one in kept:
        work, moved = one.work
        assert work / flops + moved / rate < bench.budget_s
        assert 2 * moved <= bench.device.memory_bytes


def test_errors_of_torch_are_reasons_and_time_ends_it(bench: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: object, one: object) -> list[float]:
        if one.kernel == "glu":
            raise RuntimeError("not implemented for 'Half'\nmore")
        return [1e-6, 3e-6, 2e-6]

    monkeypatch.setattr(microbench.Microbench, "_readings", fails)
    bench.budget_s = 0.05
    some = [case("glu", tokens=1, width=8), case("add", tokens=1, width=8)]
    found = list(bench.read(some))
    told = {one.case.kernel: one for one in found}
    assert told["glu"].reason == "not implemented for 'Half'"
    assert told["glu"].timing is None
    assert told["add"].timing.median == 2e-6
    assert sum(one.case.kernel == "glu" for one in found) == 1  # not tried again
    assert told["add"].timing.repeats > 3  # rounds until the time was over
