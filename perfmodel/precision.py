"""Number formats: what a stored element weighs, and what computes with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from perfmodel.arithmetic import Number, ceil
from perfmodel.errors import RequestError
from perfmodel.spec import nearest


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """A way to store numbers.

    bits      of one element
    scales    bits of scales and zero points that come with a group of elements
    block     inputs (columns of a matrix) in such a group; 0 for the whole row
    rows      outputs (rows of a matrix) that share it; 0 for all of them
    flat      whether groups run on over the ends of rows (bitsandbytes)
    nested    bits that come with each 256 groups: scales of the scales
    column    bits that come with each input column (GPTQ's group index)
    tensor    bits that come once a matrix
    head      format of the LM head, by name, where files of this format quantize it too; "" for 16 bits
    table     the same of the embedding; one that serves as LM head as well is stored as that
    fused     most rows of inputs for which kernels widen the weights inside the product; beyond, they are written out
              in 16 bits first. None: always inside
    outliers  share of the inputs that is multiplied in 16 bits, by a second product (LLM.int8())
    dynamic   whether a scale of the whole input is looked for in every pass
    computes  the peak of the device that it uses when both operands are stored so; None where matrix units
              do not take it and it is widened to 16 bits first
    """

    name: str
    bits: float
    computes: str | None
    scales: int = 0
    block: int = 1
    rows: int = 1
    flat: bool = False
    nested: int = 0
    column: int = 0
    tensor: int = 0
    head: str = ""
    table: str = ""
    fused: int | None = None
    outliers: float = 0.0
    dynamic: bool = False
    note: str = ""

    @property
    def bytes(self) -> Number:
        """Bytes of one element of a large matrix, its share of the scales of full groups included."""
        group = self.block * self.rows
        bits = self.bits + (self.scales + self.nested / NEST) / group if self.scales and group else self.bits
        return bits // 8 if bits % 8 == 0 else bits / 8


def _gguf(name: str, bits: int, scales: int, block: int, head: str = "q6_k") -> NumberFormat:
    """A tensor type of GGUF, and a file of nothing else but its head: its bits a weight are exact."""
    note = f"GGUF: {(bits * block + scales) // 8} bytes for each {block} weights"
    return NumberFormat(name, bits, None, scales=scales, block=block, head=head, table=name, note=note)


def _gguf_mix(name: str, bits: float, table: str, told: str) -> NumberFormat:
    """A file type of GGUF that mixes tensor types, as the mean of its layers.

    The mean is of Llama 3 8B's layers, and of 70B's within 0.1 %; of plain multi-head attention it is 0.4 % more.
    """
    return NumberFormat(name, bits, None, head="q6_k", table=table, note=f"GGUF, mean of the layers: {told}")


NEST = 256
"""Scales that share a scale of their own (Dettmers et al. 2023, QLoRA, §3)."""


def stored_bytes(stored: NumberFormat, rows: Number, columns: Number) -> Number:
    """Bytes of one matrix of `rows` outputs × `columns` inputs, every scale and zero point included.

    Groups at the edges that are not full have scales of their own: ⌈rows/R⌉·⌈columns/G⌉ of them.
    """
    return columns * rows * stored.bytes + _edges(stored, rows, columns)


def _edges(stored: NumberFormat, rows: Number, columns: Number) -> Number:
    """What `stored_bytes` has beyond full groups: a plain 0 for formats that are the same everywhere."""
    extra: Number = 0
    if stored.scales:
        even, groups = _groups(stored, rows, columns)
        extra = (groups - even) * stored.scales / 8
        if stored.nested:
            extra = extra + (ceil(groups / NEST) - even / NEST) * stored.nested / 8
    if stored.column or stored.tensor:
        extra = extra + (columns * stored.column + stored.tensor) / 8
    return extra


def _groups(stored: NumberFormat, rows: Number, columns: Number) -> tuple[Number, Number]:
    """Groups of a matrix: the share that `NumberFormat.bytes` counts, and how many there are."""
    group = stored.block * stored.rows
    even: Number = columns * rows / group if group else 0
    if stored.flat:
        return even, ceil(even)
    high = ceil(rows / stored.rows) if stored.rows else 1
    wide = ceil(columns / stored.block) if stored.block else 1
    return even, high * wide


OUTLIERS = 0.001
"""Of inputs, beyond ±6: "more than 99.9 % of values are multiplied in 8-bit" (Dettmers et al. 2022, LLM.int8())"""

# One row a scheme; "-g64" after its name gives another group, "-row" one group a row, "-64x64" another block. Sources:
# AWQ: an FP16 scale and a zero of as many bits as a weight for each 128 weights (Lin et al. 2024 §5; AutoAWQ, gemm.py:
# qweight, qzeros, scales). GPTQ: the same, and an INT32 group index a column (Frantar et al. 2023; AutoGPTQ: g_idx).
# packed: compressed-tensors' pack-quantized: a 16-bit scale a group, zeros packed if asymmetric, and the shape as two
# INT64 (weight_shape). MX: an 8-bit scale for each 32 (OCP MX v1.0 §5.2). NVFP4: an FP8 scale for each 16, and FP32
# scales of the matrix and, where inputs are FP4 too, of its input (NVIDIA Model Optimizer; compressed-tensors:
# weight_global_scale, input_global_scale). Block FP8: an FP32 scale for each 128 × 128 (DeepSeek-AI 2024, V3, §3.3.2),
# BF16 in Qwen's and llm-compressor's files. bitsandbytes: NF4 an FP32 absmax for each 64 of the flattened matrix and
# the 16 FP32 levels (quant_map); double-quantized 8 bits for each 64, an FP32 for each 256 of those, their 256 FP32
# levels and an FP32 offset (Dettmers et al. 2023, QLoRA, §3; functional.py, QuantState); INT8 an FP32 scale a row
# (Dettmers et al. 2022); of 4 bits its kernels widen inside the product for one row alone (matmul_4bit). HQQ: scale
# and zero in 16 bits for each 64 (Badri & Shaji 2023). Quanto and torchao INT4: scale and shift for each 128. BitNet:
# four weights a byte, a 16-bit scale a matrix (Ma et al. 2024).
# GGUF (llama.cpp, ggml-common.h): bits of the struct of a block, 256 weights of k- and i-quants and 32 of the others;
# what a file keeps its LM head and its embedding in is by llama-quant.cpp (llama_tensor_get_type).
FORMATS: dict[str, NumberFormat] = {
    f.name: f
    for f in (
        NumberFormat("fp32", 32, "fp32"),
        NumberFormat("bf16", 16, "bf16"),
        NumberFormat("fp16", 16, "fp16"),
        NumberFormat("fp8", 8, "fp8", note="E4M3 or E5M2; scales a tensor or row weigh under 0.1 % and are left out"),
        NumberFormat("fp8-tensor", 8, "fp8", tensor=64, note="an FP32 scale of weights and of inputs a matrix"),
        NumberFormat("fp8-tensor-dynamic", 8, "fp8", tensor=32, dynamic=True, note="an FP32 scale a matrix"),
        NumberFormat("fp8-tensor16", 8, "fp8", tensor=32, note="a 16-bit scale of weights and of inputs a matrix"),
        NumberFormat("fp8-tensor16-dynamic", 8, "fp8", tensor=16, dynamic=True, note="a 16-bit scale a matrix"),
        NumberFormat("fp8-row", 8, "fp8", scales=32, block=0, note="an FP32 scale a row (FBGEMM)"),
        NumberFormat("fp8-row16", 8, "fp8", scales=16, block=0, note="a 16-bit scale a row (llm-compressor)"),
        NumberFormat("fp8-block", 8, "fp8", scales=32, block=128, rows=128, note="an FP32 scale a 128 × 128 block"),
        NumberFormat("fp8-block16", 8, "fp8", scales=16, block=128, rows=128, note="a BF16 scale a 128 × 128 block"),
        NumberFormat("mxfp8", 8, "fp8", scales=8, block=32, note="OCP microscaling"),
        NumberFormat("int8", 8, "int8", note="one scale a row, left out"),
        NumberFormat("int8-row", 8, "int8", scales=32, block=0, note="an FP32 scale a row (bitsandbytes)"),
        NumberFormat("llm-int8", 8, "int8", scales=32, block=0, outliers=OUTLIERS, note="LLM.int8(): INT8 and 16 bits"),
        NumberFormat("int8-row16", 8, "int8", scales=16, block=0, note="a 16-bit scale a row"),
        NumberFormat("int8-tensor16", 8, "int8", tensor=16, note="a 16-bit scale a matrix"),
        NumberFormat("int4", 4, None, scales=20, block=128, note="AWQ: groups of 128, scale and zero point"),
        NumberFormat("awq8", 8, None, scales=24, block=128, note="AWQ's layout at 8 bits"),
        NumberFormat("awq3", 3, None, scales=19, block=128, note="AWQ's layout at 3 bits"),
        NumberFormat("awq2", 2, None, scales=18, block=128, note="AWQ's layout at 2 bits"),
        NumberFormat("gptq", 4, None, scales=20, block=128, column=32, note="GPTQ: groups of 128, and group indices"),
        NumberFormat("gptq8", 8, None, scales=24, block=128, column=32, note="GPTQ at 8 bits"),
        NumberFormat("gptq3", 3, None, scales=19, block=128, column=32, note="GPTQ at 3 bits"),
        NumberFormat("gptq2", 2, None, scales=18, block=128, column=32, note="GPTQ at 2 bits"),
        NumberFormat("packed4", 4, None, scales=16, block=128, tensor=128, note="compressed-tensors, symmetric"),
        NumberFormat("packed4-zero", 4, None, scales=20, block=128, tensor=128, note="the same, with zero points"),
        NumberFormat("packed4-order", 4, None, scales=16, block=128, column=32, tensor=128, note="with group indices"),
        NumberFormat("int4-sym", 4, None, scales=16, block=128, note="symmetric: a 16-bit scale for each 128"),
        NumberFormat("packed8", 8, None, scales=16, block=128, tensor=128, note="compressed-tensors at 8 bits"),
        NumberFormat("packed8-zero", 8, None, scales=24, block=128, tensor=128, note="the same, with zero points"),
        NumberFormat(
            "nf4", 4, None, scales=32, block=64, flat=True, tensor=512, fused=1, note="bitsandbytes NF4 or FP4"
        ),
        NumberFormat(
            "nf4-double", 4, None, scales=8, block=64, flat=True, nested=32, tensor=512 + 8192 + 32, fused=1,
            note="bitsandbytes, absmax quantized too",
        ),
        NumberFormat("hqq4", 4, None, scales=32, block=64, note="HQQ: scale and zero in 16 bits"),
        NumberFormat("hqq8", 8, None, scales=32, block=64, note="HQQ at 8 bits"),
        NumberFormat("hqq2", 2, None, scales=32, block=64, note="HQQ at 2 bits"),
        NumberFormat("int4-shift", 4, None, scales=32, block=128, note="Quanto, torchao: scale and shift in 16 bits"),
        NumberFormat("int2-shift", 2, None, scales=32, block=128, note="Quanto at 2 bits"),
        NumberFormat("bitnet", 2, None, tensor=16, note="BitNet b1.58: ternary weights, a 16-bit scale a matrix"),
        NumberFormat("mxfp4", 4, "fp4", scales=8, block=32, note="OCP microscaling"),
        NumberFormat("nvfp4", 4, "fp4", scales=8, block=16, note="NVIDIA FP4, blocks of 16"),
        NumberFormat("nvfp4-modelopt", 4, "fp4", scales=8, block=16, tensor=64, note="NVFP4 with FP32 scales a matrix"),
        NumberFormat("nvfp4-weight", 4, None, scales=8, block=16, tensor=32, note="NVFP4 weights, 16-bit inputs"),
        _gguf("q8_0", 8, 16, 32, head="q8_0"),
        _gguf("q6_k", 6, 144, 256),
        _gguf("q5_k", 5, 128, 256),
        _gguf("q5_1", 5, 32, 32),
        _gguf("q5_0", 5, 16, 32),
        _gguf("q4_k", 4, 128, 256),
        _gguf("q4_1", 4, 32, 32),
        _gguf("q4_0", 4, 16, 32),
        _gguf("iq4_nl", 4, 16, 32),
        _gguf("q3_k", 3, 112, 256),
        _gguf("iq3_s", 3, 112, 256),
        _gguf("iq3_xxs", 3, 16, 256),
        _gguf("q2_k", 2, 160, 256),
        _gguf("iq2_s", 2, 144, 256),
        _gguf("iq2_xs", 2, 80, 256),
        _gguf("iq2_xxs", 2, 16, 256),
        _gguf("iq1_m", 1, 192, 256),
        _gguf("iq1_s", 1, 144, 256),
        _gguf("iq4_xs", 4, 64, 256),
        _gguf_mix("q5_k_m", 5.65, "q5_k", "Q6_K in half of the layers' attn_v and ffn_down"),
        _gguf_mix("q5_k_s", 5.5, "q5_k", "Q5_K throughout"),
        _gguf_mix("q4_k_m", 4.8, "q4_k", "Q6_K in half of the layers' attn_v and ffn_down"),
        _gguf_mix("q4_k_s", 4.54, "q4_k", "Q5_K in an eighth of the layers' attn_v and ffn_down"),
        _gguf_mix("q3_k_l", 4.19, "q3_k", "Q5_K in attn_v, attn_output and ffn_down"),
        _gguf_mix("q3_k_m", 3.84, "q3_k", "Q4_K in attn_v, attn_output and ffn_down, Q5_K in the first layers'"),
        _gguf_mix("q3_k_s", 3.4375, "q3_k", "Q3_K throughout"),
        _gguf_mix("q2_k_m", 2.94, "q2_k", 'the file called "Q2_K": Q3_K in attn_output and ffn_down, Q4_K in attn_v'),
    )
}  # fmt: skip
_GROUP = re.compile(r"(?P<base>.+)-(?:g(?P<group>\d{1,5})|(?P<row>row)|(?P<rows>\d{1,5})x(?P<columns>\d{1,5}))")
_BITS = re.compile(r"(?P<bits>\d(?:\.\d{1,3})?)bpw")
_ALIASES = {"float32": "fp32", "float16": "fp16", "half": "fp16", "bfloat16": "bf16", "float8": "fp8"}
_ALIASES |= {"f32": "fp32", "f16": "fp16"}  # GGUF's names
_ALIASES |= {"llm.int8": "llm-int8", "w8a16": "int8"}
_ALIASES |= {"fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "awq": "int4", "w4a16": "int4", "fp4": "nvfp4"}

STREAMS = ("bf16", "fp16", "fp32")
"""Formats that activations between kernels are kept in, the usual one first."""


def number_format(name: str, use: str) -> NumberFormat:
    """The format called `name`; RequestError names the flag (`use`) and the nearest format if there is none."""
    key = _ALIASES.get(name.lower(), name.lower())
    found = FORMATS.get(key) or _regrouped(key) or _of_bits(key)
    if found is None:
        guess = nearest(key, [*FORMATS, *_ALIASES])
        hint = f'did you mean "{guess}"?' if guess else "known: " + ", ".join(FORMATS)
        raise RequestError(f'{use}: no number format is called "{name}"; {hint}')
    return found


@cache
def _regrouped(name: str) -> NumberFormat | None:
    """A row of FORMATS whose scales serve groups of another size, as "gptq-g32"; None where it has no such groups."""
    match = _GROUP.fullmatch(name)
    base = FORMATS.get(match["base"]) if match else None
    if match is None or base is None or not base.scales:
        return None
    if match["rows"]:
        rows, block = int(match["rows"]), int(match["columns"])
        return replace(base, name=name, rows=rows, block=block) if rows and block else None
    if base.rows != 1 or (match["row"] and base.flat):
        return None
    block = 0 if match["row"] else int(match["group"])
    return replace(base, name=name, block=block) if block or match["row"] else None


def _of_bits(name: str) -> NumberFormat | None:
    """A format that is known only by its mean bits a weight, as "4.65bpw" (EXL2); None for other names."""
    match = _BITS.fullmatch(name)
    bits = float(match["bits"]) if match else 0.0
    if not 1 <= bits <= 8:
        return None
    return NumberFormat(name, bits, None, head="q6_k", note="EXL2: mean bits a weight; the head at 6 bits")


WEIGHT_ONLY = ("w4", "w8", "mxfp4")
"""What `storage_of` calls weights that are widened for 16-bit inputs."""
ALWAYS = 2**40
"""Rows that no product has: widened inside it, however many there are."""


class Stored(NamedTuple):
    """How one weight matrix is kept: its format, what its products are fed, and the peak that they run at."""

    weights: NumberFormat
    activations: NumberFormat
    compute: str


def storage_of(stored: NumberFormat, fed: NumberFormat) -> str:
    """By which constants a product with weights in `stored` and inputs in `fed` is timed.

    "bf16" (any 16 bits), "fp32", "fp8", "fp8-block" (scales for squares of weights), "fp4", "int8" where the matrix
    units take them; "w8" and "w4" (8 bits and fewer) where weights are widened first; "mxfp4" and "mxfp4-fp8" of MXFP4
    that meets 16 and 8 bits.
    """
    if stored.bits >= 16:
        return "fp32" if stored.bits > 16 else "bf16"
    if stored.name.startswith("mxfp4") and fed.computes != "fp4":
        return "mxfp4-fp8" if fed.bits < 16 else "mxfp4"
    if fed.bits >= 16 or stored.computes is None:
        return "w8" if stored.bits > 6 else "w4"
    if stored.computes == "fp8":
        return "fp8-block" if stored.scales and stored.rows > 1 else "fp8"
    return stored.computes


@dataclass(frozen=True, slots=True)
class Precision:
    """How a deployment stores weights, KV cache and activations, and what computes.

    `weights` is the format of the layers' matrices; `exempt` that of embedding, norms, biases, routers and LM head,
    which quantized checkpoints keep in 16 bits (AutoAWQ, GPTQ, compressed-tensors and ModelOpt all ignore
    `lm_head` by default; what else a checkpoint exempts stands in the model's blocks). `activations` is what matrix
    products are fed, `stream` what travels between kernels and what attention computes in. `others` are further
    formats that a checkpoint declares, by name; which tensors have them stands in the blocks. `head` is that of
    an LM head which a checkpoint quantizes, `table` that of an embedding. `fused` is the most rows for which weights
    are widened inside the product, where that is not as kernels of their format do.
    """

    weights: NumberFormat
    kv: NumberFormat
    activations: NumberFormat
    stream: NumberFormat
    others: tuple[Stored, ...] = ()
    head: Stored | None = None
    table: NumberFormat | None = None
    fused: int | None = None

    @property
    def main(self) -> Stored:
        """How the layers' matrices are kept."""
        return Stored(self.weights, self.activations, self.compute)

    @property
    def sixteen(self) -> Stored:
        """How exempt matrices are kept."""
        return Stored(self.exempt, self.stream, self.stream.name)

    def named(self, name: str) -> Stored:
        """The further format of that name; that of the layers' matrices where it does not hold (--weights)."""
        return next((other for other in self.others if other.weights.name == name), self.main)

    @property
    def exempt(self) -> NumberFormat:
        return self.weights if self.weights.bits >= self.stream.bits else self.stream

    @property
    def compute(self) -> str:
        """The peak that the layers' matrix products run at: that of the wider operand."""
        wider = self.weights if self.weights.bits >= self.activations.bits else self.activations
        return wider.computes or self.stream.name

    def widened(self, kept: Stored, rows: Number) -> Number:
        """1 where a product of so many rows has its weights written out in 16 bits first, 0 where it has not."""
        most = kept.weights.fused if self.fused is None else self.fused
        if most is None or most >= ALWAYS or storage_of(kept.weights, kept.activations) not in WEIGHT_ONLY:
            return 0
        return (rows > most) * 1

    @classmethod
    def plain(cls, name: str = "bf16") -> Precision:
        """Everything in one 16- or 32-bit format."""
        only = number_format(name, "precision")
        return cls(only, only, only, only)
