"""Flags of engines and load generators: which there are, from which version on, and where that was read.

A flag is written into a command only through this table (perfmodel.launch.sheet), for a version that has it. The rows
were held against the argument parsers of the versions in `TOOLS` by `docs/flags.py`, which anyone can run again on the
unpacked sources of a newer version (docs/launch.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.errors import RequestError

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that commands are written for.

    command  its words before the flags
    checked  versions whose parser was read, the newest first; it is the one that commands are written for
    place    files of its source that define the flags
    pages    documentation that says the same
    """

    name: str
    title: str
    command: tuple[str, ...]
    checked: tuple[str, ...]
    place: str
    pages: str

    @property
    def newest(self) -> str:
        return self.checked[0]

    @property
    def oldest(self) -> str:
        return self.checked[-1]


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a tool, or a key of a file it reads: there from `since` on, no longer at `until`; () for always."""

    tool: str
    name: str
    since: Version = ()
    until: Version = ()

    def holds(self, version: Version) -> bool:
        return self.since <= version and (not self.until or version < self.until)


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "vllm",
            "vLLM",
            ("vllm", "serve"),
            ("0.33.0", "0.24.0", "0.16.0", "0.12.0", "0.11.0", "0.8.5"),
            "vllm/engine/arg_utils.py, vllm/entrypoints",
            "https://docs.vllm.ai/en/stable/cli/serve/",
        ),
        Tool(
            "sglang",
            "SGLang",
            ("python", "-m", "sglang.launch_server"),
            ("0.5.23", "0.5.5", "0.4.6"),
            "sglang/srt/server_args.py, sglang/srt/arg_groups/fields",
            "https://docs.sglang.io/advanced_features/server_arguments.html",
        ),
        Tool(
            "trtllm",
            "TensorRT-LLM",
            ("trtllm-serve",),
            ("1.2.1", "1.1.0", "1.0.0"),
            "tensorrt_llm/commands/serve.py, tensorrt_llm/llmapi/llm_args.py",
            "https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html",
        ),
        Tool(
            "llama.cpp",
            "llama.cpp",
            ("llama-server",),
            ("2026",),
            "common/arg.cpp",
            "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        ),
        Tool(
            "vllm bench",
            "vLLM",
            ("vllm", "bench", "serve"),
            ("0.33.0", "0.24.0", "0.16.0", "0.12.0", "0.11.0"),
            "vllm/benchmarks/serve.py, vllm/benchmarks/datasets",
            "https://docs.vllm.ai/en/stable/cli/bench/serve/",
        ),
        Tool(
            "guidellm",
            "GuideLLM",
            ("guidellm", "run"),
            ("0.8.1",),
            "guidellm/cli/run.py, guidellm/schemas",
            "https://github.com/vllm-project/guidellm",
        ),
        Tool(
            "aiperf",
            "AIPerf",
            ("aiperf", "profile"),
            ("0.13.0",),
            "aiperf/config/flags/cli_config.py",
            "https://github.com/ai-dynamo/aiperf/blob/main/docs/cli-options.md",
        ),
        Tool(
            "sglang router",
            "SGLang router",
            ("python", "-m", "sglang_router.launch_router"),
            ("0.5.5",),
            "sglang_router/launch_router.py",
            "https://docs.sglang.io/advanced_features/pd_disaggregation.html",
        ),
        Tool(
            "trtllm router",
            "TensorRT-LLM",
            ("trtllm-serve", "disaggregated"),
            ("1.2.1",),
            "tensorrt_llm/commands/serve.py",
            "https://nvidia.github.io/TensorRT-LLM/features/disagg-serving.html",
        ),
    )
}


def _rows(tool: str, names: str, since: Version = (), until: Version = ()) -> list[Flag]:
    return [Flag(tool, name, since, until) for name in names.split()]


FLAGS: dict[tuple[str, str], Flag] = {
    (flag.tool, flag.name): flag
    for flag in (
        *_rows(
            "vllm",
            "--host --port --dtype --quantization --tensor-parallel-size --pipeline-parallel-size "
            "--data-parallel-size --enable-expert-parallel --gpu-memory-utilization --max-model-len --max-num-seqs "
            "--max-num-batched-tokens --block-size --kv-cache-dtype --speculative-config --enable-prefix-caching "
            "--cpu-offload-gb --enable-lora --max-loras --max-lora-rank --kv-transfer-config "
            "--distributed-executor-backend",
        ),
        *_rows(
            "vllm",
            "--data-parallel-size-local --data-parallel-address --data-parallel-rpc-port --data-parallel-start-rank "
            "--headless --enable-eplb",
            (0, 11),
        ),
        *_rows("vllm", "--nnodes --node-rank --master-addr --all2all-backend", (0, 12)),
        *_rows(
            "sglang",
            "--model-path --host --port --dtype --quantization --tp-size --pp-size --ep-size --mem-fraction-static "
            "--context-length --max-running-requests --chunked-prefill-size --enable-mixed-chunk --page-size "
            "--kv-cache-dtype "
            "--speculative-algorithm --speculative-draft-model-path --speculative-num-steps --speculative-eagle-topk "
            "--speculative-num-draft-tokens --cpu-offload-gb --max-loras-per-batch --nnodes --node-rank "
            "--dist-init-addr --enable-eplb --disaggregation-mode --disaggregation-transfer-backend",
        ),
        *_rows("sglang", "--enable-ep-moe", (), (0, 5)),
        *_rows("sglang", "--dp-size --enable-dp-attention", (), (0, 5, 23)),
        *_rows("sglang", "--moe-a2a-backend --enable-lora --max-lora-rank", (0, 5, 5)),
        *_rows("sglang", "--attn-dp-size", (0, 5, 23)),
        *_rows(
            "trtllm",
            "--host --port --tp_size --pp_size --ep_size --max_batch_size --max_num_tokens --max_seq_len "
            "--kv_cache_free_gpu_memory_fraction --extra_llm_api_options",
        ),
        *_rows(  # keys of the YAML file that --extra_llm_api_options names
            "trtllm",
            "dtype enable_chunked_prefill enable_attention_dp kv_cache_config.dtype kv_cache_config.tokens_per_block "
            "speculative_config.decoding_type speculative_config.max_draft_len "
            "speculative_config.num_nextn_predict_layers speculative_config.max_matching_ngram_size "
            "cache_transceiver_config.backend cache_transceiver_config.max_tokens_in_buffer "
            "disable_overlap_scheduler",
        ),
        *_rows("trtllm", "speculative_config.speculative_model_dir", (), (1, 3)),
        *_rows("trtllm", "speculative_config.speculative_model", (1, 3)),
        *_rows(
            "llama.cpp",
            "--model --host --port --ctx-size --parallel --batch-size --ubatch-size --n-gpu-layers --split-mode "
            "--cache-type-k --cache-type-v --flash-attn --spec-type --spec-draft-model --spec-draft-n-max "
            "--spec-ngram-simple-size-m --alias",
        ),
        *_rows(
            "vllm bench",
            "--backend --base-url --endpoint --model --tokenizer --dataset-name --random-input-len --random-output-len "
            "--random-range-ratio --random-prefix-len --num-prompts --request-rate --max-concurrency --ignore-eos "
            "--goodput --percentile-metrics --metric-percentiles --seed",
        ),
        *_rows("guidellm", "--backend --profile --data --constraint --tokenizer --metrics --seed"),
        *_rows(  # keys of those
            "guidellm",
            "kind target model rate streams max_concurrency count value prefix_tokens slo ttft_ms tpot_ms e2el_ms "
            "prompt_tokens prompt_tokens_stdev prompt_tokens_min prompt_tokens_max "
            "output_tokens output_tokens_stdev output_tokens_min output_tokens_max",
        ),
        *_rows(
            "aiperf",
            "--model --url --endpoint-type --streaming --tokenizer --isl --isl-stddev --osl --osl-stddev "
            "--random-range-ratio --num-prefix-prompts --prefix-prompt-length --request-count --concurrency "
            "--request-rate --arrival-pattern --goodput --extra-inputs --random-seed",
        ),
        *_rows("sglang router", "--pd-disaggregation --prefill --decode --host --port"),
        *_rows("trtllm router", "--config_file"),
    )
}
"""(tool, flag) → what is known of it."""


def numbers(version: str) -> Version:
    """A version as numbers that compare: "0.4.6.post5" → (0, 4, 6)."""
    found: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)


def version_for(tool: str, asked: str) -> str:
    """The version that commands are written for: the one that is asked for, else the newest that was checked.

    RequestError for one older than any whose flags were read.
    """
    known = TOOLS[tool]
    if not asked:
        return known.newest
    if numbers(asked) < numbers(known.oldest)[: len(numbers(asked))]:
        raise RequestError(
            f"--engine {tool}@{asked}: flags of {known.title} are known from {known.oldest} on; use --engine "
            f"{tool}@{known.oldest} or a later version."
        )
    return asked
