"""`Deployment`: a model on devices, at a precision, by an engine, split TP × PP × EP × CP, replicated DP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from perfmodel.arithmetic import Number, ceil
from perfmodel.block import Block
from perfmodel.cache.formats import cache_format
from perfmodel.cache.offload import NOTHING_OFFLOADED, Offload
from perfmodel.cache.policy import CachePolicy
from perfmodel.engine import ENGINES, Engine
from perfmodel.errors import RequestError
from perfmodel.gpu import GPU
from perfmodel.lora import Lora, lora_of
from perfmodel.model import Model, OtherFormat, Quantization
from perfmodel.precision import ALWAYS, STREAMS, NumberFormat, Precision, Stored, number_format
from perfmodel.speculation.method import Speculation
from perfmodel.workload import Workload

EXCHANGES = ("auto", "all-gather", "all-to-all", "deepep")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What serves: `replicas` times `model` on tp·cp·dp·pp devices.

    tp          tensor parallelism: devices that share each layer (Shoeybi et al. 2019)
    pp          pipeline parallelism: stages that share the layers (Huang et al. 2019, GPipe)
    attention   "flash" (the engine's own kernels), "naive", or a kernel of perfmodel.kernels.flash
    cache       False generates without a KV cache: every step recomputes the whole sequence
    routing_skew  exponent α of the experts' popularity, i^−α; 0 when all are chosen alike
    speculation   what guesses tokens ahead, which a pass then verifies together; None where nothing does
    lora        low-rank adapters served beside the model; None without
    sampling    steps of the sampler before the draw, in order; none by default
    server      whether a request's time on the host counts: HTTP, template, tokenization (perfmodel.frontend)
    cache_policy  which cached tokens are kept, in layers with ordinary attention; None: all
    shared_prefix_attention  whether cached tokens that sequences have in common are read once for all (cascade)
    offload     what waits in memory of the host or on a drive
    dp          data parallelism inside a replica: groups of tp devices with sequences of their own, which repeat
                attention and dense feed-forwards, and share the experts; of a model without experts, replicas
    ep          expert parallelism: parts of the experts; an expert's columns are cut tp·dp/ep ways
    cp          context parallelism: devices that share each sequence, and repeat all weights
    replicas    copies that share nothing
    microbatches  passes that a batch is cut into for a pipeline; None leaves it to the engine
    interleave  pieces of the model that each stage holds in turn (Narayanan et al. 2021, §2.2)
    overlap     part of the shorter of communication and all other work of a pass that hides behind the longer
    exchange    how tokens reach experts of other devices: "all-gather", "all-to-all", "deepep" (DeepSeek's kernels for
                it), or "auto": as the engine does
    balanced    whether popular experts are placed and doubled so that all devices have as much to do
    """

    model: Model
    gpu: GPU
    precision: Precision
    engine: Engine = ENGINES["vllm"]
    tp: int = 1
    pp: int = 1
    attention: str = "flash"
    cache: bool = True
    routing_skew: float = 0.0
    speculation: Speculation | None = None
    lora: Lora | None = None
    sampling: tuple[str, ...] = ()
    server: bool = False
    cache_policy: CachePolicy | None = None
    shared_prefix_attention: bool = False
    offload: Offload = NOTHING_OFFLOADED
    dp: int = 1
    ep: int = 1
    cp: int = 1
    replicas: int = 1
    microbatches: int | None = None
    interleave: int = 1
    overlap: float = 0.0
    exchange: str = "auto"
    balanced: bool = False

    @property
    def gpu_count(self) -> int:
        return self.tp * self.cp * self.dp * self.pp * self.replicas

    @property
    def copies(self) -> int:
        """Parts of the deployment that do not talk to each other: replicas, and groups that share no experts."""
        return self.replicas if self.model.has_experts else self.replicas * self.dp

    @property
    def groups(self) -> int:
        """Data-parallel groups of a copy, which share its experts; 1 where there are none to share."""
        return self.dp if self.model.has_experts else 1

    @property
    def joined(self) -> int:
        """Devices of one copy: those that talk to each other."""
        return self.gpu_count // self.copies

    @property
    def exchanged(self) -> str:
        """How tokens reach experts: "none" where a group's devices hold all of them, and a sum joins their results."""
        if self.exchange == "auto":
            found = "all-to-all" if self.engine.exchange == "all-to-all" and self.ep > 1 else "all-gather"
            return found if self.dp > 1 else "none"
        return self.exchange if self.dp > 1 or (self.exchange != "all-gather" and self.ep > 1) else "none"

    def share(self, batch: Number) -> Number:
        """Sequences of one group, of `batch` in all: the most that any has."""
        groups = self.replicas * self.dp
        return batch if groups == 1 else ceil(batch / groups)

    def part(self, work: Workload) -> Workload:
        """What one group has of `work`."""
        return work if self.replicas * self.dp == 1 else replace(work, batch=self.share(work.batch))

    @property
    def edges(self) -> tuple[int, ...]:
        """Contexts at which the cost of a step changes slope: a window, a budget or a 16-bit window fills."""
        mixers = [mixer for block in self.model.blocks for mixer in block.mixers]
        found = tuple(edge for mixer in mixers for edge in mixer.edges)
        residual = getattr(self.precision.kv, "residual", 0)
        found += (residual,) if residual else ()
        return found + (self.cache_policy.edges if self.cache_policy else ())

    def split(self, tp: int, pp: int, dp: int = 1, ep: int = 1, cp: int = 1, replicas: int = 1) -> Deployment:
        """The same on another number of devices."""
        return replace(self, tp=tp, pp=pp, dp=dp, ep=ep, cp=cp, replicas=replicas)

    def whole(self) -> Deployment:
        """The same work as if one device did it: what the model asks, counted once."""
        return self.split(1, 1)

    def plain(self) -> Deployment:
        """The same without speculation."""
        return replace(self, speculation=None)

    def stages(self) -> list[tuple[tuple[Block, ...], str]]:
        """The blocks of each pipeline stage, and which ends of the model it carries."""
        parts = self.model.stages(self.pp)
        if self.pp == 1:
            return [(parts[0], "both")]
        return [
            (blocks, "first" if i == 0 else "last" if i == self.pp - 1 else "none") for i, blocks in enumerate(parts)
        ]


def split_error(model: Model, gpu: GPU, tp: int, pp: int, dp: int = 1, ep: int = 1, cp: int = 1) -> str:
    """Why `model` cannot be split so over such devices; "" when it can. Says nothing of memory."""
    if tp > gpu.domain and (gpu.scale_out is None or tp % gpu.domain):
        node = f"a node joins {gpu.domain} {gpu.name} by {gpu.scale_up[-1].name}" if gpu.scale_up else ""
        whole = f", and tp over several must be a multiple of {gpu.domain}" if gpu.scale_out and node else ""
        return f"tp {tp} reaches beyond the node: {node or f'{gpu.name} has no link to share layers over'}{whole}"
    if pp > model.layers:
        return f"pp {pp} is more stages than {model.name}'s {model.layers} layers"
    if complaint := _sharing_error(model, tp, dp, ep, cp):
        return complaint
    joined = tp * cp * pp * (dp if model.has_experts else 1)
    if joined > tp and gpu.link(joined) is None:
        return f"{gpu.name} has no link that joins {joined} devices"
    for block in model.blocks:
        if complaint := block.split_error(tp, dp, ep):
            return f"{_named(tp, dp, ep)} does not split {model.name}: {complaint}"
    return ""


def _sharing_error(model: Model, tp: int, dp: int, ep: int, cp: int) -> str:
    """Why experts, or sequences, cannot be shared so."""
    if ep > 1 and not model.has_experts:
        return f"ep {ep} is for models with experts; {model.name} has none"
    if tp * dp % ep:
        return f"ep {ep} does not divide the {tp * dp} devices of tp {tp} × dp {dp} that experts are spread over"
    if cp > 1 and model.bidirectional:
        return f"cp {cp} shares prompts of models that write one token after another; {model.name} does not"
    for mixer in (mixer for block in model.blocks for mixer in block.mixers) if cp > 1 else ():
        if not mixer.shared_context or getattr(mixer, "indexer", None):
            what = "chooses keys over the whole of it" if mixer.shared_context else "passes a state through it"
            return f"cp {cp} cannot share a sequence of {model.name}: a layer of kind {mixer.kind} {what}"
    return ""


def _named(tp: int, dp: int, ep: int) -> str:
    return " × ".join([f"tp {tp}", *([f"dp {dp}"] if dp > 1 else []), *([f"ep {ep}"] if ep > 1 else [])])


def splits(model: Model, gpu: GPU, count: int, dp: int = 1, ep: int = 1, cp: int = 1) -> list[tuple[int, int]]:
    """Every valid (tp, pp) with tp·pp = count and tp inside a node, the widest tensor parallelism first."""
    pairs = [(tp, count // tp) for tp in range(min(count, gpu.domain), 0, -1) if count % tp == 0]
    return [(tp, pp) for tp, pp in pairs if not split_error(model, gpu, tp, pp, dp, ep, cp)]


def most_devices(model: Model, gpu: GPU) -> int:
    """The largest tp·pp that any split of the model allows."""
    return max(tp * _most_stages(model, gpu, tp) for tp in range(1, min(gpu.domain, 1024) + 1))


def _most_stages(model: Model, gpu: GPU, tp: int) -> int:
    """The most stages of tp devices each that layers and links allow; 0 when tp does not split the model."""
    if split_error(model, gpu, tp, 1):
        return 0
    return next(pp for pp in range(model.layers, 0, -1) if not split_error(model, gpu, tp, pp))


def lora_for(model: Model, given: str | Lora | None) -> Lora | None:
    """The adapters that `given` means beside `model`; RequestError where it has none of their targets."""
    found = lora_of(given)
    if found and not any(
        found.touches(f"{layer.label}.{name}")
        for block in model.blocks
        for layer in block.layers
        for name, tensor in layer.tensors(model.hidden_size).items()
        if tensor.columns != 1
    ):
        raise RequestError(f"--lora {given}: {model.name} has no such target; leave the targets out for all of them.")
    return found


def precision_for(
    gpu: GPU,
    weights: str | None = None,
    kv: str | None = None,
    activations: str | None = None,
    declared: Quantization | None = None,
    dequantize: str | int | None = None,
) -> Precision:
    """The precision that the given formats (or none) mean on `gpu`.

    Without `weights`, the formats that the checkpoint declares hold; where it declares none, weights default to the
    first of BF16, FP16, FP32 that the device computes. Activations follow given weights that the matrix units take
    (FP8, NVFP4, MXFP4); INT8 and INT4 weights are widened to the 16-bit stream, and so are declared ones that the
    device does not compute (as engines do by Marlin, Frantar et al. 2024). The cache defaults to the stream.
    `dequantize` says whether that happens inside the product (`rows_fused`).
    RequestError when the device lacks a format that must compute.
    """
    if weights is None and declared is not None:
        return replace(_declared_precision(gpu, declared, kv, activations), fused=rows_fused(dequantize))
    usual = next(name for name in STREAMS if name in gpu.peak_flops)
    stored = number_format(weights or usual, "--weights")
    stream = _stream(gpu, stored, activations, usual)
    fed = number_format(activations, "--activations") if activations else _fed(stored, stream)
    precision = Precision(stored, cache_format(kv or stream.name, "--kv"), fed, stream, **_ends(stored, stream))
    return _checked(gpu, replace(precision, fused=rows_fused(dequantize)), activations)


def rows_fused(text: str | int | None) -> int | None:
    """`--dequantize`: most rows for which weights are widened inside the product; None where kernels decide.

    RequestError for what is neither "fused" (always inside), "unfused" (never) nor a number of rows.
    """
    if text is None or text == "":
        return None
    named = {"fused": ALWAYS, "unfused": 0}.get(str(text).lower())
    if named is not None:
        return named
    if isinstance(text, bool) or not str(text).isdecimal() or int(text) > ALWAYS:
        raise RequestError(
            "--dequantize must be fused, unfused, or the most rows for which weights are widened inside the product, "
            f'like 256; got "{str(text)[:40]}".'
        )
    return int(text)


def _ends(stored: NumberFormat, stream: NumberFormat) -> dict[str, Any]:
    """How LM head and embedding are kept, where files of the format `stored` quantize them too (GGUF)."""
    ends: dict[str, Any] = {}
    if stored.head:
        ends["head"] = Stored(number_format(stored.head, "the LM head"), stream, stream.name)
    if stored.table:
        ends["table"] = number_format(stored.table, "the embedding")
    return ends


def _declared_precision(gpu: GPU, declared: Quantization, kv: str | None, activations: str | None) -> Precision:
    """What the checkpoint declares, with the user's cache and activations where given."""
    usual = next(name for name in STREAMS if name in gpu.peak_flops)
    stored = number_format(declared.weights, "the checkpoint's weights")
    stream = _stream(gpu, stored, activations, usual)
    fed = number_format(activations or declared.activations or stream.name, "the checkpoint's activations")
    cache = cache_format(kv or declared.kv or stream.name, "--kv" if kv else "the checkpoint's KV cache")
    precision = Precision(stored, cache, fed, stream)
    if not activations:
        precision = _widened(gpu, precision)
    others = tuple(_other(gpu, other, stream) for other in declared.others)
    head = _other(gpu, OtherFormat(weights=declared.head), stream) if declared.head else None
    return _checked(gpu, replace(precision, others=others, head=head), activations)


def _other(gpu: GPU, declared: OtherFormat, stream: NumberFormat) -> Stored:
    """A further format of the checkpoint, widened to 16 bits where the device does not compute it."""
    weights = number_format(declared.weights, "the checkpoint's weights")
    fed = number_format(declared.activations or stream.name, "the checkpoint's activations")
    return _widened(gpu, Precision(weights, stream, fed, stream)).main


def _widened(gpu: GPU, precision: Precision) -> Precision:
    """`precision`, its products fed 16 bits where the device does not compute in fewer."""
    return precision if precision.compute in gpu.peak_flops else replace(precision, activations=precision.stream)


def _checked(gpu: GPU, precision: Precision, activations: str | None) -> Precision:
    """`precision`, or RequestError where `gpu` cannot work in it."""
    fed, kv, stream = precision.activations, precision.kv, precision.stream
    if fed.computes is None:
        raise RequestError(f"--activations {fed.name}: no matrix unit takes it; use --activations {stream.name}.")
    if kv.bits > 16 and stream.bits == 16:
        raise RequestError(
            f"--kv {kv.name}: a cache wider than the {stream.name} activations gains nothing; use {stream.name}."
        )
    if precision.compute not in gpu.peak_flops:
        raise RequestError(_lacking(gpu, precision, activations))
    return precision


def _stream(gpu: GPU, stored: NumberFormat, activations: str | None, usual: str) -> NumberFormat:
    """The 16- or 32-bit format between kernels: what activations or weights name, else the device's usual one."""
    named = number_format(activations, "--activations") if activations else stored
    chosen = named if named.name in STREAMS else stored if stored.name in STREAMS else number_format(usual, "")
    if chosen.name not in gpu.peak_flops:
        offered = ", ".join(name for name in STREAMS if name in gpu.peak_flops)
        raise RequestError(f"{gpu.name} does not compute in {chosen.name}; it offers {offered}.")
    return chosen


def _fed(stored: NumberFormat, stream: NumberFormat) -> NumberFormat:
    if stored.outliers:
        return number_format("int8", "")
    return stored if stored.computes and stored.bits < 16 and stored.name != "int8" else stream


def _lacking(gpu: GPU, precision: Precision, activations: str | None) -> str:
    offered = ", ".join(gpu.peak_flops)
    weights = precision.weights.name
    way = f"keep {weights} as storage only with --activations {precision.stream.name}"
    if activations and precision.weights.bits >= 16:
        way = f"use --activations {precision.stream.name}"
    return f"{gpu.name} does not compute in {precision.compute} (it offers {offered}); {way}."
