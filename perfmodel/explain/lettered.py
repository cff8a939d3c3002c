"""A deployment whose sizes carry their letters, so that every formula it goes through can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast, get_args

from perfmodel.batch import Batch, Group
from perfmodel.block import Block
from perfmodel.deployment import Deployment
from perfmodel.engine import Engine
from perfmodel.gpu import GPU
from perfmodel.model import Model
from perfmodel.precision import NumberFormat, Precision
from perfmodel.spec import Letter, Spec
from perfmodel.traced import Traced

FORMAT_LETTERS = {"weights": "w", "kv": "c", "activations": "a", "stream": "s"}
ENGINE_LETTERS = {
    "memory_share": "share",
    "block": "block",
    "token_budget": "budget",
    "framework_bytes": "context",
    "comm_bytes": "buffers",
    "graph_bytes": "graphs",
}


class LetteredFormat:
    """A number format whose bytes an element carry a letter; all else is the format's own."""

    def __init__(self, number_format: NumberFormat, letter: str) -> None:
        self._format = number_format
        self.bytes = Traced(number_format.bytes, letter)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._format, name)


@dataclass(frozen=True, slots=True)
class LetteredDeployment(Deployment):
    """A deployment of letters; stages are cut with plain numbers, and count their layers in letters again."""

    def stages(self) -> list[tuple[tuple[Block, ...], str]]:
        parts = Deployment.stages(self)
        return [(tuple(self._counted(block, i) for i, block in enumerate(blocks)), ends) for blocks, ends in parts]

    def _counted(self, block: Block, i: int) -> Block:
        """L layers, or L/pp of them where stages are alike; a plain number where they are not."""
        if self.pp == 1:
            layers = Traced(block.repeat, "L" + _subscript(self.model, i))
        elif len(self.model.blocks) == 1 and self.model.layers % self.pp == 0:
            layers = Traced(self.model.layers, "L") // Traced(self.pp, "pp")
        else:
            return block
        return block.model_copy(update={"repeat": layers})


def lettered(plan: Deployment) -> Deployment:
    """The same deployment, its sizes as `Traced` numbers; a split of one stays a plain 1."""
    model = lettered_model(plan.model)
    counted = zip(model.blocks, plan.model.blocks, strict=True)
    blocks = tuple(block.model_copy(update={"repeat": plain.repeat}) for block, plain in counted)
    return LetteredDeployment(
        model.model_copy(update={"blocks": blocks}),
        lettered_gpu(plan.gpu),
        lettered_precision(plan.precision),
        lettered_engine(plan.engine),
        cast(int, Traced(plan.tp, "tp") if plan.tp > 1 else 1),
        plan.pp,
        plan.attention,
        plan.cache,
        plan.routing_skew,
        plan.speculation,
        plan.lora,
        plan.sampling,
        plan.server,
        plan.cache_policy,
        plan.shared_prefix_attention,
        plan.offload,
        plan.dp,
        plan.ep,
        plan.cp,
        plan.replicas,
        plan.microbatches,
        plan.interleave,
        plan.overlap,
        plan.exchange,
        plan.balanced,
    )


def lettered_model(model: Model) -> Model:
    """`model` with every field that has a Letter as a `Traced` number, of each block its own where there are many."""
    named = _lettered_spec(model)
    assert isinstance(named, Model)
    blocks = tuple(_lettered_spec(block, _subscript(model, i)) for i, block in enumerate(model.blocks))
    return named.model_copy(update={"blocks": blocks})


def letters_of(spec: Spec) -> Iterator[Traced]:
    """Every `Traced` number in a lettered spec, in the order of its fields."""
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Traced):
                yield part
            elif isinstance(part, Spec):
                yield from letters_of(part)


def _subscript(model: Model, i: int) -> str:
    """What tells the letters of block i from those of the other blocks; nothing where there is one."""
    return "" if len(model.blocks) == 1 else str(model.blocks.index(model.blocks[i]) + 1).translate(_BELOW)


_BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _lettered_spec(spec: Spec, mark: str = "") -> Spec:
    changed: dict[str, Any] = {}
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if name == "multi_token":
            continue  # counts in nothing that is explained
        letter = _letter(field)
        if letter and value is not None:
            changed[name] = Traced(value, letter + mark)
        elif isinstance(value, Spec):
            changed[name] = _lettered_spec(value, mark)
    return spec.model_copy(update=changed)


def _letter(field: Any) -> str | None:
    """The symbol of a field, also where it stands inside `Annotated[Count, Letter("W")] | None`."""
    inside = [mark for part in get_args(field.annotation) for mark in getattr(part, "__metadata__", ())]
    return next((mark.symbol for mark in (*field.metadata, *inside) if isinstance(mark, Letter)), None)


def lettered_engine(engine: Engine) -> Engine:
    """`engine` with its sizes as `Traced` numbers."""
    named: dict[str, Any] = {field: Traced(getattr(engine, field), word) for field, word in ENGINE_LETTERS.items()}
    return replace(engine, **named)


def lettered_gpu(gpu: GPU) -> GPU:
    """`gpu` with memory, bandwidths and peaks as `Traced` numbers."""
    peaks = {name: Traced(peak, "peak") for name, peak in gpu.peak_flops.items()}
    bandwidth = Traced(gpu.memory_bandwidth, "bandwidth")
    links = tuple(link.model_copy(update={"bandwidth": Traced(link.bandwidth, "link")}) for link in gpu.scale_up)
    out = gpu.scale_out and gpu.scale_out.model_copy(update={"bandwidth": Traced(gpu.scale_out.bandwidth, "link")})
    sizes = {"memory": Traced(gpu.memory, "memory"), "memory_bandwidth": bandwidth, "peak_flops": peaks}
    return gpu.model_copy(update=sizes | {"scale_up": links, "scale_out": out})


def lettered_precision(p: Precision) -> Precision:
    """`p` with bytes an element as letters: w weights, c cache, a activations, s what travels between kernels."""
    formats = {name: LetteredFormat(getattr(p, name), letter) for name, letter in FORMAT_LETTERS.items()}
    named: dict[str, Any] = formats
    return replace(p, **named)


def lettered_batch(batch: Batch) -> Batch:
    """Each group as letters B, T, S; a context of none stays a plain 0, a single new token a plain 1."""
    many = len(batch.groups) > 1
    groups = tuple(_lettered_group(g, str(i).translate(_BELOW) if many else "") for i, g in enumerate(batch.groups, 1))
    logits = None if batch.logits is None else groups[0].sequences * groups[0].tokens
    return Batch(groups, logits, batch.causal, batch.over)


def _lettered_group(g: Group, mark: str) -> Group:
    """A group of sequences in letters; S_kept is what a cache policy left, S_spared what others read for them."""
    return Group(
        Traced(g.sequences, "B" + mark),
        Traced(g.tokens, "T" + mark) if g.tokens > 1 else 1,
        Traced(g.context, "S" + mark) if g.context else 0,
        g.decodes,
        None if g.kept is None else Traced(g.kept, "S_kept" + mark),
        None if g.spared is None else Traced(g.spared, "S_spared" + mark),
        None if g.prompts is None else Traced(g.prompts, "B_prompts" + mark),
    )
