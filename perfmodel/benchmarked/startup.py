"""Start-up logs of vLLM and SGLang → what memory the engine measured, term by term, and how it was asked to run.

Follows the messages of vLLM's worker/worker.py and model_runner.py (V0, v0.4 to v0.8), v1/worker/gpu_worker.py,
gpu_model_runner.py and v1/core/kv_cache_utils.py (V1, v0.8 to late 2026), and of SGLang's model_runner.py,
memory_pool.py and scheduler.py (v0.3 to v0.5), which write GB and count GiB. Of several ranks the largest term counts,
of the cache the smallest; a second model (a draft) that is loaded later is not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from perfmodel.benchmarked.alike import QUANTIZATION
from perfmodel.benchmarked.content import Content
from perfmodel.errors import SpecError

GIB = 2.0**30
_N = r"(-?\d[\d,]*(?:\.\d+)?)"
MOST_GIB = 1e5


@dataclass(frozen=True)
class Startup:
    """What a log tells: bytes of each term on one device, None where it does not; and the deployment, likewise.

    outside  SGLang alone: bytes that were free when the cache stood, for activations and graphs
    budget   bytes that the engine was allowed
    """

    engine: str
    where: str
    engine_version: str = ""
    model: str = ""
    weights_format: str = ""
    kv_format: str = ""
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    memory_share: float | None = None
    token_budget: int | None = None
    sequences_limit: int | None = None
    max_length: int | None = None
    device: float | None = None
    budget: float | None = None
    weights: float | None = None
    activations: float | None = None
    other: float | None = None
    graphs: float | None = None
    kv_cache: float | None = None
    kv_tokens: int | None = None
    outside: float | None = None
    notes: tuple[str, ...] = field(default=())


_VLLM = re.compile(
    r"Model loading took|Loading model weights took|model weights take|GPU KV cache size|# (?:GPU|cuda) blocks|"
    r"Available KV cache memory|Graph capturing finished"
)
_SGLANG = re.compile(r"Load weight end\.|KV Cache is allocated|Memory pool end\.|max_total_num_tokens=")


def recognises(content: Content) -> bool:
    return bool(_VLLM.search(content.text) or _SGLANG.search(content.text))


def startup(content: Content) -> Startup:
    """What a log tells; SpecError where a figure in it is none."""
    log = _Log(content.text, content.shown)
    return _sglang(log) if len(_SGLANG.findall(log.text)) > len(_VLLM.findall(log.text)) else _vllm(log)


@dataclass(frozen=True)
class _Log:
    """A log's text, searched."""

    text: str
    where: str

    def numbers(self, pattern: str) -> list[float]:
        """What the first group of every match holds; SpecError for what no memory is."""
        found = []
        for match in re.finditer(pattern, self.text):
            text = next((group for group in match.groups() if group is not None), "")
            value = float(text.replace(",", ""))
            if not -1 <= value < 1e13:
                raise SpecError(f"{self.where}: {match[0][:60]!r}: needs a size that memory can have.")
            found.append(value)
        return found

    def gib(self, pattern: str, smallest: bool = False) -> float | None:
        """Bytes of the largest (or smallest) rank that tells a term in GiB; None where none does or all are 0."""
        found = [value for value in self.numbers(pattern) if value > 0]
        if found and max(found) > MOST_GIB:
            raise SpecError(f"{self.where}: {max(found):g} GiB: no device has so much memory; is the log whole?")
        return (min(found) if smallest else max(found)) * GIB if found else None

    def count(self, pattern: str, smallest: bool = False) -> int | None:
        found = [value for value in self.numbers(pattern) if value >= 1]
        return int(min(found) if smallest else max(found)) if found else None

    def word(self, pattern: str) -> str:
        match = re.search(pattern, self.text)
        return "" if match is None else "".join(c for c in match[1][:200] if c.isprintable())

    def share(self, pattern: str) -> float | None:
        found = [value for value in self.numbers(pattern) if 0 < value <= 1]
        return found[0] if found else None


def _vllm(log: _Log) -> Startup:
    weights = log.gib(rf"(?:Model loading took|Loading model weights took) {_N} ?(?:GiB|GB)") or log.gib(
        rf"model weights take {_N} ?GiB"
    )
    weights = weights or log.gib(rf"Actual usage is {_N} GiB for weight,")
    both = log.gib(rf"Actual usage is {_N} GiB for consumed memory")
    other = log.gib(rf"non_torch_memory takes {_N} ?GiB|{_N} GiB for non-torch memory")
    if other is None and both is not None and weights is not None:
        other = max(both - weights, 0.0) or None
    tokens = log.count(rf"GPU KV cache size: {_N} tokens", smallest=True)
    blocks = log.count(rf"# (?:GPU|cuda) blocks: {_N}", smallest=True)
    notes = []
    if tokens is None and blocks is not None:
        size = log.count(rf"\bblock_size['\"]?[=:] ?{_N}") or 16
        tokens = blocks * size
        notes.append(f"{blocks:,} blocks of {size} tokens")
    quantization = log.word(r"\bquantization=(\w[\w-]*)").lower()
    return Startup(
        engine="vllm",
        where=log.where,
        engine_version=log.word(r"LLM engine \(v([\w.+-]{1,40})\)") or log.word(r"API server version ([\w.+-]{1,40})"),
        model=log.word(r"with config: model=['\"]([^'\"]+)['\"]") or log.word(r"['\"]model['\"]: ['\"]([^'\"]+)['\"]"),
        weights_format=QUANTIZATION.get(quantization, "") or ("" if quantization not in ("", "none") else _dtype(log)),
        kv_format=log.word(r"kv_cache_dtype['\"]?[=:] ?['\"]?(\w+)").removesuffix("_e4m3").removesuffix("_e5m2"),
        tp=log.count(rf"tensor_parallel_size['\"]?[=:] ?{_N}"),
        pp=log.count(rf"pipeline_parallel_size['\"]?[=:] ?{_N}"),
        dp=log.count(rf"data_parallel_size['\"]?[=:] ?{_N}"),
        memory_share=log.share(rf"gpu_memory_utilization['\"]?[=:] ?{_N}")
        or log.share(rf"gpu_memory_utilization \({_N}\)")
        or log.share(rf"Desired GPU memory utilization is \({_N},"),
        token_budget=log.count(rf"max_num_batched_tokens['\"]?[=:] ?{_N}"),
        sequences_limit=log.count(rf"max_num_seqs['\"]?[=:] ?{_N}"),
        max_length=log.count(rf"max_seq_len[=:] ?{_N}|max_model_len['\"]?[=:] ?{_N}|Using max model len {_N}"),
        device=log.gib(rf"total_gpu_memory \({_N} ?GiB\)|Free memory on device \([\d.]+/{_N} GiB\)"),
        budget=log.gib(rf"\) = {_N}GiB|Desired GPU memory utilization is \([\d.]+, {_N} GiB\)"),
        weights=weights,
        activations=log.gib(rf"PyTorch activation peak memory takes {_N} ?GiB|{_N} GiB for peak activation"),
        other=other,
        graphs=log.gib(rf"Graph capturing finished in \d+ secs?, took {_N} GiB|{_N} GiB for CUDAGraph memory"),
        kv_cache=log.gib(
            rf"reserved for KV Cache is {_N} ?GiB|Available KV cache memory: {_N} GiB|cache memory in use is {_N} GiB",
            smallest=True,
        ),
        kv_tokens=tokens,
        notes=tuple(notes),
    )


def _dtype(log: _Log) -> str:
    return {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}.get(log.word(r"\bdtype=torch\.(\w+)"), "")


def _sglang(log: _Log) -> Startup:
    # a draft's lines come later, with other sizes
    draft = re.search(r"Load weight end\.(?s:.*?)(Memory pool end\.[^\n]*|max_total_num_tokens=\d+)", log.text)
    main = _Log(log.text[: draft.end()], log.where) if draft else log
    begin, end = main.gib(rf"Load weight begin\. avail mem={_N} ?GB"), None
    if begin is not None and (left := main.gib(rf"Load weight end\.[^\n]*?avail mem={_N} ?GB", smallest=True)):
        end = max(begin - left, 0.0) or None
    kinds = [
        main.gib(rf"KV Cache is allocated\.[^\n]*?\b{kind} size: {_N} ?GB", smallest=True) for kind in ("K", "V", "KV")
    ]
    cache = sum(size for size in kinds if size) or None
    quantization = log.word(r"\bquantization=['\"](\w+)").lower()
    # data-parallel groups are within tp; without data-parallel attention they are copies, and one of them is told
    inside = "enable_dp_attention=True" in log.text
    tp, dp = log.count(rf"\btp_size={_N}"), log.count(rf"\bdp_size={_N}") if inside else None
    return Startup(
        engine="sglang",
        where=log.where,
        model=log.word(r"model_path=['\"]([^'\"]+)['\"]"),
        weights_format=QUANTIZATION.get(quantization, "") or ("" if quantization else _dtype(main)),
        kv_format=log.word(r"kv_cache_dtype=['\"](\w+)").removesuffix("_e4m3").removesuffix("_e5m2"),
        tp=tp if tp is None else max(tp // (dp or 1), 1),
        pp=log.count(rf"\bpp_size={_N}"),
        dp=dp,
        ep=log.count(rf"\bep_size={_N}"),
        memory_share=log.share(rf"mem_fraction_static={_N}"),
        token_budget=log.count(rf"chunked_prefill_size={_N}"),
        sequences_limit=log.count(rf"max_running_requests={_N}"),
        max_length=log.count(rf"context_len={_N}"),
        weights=main.gib(rf"Load weight end\.[^\n]*?mem usage={_N} ?GB") or end,
        graphs=log.gib(rf"Capture (?:target decode )?(?:cuda|CUDA) graph end\.[^\n]*?mem usage={_N} ?GB"),
        kv_cache=cache,
        kv_tokens=main.count(rf"KV Cache is allocated\.[^\n]*?#tokens: {_N}|max_total_num_tokens={_N}", smallest=True),
        outside=main.gib(rf"Memory pool end\. avail mem={_N} ?GB", smallest=True),
    )
