"""INT8, INT4 and FP8 layers of the torch Llama: near the plain ones, by either way, and as heavy as perfmodel says."""

from __future__ import annotations

from typing import Any

import pytest

from perfmodel.catalog import load_model
from perfmodel.cli.scripts import script
from perfmodel.errors import RequestError
from perfmodel.model import Model
from perfmodel.precision import Precision, number_format
from perfmodel.spec import checked

torch = pytest.importorskip("torch")
llama, quantization = script("llama"), script("quantized")
pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = {"int8": {}, "int4": {}, "int4 symmetric": {"symmetric": True}, "fp8": {}, "fp8 matrix": {"scales": "matrix"}}


def small(ffn: int = 384, hidden: int = 256) -> Model:
    mixer = {"kind": "attention", "heads": 8, "kv_heads": 2, "head_size": 32}
    block = {"repeat": 2, "mixer": mixer, "feed_forward": {"kind": "gated", "size": ffn}}
    data = {"title": "Small", "family": "llama3", "hidden_size": hidden, "vocabulary": 96, "max_context": 512}
    return checked(Model, data | {"rope": {"theta": 1e4}, "blocks": [block], "source": "this test"}, "small")


def layer(kind: str, weight: Any, fused: bool | None) -> Any:
    return quantization.SCHEMES[kind.split()[0]](weight, fused, **KINDS[kind])


def weight_of(rows: int = 48, columns: int = 256, dtype: Any = None) -> Any:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, columns, generator=generator).to(dtype or torch.bfloat16)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_back_within_half_a_step(kind: str) -> None:
    """Of INT8 and INT4 each element is off by at most half a step, and by the rounding of what is stored in 16 bits."""
    weight = weight_of()
    packed = layer(kind, weight, False)
    error = (packed.dequantized().float() - weight.float()).abs()
    assert packed.way == "unfused"
    if kind.startswith("fp8"):  # 3 bits of mantissa: 1/16 of the number, and the smallest ones of the largest
        step = packed.scale if kind == "fp8" else packed.scale.expand(48, 1)
        assert (error <= weight.float().abs() / 15 + step * 2**-9).all()
        return
    step = packed.scale.float().repeat_interleave(256 // packed.scale.view(48, -1).shape[1]).view(48, 256)
    shift = packed.shift.float().abs().max() if kind == "int4" else 0.0
    assert (error <= 0.5 * step + 2**-7 * (weight.float().abs() + shift) + 1e-6).all()


def test_int4_lies_two_a_byte() -> None:
    """Worked by hand: levels −8 … 7 in steps of 0.5, the even column in the high half."""
    weight = (torch.arange(256) % 16 - 8).view(2, 128).float() / 2
    packed = quantization.Int4(weight, False, symmetric=True)
    assert packed.q.shape == (2, 64)
    assert packed.q[0, :8].tolist() == [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF]
    assert packed.scale.tolist() == [[0.5], [0.5]]
    assert torch.equal(packed.dequantized(), weight)
    shifted = quantization.Int4(weight + 16, False)  # all above 0: only a shift can hold them
    assert shifted.shift.tolist() == [[16.0], [16.0]]
    assert torch.equal(shifted.dequantized(), weight + 16)


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("kind", KINDS)
def test_fused_equals_unfused(kind: str, dtype: str) -> None:
    """Where torch has a kernel for this device, it gives what dequantizing and multiplying gives."""
    weight = weight_of(dtype=llama.DTYPES[dtype])
    plain, best = layer(kind, weight, False), layer(kind, weight, None)
    x = torch.randn(2, 3, 256, generator=torch.Generator().manual_seed(1)).to(weight.dtype)
    expected = plain(x)
    assert expected.shape == (2, 3, 48)
    assert expected.dtype == weight.dtype
    if best.way == "unfused":
        assert torch.equal(best(x), expected)
        pytest.skip(f"torch {torch.__version__} has no fused {kind} of {dtype} here")
    assert (best(x).float() - expected.float()).abs().max() <= 0.02 * expected.float().abs().max()
    assert best.bytes == plain.bytes or kind == "int4 symmetric"  # whose kernel takes shifts of 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_fused_equals_unfused_on_cuda(kind: str) -> None:
    weight = weight_of(256, 512).cuda()
    plain, best = layer(kind, weight, False), layer(kind, weight, None)
    x = torch.randn(3, 512, generator=torch.Generator().manual_seed(1)).to(weight)
    expected = plain(x).float()
    assert (best(x).float() - expected).abs().max() <= 0.02 * expected.abs().max()


@pytest.mark.parametrize("kind", ["int8", "int4", "fp8"])
def test_odd_sizes_are_never_given_to_a_kernel(kind: str) -> None:
    """Torch's INT8 kernel for CPUs ends the process on 7 × 30."""
    assert layer(kind, weight_of(7, 128), None).way == "unfused"


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_errors_fall_with_bits(dtype: str) -> None:
    """Logits of a whole model: INT8 nearest, then FP8, then INT4 with a shift, then symmetric INT4."""
    text = torch.randint(96, (2, 30), generator=torch.Generator().manual_seed(0))
    plain = llama.build(small(), dtype=dtype)(text)
    errors = {}
    for kind, choice in KINDS.items():
        built = llama.build(small(), dtype=dtype)
        told = quantization.quantized(built, kind.split()[0], fused=False, **choice)
        assert told.way == "unfused"
        assert told.layers == 8
        errors[kind] = float((built(text) - plain).norm() / plain.norm())
    assert errors["int8"] < 0.03
    assert errors["int8"] < errors["fp8"] < errors["int4"] <= errors["int4 symmetric"] * 1.1 < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_quantized_models_decode_from_the_cache(kind: str) -> None:
    """Cached steps equal a computation afresh, whatever the way; scales of a whole input are those of each pass."""
    built = llama.build(small(), dtype="fp32")
    told = quantization.quantized(built, kind.split()[0], fused=False, **KINDS[kind])
    assert told.bytes < told.bytes_before / 3.9
    text = torch.randint(96, (2, 12), generator=torch.Generator().manual_seed(0))
    built.allocate(2, 12)
    built.prefill(text[:, :8])
    steps = torch.stack([built.decode(text[:, i], i) for i in range(8, 12)], dim=1)
    expected = built(text)[:, 8:]
    tolerance = 0.2 if kind == "fp8 matrix" else 1e-4 if kind != "fp8" else 0.05
    assert (steps - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["llama3-8b", "llama3.2-1b"])
def test_bytes_are_those_counted(name: str, kind: str) -> None:
    """A whole published model on the meta device, its embedding, norms and head in 16 bits."""
    model = load_model(name)
    built = llama.build(model, device="meta", layers=2)
    told = quantization.quantized(built, kind.split()[0], fused=False, **KINDS[kind])
    bf16 = number_format("bf16", "test")
    precision = Precision(number_format(told.format, "test"), bf16, bf16, bf16)
    counted = model.scaled(layers=2).weight_bytes(precision)
    # one scale of a matrix serves q, k and v here, and gate and up: 4 bytes less for each of three more matrices
    joined = 2 * 3 * 4 if kind == "fp8 matrix" else 0
    assert built.weight_bytes == sum(counted.values()) - joined
    assert told.bytes_before == 2 * 2 * sum(
        size for name, size in model.blocks[0].parameters(model.hidden_size, "rms").items() if name != "norms"
    )


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_fused_layers_weigh_as_their_format_says(scheme: str) -> None:
    built = llama.build(small(), dtype="bf16")
    told = quantization.quantized(built, scheme)
    if told.way != "fused":
        pytest.skip(f"torch {torch.__version__} has no fused {scheme} here")
    bf16 = number_format("bf16", "test")
    precision = Precision(number_format(told.format, "test"), bf16, bf16, bf16)
    assert built.weight_bytes == sum(small().weight_bytes(precision).values())


def test_what_stays_as_it_was() -> None:
    built = llama.build(small())
    quantization.quantized(built, "int8")
    assert type(built.head) is torch.nn.Linear
    assert type(built.embedding) is torch.nn.Embedding
    assert not [m for part in built.layers for m in part.modules() if type(m) is torch.nn.Linear]
    with pytest.raises(RequestError, match="no linear layer left"):
        quantization.quantized(built, "int4")


@pytest.mark.parametrize(
    ("scheme", "choice", "told"),
    [
        ("int3", {}, "one of int8, int4, fp8; got int3"),
        ("int8", {"symmetric": True}, "int8 has no choice of symmetric"),
        ("fp8", {"scales": "column"}, "of a row or of a matrix; got column"),
    ],
)
def test_what_there_is_not_is_refused(scheme: str, choice: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        quantization.quantized(llama.build(small()), scheme, **choice)


def test_groups_must_fill() -> None:
    with pytest.raises(RequestError, match="in groups of 128; a weight has 200"):
        quantization.quantized(llama.build(small(ffn=200)), "int4")


def test_fp8_needs_a_device_that_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch._scaled_mm one sentence says so; asked for unfused, it is widened."""

    def missing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("torch._scaled_mm is only supported on CUDA devices with compute capability >= 9.0")

    monkeypatch.setattr(torch, "_scaled_mm", missing)
    with pytest.raises(RequestError, match="has no fused fp8 product on cpu for a 384 × 256 weight in bfloat16"):
        quantization.quantized(llama.build(small()), "fp8")
    assert quantization.quantized(llama.build(small()), "fp8", fused=False).way == "unfused"


@pytest.mark.parametrize("kernel", ["_weight_int8pack_mm", "wrong"])
def test_a_kernel_that_fails_or_errs_is_not_used(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def product(x: Any, q: Any, scale: Any) -> Any:
        if kernel == "wrong":
            return torch.zeros(x.shape[0], q.shape[0], dtype=x.dtype)
        raise NotImplementedError("no such operator")

    monkeypatch.setattr(torch, "_weight_int8pack_mm", product)
    assert quantization.quantized(llama.build(small()), "int8").way == "unfused"
    with pytest.raises(RequestError, match="has no fused int8 product on cpu"):
        quantization.quantized(llama.build(small()), "int8", fused=True)


@pytest.mark.parametrize("kind", KINDS)
def test_quantized_steps_may_be_traced(kind: str) -> None:
    """A compiled step through the kernels of torch, where it has them."""
    torch.compiler.reset()
    built = llama.build(small(), dtype="bf16")
    quantization.quantized(built, kind.split()[0], fused=False if kind.startswith("fp8") else None, **KINDS[kind])
    built.allocate(2, 12)
    text = torch.randint(96, (2, 12), generator=torch.Generator().manual_seed(0))
    built.prefill(text)
    step = script("decoding").Step(built, compiled=True, backend="aot_eager")
    expected = built.decode(text[:, 9], 9)
    assert (step(text[:, 9], 9) - expected).abs().max() <= 0.05 * expected.abs().max()
