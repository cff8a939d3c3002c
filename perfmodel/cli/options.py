"""Flags that several commands share: each is declared once, here."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextvars import ContextVar
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from perfmodel.workload import BATCH, BLOCK_LENGTH, OUTPUT, PROMPT


# defaults pass through these parsers too, as the numbers they are
def _whole(text: str | int) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"needs a whole number, like 8; got {str(text)[:40]!r}") from None


def _real(text: str | float) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"needs a number, like 0.9; got {str(text)[:40]!r}") from None


def whole(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, parser=_whole, metavar="N", show_default=False)


def real(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, parser=_real, metavar="X", show_default=False)


ModelName = Annotated[
    str, typer.Option("--model", "-m", help="Model: name, alias, Hub id, or path (YAML, config.json).")
]
GpuName = Annotated[str, typer.Option("--gpu", "-g", help="GPU: name, alias, or path to a YAML file.")]
GpuCount = Annotated[int | None, whole("--gpu-count", help="GPUs in all; without a split, the fewest that hold it.")]
Tp = Annotated[int | None, whole("--tp", help="Tensor parallelism: GPUs that share each layer.")]
Pp = Annotated[int | None, whole("--pp", help="Pipeline parallelism: stages that share the layers.")]
Dp = Annotated[int | None, whole("--dp", help="Groups of tp GPUs that share experts, each with its own sequences.")]
Ep = Annotated[int | None, whole("--ep", help="Expert parallelism: parts that the experts are in.")]
Cp = Annotated[int | None, whole("--cp", help="Context parallelism: GPUs that share each sequence.")]
Replicas = Annotated[int | None, whole("--replicas", help="Copies of all that, each with its part of the batch.")]
Microbatches = Annotated[int | None, whole("--microbatches", help="Passes that a pipeline cuts the batch into.")]
Interleave = Annotated[int, whole("--interleave", help="Pieces of the model that each pipeline stage holds (1).")]
Overlap = Annotated[float, real("--overlap", help="Part of communication that hides behind other work (0).")]
Exchange = Annotated[
    str, typer.Option(help="How tokens reach experts elsewhere: auto, all-gather, all-to-all, deepep.")
]
BalancedExperts = Annotated[
    bool, typer.Option("--balanced-experts", help="Experts placed and doubled by their load, as EPLB does.")
]
BatchSize = Annotated[int, whole("--batch", "-b", help=f"Sequences at once (default {BATCH}).")]
Prompt = Annotated[int, whole("--prompt", help=f"Tokens in (default {PROMPT}).")]
Output = Annotated[int, whole("--output", help=f"Tokens out (default {OUTPUT}).")]
Weights = Annotated[
    str | None,
    typer.Option(help="Weight format: bf16, fp16, fp8, int8, int4, nvfp4, mxfp4, q4_k_m, llm-int8, fp8-llama3."),
]
Kv = Annotated[str | None, typer.Option("--kv", help="KV-cache format: bf16, fp16, fp8, int8, int4, kivi2, q8_0, …")]
Activations = Annotated[str | None, typer.Option(help="What matrix products are fed: bf16, fp16, fp8, int8, nvfp4.")]
Exempt = Annotated[
    str | None,
    typer.Option("--exempt", help='Parts that stay in 16 bits: "attention,first-layers=1,lm_head".', metavar="PARTS"),
]
Dequantize = Annotated[
    str | None,
    typer.Option(
        "--dequantize",
        help="Where weights are widened: fused (in the product), unfused (in memory, before), or N: fused to N rows.",
    ),
]
Attention = Annotated[
    str,
    typer.Option(help="flash keeps scores on the chip (flash1, flash2, flash3, unsplit, paged-v1); naive writes them."),
]
NoKvCache = Annotated[bool, typer.Option("--no-kv-cache", help="Recompute the whole sequence at every step.")]
EngineName = Annotated[
    str,
    typer.Option("--engine", help="Serving engine, or a version of it: vllm, vllm@0.7, sglang, trtllm, llama.cpp, …"),
]
MemoryShare = Annotated[float | None, real("--memory-share", help="Part of GPU memory the engine may use (0.9).")]
Price = Annotated[float | None, real("--price", help="USD per GPU and hour, instead of the list price on file.")]
Assume = Annotated[
    str | None,
    typer.Option("--assume", help="Family to read a config.json of unknown model_type as.", metavar="FAMILY"),
]
Prune = Annotated[
    str | None, typer.Option("--prune", help='Other sizes: "layers=32,hidden=4096,ffn=16384".', metavar="SIZES")
]
RoutingSkew = Annotated[float, real("--routing-skew", help="Exponent of the experts' popularity (0: all alike).")]
DenoisingSteps = Annotated[
    int | None, whole("--denoising-steps", help="Passes of a model that writes by denoising (one a token).")
]
BlockLength = Annotated[
    int | None, whole("--block-length", help=f"Tokens such a model denoises together ({BLOCK_LENGTH}).")
]
Draft = Annotated[str | None, typer.Option("--draft", help="Draft model that guesses tokens ahead.", metavar="MODEL")]
Speculate = Annotated[
    str | None,
    typer.Option(help="Guess ahead by medusa, eagle, eagle2, eagle3, mtp, ngram or lookahead.", metavar="METHOD"),
]
DraftTokens = Annotated[int | None, whole("--draft-tokens", help="Tokens guessed ahead.")]
DraftTree = Annotated[int | None, whole("--draft-tree", help="Guess a tree of so many tokens, not a chain.")]
Acceptance = Annotated[
    str | None, typer.Option(help="How often a guess is right: 0.7, or a rate a place: 0.8,0.7.", metavar="RATES")
]
AcceptedLength = Annotated[
    float | None, real("--accepted-length", help="Measured mean of tokens a pass, instead of acceptance.")
]
DraftTp = Annotated[int | None, whole("--draft-tp", help="GPUs that share the draft (as many as the model).")]
DraftWeights = Annotated[str | None, typer.Option("--draft-weights", help="Weight format of the draft model.")]
LoraAdapters = Annotated[
    str | None,
    typer.Option(
        "--lora", help='Adapters: rank, targets, how many, like "16", "16,q+v" or "64,all,8".', metavar="R,T,N"
    ),
]
SamplingSteps = Annotated[
    str | None,
    typer.Option(
        "--sampling", help="Sampler: greedy, penalties, top-k, top-p, min-p, … (comma list).", metavar="STEPS"
    ),
]
Images = Annotated[int | None, whole("--images", help="Images in each prompt, besides its text.")]
ImageSize = Annotated[
    str | None, typer.Option("--image-size", help="Pixels of an image (1024x1024).", metavar="WIDTHxHEIGHT")
]
ImageTokens = Annotated[int | None, whole("--image-tokens", help="Tokens of an image, instead of what its size makes.")]
Server = Annotated[bool, typer.Option("--server", help="Count HTTP and tokenization of a request in TTFT.")]
KvPolicy = Annotated[
    str | None,
    typer.Option("--kv-policy", help="Cached tokens kept: streaming:4+1020, h2o:512+512, snapkv:1024+32.", metavar="P"),
]
KvBlock = Annotated[int | None, whole("--kv-block", help="Tokens of a KV-cache block.")]
MaxNumSeqs = Annotated[int | None, whole("--max-num-seqs", help="Most sequences that the engine runs at once.")]
MaxNumBatchedTokens = Annotated[
    int | None, whole("--max-num-batched-tokens", help="Most new tokens in a pass; longer prefills run in chunks.")
]
OffloadWeights = Annotated[float, real("--offload-weights", help="Share of the layers' weights kept on the host.")]
OffloadKv = Annotated[float, real("--offload-kv", help="Share of the KV cache kept on the host.")]
OffloadTo = Annotated[str, typer.Option("--offload-to", help="Where to: host (its memory) or nvme (a drive).")]
OffloadBandwidth = Annotated[
    str | None, typer.Option("--offload-bandwidth", help='Rate of the way there, like "25 GB/s".', metavar="RATE")
]
Prefix = Annotated[int, whole("--prefix", help="Leading tokens that all prompts share and the cache has (0).")]
PrefixHit = Annotated[float, real("--prefix-hit", help="Share of the requests that find them (1).")]
PrefixFrom = Annotated[
    str | None,
    typer.Option("--prefix-from", help="Where they wait to be loaded: host or nvme.", metavar="PLACE"),
]
SharedPrefixAttention = Annotated[
    bool, typer.Option("--shared-prefix-attention", help="Read what sequences share once for all (cascade attention).")
]
Samples = Annotated[int, whole("--samples", help="Completions of each prompt, which share its cache (1).")]
Beams = Annotated[int, whole("--beams", help="Beams of each prompt, one of which is output (1).")]
Folders = Annotated[list[Path] | None, typer.Option("--path", help="Folder of your own specs; may be repeated.")]
Json = Annotated[bool, typer.Option("--json", help="JSON for scripts (docs/json.md).")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page with pictures too.", metavar="FILE")]
TYPED: ContextVar[tuple[str, ...]] = ContextVar("typed", default=())
"""What was typed behind `perfmodel`."""


def command() -> str:
    """What was typed, to be kept with what came of it."""
    return shlex.join(["perfmodel", *TYPED.get()])[:4000]


def _question(
    model: ModelName,
    gpu: GpuName,
    gpu_count: GpuCount = None,
    tp: Tp = None,
    pp: Pp = None,
    dp: Dp = None,
    ep: Ep = None,
    cp: Cp = None,
    replicas: Replicas = None,
    microbatches: Microbatches = None,
    interleave: Interleave = 1,
    overlap: Overlap = 0.0,
    exchange: Exchange = "auto",
    balanced_experts: BalancedExperts = False,
    batch: BatchSize = BATCH,
    prompt: Prompt = PROMPT,
    output: Output = OUTPUT,
    weights: Weights = None,
    kv: Kv = None,
    activations: Activations = None,
    exempt: Exempt = None,
    dequantize: Dequantize = None,
    attention: Attention = "flash",
    no_kv_cache: NoKvCache = False,
    engine: EngineName = "vllm",
    memory_share: MemoryShare = None,
    price: Price = None,
    assume: Assume = None,
    prune: Prune = None,
    routing_skew: RoutingSkew = 0.0,
    denoising_steps: DenoisingSteps = None,
    block_length: BlockLength = None,
    draft: Draft = None,
    speculate: Speculate = None,
    draft_tokens: DraftTokens = None,
    draft_tree: DraftTree = None,
    acceptance: Acceptance = None,
    accepted_length: AcceptedLength = None,
    draft_tp: DraftTp = None,
    draft_weights: DraftWeights = None,
    lora: LoraAdapters = None,
    sampling: SamplingSteps = None,
    images: Images = None,
    image_size: ImageSize = None,
    image_tokens: ImageTokens = None,
    server: Server = False,
    kv_policy: KvPolicy = None,
    kv_block: KvBlock = None,
    max_num_seqs: MaxNumSeqs = None,
    max_num_batched_tokens: MaxNumBatchedTokens = None,
    offload_weights: OffloadWeights = 0.0,
    offload_kv: OffloadKv = 0.0,
    offload_to: OffloadTo = "host",
    offload_bandwidth: OffloadBandwidth = None,
    prefix: Prefix = 0,
    prefix_hit: PrefixHit = 1.0,
    prefix_from: PrefixFrom = None,
    shared_prefix_attention: SharedPrefixAttention = False,
    samples: Samples = 1,
    beams: Beams = 1,
    path: Folders = None,
) -> dict[str, Any]:
    """The flags that shape a question → the keyword arguments of `perfmodel.estimate`."""
    take_up(path)
    given = {name: value for name, value in locals().items() if name not in ("path", "no_kv_cache")}
    return given | {"kv_cache": not no_kv_cache}


def takes_a_question(**defaults: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the flags of a question: it is called with their answers as one dict, then its own flags.

    `defaults` replace those of the question, or make a required flag optional.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        shared, (_, *own) = signature(_question).parameters, signature(command).parameters.values()
        hints = get_type_hints(_question, include_extras=True) | get_type_hints(command, include_extras=True)
        asked = [p.replace(default=defaults.get(name, p.default)) for name, p in shared.items()]
        flags = [flag.replace(annotation=hints[flag.name]) for flag in (*asked, *own)]

        def called(**given: Any) -> Any:
            return command(_question(**{name: given.pop(name) for name in shared}), **given)

        called.__doc__, called.__name__ = command.__doc__, command.__name__
        called.__annotations__ = {flag.name: flag.annotation for flag in flags}
        flags.sort(key=lambda flag: flag.default is not Parameter.empty)  # required ones first, as Python wants
        called.__signature__ = Signature(flags)  # type: ignore[attr-defined]
        return called

    return decorate


def take_up(folders: list[Path] | None) -> None:
    """Make the specs in the user's own folders known by name."""
    from perfmodel.catalog import add_path

    for folder in folders or ():
        add_path(folder)


def dumped(data: Any) -> str:
    """JSON text; a number that is not finite would not be JSON, and is an error."""
    import json

    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)


def write_page(answer: Any, html: Path) -> None:
    """The page of an answer as a file, with the command that made it."""
    from perfmodel.report.pages import write_page

    write_page(answer, html, command())
