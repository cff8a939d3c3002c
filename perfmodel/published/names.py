"""How published tables spell engines, number formats, models and devices → what perfmodel calls them.

Each spelling is one row of a table here. A name that nothing knows raises `Unscored`, whose text is the reason a row
is reported with.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from perfmodel.catalog import load_gpu, load_model
from perfmodel.deployment import precision_for
from perfmodel.engine import FLAVOURS, Engine
from perfmodel.engine import engine as engine_named
from perfmodel.errors import PerfModelError, RequestError
from perfmodel.gpu import GPU
from perfmodel.model import Model
from perfmodel.precision import STREAMS, Precision, number_format
from perfmodel.published.rows import Row


class Unscored(Exception):  # noqa: N818 - it is an answer, not a mistake
    """Why a row gets no prediction, in words that many rows can share."""


# ── engines ──────────────────────────────────────────────────────────────────────────────────────


class Served(NamedTuple):
    """What served: an engine's name, its version as the source writes it, and what sort of build or host it was."""

    name: str
    version: str
    flavour: str


# first match wins: what the engine's text holds → our name
ENGINE_WORDS = (
    (("vllm", "aphrodite"), "vllm"),
    (("sglang",), "sglang"),
    (("lmdeploy", "turbomind"), "lmdeploy"),
    (("tensorrt", "trt-llm", "trtllm", "trt_llm", "nvidia-nim", "nvidia nim", "triton"), "trtllm"),
    (("llama.cpp", "llama-cpp", "llamacpp", "llama-bench", "llamafile", "ollama", "lm studio", "lmstudio",
      "koboldcpp", "ggml", "gguf"), "llama.cpp"),
    (("gpt-fast", "gptfast"), "gpt-fast"),
    (("exllama", "tabbyapi", "exl2", "exl3"), "exllama"),
    (("tinychat",), "tinychat"),
    (("mlc",), "mlc"),
    (("mlx",), "mlx"),
    (("tgi", "text-generation-inference"), "tgi"),
    (("huggingface", "hugging face", "transformers", "torch", "deepspeed", "fastertransformer", "autoawq"), "torch"),
)  # fmt: skip
# what engine or version say besides → flavour; the first match wins
FLAVOUR_WORDS = (
    (("no cuda graph", "eager", "(2023"), "eager"),
    (("gptsession", "static batch"), "static"),
    (("nim",), "nim"),
    (("pytorch backend",), "pytorch"),
    (("rocm", "hip"), "rocm"),
    (("metal",), "metal"),
    (("vulkan",), "vulkan"),
    (("sycl", "oneapi", "ipex"), "sycl"),
)
UNKNOWN = "unknown"
_SPECULATES = re.compile(r"eagle|medusa|speculati|lookahead|draft model|\bmtp\b|dflash", re.IGNORECASE)
_NOT_SPECULATING = re.compile(r"no speculation|without speculation", re.IGNORECASE)


def served(row: Row) -> Served:
    """What served a row; the default engine, as of an unknown flavour, where no keyword names it."""
    said, all_said = row.engine.lower(), f"{row.engine} {row.engine_version}".lower()
    name = next((name for words, name in ENGINE_WORDS if any(word in said for word in words)), "")
    if not name:
        return Served("vllm", "", UNKNOWN)
    flavour = next((name for words, name in FLAVOUR_WORDS if any(word in all_said for word in words)), "")
    return Served(name, row.engine_version, flavour)


def speculates(row: Row) -> bool:
    """Whether a draft or extra heads guessed tokens ahead."""
    if _NOT_SPECULATING.search(row.note):
        return False
    return bool(_SPECULATES.search(row.engine) or _SPECULATES.search(row.note))


def engine_of(row: Row, gpu: GPU) -> Engine:
    """The generation of the engine that served a row on `gpu`."""
    by = served(row)
    return engine_named(by.name, release(by), by.flavour or FLAVOURS.get(gpu.vendor, ""))


# of engines whose version is told by a year alone: a release of that year
_RELEASES = {
    ("vllm", "2023"): "0.2", ("vllm", "2024"): "0.6", ("vllm", "2025"): "0.10",
    ("trtllm", "2023"): "0.5", ("trtllm", "2024"): "0.9", ("trtllm", "2025"): "1.0",
}  # fmt: skip
_YEAR = re.compile(r"\b(20[2-4]\d)\b")


def release(by: Served) -> str:
    """The engine's version in its own numbers; "" where nothing tells it.

    NIM has a numbering of its own: its 1.x of 2024 and early 2025 run TensorRT-LLM 0.x.
    """
    if by.flavour == "nim":
        return "0.9"
    if by.name == "llama.cpp":
        return _built(by.version)
    if by.flavour == "eager" and by.name == "vllm":
        return "0.2"
    if year := _YEAR.search(by.version):
        return _RELEASES.get((by.name, year[1]), "")
    digits = re.search(r"\d+(?:\.\d+)*", by.version)
    return digits[0] if digits else ""


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _built(version: str) -> str:
    """When a llama.cpp was built, as year and month ("2024.5"); "" where nothing tells it."""
    if year := _YEAR.search(version):
        month = next((i for i, name in enumerate(_MONTHS, 1) if name in version.lower()), 12)
        return f"{year[1]}.{month}"
    if build := re.search(r"\bb(\d{3,5})\b", version):
        return "2024.5" if int(build[1]) < OLD_BUILD else "2025.1"
    return ""


OLD_BUILD = 3300
"""First build of llama.cpp of July 2024."""


def splits_layers(by: Served) -> bool:
    """Whether an engine spreads whole layers over devices, rather than parts of each."""
    return by.name == "llama.cpp"


# ── models and devices ───────────────────────────────────────────────────────────────────────────

_PATH = re.compile(r"^[./~]|\.(ya?ml|json)$|\\", re.IGNORECASE)
_MEMORY = re.compile(r"(?P<name>.+)-(?P<memory>\d+)gb", re.IGNORECASE)
_TUNED = re.compile(r"(?P<name>.+)-(instruct|chat|it|hf|base)", re.IGNORECASE)


@cache
def model_of(name: str) -> Model:
    """The model of the catalog that `name` means; a tuned one has its base's architecture."""
    for spelling in (name, _matched(_TUNED, name)):
        try:
            return load_model(_plain(spelling))
        except PerfModelError:
            continue
    raise Unscored(f'no model is called "{name}"' if name else "the model is not stated")


@cache
def gpu_of(name: str) -> GPU:
    """The device that `name` means; a memory in the name must be the device's."""
    for spelling in (name, _matched(_MEMORY, name)):
        try:
            gpu = load_gpu(_plain(spelling))
        except PerfModelError:
            continue
        if spelling == name or abs(gpu.memory_sold / 1e9 / float(_MEMORY.fullmatch(name)["memory"]) - 1) < 0.08:  # type: ignore[index]
            return gpu
    raise Unscored(f'no GPU is called "{name}"' if name else "the GPU is not stated")


def _matched(pattern: re.Pattern[str], name: str) -> str:
    match = pattern.fullmatch(name)
    return match["name"] if match else ""


def _plain(name: str) -> str:
    """`name` without the owner of a Hub id: what others wrote neither opens files nor asks the network."""
    tail = name.rsplit("/", 1)[-1]
    if not tail or _PATH.search(tail):
        raise RequestError("not a name")
    return tail


# ── number formats ───────────────────────────────────────────────────────────────────────────────


class Asked(NamedTuple):
    """Formats by our names; None where the default is meant."""

    weights: str | None
    activations: str | None = None


# spelling → weights, and what the products are fed where the spelling says so
FORMAT_NAMES = {
    "": Asked(None),
    "fp4": Asked("nvfp4"),
    "nvfp4": Asked("nvfp4"),
    "mxfp4": Asked("mxfp4"),
    "fp8_block": Asked("fp8-block"),
    "fp8-block": Asked("fp8-block"),
    "fp8_e4m3": Asked("fp8"),
    "int4-awq": Asked("int4"),
    "awq-int4": Asked("int4"),
    "awq-4bit": Asked("int4"),
    "awq_marlin": Asked("int4"),
    "int4-gptq": Asked("gptq"),
    "gptq-int4": Asked("gptq"),
    "gptq-4bit": Asked("gptq"),
    "gptq-marlin": Asked("gptq"),
    "gptq-int8": Asked("gptq8"),
    "int8-gptq": Asked("gptq8"),
    "w4a16": Asked("int4", "16"),
    "int4_wo": Asked("int4", "16"),
    "w8a16": Asked("int8", "16"),
    "int8_wo": Asked("int8", "16"),
    "bnb-nf4": Asked("nf4", "16"),
    "bnb-int8": Asked("int8-row", "16"),
    "w8a8": Asked("int8", "int8"),
    "w8a8-int8": Asked("int8", "int8"),
    "int8-sq": Asked("int8", "int8"),
    "int8_sq": Asked("int8", "int8"),
    "smoothquant": Asked("int8", "int8"),
    "w8a8-fp8": Asked("fp8", "fp8"),
    "w4a8": Asked("int4", "int8"),
    "qserve": Asked("int4", "int8"),
    "w4afp8": Asked("int4", "fp8"),
    "w4a8-fp8": Asked("int4", "fp8"),
    "w4a4": Asked("nvfp4", "nvfp4"),
}
_FILES = {"int4": "q4_k_m", "int8": "q8_0", "q4": "q4_k_m", "q8": "q8_0", "q2_k": "q2_k_m"}
"""What such words mean of an engine that reads GGUF."""
_BITS_FIRST = re.compile(r"(?:exl2|exl3)[-_ ]?(\d(?:\.\d+)?)(?:bpw)?|(\d(?:\.\d+)?)[-_ ]?bpw", re.IGNORECASE)


def precision_of(row: Row, model: Model, gpu: GPU) -> Precision:
    """How a row stores weights, cache and activations, as far as its source says.

    Weights that matrix units take (FP8, FP4) are computed in their own format unless the source names wider
    activations or the device lacks the format: the row shows that it ran, so it ran weight-only. A checkpoint
    published in 4 or 8 bits is taken as it is declared where the source's word names no other width.
    """
    by = served(row)
    asked = _asked(row.weight_dtype, by)
    stream = next(name for name in STREAMS if name in gpu.peak_flops)
    weights = None if _as_declared(model, asked.weights) else _usable(gpu, asked.weights)
    said = _asked(row.act_dtype, by).weights or asked.activations
    fed = stream if said == "16" else _usable(gpu, said)
    for activations in (fed, None, stream):
        try:
            return precision_for(gpu, weights, _kv(row, by, weights), activations, model.quantization)
        except RequestError:
            continue
    raise Unscored(f'{gpu.name} cannot work in "{row.weight_dtype or "the declared format"}"')


def _asked(word: str, by: Served) -> Asked:
    """The formats that a spelling means; Unscored where no row of the table nor precision.py has it."""
    name = word.lower().replace(" ", "")
    if by.name == "llama.cpp":
        name = _FILES.get(name, name)
    if name in FORMAT_NAMES:
        return FORMAT_NAMES[name]
    if match := _BITS_FIRST.fullmatch(name):
        name = f"{float(match[1] or match[2]):g}bpw"
    try:
        return Asked(number_format(name, "").name)
    except RequestError:
        raise Unscored(f'no number format is called "{word}"') from None


def _as_declared(model: Model, weights: str | None) -> bool:
    """Whether the word for the weights is a looser one for what the checkpoint itself declares."""
    if model.quantization is None or weights is None:
        return False
    declared, said = number_format(model.quantization.weights, ""), number_format(weights, "")
    narrow = said.computes in ("fp8", "fp4")
    return narrow and (declared.bits == said.bits or (declared.bits <= 4 and said.bits <= 8))


def _usable(gpu: GPU, name: str | None) -> str | None:
    """The format, or where the device does not compute such a stream the one that it does: BF16 on a V100 is FP16."""
    if name in STREAMS and name not in gpu.peak_flops:
        return next(stream for stream in STREAMS if stream in gpu.peak_flops)
    return name


def _kv(row: Row, by: Served, weights: str | None) -> str | None:
    """The cache's format. TensorRT-LLM's FP8 engines keep it in FP8 (docs, precision: the FP8 recipe's default)."""
    if row.kv_dtype.lower() not in ("", "auto"):
        said = _asked(row.kv_dtype, by).weights
        return None if said in STREAMS else said
    return "fp8" if by.name == "trtllm" and weights == "fp8" else None
