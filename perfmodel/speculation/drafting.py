"""What guessing costs: the passes of a draft, its weights and its cache. Knows no hardware."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from perfmodel.arithmetic import Number
from perfmodel.batch import Batch, Group
from perfmodel.batching import prefill_passes
from perfmodel.deployment import Deployment
from perfmodel.forward import forward
from perfmodel.layers.embedding import vocabulary_on
from perfmodel.layers.layer import Context
from perfmodel.op import Op
from perfmodel.speculation.method import Speculation
from perfmodel.traced import value_of
from perfmodel.workload import Workload

CAI = "Cai et al. 2024 (Medusa), §2.1"
LI = "Li et al. 2024 (EAGLE), §4.2"
HOST_S, HOST_SEQUENCE_S = 100e-6, 10e-6
"""Seconds of the host to look n-grams up, a step and a sequence of it: assumed, no measurement is at hand."""
RESIDUAL_BLOCKS = 1
"""Layers of a Medusa head before its own LM head (medusa_num_layers of the published heads)."""


class Round(NamedTuple):
    """`count` passes of a draft, one after another, each of `ops` through `layers` layers."""

    count: Number
    ops: list[Op]
    layers: Number


def drafter(plan: Deployment) -> Deployment | None:
    """The draft as a deployment of its own on the target's devices; None where no model guesses."""
    s = plan.speculation
    if s is None or s.draft is None or s.precision is None:
        return None
    return replace(
        plan,
        model=s.draft,
        precision=s.precision,
        tp=draft_tp(plan, s),
        pp=1,
        speculation=None,
        lora=None,
        sampling=(),
        cache_policy=None,  # drafts keep all that they cached
    )


def draft_tp(plan: Deployment, s: Speculation) -> int:
    """Devices that share the draft: as asked, or as many as the target; 1 where it does not divide among them."""
    assert s.draft is not None
    wanted: int = value_of(plan.tp)
    wanted = wanted if s.tp is None else min(s.tp, wanted)
    return 1 if any(block.split_error(wanted) for block in s.draft.blocks) else wanted


def draft_rounds(plan: Deployment, sequences: Number, context: Number) -> list[Round]:
    """What a step guesses with, for `sequences` at `context` tokens."""
    s = plan.speculation
    assert s is not None
    if s.method == "medusa":
        return [Round(1, medusa_ops(plan, s, sequences), 0)]
    draft = drafter(plan)
    if draft is None:
        return []
    if s.nodes is not None:
        return [_round(draft, s, sequences, rows, context, 1, i == 0) for i, rows in enumerate(_tree_rows(s))]
    later = context + s.guesses / 2  # the mean of context + 1 … context + k − 1
    first = _round(draft, s, sequences, s.guesses + 1 if s.features else 1, context, 1, True)
    return [first, _round(draft, s, sequences, 1, later, s.guesses - 1, False)]


def _tree_rows(s: Speculation) -> list[int]:
    """Tokens of each pass; the first of a draft that reads the target's features takes what was accepted before."""
    first, *others = s.rows
    return [int(s.guesses) + 1 if s.features else first, *others]


def _round(
    draft: Deployment, s: Speculation, sequences: Number, tokens: Number, context: Number, count: Number, first: bool
) -> Round:
    """`count` passes over `tokens` of each sequence, the last of which (of a tree, all) are guessed from."""
    wide = s.nodes is not None and not first
    batch = Batch((Group(sequences, tokens, context, decodes=True),), sequences * tokens if wide else sequences)
    return Round(count, [*_join(draft, s, batch, first), *forward(draft, batch)], draft.model.layers)


def _join(draft: Deployment, s: Speculation, batch: Batch, first: bool) -> list[Op]:
    """The product that joins features of the target with the embedding; EAGLE-3's makes its features once."""
    if not s.features or (s.method == "eagle3" and not first):
        return []
    D = draft.model.hidden_size
    context = Context(D, batch, draft.precision, draft.tp)
    return [context.gemm("join_features", s.features * D, D / draft.tp, part="join", wide=True, source=LI)]


def medusa_ops(plan: Deployment, s: Speculation, sequences: Number) -> list[Op]:
    """One pass of all heads over the last token of each sequence: x + SiLU(Wx), then an LM head of its own."""
    D, V, K = plan.model.hidden_size, plan.model.vocabulary, s.guesses
    context = Context(D, Batch.decode(sequences, 0), plan.precision, plan.tp)
    each = [
        context.gemm("medusa_layer", D, D / plan.tp, part="medusa", wide=True, source=CAI),
        context.elementwise("medusa_activation", D, 6, reads=2, source=CAI),
        context.gemm("medusa_head", D, vocabulary_on(V, plan.tp), part="medusa", wide=True, source=CAI),
    ]
    return [replace(op, repeat=K) for op in each]


def draft_prefill(plan: Deployment, work: Workload) -> list[Round]:
    """The draft's own pass over the prompts, where it keeps a cache."""
    s, draft = plan.speculation, drafter(plan)
    if s is None or draft is None:
        return []
    count, batch = prefill_passes(draft, work)
    return [Round(count, [*_join(draft, s, batch, True), *forward(draft, batch)], draft.model.layers)]


def host_s(plan: Deployment, sequences: Number) -> Number:
    """Seconds that the host needs to guess, beside any device."""
    s = plan.speculation
    return HOST_S + HOST_SEQUENCE_S * sequences if s is not None and s.method in ("ngram", "lookahead") else 0


# ── memory ───────────────────────────────────────────────────────────────────────────────────────


def draft_weight_bytes(plan: Deployment) -> Number:
    """Bytes of the draft's weights on a device of the target: every one holds its share, or the whole draft."""
    s = plan.speculation
    if s is None:
        return 0
    D, wide = plan.model.hidden_size, plan.precision.exempt.bytes
    if s.method == "medusa":
        head = (RESIDUAL_BLOCKS * D * D + plan.model.vocabulary * D) / plan.tp
        return s.guesses * head * wide
    draft = drafter(plan)
    if draft is None:
        return 0
    parts = draft.model.weight_bytes(draft.precision, draft.tp)
    if not s.tables:
        own = draft.model.head_vocabulary is not None  # EAGLE-3's, over fewer tokens
        parts = {name: size for name, size in parts.items() if name != "embedding" and (name != "lm_head" or own)}
    return s.copies * (sum(parts.values()) + s.features * D * D * draft.precision.exempt.bytes / draft.tp)


def draft_kv_bytes(plan: Deployment, tokens: Number) -> Number:
    """Cache of the draft for one sequence of `tokens`, on one device."""
    s, draft = plan.speculation, drafter(plan)
    if s is None or draft is None:
        return 0
    return s.copies * draft.model.kv_bytes(tokens, draft.precision, draft.tp)
