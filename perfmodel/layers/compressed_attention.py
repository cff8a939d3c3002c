"""Attention over a short window and a compressed past (DeepSeek V4)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import model_validator

from perfmodel.arithmetic import Number, minimum
from perfmodel.batch import View
from perfmodel.layers.attention import RMS_NORM_FLOPS, ROPE_FLOPS, SU, attend, cut
from perfmodel.layers.latent_attention import INDEX_FLOPS, Indexer
from perfmodel.layers.layer import Context, Layer, Tensor, Tensors, TokenMixer, vector
from perfmodel.op import Op
from perfmodel.precision import Precision
from perfmodel.spec import Letter
from perfmodel.units import Count

DEEPSEEK_V4 = "DeepSeek-AI 2026 (V4), §2.3"
POOL_FLOPS = 7  # a softmax over the pooled tokens, and their weighted sum


class CompressedAttention(TokenMixer):
    """N query heads share one head of H that is key and value; the past beyond a window is pooled (V4, §2.3).

    Each `rate` = m tokens leave one entry of H; `overlapping` ones are made of 2m tokens, from projections twice as
    wide, and an indexer picks which a query sees. Without a rate there is the window alone.

        q        2·M·D·Q + 2·M·Q·N·H FLOPs; kv 2·M·D·H
        pool     2·M·D·2·c, c = H or 2·H where they overlap
        scores   2·(P + Pₘ)·N·H and as many for values: P pairs inside the window, Pₘ with entries, ⌊i/m⌋ at position i
        out      in G groups: 2·M·N·H·R, then 2·M·G·R·D

    The cache: window − 1 tokens of H; ⌊S/m⌋ entries of H (and of Hᵢ for the indexer); inputs of the pool not yet full.
    """

    label: ClassVar[str] = "attention"

    kind: Literal["compressed"]
    heads: Annotated[Count, Letter("N")]
    head_size: Annotated[Count, Letter("H")]
    q_rank: Annotated[Count, Letter("Q")]
    out_rank: Annotated[Count, Letter("R")]
    groups: Annotated[Count, Letter("G")]
    window: Annotated[Count, Letter("W")]
    rotary_size: Count
    rate: Count | None = None
    overlapping: bool = False
    indexer: Indexer | None = None

    @model_validator(mode="after")
    def _divides(self) -> CompressedAttention:
        if self.heads % self.groups:
            raise ValueError(f"groups must divide heads; got {self.heads} heads and {self.groups} groups")
        if self.rate is None and (self.overlapping or self.indexer):
            raise ValueError("overlapping and indexer need a rate: without one nothing is pooled")
        return self

    @property
    def edges(self) -> tuple[int, ...]:
        return (self.window, self.indexer.keep * (self.rate or 1)) if self.indexer else (self.window,)

    def heads_on(self, tp: int) -> tuple[Number, Number]:
        """Heads and groups on one of `tp` devices."""
        return (self.heads, self.groups) if tp == 1 else (self.heads // tp, self.groups // tp)

    def score_heads(self, tp: int) -> Number:
        return self.heads_on(tp)[0]

    def pooled_sizes(self) -> tuple[Number, Number]:
        """(elements that a token brings to a pool of entries, and to that of the indexer)."""
        twice = 2 if self.overlapping else 1
        entries = twice * self.head_size if self.rate else 0
        return entries, twice * self.indexer.head_size if self.indexer else 0

    def tensors(self, width: Number, tp: int = 1) -> Tensors:
        D, H, Q, R, x = width, self.head_size, self.q_rank, self.out_rank, self.indexer
        N, G = self.heads_on(tp)
        each = self.heads * H // self.groups
        found = {"q_a": Tensor(Q, D), "q_norm": vector(Q), "q_b": Tensor(N * H, Q), "kv": Tensor(H, D)}
        found |= {"kv_norm": vector(H), "o_a": Tensor(R, each, G), "o_b": Tensor(D, G * R), "sinks": vector(N)}
        entries, index = self.pooled_sizes()
        if self.rate:
            found |= {"pool": Tensor(2 * entries, D), "pool_bias": vector(entries, self.rate), "pool_norm": vector(H)}
        if x and self.rate:
            found |= {"index_q": Tensor(x.heads * x.head_size, Q), "index_pool": Tensor(2 * index, D)}
            found |= {"index_bias": vector(index, self.rate), "index_norm": vector(x.head_size)}
            found["index_weights"] = Tensor(x.heads, D, wide=True)
        return found

    def split_error(self, tp: int) -> str:
        if self.heads % tp or self.groups % tp:
            return f"its {self.heads} heads in {self.groups} groups do not divide among {tp} devices"
        return ""

    def live_elements(self, width: Number, tp: int = 1) -> Number:
        N, G = self.heads_on(tp)
        return 2 * width + self.q_rank + 2 * N * self.head_size + G * self.out_rank

    def kv_bytes(self, tokens: Number, precision: Precision, tp: int = 1) -> Number:
        """Window, entries, and what waits in the pools, of one sequence; the same on every device."""
        H, m = self.head_size, self.rate
        kept = minimum(tokens, self.window - 1) * H
        if m is None:
            return kept * precision.kv.bytes
        entry = H + (self.indexer.head_size if self.indexer else 0)
        full = tokens // m
        waiting = (tokens - full * m) * 2 * sum(self.pooled_sizes())
        before = minimum(full, 1) * m * 2 * entry if self.overlapping else 0  # the last full pool, for the next
        return (kept + full * entry) * precision.kv.bytes + (waiting + before) * precision.stream.bytes

    def ops(self, context: Context) -> list[Op]:
        D, H, Q, R = context.width, self.head_size, self.q_rank, self.out_rank
        N, G = self.heads_on(context.tp)
        M, p = context.batch.tokens, context.precision
        kept = context.cache
        each = self.heads * H // self.groups
        ops = [
            context.gemm("q_a_proj", D, Q, part="q_a", source=DEEPSEEK_V4),
            context.elementwise("q_latent_norm", Q, RMS_NORM_FLOPS, vectors=Q, source=DEEPSEEK_V4),
            context.gemm("q_b_proj", Q, N * H, part="q_b", source=DEEPSEEK_V4),
            context.gemm(
                "kv_proj", D, H, part="kv", kv_write_bytes=M * H * p.kv.bytes if kept else 0, source=DEEPSEEK_V4
            ),
            context.elementwise("qk_norm", (N + 1) * H, RMS_NORM_FLOPS, vectors=H, source=DEEPSEEK_V4),
            context.elementwise("rope", (2 * N + 1) * self.rotary_size, ROPE_FLOPS, source=SU),
            *self._pools(context),
            *self._attend(context),
        ]
        grouped = context.gemm("o_a_proj", each, R, part="o_a", rows=G * M, matrices=G, source=DEEPSEEK_V4)
        out = context.gemm("o_b_proj", G * R, D, part="o_b", source=DEEPSEEK_V4)
        return [*ops, grouped, out, *context.all_reduce("attention_all_reduce")]

    def _pools(self, context: Context) -> list[Op]:
        """New entries for attention and for the indexer, and the indexer's choice."""
        m, x = self.rate, self.indexer
        if m is None:
            return []
        entries, index = self.pooled_sizes()
        ops = self._pool(context, "pool", entries, self.head_size, m)
        if x is None:
            return ops
        batch, p = context.batch, context.precision
        each = 2 * x.heads * x.head_size
        return [
            *ops,
            *self._pool(context, "index_pool", index, x.head_size, m),
            context.gemm("index_q", self.q_rank, x.heads * x.head_size, part="index_q", source=DEEPSEEK_V4),
            context.gemm("index_weights", context.width, x.heads, part="index_weights", wide=True, source=DEEPSEEK_V4),
            Op(
                "index_scores",
                "attention",
                flops=each * batch.pooled_pairs(m),
                full_square_flops=each * batch.pooled_square(m),
                kv_read_bytes=batch.pooled(m) * x.head_size * p.kv.bytes,
                activation_bytes=batch.tokens * (x.heads + 1) * x.head_size * p.stream.bytes,
                format=p.stream.name,
                heads=cut(batch, batch.pooled_pairs(m) / batch.tokens, (x.heads, 1), x.head_size),
                decodes=batch.decodes,
                source=DEEPSEEK_V4,
            ),
            Op(
                "index_top_k",
                "fused",
                flops=(INDEX_FLOPS + 2) * batch.pooled_pairs(m) * x.heads,
                launches=0,
                source=DEEPSEEK_V4,
            ),
        ]

    def _pool(self, context: Context, name: str, size: Number, entry: Number, rate: Number) -> list[Op]:
        """Two projections of every token, and one entry for each `rate` tokens."""
        D, M, p = context.width, context.batch.tokens, context.precision
        written = M * entry / rate * p.kv.bytes if context.cache else 0
        product = context.gemm(f"{name}_proj", D, 2 * size, part=name, kv_write_bytes=written, source=DEEPSEEK_V4)
        weights = rate * size + entry
        return [product, context.elementwise(name, size, POOL_FLOPS, reads=2, vectors=weights, source=DEEPSEEK_V4)]

    def _attend(self, context: Context) -> list[Op]:
        """One key that is the value too, for all heads: the window, and the entries that are seen."""
        N, _ = self.heads_on(context.tp)
        H, m, batch, view = self.head_size, self.rate, context.batch, View(self.window)
        keep = self.indexer.keep if self.indexer else None
        pooled = (batch.pooled_pairs(m, keep), batch.pooled_square(m), batch.pooled(m, keep)) if m else (0, 0, 0)
        return attend(
            context,
            pairs=batch.pairs(view) + pooled[0],
            square=batch.square_pairs(view) + pooled[1],
            heads=N,
            kv_heads=1,
            sizes=(H, H),
            read=((batch.cached(view) + pooled[2]) * H * context.precision.kv.bytes, 0),
            reach=(batch.pairs(view) + pooled[0]) / batch.tokens,
            weights=N,
        )


class HyperConnections(Layer):
    """X residual streams, mixed before and after each part by weights that they give themselves (Zhu et al. 2024).

    Of two parts (mixer, feed-forward) each: 2·M·X·D·(2 + X)·X FLOPs for the weights, and the mixing.
    """

    label: ClassVar[str] = "streams"

    kind: Literal["hyper-connections"]
    streams: Annotated[Count, Letter("X")]

    def tensors(self, width: Number, tp: int = 1) -> Tensors:
        X = self.streams
        made = (2 + X) * X
        return {"mix": Tensor(made, X * width, 2, wide=True), "base": vector(made + 3, 2)}

    def split_error(self, tp: int) -> str:
        return ""

    def live_elements(self, width: Number, tp: int = 1) -> Number:
        return 2 * self.streams * width

    def ops(self, context: Context) -> list[Op]:
        D, X, M = context.width, self.streams, context.batch.tokens
        made = (2 + X) * X
        source = "Zhu et al. 2024 (Hyper-Connections), §2"
        weights = context.gemm("streams_mix", X * D, made, part="mix", wide=True, rows=2 * M, matrices=2, source=source)
        # both parts: the streams are joined into one, and the result spread over them again
        moved = context.elementwise(
            "streams", X * D, 2 * (3 + 2 * X), reads=4, writes=2, vectors=2 * (made + 3), source=source
        )
        return [weights, moved]
