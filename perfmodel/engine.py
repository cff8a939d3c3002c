"""What serves the model: one row an engine and generation, with its defaults, habits and overheads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from perfmodel.errors import RequestError
from perfmodel.kernels.overheads import Overheads
from perfmodel.spec import nearest

GIB = 2**30
SERVED = 0.055
"""Share of a step that accepting guesses costs a serving engine: the median of six speed-ups of Qwen3 1.7B to 32B.

EAGLE-3, two tokens ahead, at the tokens a pass measured with them (Tencent/AngelSlim, its benchmarks of speculative
decoding; the device is taken to be an H100, whose plain speeds are theirs); from 1 to 10 %.
"""
SCRIPTED = 0.15
"""The same of research code in Python: the median of twelve speed-ups on an A100 (Spec-Bench); from 8 to 30 %."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Defaults and habits of one generation of a serving engine.

    since           first version of this generation, as numbers: (0, 8)
    talks           "nccl" where it calls NCCL for every collective; "" where it has kernels of its own
    kernels         whose measured kernels stand nearest to its own: "vllm", "trtllm", "sglang" or "torch"
    memory_share    part of device memory it may use (vLLM's gpu_memory_utilization)
    block           tokens of a KV-cache block; a sequence's last block is filled in part
    token_budget    most new tokens in one pass; longer prefills are cut into chunks
    sequences_limit most sequences in one pass (max_num_seqs); 0 where none is known
    small_limit     the same on devices with less than 70 GiB and on A100, where it is another
    policy          how it makes passes of requests (perfmodel.serving.simulation)
    reserves        whether a request starts only when its whole output has room in the cache
    framework_bytes CUDA context, kernels, allocator slack
    comm_bytes      collective buffers, where there is more than one device
    graph_bytes     captured CUDA graphs; taken from the memory outside the share while they fit there
    version         the very version that is meant, where one is ("0.7.3")
    attention       "flash", or "naive" where scores go through memory
    accepting       what a step of speculation costs beyond its passes, as a share of them: masks, comparing, sampling,
                    moving the cache
    exchange        how tokens of data-parallel groups reach experts in parts: "all-gather" (and reduce-scatter), or
                    "all-to-all"
    half_sums       whether 16-bit products are summed in 16 bits, which GeForce devices do at twice the rate
    asked           which of these defaults are the user's own
    overheads       time beyond the kernels, as far as no runs of whole models tell it (perfmodel.calibration)
    source          where the defaults come from
    """

    name: str
    source: str
    title: str = ""
    flavour: str = ""
    since: tuple[int, ...] = ()
    talks: str = ""
    kernels: str = "vllm"
    memory_share: float = 0.9
    block: int = 16
    token_budget: int = 8192
    sequences_limit: int = 0
    small_limit: int = 0
    policy: str = "mixed"
    reserves: bool = False
    framework_bytes: int = GIB // 2
    comm_bytes: int = GIB // 2
    graph_bytes: int = GIB
    version: str = ""
    attention: str = "flash"
    accepting: float = SERVED
    exchange: str = "all-gather"
    half_sums: bool = False
    asked: tuple[str, ...] = field(default=(), compare=False)
    overheads: Overheads = field(default=Overheads())

    @property
    def runs(self) -> str:
        """The name under which `calibration:` blocks hold what runs of whole models showed: "vllm 0.8+"."""
        return f"{self.name} {self.generation or 'any'}"

    @property
    def generation(self) -> str:
        """What tells this row from the others of its name: "0.8+", "rocm", or nothing."""
        version = f"{'.'.join(map(str, self.since))}+" if self.since else ""
        return " ".join(part for part in (self.flavour, version) if part)


_ROWS = (
    Engine(
        "vllm",
        title="vLLM V1",
        since=(0, 8),
        sequences_limit=1024,
        small_limit=256,
        source="vLLM V1 defaults: gpu_memory_utilization 0.9, block_size 16, max_num_batched_tokens 8192, max_num_seqs "
        "1024 from 70 GiB on and 256 below (arg_utils.py, _set_default_args_v1); "
        "context and graph sizes as its start-up log reports them",
    ),
    Engine(
        "vllm",
        title="vLLM V0",
        since=(0, 3),
        policy="prefill-first",
        sequences_limit=256,
        overheads=Overheads(layer_s=80e-6, pass_s=540e-6, prompt_s=27e-3),
        source="vLLM V0 defaults: gpu_memory_utilization 0.9, block_size 16, no chunked prefill",
    ),
    Engine(
        "vllm",
        title="vLLM of 2023",
        talks="nccl",
        since=(0, 1),
        policy="prefill-first",
        sequences_limit=256,
        graph_bytes=0,
        token_budget=2560,
        overheads=Overheads(host_layer_s=400e-6),
        source="vLLM 0.1 and 0.2: eager launches, max_num_batched_tokens 2560",
    ),
    Engine(
        "vllm",
        title="vLLM on ROCm",
        flavour="rocm",
        sequences_limit=1024,
        small_limit=256,
        source="vLLM defaults, as AMD's container runs it",
    ),
    Engine(
        "sglang",
        title="SGLang",
        kernels="sglang",
        block=1,
        policy="prefill-first",
        source="SGLang defaults: page size 1, chunked_prefill_size 8192, mem_fraction_static about 0.88",
        memory_share=0.88,
    ),
    Engine(
        "trtllm",
        title="TensorRT-LLM 1.1",
        since=(1, 1),
        kernels="trtllm",
        block=32,
        sequences_limit=2048,
        reserves=True,
        exchange="all-to-all",
        source="TensorRT-LLM 1.x defaults: kv_cache_free_gpu_memory_fraction 0.9, tokens_per_block 32, "
        "max_num_tokens 8192, max_batch_size 2048; experts talk all to all (fused_moe: AlltoallMethodType)",
    ),
    Engine(
        "trtllm",
        title="TensorRT-LLM 1.0",
        since=(1,),
        kernels="trtllm",
        block=32,
        sequences_limit=2048,
        reserves=True,
        exchange="all-to-all",
        source="TensorRT-LLM 1.x defaults: kv_cache_free_gpu_memory_fraction 0.9, tokens_per_block 32, "
        "max_num_tokens 8192, max_batch_size 2048; experts talk all to all (fused_moe: AlltoallMethodType)",
    ),
    Engine(
        "trtllm",
        title="TensorRT-LLM of 2024",
        since=(0,),
        kernels="trtllm",
        block=64,
        token_budget=1 << 20,
        reserves=True,
        overheads=Overheads(layer_s=28e-6, pass_s=110e-6, prompt_s=1.3e-3),
        source="TensorRT-LLM 0.9 gptSessionBenchmark: the whole batch prefills in one pass, blocks of 64",
    ),
    Engine(
        "trtllm",
        title="NVIDIA NIM",
        flavour="nim",
        kernels="trtllm",
        block=64,
        overheads=Overheads(layer_s=28e-6, pass_s=110e-6, prompt_s=1.3e-3),
        reserves=True,
        source="NIM 1.x of 2024 and early 2025: TensorRT-LLM 0.x behind an HTTP server, in-flight batching",
    ),
    Engine(
        "lmdeploy",
        title="LMDeploy TurboMind",
        kernels="trtllm",
        block=64,
        memory_share=0.8,
        overheads=Overheads(layer_s=28e-6, pass_s=110e-6, prompt_s=1.3e-3),
        source="LMDeploy defaults: cache_max_entry_count 0.8, cache_block_seq_len 64, max_prefill_token_num 8192",
    ),
    Engine(
        "tgi",
        title="Text Generation Inference",
        source="TGI 3 defaults: max_batch_prefill_tokens 4096, cuda graphs, paged attention with blocks of 16",
        token_budget=4096,
    ),
    Engine(
        "llama.cpp",
        title="llama.cpp",
        since=(2024, 7),
        memory_share=1.0,
        block=1,
        token_budget=512,
        graph_bytes=0,
        comm_bytes=0,
        half_sums=True,
        overheads=Overheads(
            layer_s=20e-6,
            pass_s=200e-6,
            boundary_s=100e-6,
            overlap=0.8,
            in_flight=4,
            fusion=2.0,
            compute=0.75,
            vector_16=4.7,
            vector_4=18,
        ),
        source="llama.cpp defaults: n_ubatch 512, a cache of n_ctx tokens, layers split over devices; flash attention, "
        "quantized products without widening (MMQ) and CUDA graphs since mid-2024",
    ),
    Engine(
        "llama.cpp",
        title="llama.cpp of early 2024",
        since=(0,),
        memory_share=1.0,
        block=1,
        token_budget=512,
        graph_bytes=0,
        comm_bytes=0,
        attention="naive",
        half_sums=True,
        overheads=Overheads(
            layer_s=60e-6,
            boundary_s=200e-6,
            overlap=0.8,
            in_flight=4,
            fusion=2.0,
            spill=3.0,
            vector_16=4.7,
            vector_4=18,
            widened_bytes=5,
        ),
        source="llama.cpp defaults: n_ubatch 512, a cache of n_ctx tokens, layers split over devices",
    ),
    Engine(
        "llama.cpp",
        title="llama.cpp on Metal",
        flavour="metal",
        memory_share=1.0,
        block=1,
        token_budget=512,
        graph_bytes=0,
        comm_bytes=0,
        attention="naive",
        overheads=Overheads(layer_s=60e-6, vector_16=8, vector_4=9, fusion=2.0, spill=3.0),
        source="llama.cpp defaults: n_ubatch 512, a cache of n_ctx tokens",
    ),
    Engine(
        "mlx",
        title="MLX",
        memory_share=1.0,
        block=1,
        token_budget=512,
        graph_bytes=0,
        comm_bytes=0,
        overheads=Overheads(layer_s=15e-6, vector_16=8, vector_4=12, fusion=1.0),
        source="mlx-lm defaults: prompts in steps of 512 tokens, a cache that grows",
    ),
    Engine(
        "gpt-fast",
        title="gpt-fast",
        kernels="torch",
        accepting=SCRIPTED,
        talks="nccl",
        memory_share=1.0,
        block=1,
        token_budget=1 << 20,
        source="gpt-fast: torch.compile with CUDA graphs, a static cache",
    ),
    Engine(
        "torch",
        title="eager torch",
        accepting=SCRIPTED,
        talks="nccl",
        memory_share=1.0,
        block=1,
        token_budget=1 << 20,
        graph_bytes=0,
        overheads=Overheads(host_layer_s=400e-6),
        source="transformers in eager torch: one launch after another, a cache that grows",
    ),
    Engine(
        "exllama",
        title="ExLlamaV2",
        half_sums=True,
        memory_share=1.0,
        block=1,
        token_budget=2048,
        source="ExLlamaV2 defaults: max_input_len 2048 tokens a pass, a static cache",
    ),
    Engine(
        "tinychat",
        title="TinyChat",
        half_sums=True,
        memory_share=1.0,
        block=1,
        token_budget=1 << 20,
        source="TinyChat (AWQ): fused 4-bit kernels, a static cache",
    ),
    Engine(
        "mlc",
        title="MLC LLM",
        half_sums=True,
        block=16,
        source="MLC LLM defaults: gpu_memory_utilization 0.85, prefill_chunk_size 2048, pages of 16",
        memory_share=0.85,
        token_budget=2048,
    ),
)

ENGINES: dict[str, Engine] = {}  # the current generation of each engine, by name
for _row in _ROWS:
    ENGINES.setdefault(_row.name, _row)


FLAVOURS = {"AMD": "rocm", "Apple": "metal"}
"""Vendor → what an engine's build for its devices is called, where that is a row of its own."""


def generations(name: str) -> tuple[Engine, ...]:
    """Every row of an engine, the current one first."""
    return tuple(row for row in _ROWS if row.name == name)


def engine(name: str, version: str = "", flavour: str = "") -> Engine:
    """The current generation of `name`, or that of `version` ("0.7.3") or `flavour` ("rocm"); RequestError if none."""
    rows = generations(name)
    if not rows:
        guess = nearest(name, ENGINES)
        hint = f'did you mean "{guess}"?' if guess else "known: " + ", ".join(ENGINES)
        raise RequestError(f'No engine is called "{name}"; {hint}')
    same = [row for row in rows if row.flavour == flavour] or [row for row in rows if not row.flavour]
    digits = re.match(r"v?(\d+(?:\.\d+)*)", version)
    if digits is None:
        return same[0]
    number = tuple(int(part) for part in digits[1].split("."))
    return replace(next((row for row in same if row.since <= number), same[-1]), version=digits[1])
