"""Multi-head latent attention (MLA): a compressed cache, and a choice of keys by an indexer."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from perfmodel.arithmetic import Number
from perfmodel.batch import WHOLE, View
from perfmodel.cache.formats import kept_bytes, read_bytes, unpack_flops, written_bytes
from perfmodel.layers.attention import RMS_NORM_FLOPS, ROPE_FLOPS, SU, attend, cut
from perfmodel.layers.layer import Context, Tensor, Tensors, TokenMixer, vector
from perfmodel.layers.sharing import gather_context, merge_context
from perfmodel.op import Op
from perfmodel.precision import Precision
from perfmodel.spec import Letter, Spec
from perfmodel.units import Count

DEEPSEEK_V2 = "DeepSeek-AI 2024 (V2), §2.1"
ABSORBED = "DeepSeek-AI 2024 (V2), App. C"
DEEPSEEK_V32 = "DeepSeek-AI 2025 (V3.2), §2.1"
INDEX_FLOPS = 1  # of ReLU, an index score of a head

Size = Annotated[int, Field(strict=True, ge=0, lt=10**6)]


class Indexer(Spec):
    """Scores every key cheaply, so that attention reads only the best `keep` (DeepSeek-AI 2025, V3.2, §2.1).

    `shared` takes the choice of an earlier layer, and has no scores, weights or cache of its own (GLM-5.2).
    """

    heads: Annotated[Count, Letter("Nᵢ")]
    head_size: Annotated[Count, Letter("Hᵢ")]
    keep: Annotated[Count, Letter("W")]
    shared: bool = False


class LatentAttention(TokenMixer):
    """Keys and values of N heads are made from one cached vector of R elements (DeepSeek-AI 2024, V2, §2.1).

    Sizes: query latent Q (or none), cached latent R, the part of a query or key head without rotation Hₙ, the
    decoupled rotary part Hᵣ (one key for all heads), value head U.

        cache      C·(R + Hᵣ) elements, the same on every tensor-parallel device
        expanded   keys and values from the latents of the context too: 2·(M + C)·R·N·(Hₙ + U) FLOPs; then attention
                   of N heads: 2·P·N·(Hₙ + Hᵣ) + 2·P·N·U
        absorbed   the query goes into the latent space: 2·M·N·Hₙ·R, attention there: 2·P·N·(R + Hᵣ) + 2·P·N·R, and
                   the result comes back: 2·M·N·R·U (App. C)

    Prefill runs expanded, decode absorbed (as vLLM, SGLang and TensorRT-LLM do); with an indexer every pass is
    absorbed, over at most `keep` keys.
    """

    label: ClassVar[str] = "attention"
    shared_context: ClassVar[bool] = True

    kind: Literal["latent"]
    heads: Annotated[Count, Letter("N")]
    q_rank: Annotated[Count, Letter("Q")] | None = None
    kv_rank: Annotated[Count, Letter("R")]
    nope_size: Annotated[Count, Letter("Hₙ")]
    rope_size: Annotated[Size, Letter("Hᵣ")]
    value_size: Annotated[Count, Letter("U")]
    bias: bool = False
    indexer: Indexer | None = None

    def heads_on(self, tp: int) -> Number:
        """Query heads on one of `tp` devices."""
        return self.heads if tp == 1 else self.heads // tp

    def score_heads(self, tp: int) -> Number:
        return self.heads_on(tp)

    @property
    def edges(self) -> tuple[int, ...]:
        return (self.indexer.keep,) if self.indexer else ()

    def tensors(self, width: Number, tp: int = 1) -> Tensors:
        D, N, r, n, p, v = width, self.heads_on(tp), self.kv_rank, self.nope_size, self.rope_size, self.value_size
        q, x = self.q_rank, self.indexer
        if q is None:
            found = {"q": Tensor(N * (n + p), D)}
        else:
            found = {"q_a": Tensor(q, D), "q_norm": vector(q), "q_b": Tensor(N * (n + p), q)}
        found |= {"kv_a": Tensor(r + p, D), "kv_norm": vector(r), "kv_b": Tensor(N * (n + v), r), "o": Tensor(D, N * v)}
        if self.bias:
            found["bias"] = vector((0 if q is None else q) + r + p + D)
        if x and not x.shared:
            source = D if q is None else q
            found["index_q"] = Tensor(x.heads * x.head_size, source)
            found |= {"index_k": Tensor(x.head_size, D), "index_norm": vector(2 * x.head_size)}
            found["index_weights"] = Tensor(x.heads, D, wide=True)
        return found

    def split_error(self, tp: int) -> str:
        return f"its {self.heads} heads do not divide among {tp} devices" if self.heads % tp else ""

    def live_elements(self, width: Number, tp: int = 1) -> Number:
        """Residual, normed input, latents, expanded queries, keys and values, and the result."""
        N, each = self.heads_on(tp), self.nope_size + self.rope_size
        return 2 * width + N * (2 * each + 2 * self.value_size) + self.kv_rank + self.rope_size

    def kv_elements(self) -> Number:
        """Cached elements a token; the same on every device."""
        return (
            self.kv_rank + self.rope_size + (self.indexer.head_size if self.indexer and not self.indexer.shared else 0)
        )

    def kv_bytes(self, tokens: Number, precision: Precision, tp: int = 1) -> Number:
        return kept_bytes(precision, tokens, self.kv_elements(), 1)

    def ops(self, context: Context) -> list[Op]:
        D, N, r = context.width, self.heads_on(context.tp), self.kv_rank
        p, v = self.rope_size, self.value_size
        written = written_bytes(context.precision, context.batch.kept, 1, r + p) if context.cache else 0
        ops = self._queries(context)
        down = context.gemm("kv_a_proj", D, r + p, part="kv_a", feeds=False, kv_write_bytes=written, source=DEEPSEEK_V2)
        ops += [down, context.elementwise("latent_norm", r, RMS_NORM_FLOPS, vectors=r, source=DEEPSEEK_V2)]
        if p:
            ops.append(context.elementwise("rope", (N + 1) * p, ROPE_FLOPS, source=SU))
        if self.indexer and not self.indexer.shared:
            ops += self._index(context, self.indexer)
        ops += gather_context(context, r + p)
        phases = context.batch.phases()
        for decodes, batch in phases:
            mark = "_decode" if decodes and len(phases) > 1 else ""
            form = self._absorbed if decodes or self.indexer else self._expanded
            ops += form(replace(context, batch=batch), mark)
        biased = r + p + D + (0 if self.q_rank is None else self.q_rank) if self.bias else 0
        biases = biased * context.precision.exempt.bytes
        out = context.gemm("o_proj", N * v, D, part="o", source=DEEPSEEK_V2)
        ops.append(replace(out, weight_bytes=out.weight_bytes + biases))
        return [*ops, *context.all_reduce("attention_all_reduce")]

    def _queries(self, context: Context) -> list[Op]:
        D, q, out = context.width, self.q_rank, self.heads_on(context.tp) * (self.nope_size + self.rope_size)
        if q is None:
            return [context.gemm("q_proj", D, out, part="q", source=DEEPSEEK_V2)]
        return [
            context.gemm("q_a_proj", D, q, part="q_a", source=DEEPSEEK_V2),
            context.elementwise("q_latent_norm", q, RMS_NORM_FLOPS, vectors=q, source=DEEPSEEK_V2),
            context.gemm("q_b_proj", q, out, part="q_b", source=DEEPSEEK_V2),
        ]

    def _expanded(self, context: Context, mark: str) -> list[Op]:
        """Keys and values of every head, of new and cached tokens, then plain multi-head attention."""
        N, r, n, p, v = self.heads_on(context.tp), self.kv_rank, self.nope_size, self.rope_size, self.value_size
        batch = context.batch
        rows = batch.tokens + batch.cached()
        if context.cp > 1:
            rows = rows * context.cp  # every device expands the latents that it gathered
        read = read_bytes(context.precision, batch, WHOLE, 1, r + p)
        up = context.gemm("kv_b_proj" + mark, r, N * (n + v), part="kv_b", rows=rows, source=DEEPSEEK_V2)
        # the latents are read once, to be expanded; the attention kernel then works on what was made of them
        return [
            up,
            *attend(
                context,
                pairs=batch.pairs(),
                square=batch.square_pairs(),
                heads=N,
                kv_heads=N,
                sizes=(n + p, v),
                read=(read, 0),
                unpack=(unpack_flops(context.precision, batch, 1, r + p), 0),
                mark=mark,
                latent=True,
            ),
        ]

    def _absorbed(self, context: Context, mark: str) -> list[Op]:
        """Multi-query attention in the latent space; the value is the latent part of the key that was read."""
        N, r, n, p, v = self.heads_on(context.tp), self.kv_rank, self.nope_size, self.rope_size, self.value_size
        view = View(window=self.indexer.keep) if self.indexer else WHOLE
        batch = context.batch
        read = read_bytes(context.precision, batch, view, 1, r + p)
        into = self._across(context, "absorb_q" + mark, n, r, n)
        back = self._across(context, "absorb_v" + mark, r, v, v)
        inside = attend(
            context,
            pairs=batch.pairs(view),
            square=batch.square_pairs(),
            heads=N,
            kv_heads=1,
            sizes=(r + p, r),
            read=(read, 0),
            unpack=(unpack_flops(context.precision, batch, 1, r + p, view), 0),
            reach=view.reach,
            mark=mark,
            latent=True,
        )
        return [into, *inside, *merge_context(context, N * r), back]

    def _across(self, context: Context, name: str, d_in: Number, d_out: Number, size: Number) -> Op:
        """N small products, each head with its own [size, r] part of kv_b, one way or the other."""
        N, M, p = self.heads_on(context.tp), context.batch.tokens, context.precision
        part = context.gemm(name, self.kv_rank, N * size, part="kv_b", source=ABSORBED)
        return replace(
            part,
            flops=2 * M * N * d_in * d_out,
            activation_bytes=M * N * (d_in + d_out) * p.stream.bytes,
            rows=M * N,
            columns=d_out,
            depth=d_in,
            form="mla-product",
        )

    def _index(self, context: Context, x: Indexer) -> list[Op]:
        """Index scores of every query–key pair, which pick the keys that attention reads."""
        D, M, P, p = context.width, context.batch.tokens, context.batch.pairs(), context.precision
        written = M * x.head_size * p.kv.bytes if context.cache else 0
        source = D if self.q_rank is None else self.q_rank
        square = context.batch.square_pairs()
        each = 2 * x.heads * (x.head_size + 1)  # query by key, and the weighted sum over heads
        return [
            context.gemm("index_q", source, x.heads * x.head_size, part="index_q", source=DEEPSEEK_V32),
            context.gemm("index_k", D, x.head_size, part="index_k", kv_write_bytes=written, source=DEEPSEEK_V32),
            context.gemm(
                "index_weights", D, x.heads, part="index_weights", wide=True, feeds=False, source=DEEPSEEK_V32
            ),
            context.elementwise("index_norm", x.head_size, 7, vectors=2 * x.head_size, source=DEEPSEEK_V32),
            Op(
                "index_scores",
                "attention",
                flops=each * P,
                full_square_flops=each * square,
                kv_read_bytes=context.batch.cached() * x.head_size * p.kv.bytes,
                activation_bytes=(M * x.heads * x.head_size + M * x.head_size) * p.stream.bytes,
                format=p.stream.name,
                heads=cut(context.batch, None, (x.heads, 1), x.head_size),
                decodes=context.batch.decodes,
                source=DEEPSEEK_V32,
            ),
            Op("index_top_k", "fused", flops=INDEX_FLOPS * P * x.heads, launches=0, source=DEEPSEEK_V32),
        ]
