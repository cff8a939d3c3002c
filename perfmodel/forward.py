"""A deployment and a batch → the ops of one forward pass. Knows no hardware."""

from __future__ import annotations

from dataclasses import replace

from perfmodel.arithmetic import Number
from perfmodel.batch import Batch
from perfmodel.block import Block
from perfmodel.deployment import Deployment
from perfmodel.layers.adapters import with_adapters
from perfmodel.layers.embedding import embedding_ops, head_ops, norm_op, position_ops, residual_op
from perfmodel.layers.layer import Context, Layer
from perfmodel.model import Model
from perfmodel.op import Op


def forward(plan: Deployment, batch: Batch) -> list[Op]:
    """The ops of one whole pass on one device of each stage, in order."""
    return [op for ops in stage_passes(plan, batch) for op in ops]


def stage_passes(plan: Deployment, batch: Batch) -> list[list[Op]]:
    """The ops of one pass, stage by stage; those of stages that are alike are one list."""
    context, stages = context_of(plan, batch), plan.stages()
    known: dict[tuple[int, str], list[Op]] = {}
    for blocks, ends in stages:
        if (id(blocks), ends) not in known:
            known[id(blocks), ends] = _stage(plan, context, blocks, ends)
    return [known[id(blocks), ends] for blocks, ends in stages]


def context_of(plan: Deployment, batch: Batch) -> Context:
    """What every layer of a pass over `batch` is told; `batch` is that of one data-parallel group."""
    return Context(
        plan.model.hidden_size,
        batch if plan.cp == 1 else replace(batch, over=plan.cp),
        plan.precision,
        plan.tp,
        plan.attention,
        plan.cache,
        plan.routing_skew,
        plan.cache_policy,
        lora=plan.lora,
        sampling=plan.sampling,
        dp=plan.dp,
        ep=plan.ep,
        cp=plan.cp,
        exchange=plan.exchanged,
        balanced=plan.balanced,
    )


def _stage(plan: Deployment, context: Context, blocks: tuple[Block, ...], ends: str) -> list[Op]:
    ops = _entry(plan.model, context) if ends in ("both", "first") else []
    for block in blocks:
        ops += [op.changed(repeat=block.repeat) for op in block_ops(plan.model, block, context)]
    if ends in ("both", "last"):
        back = (
            [replace(_send(plan, context), repeat=plan.interleave - 1)] if plan.interleave > 1 and plan.pp > 1 else []
        )
        return [*ops, *_exit(plan.model, context), *back]
    return [*ops, _send(plan, context)]


def _entry(model: Model, context: Context) -> list[Op]:
    """Embedding, and what is added to it or made of it."""
    D, E = model.hidden_size, model.embedding_size
    ops = embedding_ops(model.vocabulary, model.scaled_embeddings, context, E)
    if E is not None:
        ops.append(context.gemm("project_in", E, D, part="project_in", wide=True))
    if model.learned_positions:
        ops += position_ops(context)
    if model.embedding_norm:
        ops.append(norm_op("embedding_norm", model.norm, context))
    if model.per_layer_table:
        wide = model.per_layer_table.size * model.layers
        ops.append(replace(embedding_ops(model.vocabulary, True, context, wide)[0], name="per_layer_table"))
        ops.append(context.gemm("per_layer_projection", D, wide, part="per_layer_projection", wide=True))
    if model.stream_projections:
        # the streams are made of the embedding, and joined again at the end
        into = context.gemm("stream_projections", D, D, part="stream_projections", wide=True)
        ops.append(replace(into, repeat=model.stream_projections))
    return ops


def _exit(model: Model, context: Context) -> list[Op]:
    """Last norm, LM head and sampling."""
    ops = [norm_op("final_norm", model.norm, context)] if model.final_norm else []
    if model.joined_streams is not None:
        X = model.joined_streams
        join = context.gemm("join", X * model.hidden_size, X, part="join", wide=True)
        ops.insert(0, replace(join, weight_bytes=join.weight_bytes + (X + 1) * context.precision.exempt.bytes))
    if model.embedding_size is not None:
        ops.append(context.gemm("project_out", model.hidden_size, model.embedding_size, part="project_out", wide=True))
    vocabulary = model.vocabulary if model.head_vocabulary is None else model.head_vocabulary
    return [*ops, *head_ops(vocabulary, context, model.embedding_size, model.head_bias)]


def block_ops(model: Model, block: Block, context: Context) -> list[Op]:
    """One layer and its adapters; docs of `Block` draw how norms and residuals stand in each layout."""
    return [] if block.idle else with_adapters(_layer_ops(model, block, context), context)


def _layer_ops(model: Model, block: Block, context: Context) -> list[Op]:
    context = replace(context, exempt=block.exempt, formats=block.own_formats)
    widths = block.norms(model.hidden_size)
    parallel = block.layout.startswith("parallel")
    ops: list[Op] = []
    if block.mixer:
        mixed = [op for mixer in block.mixers for op in _inside(mixer, context)]
        name = "attention" if block.mixer.label.endswith("attention") else "mixer"
        ops += _around(name, mixed, model, block, context, widths[0])
    if block.feed_forward:
        ops += _around("ffn", _inside(block.feed_forward, context), model, block, context, model.hidden_size)
    if parallel and block.mixer and block.feed_forward:
        ops.append(residual_op("residual", context, joined=2))
    for extra in block.extras:
        ops += _inside(extra, context)
    return ops + _adapter(block, context)


def _around(name: str, inside: list[Op], model: Model, block: Block, context: Context, width: Number) -> list[Op]:
    """A part of the layer with its norms before and after, and its residual."""
    before, after = (
        norm_op(f"{name}_norm", model.norm, context, width),
        norm_op(f"{name}_post_norm", model.norm, context),
    )
    added = residual_op(f"{name}_residual", context)
    if block.residual_scale:
        added = replace(added, weight_bytes=context.width * context.precision.exempt.bytes)
    match block.layout:
        case "post":
            return [*inside, after, added]
        case "sandwich":
            return [before, *inside, after, added]
        case "pre":
            return [before, *inside, added]
    # parallel layouts add both parts at once, and share one norm unless there are two
    shared = block.layout == "parallel" and name == "ffn" and block.mixer is not None
    alone = block.mixer is None or block.feed_forward is None
    return [*([] if shared else [before]), *inside, *([added] if alone else [])]


def _inside(layer: Layer, context: Context) -> list[Op]:
    return layer.ops(replace(context, label=layer.label))


def _adapter(block: Block, context: Context) -> list[Op]:
    """What each use of shared weights has of its own."""
    context = replace(context, label="adapter")
    return [
        context.gemm(
            name.replace(".", "_"), t.columns, t.rows, part=name.split(".")[1], rows=t.count * context.batch.tokens
        )
        for name, t in block.adapter_tensors(context.width).items()
    ]


def _send(plan: Deployment, context: Context) -> Op:
    """The residual stream to the next stage; each of tp devices sends its share (Narayanan et al. 2021, §3.2).

    Stages that hold several pieces of the model send after each of them.
    """
    size = context.batch.tokens * context.width * context.precision.stream.bytes / plan.tp
    return Op(
        "send",
        "collective",
        collective="send",
        wire_bytes=size,
        ranks=2,
        span=plan.joined,
        repeat=plan.interleave,
        source="Narayanan et al. 2021 (Megatron-LM), §3.2",
    )
