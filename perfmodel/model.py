"""One model: a width, a vocabulary, and a list of blocks."""

from __future__ import annotations

import datetime
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from perfmodel.arithmetic import Number
from perfmodel.block import Block
from perfmodel.layers.embedding import NORM_VECTORS, Norm, vocabulary_on
from perfmodel.order import layer_order
from perfmodel.precision import Precision, stored_bytes
from perfmodel.spec import Letter, Spec
from perfmodel.units import Count

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Rope(Spec):
    """Rotary positions: the base θ, and how far a scaling stretches the trained context."""

    theta: Positive
    scaling: str | None = None
    factor: Positive | None = None
    trained_context: Count | None = None
    local_theta: Positive | None = None


class PerLayerTable(Spec):
    """Gemma 3n's second embedding: `size` elements for each layer of each of `vocabulary` tokens."""

    vocabulary: Count
    size: Count


class MultiToken(Spec):
    """Heads that predict further tokens (DeepSeek-AI 2024, V3, §2.2): a projection 2D → D, norms, a block each.

    `own_tables` says that embedding and LM head are stored again. They serve speculation only, and count in none
    of the model's totals.
    """

    block: Block
    own_tables: bool = False


class OtherFormat(Spec):
    """A further format of a checkpoint of mixed precision."""

    weights: str
    activations: str | None = None


class Quantization(Spec):
    """How the checkpoint itself is stored: formats of precision.py. What it exempts stands in the blocks.

    `others` are the formats of what is not in the main one, and what products of each are fed; the blocks say which
    tensors have them. `head` is the format of a quantized LM head.
    """

    weights: str
    activations: str | None = None
    kv: str | None = None
    head: str | None = None
    others: tuple[OtherFormat, ...] = ()


class Model(Spec):
    """A language model that generates text.

    `blocks` is a list, so that "3 dense, then 58 of experts", or windows that alternate, is no special case; `order`
    says in which order layers of different blocks run, as letters with counts ("5(AB) C"): A is the first block.
    `max_context` is the config's limit (max_position_embeddings); `extended_context` how far the publisher
    says a RoPE scaling carries it. `embedding_size` is that of the table where it is not D, and two matrices join them
    (OPT-350m). `joined_streams` residual streams are joined at the end (DeepSeek V4). A `bidirectional` model writes
    by denoising (LLaDA, Dream).
    """

    name: str = ""
    title: str
    family: str
    hub: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    released: datetime.date | None = None
    hidden_size: Annotated[Count, Letter("D")]
    vocabulary: Annotated[Count, Letter("V")]
    max_context: Count
    extended_context: Count | None = None
    tied_embeddings: bool = False
    scaled_embeddings: bool = False
    embedding_size: Count | None = None
    embedding_norm: bool = False
    learned_positions: Count | None = None
    per_layer_table: PerLayerTable | None = None
    norm: Norm = "rms"
    final_norm: bool = True
    head_bias: bool = False
    head_vocabulary: Count | None = None
    stream_projections: Annotated[int, Field(strict=True, ge=0, lt=100)] = 0
    joined_streams: Count | None = None
    bidirectional: bool = False
    rope: Rope | None = None
    blocks: tuple[Block, ...]
    order: str | None = None
    multi_token: MultiToken | None = None
    quantization: Quantization | None = None
    source: str
    notes: tuple[str, ...] = ()

    @field_validator("blocks")
    @classmethod
    def _some(cls, blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        if not blocks:
            raise ValueError("needs at least one block")
        return blocks

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        if self.extended_context is not None and self.extended_context < self.max_context:
            raise ValueError(
                f"extended_context must be at least max_context {self.max_context}; got {self.extended_context}"
            )
        if self.order is not None:
            layer_order(self.order, [block.repeat for block in self.blocks])
        return self

    @property
    def has_experts(self) -> bool:
        return any(block.has_experts for block in self.blocks)

    @property
    def layers(self) -> int:
        """L, layers of all blocks."""
        return sum(block.repeat for block in self.blocks if not block.inner)

    def sequence(self) -> list[int]:
        """The number of its block for each layer, in the order in which they run."""
        if self.order is None:
            return [i for i, block in enumerate(self.blocks) for _ in range(block.repeat)]
        return layer_order(self.order, [block.repeat for block in self.blocks])

    def scaled(self, **sizes: int | None) -> Model:
        """The same architecture with other sizes: layers, hidden, ffn, heads, … (perfmodel.scaling)."""
        from perfmodel.scaling import scaled

        return scaled(self, **sizes)

    # ── parameters ───────────────────────────────────────────────────────────────────────────────

    def entry_parameters(self) -> dict[str, Number]:
        """Elements of what stands before the first block."""
        D, V = self.hidden_size, self.vocabulary
        E = D if self.embedding_size is None else self.embedding_size
        parts: dict[str, Number] = {"embedding": V * E}
        if self.embedding_size is not None:
            parts["project_in"] = E * D
        if self.learned_positions:
            parts["positions"] = self.learned_positions * D
        if self.embedding_norm:
            parts["embedding_norm"] = NORM_VECTORS[self.norm] * D
        if self.per_layer_table:
            # the table, the projection of the stream into as many elements, and their norm
            wide = self.per_layer_table.size * self.layers
            parts["per_layer_table"] = self.per_layer_table.vocabulary * wide + D * wide + self.per_layer_table.size
        if self.stream_projections:
            parts["stream_projections"] = self.stream_projections * D * D
        return parts

    def exit_parameters(self) -> dict[str, Number]:
        """Elements of what stands after the last block; the LM head counts 0 when it is the embedding."""
        D, V = self.hidden_size, self.vocabulary
        E = D if self.embedding_size is None else self.embedding_size
        V = V if self.head_vocabulary is None else self.head_vocabulary
        parts: dict[str, Number] = {"final_norm": NORM_VECTORS[self.norm] * D if self.final_norm else 0}
        if self.joined_streams is not None:  # weights of the streams, their biases, a scale
            parts["join"] = self.joined_streams * self.joined_streams * D + self.joined_streams + 1
        if self.embedding_size is not None:
            parts["project_out"] = D * E
        parts["lm_head"] = 0 if self.tied_embeddings else V * E
        return parts | ({"lm_head_bias": V} if self.head_bias else {})

    def parameters(self) -> dict[str, Number]:
        """Elements by component, summed over layers."""
        parts = self.entry_parameters()
        for block in self.blocks:
            for name, size in block.stored_parameters(self.hidden_size, self.norm).items():
                parts[name] = parts.get(name, 0) + size
        return parts | self.exit_parameters()

    @property
    def total_parameters(self) -> Number:
        return sum(self.parameters().values())

    @property
    def active_parameters(self) -> Number:
        """Parameters that serve one token: all of them but the experts it does not pass."""
        ends = sum(self.entry_parameters().values()) + sum(self.exit_parameters().values())
        return ends + sum(block.active_parameters(self.hidden_size, self.norm) for block in self.blocks)

    @property
    def multi_token_parameters(self) -> Number:
        """Parameters of the heads that predict further tokens, in none of the totals."""
        if self.multi_token is None:
            return 0
        D, block = self.hidden_size, self.multi_token.block
        joint = block.repeat * (2 * D * D + 3 * NORM_VECTORS[self.norm] * D)
        tables = 2 * block.repeat * self.vocabulary * D if self.multi_token.own_tables else 0
        return joint + tables + sum(block.stored_parameters(D, self.norm).values())

    # ── bytes ────────────────────────────────────────────────────────────────────────────────────

    def weight_bytes(
        self,
        precision: Precision,
        tp: int = 1,
        stage: tuple[Block, ...] | None = None,
        ends: str = "both",
        dp: int = 1,
        ep: int = 1,
    ) -> dict[str, Number]:
        """Bytes of weights on one device, by component; experts are spread over tp·dp devices in ep parts.

        `stage` is the blocks of one pipeline stage (all by default); `ends` says which of embedding and LM
        head it carries: "both", "first", "last" or "none". A tied table counts once where both ends are,
        and once on each end otherwise.
        """
        wide = precision.exempt.bytes
        first, last = ends in ("both", "first"), ends in ("both", "last")
        entry, exit_ = self._entry_on(tp), self._exit_on(tp, tied=first)
        layers = sum(b.weight_bytes(self.hidden_size, self.norm, precision, tp, dp, ep) for b in (stage or self.blocks))
        parts = {name: size * wide if first else 0 for name, size in entry.items()}
        if precision.table is not None and first:
            kept = precision.head.weights if precision.head and self.tied_embeddings else precision.table
            parts["embedding"] = entry["embedding"] * kept.bytes
        ending = {name: size * wide if last else 0 for name, size in exit_.items()}
        if precision.head is not None and last and exit_["lm_head"]:
            E = self.hidden_size if self.embedding_size is None else self.embedding_size
            ending["lm_head"] = stored_bytes(precision.head.weights, exit_["lm_head"] // E, E)
        return parts | {"layers": layers} | ending

    def _entry_on(self, tp: int) -> dict[str, Number]:
        E = self.hidden_size if self.embedding_size is None else self.embedding_size
        return self.entry_parameters() | {"embedding": vocabulary_on(self.vocabulary, tp) * E}

    def _exit_on(self, tp: int, tied: bool) -> dict[str, Number]:
        """`tied`: the embedding stands on the same device."""
        parts, V = self.exit_parameters(), self.vocabulary if self.head_vocabulary is None else self.head_vocabulary
        E = self.hidden_size if self.embedding_size is None else self.embedding_size
        parts["lm_head"] = 0 if self.tied_embeddings and tied else vocabulary_on(V, tp) * E
        return parts

    def kv_bytes(
        self,
        tokens: Number,
        precision: Precision,
        tp: int = 1,
        stage: tuple[Block, ...] | None = None,
        plain: Number | None = None,
    ) -> Number:
        """Cache and state of one sequence of `tokens` on one device.

        `plain` is how many of them a cache policy leaves in layers with ordinary attention, where there is one.
        """
        return sum(b.repeat * b.kv_bytes(tokens, precision, tp, plain) for b in (stage or self.blocks))

    def stages(self, pp: int) -> list[tuple[Block, ...]]:
        """The blocks of each of `pp` pipeline stages: layers as even as can be, the larger shares first.

        Stages that are alike are one object, so that what follows from them need be worked out only once.
        """
        if pp == 1:
            return [self.blocks]
        share, extra = divmod(self.layers, pp)
        sizes = [share + 1] * extra + [share] * (pp - extra)
        left = self.sequence()
        known: dict[tuple[tuple[int, int], ...], tuple[Block, ...]] = {}
        return [self._take(left, size, known) for size in sizes]

    def _take(
        self, left: list[int], layers: int, known: dict[tuple[tuple[int, int], ...], tuple[Block, ...]]
    ) -> tuple[Block, ...]:
        """The next `layers` layers, taken off the front of `left`, with the inner parts among them."""
        counts: dict[int, int] = {}
        while left and (layers or self.blocks[left[0]].inner):
            i = left.pop(0)
            counts[i] = counts.get(i, 0) + 1
            layers -= 0 if self.blocks[i].inner else 1
        taken = tuple(sorted(counts.items()))
        if taken not in known:
            blocks = ((self.blocks[i], n) for i, n in taken)
            known[taken] = tuple(
                block.model_copy(update={"repeat": n, "copies": block.copies and min(block.copies, n)})
                for block, n in blocks
            )
        return known[taken]
