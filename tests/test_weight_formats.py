"""Weight formats in products: what they weigh, where they are widened, what they never cost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.answer import estimate
from perfmodel.catalog import load_gpu, load_model, names
from perfmodel.computes import way, ways
from perfmodel.deployment import precision_for, rows_fused
from perfmodel.errors import RequestError
from perfmodel.op import Op
from perfmodel.precision import ALWAYS, FORMATS, stored_bytes
from perfmodel.roofline import bound_s

GIB = 2**30
LAWS = settings(max_examples=60, deadline=None)
FP8 = [name for name in names("gpu") if "fp8" in load_gpu(name).peak_flops]


def tpot(model: str, gpu: str, **asked: object) -> tuple[float, float]:
    """(bound, expected) of a decode step."""
    answer = estimate(model, gpu, **{"gpu_count": 1, "must_fit": False, **asked})  # type: ignore[arg-type]
    return answer.tpot_s.bound, answer.tpot_s.expected


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────

# llama.cpp, tools/quantize/README.md: meta-llama/Llama-3.1-8B, bits a weight and GiB of the file
LLAMA_8B = {
    "q2_k_m": (3.1593, 2.95),
    "q3_k_s": (3.6429, 3.41),
    "q3_k_l": (4.2979, 4.02),
    "q4_k_s": (4.6672, 4.36),
    "q4_k_m": (4.8944, 4.58),
    "q5_k_s": (5.5704, 5.21),
    "q5_k_m": (5.7036, 5.33),
    "q6_k": (6.5633, 6.14),
    "q8_0": (8.5008, 7.95),
}
# the same project's earlier table (examples/quantize/README.md of 2024): Llama 2 70B, bits a weight; its Q2_K of then
# was another mix
LLAMA2_70B = {
    "q3_k_s": 3.47,
    "q3_k_m": 3.85,
    "q3_k_l": 4.19,
    "q4_k_s": 4.53,
    "q4_k_m": 4.80,
    "q5_k_s": 5.50,
    "q5_k_m": 5.65,
    "q6_k": 6.56,
}


@pytest.mark.parametrize(("weights", "published"), LLAMA_8B.items())
def test_files_of_llama_8b(weights: str, published: tuple[float, float]) -> None:
    model = load_model("llama3.1-8b")
    held = sum(model.weight_bytes(precision_for(load_gpu("rtx-4090"), weights)).values())
    assert 8 * held / model.total_parameters == pytest.approx(published[0], rel=1e-3)
    assert held / GIB == pytest.approx(published[1], abs=0.011)


@pytest.mark.parametrize(("weights", "bits"), LLAMA2_70B.items())
def test_files_of_llama2_70b(weights: str, bits: float) -> None:
    model = load_model("llama2-70b")
    held = sum(model.weight_bytes(precision_for(load_gpu("rtx-4090"), weights)).values())
    assert 8 * held / model.total_parameters == pytest.approx(bits, rel=7e-3)


@pytest.mark.parametrize(
    ("model", "gigabytes"), [("llama3.1-8b", 4.9), ("llama3.1-70b", 43.1), ("llama3.1-405b", 249.1)]
)
def test_files_of_q4_k_m(model: str, gigabytes: float) -> None:
    """llama.cpp's table of memory; the larger files keep some tensors in more bits than the mean of 8B's layers."""
    held = sum(load_model(model).weight_bytes(precision_for(load_gpu("rtx-4090"), "q4_k_m")).values())
    assert held / 1e9 == pytest.approx(gigabytes, rel=0.025)


def test_405b_in_fp8_is_410_gb() -> None:
    """The checkpoint amd/Meta-Llama-3.1-405B-Instruct-fp8-quark-vllm: every linear layer in FP8, 410 GB on the Hub."""
    model = load_model("llama3.1-405b")
    held = sum(model.weight_bytes(precision_for(load_gpu("h200"), "fp8-tensor")).values())
    assert held / 1e9 == pytest.approx(410, abs=0.5)


NARROWING = (
    ("fp32", "bf16", "awq8", "fp8", "hqq4", "nvfp4", "mxfp4", "int4", "int4-sym", "awq3", "awq2"),
    ("q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k"),  # whose files quantize LM head and embedding too
)


@LAWS
@given(st.sampled_from(["llama3-8b", "mixtral-8x7b", "gemma-2-9b"]), st.sampled_from(NARROWING))
def test_fewer_bits_are_never_more_memory(model: str, narrowing: tuple[str, ...]) -> None:
    spec = load_model(model)
    held = [sum(spec.weight_bytes(precision_for(load_gpu("b200"), name)).values()) for name in narrowing]
    bits = [FORMATS[name].bytes for name in narrowing]
    assert held == sorted(held, reverse=True)
    assert bits == sorted(bits, reverse=True)


# ── time ─────────────────────────────────────────────────────────────────────────────────────────


@LAWS
@given(
    st.sampled_from(FP8),
    st.sampled_from(["llama3.2-1b", "llama3-8b", "qwen2.5-32b", "mixtral-8x7b"]),
    st.sampled_from(["fp8", "fp8-row", "fp8-block"]),
    st.integers(1, 512),
)
def test_fp8_never_slows_the_bound_of_decode(gpu: str, model: str, weights: str, batch: int) -> None:
    assert tpot(model, gpu, weights=weights, batch=batch)[0] <= tpot(model, gpu, batch=batch)[0]


@settings(LAWS, max_examples=60)
@given(
    st.sampled_from(FP8),
    st.sampled_from(["llama3-8b", "qwen2.5-32b", "llama3-70b"]),
    st.sampled_from(["vllm", "trtllm", "sglang"]),
    st.sampled_from([1, 4, 16, 64]),
)
def test_fp8_never_slows_decode_of_large_models(gpu: str, model: str, engine: str, batch: int) -> None:
    """From 8B on; measured kernels of smaller ones spend more on quantizing inputs than weights save (docs)."""
    fp8, wide = (tpot(model, gpu, weights=name, engine=engine, batch=batch)[1] for name in ("fp8", None))
    assert fp8 <= wide * 1.005


@settings(LAWS, max_examples=40)
@given(
    st.sampled_from(["a10", "a100", "a6000", "rtx-3090", "l40s", "rtx-4090", "h100", "h200", "mi300x"]),
    st.sampled_from(["llama3-8b", "qwen2.5-14b", "qwen2.5-32b"]),
    st.sampled_from(["int4", "gptq-g32", "int8", "q4_k_m", "nf4"]),
    st.sampled_from(["vllm", "trtllm", "sglang", "llama.cpp", "torch"]),
)
def test_weights_alone_never_slow_one_sequence(gpu: str, model: str, weights: str, engine: str) -> None:
    narrow, wide = tpot(model, gpu, weights=weights, engine=engine), tpot(model, gpu, engine=engine)
    assert narrow[0] < wide[0]
    assert narrow[1] <= wide[1] * (1 + 1e-12)


# ── where weights are widened ────────────────────────────────────────────────────────────────────


def product(weights: str, rows: int, **asked: object) -> Op:
    answer = estimate("llama3-8b", "a100", weights=weights, batch=rows, **asked)  # type: ignore[arg-type]
    return next(op for op in answer.decode_ops() if op.name == "ffn_down")


@pytest.mark.parametrize("rows", [1, 2, 64, 300])
def test_weights_that_are_written_out_first(rows: int) -> None:
    """Read once as stored, and a copy of 16 bits written and read again: q + 2 + 2 bytes of each."""
    inside, apart = product("int4", rows, dequantize="fused"), product("int4", rows, dequantize="unfused")
    weights, elements = stored_bytes(FORMATS["int4"], 4096, 14336), 4096 * 14336
    assert inside.compulsory_bytes == weights
    assert apart.compulsory_bytes == weights + 4 * elements
    assert apart.copied_bytes == weights + 2 * elements
    assert apart.flops == inside.flops
    gpu = load_gpu("a100")
    assert bound_s(apart, gpu) == pytest.approx(
        max((weights + 4 * elements) / gpu.memory_bandwidth, apart.flops / 312e12)
    )


@pytest.mark.parametrize(
    ("most", "batch", "first"), [(256, 256, 0), (256, 257, 1), ("unfused", 1, 1), ("fused", 999, 0)]
)
def test_rows_up_to_which_it_is_fused(most: str | int, batch: int, first: int) -> None:
    assert product("int4", batch, dequantize=most).widened == first


def test_bitsandbytes_fuses_for_one_row_alone() -> None:
    """matmul_4bit: gemv_4bit where the input is one row, else dequantize_4bit and a linear layer."""
    assert [product("nf4", rows).widened for rows in (1, 2)] == [0, 1]
    assert [product("int4", rows).widened for rows in (1, 2000)] == [0, 0]
    one, two = (tpot("llama3-8b", "rtx-4090", weights="nf4", batch=batch)[1] for batch in (1, 2))
    assert two > 3 * one  # two sequences at once are slower than one after the other


@pytest.mark.parametrize("weights", ["bf16", "fp8", "nvfp4"])
def test_what_is_not_widened_knows_no_place_for_it(weights: str) -> None:
    plain, asked = (tpot("llama3-8b", "b200", weights=weights, dequantize=where) for where in (None, "unfused"))
    assert plain == asked


@pytest.mark.parametrize("weights", ["int4", "int8", "q4_k_m", "bf16"])
def test_fused_is_the_default_to_the_bit(weights: str) -> None:
    assert tpot("llama3-8b", "a100", weights=weights, batch=8) == tpot(
        "llama3-8b", "a100", weights=weights, batch=8, dequantize="fused"
    )


@LAWS
@given(st.sampled_from(["int4", "int8", "nf4", "gptq"]), st.integers(1, 600), st.integers(0, 600))
def test_widening_in_memory_never_pays_while_weights_bind(weights: str, batch: int, most: int) -> None:
    fused, asked, unfused = (
        tpot("llama3-8b", "a100", weights=weights, batch=batch, dequantize=where)[0]
        for where in ("fused", most, "unfused")
    )
    assert fused <= asked <= unfused
    assert asked == (fused if batch <= most else unfused)


@pytest.mark.parametrize("text", ["slow", "-1", "1.5", True, "9" * 30])
def test_what_dequantize_refuses(text: object) -> None:
    with pytest.raises(RequestError, match="--dequantize must be"):
        rows_fused(text)  # type: ignore[arg-type]


def test_what_dequantize_means() -> None:
    assert [rows_fused(text) for text in (None, "fused", "UNFUSED", "256", 3)] == [None, ALWAYS, 0, 256, 3]


def test_marlin_keeps_its_speed_to_batch_16_and_loses_it_slowly() -> None:
    """README of Marlin: at most 3.87 times 16 bits (groups of 128, a scale each), kept to 16–32 rows, less by 128."""
    ratios = []
    for rows in (1, 16, 32, 64, 128, 1024):
        narrow, wide = (
            next(
                op
                for op in estimate(
                    "llama3-8b", "a10", weights=name, batch=rows, gpu_count=1, must_fit=False
                ).decode_ops()
                if op.name == "ffn_down"
            )
            for name in ("int4-sym", "bf16")
        )
        gpu = load_gpu("a10")
        ratios.append(bound_s(wide, gpu) / bound_s(narrow, gpu))
    assert ratios[0] == pytest.approx(16 / 4.125)  # 3.88
    assert ratios[1] == ratios[2] == ratios[0]
    assert ratios == sorted(ratios, reverse=True)
    assert 1.2 < ratios[4] < 3.5
    assert ratios[5] == pytest.approx(1)


# ── LLM.int8() ───────────────────────────────────────────────────────────────────────────────────

# tokens/s of transformers with bitsandbytes' defaults, one sequence (bitsandbytes issue 1867, 2026)
ONE_SEQUENCE = [
    ("yi-1.5-6b", "rtx-4090d", 8.42),
    ("mistral-7b", "rtx-4090d", 7.88),
    ("qwen2.5-7b", "rtx-4090d", 9.56),
]


@pytest.mark.parametrize(("model", "gpu", "rate"), ONE_SEQUENCE)
def test_llm_int8_as_measured(model: str, gpu: str, rate: float) -> None:
    """The host's time a product was set by these, so that 6 % says that one constant serves them all."""
    assert 1 / tpot(model, gpu, weights="llm-int8", engine="torch", prompt=64)[1] == pytest.approx(rate, rel=0.06)


@pytest.mark.parametrize(("batch", "rate"), [(4, 35.91), (8, 69.88)])
def test_llm_int8_of_more_sequences(batch: int, rate: float) -> None:
    """A800, the same report, which the constant has not seen: a model of 7B (32 layers) assumed."""
    step = tpot("mistral-7b", "a800", weights="llm-int8", engine="torch", prompt=64, batch=batch)[1]
    assert batch / step == pytest.approx(rate, rel=0.1)


def test_llm_int8_was_slower_still() -> None:
    """LLaMA 13B on RTX 4090 in 2023: 5.2 tokens/s (text-generation-webui, pull request 198)."""
    rate = 1 / tpot("llama-13b", "rtx-4090", weights="llm-int8", engine="torch", prompt=64)[1]
    assert 5.2 < rate < 5.2 * 1.5


def test_llm_int8_slows_small_products_and_speeds_large_ones() -> None:
    """Prompts of many tokens: slower than 16 bits in small models, faster in large ones (Dettmers et al. 2022, app. D).

    The paper's table, as recalled: 0.14 times 16 bits at a width of 768, 1.81 times at 12288.
    """
    for model, slower in (("opt-125m", True), ("opt-1.3b", True), ("opt-175b", False)):
        asked = {"gpu_count": 1, "must_fit": False, "batch": 8, "prompt": 2048, "output": 1, "engine": "torch"}
        int8, wide = (
            estimate(model, "a100", weights=name, **asked).latency.ttft.expected  # type: ignore[arg-type]
            for name in ("llm-int8", "fp16")
        )
        assert (int8 > wide) is slower, model


def test_llm_int8_weighs_a_byte_and_a_scale_a_row() -> None:
    assert stored_bytes(FORMATS["llm-int8"], 4096, 14336) == 4096 * 14336 + 4 * 4096


# ── quantizing inputs ────────────────────────────────────────────────────────────────────────────


def test_inputs_are_quantized_once_for_products_that_share_them() -> None:
    """Q, K and V, as gate and up, read one input: one kernel, and one pass over it."""
    from perfmodel.calibration import Constants
    from perfmodel.engine import engine
    from perfmodel.expected import expected_waits, launches
    from perfmodel.kernels.gemm import QUANTIZED_BYTES, QUANTIZED_ROW

    answer = estimate("llama3-8b", "h100", weights="fp8", batch=256)
    kernels = {
        kernel.whole.name: kernel.whole for kernel in launches(answer.decode_ops()) if kernel.whole.kind == "gemm"
    }
    c = Constants(load_gpu("h100"), engine("vllm"))
    k, gpu = c.of("gemm", "fp8"), load_gpu("h100")
    op = kernels["ffn_gate"]
    assert (op.products, op.columns) == (2, 2 * 14336)
    passed = k.quantize * QUANTIZED_BYTES * 256 * (4096 + QUANTIZED_ROW) / gpu.memory_bandwidth
    written = k.epilogue * 256 * 2 * 14336 * 2 / gpu.memory_bandwidth
    assert expected_waits(op, c).overhead == pytest.approx((k.launch_s + passed + written) * c.costs.launch)


def test_scales_of_whole_inputs_take_kernels_of_their_own() -> None:
    """TensorRT-LLM's tables hold them apart; formats with scales in the checkpoint or a row's own do not pay."""
    static, dynamic, rows = (
        tpot("llama3-8b", "h100", weights=name, engine="trtllm")[1]
        for name in ("fp8-tensor", "fp8-tensor-dynamic", "fp8-row")
    )
    launches = 32 * 4
    assert dynamic - static > launches * 5e-6
    assert rows == pytest.approx(static, rel=2e-3)


# ── what computes where ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("gpu", "weights", "activations", "expected"),
    [
        ("a100", "fp8", None, ("on request", "bf16")),
        ("a100", "int8", "int8", ("native", "int8")),
        ("h100", "fp8", None, ("native", "fp8")),
        ("h100", "nvfp4", None, ("on request", "bf16")),
        ("b200", "nvfp4", None, ("native", "fp4")),
        ("b300", "int8", None, ("widened", "bf16")),
        ("v100", "bf16", None, ("refused", "")),
        ("m4-max", "int8", "int8", ("refused", "")),
        ("h100", "int4", None, ("widened", "bf16")),
    ],
)
def test_what_becomes_of_a_format(gpu: str, weights: str, activations: str | None, expected: tuple[str, str]) -> None:
    found = way(load_gpu(gpu), weights, activations)
    assert (found.way, found.compute) == expected


def test_int8_is_slow_on_b300() -> None:
    b300, b200 = (way(load_gpu(name), "int8", "int8").flops for name in ("b300", "b200"))
    assert b300 < b200 / 20


def test_every_device_tells_every_format() -> None:
    for name in names("gpu"):
        found = ways(load_gpu(name))
        assert all((way.way == "refused") == (way.flops == 0) for way in found)
        assert next(way for way in found if way.weights == "int4").way == "widened"


def test_show_tells_what_computes(run) -> None:
    assert "only widened, by --activations" in run("show", "a100").out
