"""Softmax attention over a growing cache: MHA, MQA and GQA, windowed, chunked, shared or gated."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from perfmodel.arithmetic import Number, minimum
from perfmodel.batch import Batch, View
from perfmodel.cache.formats import kept_bytes, read_bytes, unpack_flops, written_bytes
from perfmodel.kernels.flash import flash1_reread
from perfmodel.layers.layer import Context, Tensor, Tensors, TokenMixer, vector
from perfmodel.layers.sharing import gather_context, merge_context
from perfmodel.layers.thinning import around, thinning_ops
from perfmodel.op import Heads, Op
from perfmodel.precision import Precision
from perfmodel.spec import Letter
from perfmodel.units import Count

VASWANI = "Vaswani et al. 2017, §3.2"
AINSLIE = "Ainslie et al. 2023 (GQA), §2.2"
SU = "Su et al. 2021 (RoFormer), eq. 34"
DAO = "Dao et al. 2022 (FlashAttention), alg. 1"
DEHGHANI = "Dehghani et al. 2023 (ViT-22B), §2"
QIU = "Qiu et al. 2025 (Gated attention), §2"

ROPE_FLOPS = 3  # an element, each operation counted once: x·cos + rotated(x)·sin
SOFTMAX_FLOPS = 5  # max, subtract, exp, sum, divide
SOFTCAP_FLOPS = 3  # divide, tanh, multiply (Gemma Team 2024, Gemma 2, §2)
RMS_NORM_FLOPS = 4  # square, sum, scale, weight
GATE_FLOPS = 4  # sigmoid (exp, add, divide) and product

QkNorm = Literal["head", "full", "no-weights"]


class GroupedQueryAttention(TokenMixer):
    """N query heads share K key/value heads of size H (Ainslie et al. 2023, §2.2).

    K = N is multi-head attention (Vaswani et al. 2017), K = 1 multi-query attention (Shazeer 2019).

        q, k, v   2·M·D·(N + 2K)·H FLOPs, writes 2·M·K·H cached elements
        scores    2·P·N·H FLOPs, reads C·K·H cached elements
        values    2·P·N·H FLOPs, reads C·K·H cached elements
        o         2·M·N·H·D FLOPs

    Over tp devices each holds N/tp query heads and K/tp KV heads; when K < tp the KV heads are replicated,
    one a device, as vLLM and TensorRT-LLM do.

    value_size   size of a value head where it is not H
    input_size   width it reads where it is not D (Zamba joins the stream with the embedding)
    window       last keys that a query sees; the cache keeps window − 1 tokens
    chunk        positions that attend among themselves (Llama 4)
    shares_kv    reads keys and values of an earlier layer, and has none of its own (Brandon et al. 2024, CLA)
    one_kv       values are the keys: one projection serves both (Gemma 4)
    qk_norm      "head": one weight vector of H each; "full": over all heads; "no-weights"
    gate         a sigmoid of the input multiplies the result (Qiu et al. 2025)
    sub_norm     a norm over the result before the output projection (BitNet)
    sinks        a learned logit a head joins the softmax (gpt-oss)
    softcap      scores pass tanh (Gemma 2)
    alibi        scores get a linear bias by distance (Press et al. 2022)
    """

    label: ClassVar[str] = "attention"
    shared_context: ClassVar[bool] = True

    kind: Literal["attention"]
    heads: Annotated[Count, Letter("N")]
    kv_heads: Annotated[Count, Letter("K")]
    head_size: Annotated[Count, Letter("H")]
    value_size: Annotated[Count, Letter("U")] | None = None
    input_size: Count | None = None
    window: Annotated[Count, Letter("W")] | None = None
    chunk: Annotated[Count, Letter("W")] | None = None
    rotary_size: Annotated[int, Field(strict=True, ge=0, lt=10**6)] | None = None
    qkv_bias: bool = False
    output_bias: bool = False
    qk_norm: QkNorm | None = None
    qk_norm_bias: bool = False
    gate: bool = False
    sub_norm: bool = False
    sinks: bool = False
    softcap: bool = False
    alibi: bool = False
    shares_kv: bool = False
    one_kv: bool = False

    @model_validator(mode="after")
    def _divides(self) -> GroupedQueryAttention:
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide heads; got {self.heads} heads and {self.kv_heads} kv_heads")
        if self.rotary_size is not None and self.rotary_size > self.head_size:
            raise ValueError(f"rotary_size must be at most head_size {self.head_size}; got {self.rotary_size}")
        if self.window is not None and self.chunk is not None:
            raise ValueError(f"window and chunk exclude each other; got window {self.window} and chunk {self.chunk}")
        if self.one_kv and self.value_size not in (None, self.head_size):
            raise ValueError(
                f"one_kv makes values of the keys' size {self.head_size}; got value_size {self.value_size}"
            )
        return self

    @property
    def view(self) -> View:
        """Which keys a query may see."""
        return View(self.window, self.chunk)

    @property
    def edges(self) -> tuple[int, ...]:
        return (self.view.reach,) if self.view.reach else ()

    @property
    def plain(self) -> bool:
        return self.view.reach is None

    def heads_on(self, tp: int) -> tuple[Number, Number]:
        """Query and KV heads on one of `tp` devices."""
        if tp == 1:
            return self.heads, self.kv_heads
        return self.heads // tp, max(self.kv_heads // tp, 1)

    def score_heads(self, tp: int) -> Number:
        return self.heads_on(tp)[0]

    def sizes(self) -> tuple[Number, Number]:
        """H and U, size of a key and of a value head."""
        return self.head_size, self.head_size if self.value_size is None else self.value_size

    def tensors(self, width: Number, tp: int = 1) -> Tensors:
        D, (H, U), (N, K) = width, self.sizes(), self.heads_on(tp)
        I = D if self.input_size is None else self.input_size  # noqa: E741
        found = {"q": Tensor(N * H, I)}
        if not self.shares_kv:
            found |= {"k": Tensor(K * H, I)} | ({} if self.one_kv else {"v": Tensor(K * U, I)})
        found["o"] = Tensor(D, N * U)
        if self.gate:
            found["gate"] = Tensor(N * U, I)
        if self.qkv_bias:
            found["qkv_bias"] = vector(N * H + (0 if self.shares_kv else K * (H + U)))
        if self.output_bias:
            found["o_bias"] = vector(D)
        if normed := self._norm_size(N, K):
            found["qk_norm"] = vector(normed, 2 if self.qk_norm_bias else 1)
        if self.sub_norm:
            found["sub_norm"] = vector(N * U)
        if self.sinks:
            found["sinks"] = vector(N)
        return found

    def _norm_size(self, N: Number, K: Number) -> Number:
        """Weights of the norms of queries and keys."""
        if self.qk_norm in (None, "no-weights"):
            return 0
        heads = (1, 1) if self.qk_norm == "head" else (N, K)
        return (heads[0] + (0 if self.shares_kv else heads[1])) * self.head_size

    def split_error(self, tp: int) -> str:
        if self.heads % tp:
            return f"its {self.heads} heads do not divide among {tp} devices"
        if self.kv_heads % tp and tp % self.kv_heads:
            return f"its {self.kv_heads} KV heads neither divide nor replicate evenly among {tp} devices"
        return ""

    def live_elements(self, width: Number, tp: int = 1) -> Number:
        """Elements a token alive at the layer's peak: residual, normed input, Q, K, V and the result."""
        D, (H, U) = width, self.sizes()
        N, K = self.heads_on(tp)
        return 2 * D + (2 * (N + K) * H if self.value_size is None else (N + K) * (H + U))

    def kv_elements(self, tp: int = 1) -> Number:
        """Cached elements a token, keys and values, on one of `tp` devices; none where another layer's serve."""
        _, K = self.heads_on(tp)
        H, U = self.sizes()
        if self.shares_kv:
            return 0
        return 2 * K * H if self.value_size is None else K * (H + U)

    def kv_bytes(self, tokens: Number, precision: Precision, tp: int = 1) -> Number:
        """Cache of one sequence of `tokens`: all of them, or the window − 1 that the next token will see."""
        kept = tokens if self.view.reach is None else minimum(tokens, self.view.reach - 1)
        vectors = 0 if self.shares_kv else 2 * self.heads_on(tp)[1]
        return kept_bytes(precision, kept, self.kv_elements(tp), vectors)

    def ops(self, context: Context) -> list[Op]:
        D, (H, U), (N, K) = context.width, self.sizes(), self.heads_on(context.tp)
        I = D if self.input_size is None else self.input_size  # noqa: E741
        biased = self.qkv_bias
        ops = [context.gemm("q_proj", I, N * H, part="q", bias=biased, source=VASWANI)]
        if not self.shares_kv:
            keys: dict[str, Any] = {"part": "k", "bias": biased, "feeds": False, "source": AINSLIE}
            ops.append(context.gemm("k_proj", I, K * H, **keys, kv_write_bytes=self._written(context, H)))
            if not self.one_kv:
                keys["part"] = "v"
                ops.append(context.gemm("v_proj", I, K * U, **keys, kv_write_bytes=self._written(context, U)))
            else:
                ops[-1] = replace(ops[-1], kv_write_bytes=self._written(context, H + U))
        if self.gate:
            ops.append(context.gemm("gate_proj", I, N * U, part="gate", feeds=False, source=QIU))
        gathered = () if self.shares_kv else gather_context(context, K * H if self.one_kv else K * (H + U))
        ops += [*self._prepare(context), *gathered, *self._attend(context)]
        ops += [*merge_context(context, N * U), *self._finish(context)]
        ops.append(context.gemm("o_proj", N * U, D, part="o", bias=self.output_bias, source=VASWANI))
        return [*ops, *context.all_reduce("attention_all_reduce")]

    def _written(self, context: Context, size: Number) -> Number:
        """Bytes of new keys or values put into the cache."""
        _, K = self.heads_on(context.tp)
        return written_bytes(context.precision, context.batch.kept, K, size) if context.cache else 0

    def _prepare(self, context: Context) -> list[Op]:
        """Norms and rotation of queries and keys."""
        H, (N, K) = self.head_size, self.heads_on(context.tp)
        turned = N + (0 if self.shares_kv else K)
        ops = []
        if self.qk_norm:
            weights = self._norm_size(N, K) * (2 if self.qk_norm_bias else 1)
            ops.append(context.elementwise("qk_norm", turned * H, RMS_NORM_FLOPS, vectors=weights, source=DEHGHANI))
        if self.rotary_size != 0:
            rotated = self.rotary_size or H
            ops.append(context.elementwise("rope", turned * rotated, ROPE_FLOPS, source=SU))
        return ops

    def _finish(self, context: Context) -> list[Op]:
        """Gate and norm of the result."""
        _, U = self.sizes()
        N, _ = self.heads_on(context.tp)
        gated = [context.elementwise("attention_gate", N * U, GATE_FLOPS, reads=2, source=QIU)] if self.gate else []
        if not self.sub_norm:
            return gated
        source = "Ma et al. 2024 (BitNet b1.58), §2"
        return [*gated, context.elementwise("attention_sub_norm", N * U, RMS_NORM_FLOPS, vectors=N * U, source=source)]

    def _attend(self, context: Context) -> list[Op]:
        H, U = self.sizes()
        N, K = self.heads_on(context.tp)
        batch, view, p = context.batch, self.view, context.precision
        if self.plain and context.policy is not None:  # it sees what the policy left
            batch = batch.thinned()
            view = View(context.policy.budget + 1) if context.policy.windowed else view
        ops = attend(
            replace(context, batch=batch),
            pairs=batch.pairs(view),
            square=batch.square_pairs(view),
            heads=N,
            kv_heads=K,
            sizes=(H, U),
            read=(read_bytes(p, batch, view, K, H), read_bytes(p, batch, view, K, U)),
            unpack=(unpack_flops(p, batch, K, H, view), unpack_flops(p, batch, K, U, view)),
            reach=view.reach,
            softmax_flops=SOFTMAX_FLOPS + (SOFTCAP_FLOPS if self.softcap else 0) + (1 if self.alibi else 0),
            weights=N if self.sinks else 0,
        )
        return [*ops, *(thinning_ops(context, batch, (N, K), H) if self.plain else [])]


def attend(
    context: Context,
    *,
    pairs: Number,
    square: Number,
    heads: Number,
    kv_heads: Number,
    sizes: tuple[Number, Number],
    read: tuple[Number, Number],
    unpack: tuple[Number, Number] = (0, 0),
    reach: Number | None = None,
    softmax_flops: int = SOFTMAX_FLOPS,
    weights: Number = 0,
    mark: str = "",
    latent: bool = False,
) -> list[Op]:
    """Scores, softmax and values: one fused kernel, or three that pass N·T·S scores through memory.

    `square` is the pairs with the masked ones counted; `sizes` are those of a key and a value head, `read` the bytes of
    cache read for scores and for values, `unpack` vector operations that widen them; `reach` the most keys that a query
    sees; `weights` 16-bit weights that the softmax reads (sinks), `mark` a suffix of the names; `latent` latent
    attention, which has kernels of its own.
    """
    N, K, (H, U), P = heads, kv_heads, sizes, pairs
    batch, p = context.batch, context.precision
    M = batch.tokens
    naive = context.attention == "naive"
    scores = square * N * p.stream.bytes if naive else 0  # one trip of the score matrix
    reread = flash1_reread(P, M, N, (H, U), p.stream.bytes) if context.attention == "flash1" else 0
    source = VASWANI if naive else DAO
    shape = (*batch.rows[:1], N, *batch.rows[1:])
    span = batch.groups[0].context + batch.groups[0].tokens
    common: dict[str, Any] = {"spilled_bytes": scores, "computes_masked": naive, "source": source}
    tile: dict[str, Any] = {
        "kind": "attention",
        "format": p.stream.name,
        "storage": p.kv.name,
        "heads": cut(batch, reach, (N, K), H if H == U else (H + U) / 2, latent),
        "decodes": batch.decodes,
        "variant": context.attention if context.attention not in ("flash", "naive") else "",
        **common,
    }
    ops = [
        Op(
            f"scores{mark}",
            flops=2 * P * N * H,
            full_square_flops=2 * square * N * H,
            kv_read_bytes=read[0],
            unpack_flops=unpack[0],
            activation_bytes=M * (N + K) * H * p.stream.bytes,
            inputs=((*shape, H), (*batch.rows[:1], K, span, H)),
            output=(*shape, span),
            **tile,
        ),
        Op(
            f"softmax{mark}",
            "elementwise" if naive else "fused",
            flops=softmax_flops * P * N,
            full_square_flops=softmax_flops * square * N,
            weight_bytes=weights * p.exempt.bytes,
            **(common | {"spilled_bytes": 2 * scores}),
            launches=1 if naive else 0,
            inputs=((*shape, span),),
            output=(*shape, span),
        ),
        Op(
            f"values{mark}",
            flops=2 * P * N * U,
            full_square_flops=2 * square * N * U,
            kv_read_bytes=read[1],
            unpack_flops=unpack[1],
            activation_bytes=M * (N + K) * U * p.stream.bytes,
            launches=1 if naive else 0,
            inputs=((*shape, span), (*batch.rows[:1], K, span, U)),
            output=(*shape, U),
            **(tile | {"spilled_bytes": scores + reread}),
        ),
    ]
    return [*ops, *around(context, unpack[0] + unpack[1], N * U, mark)]


def cut(batch: Batch, reach: Number | None, heads: tuple[Number, Number], size: Number, latent: bool = False) -> Heads:
    """What attention over `batch` is cut into; means over its sequences where groups differ.

    `reach` is the most keys that a query may see, or None; `heads` those of queries and of keys.
    """
    B, first = batch.sequences, batch.groups[0]
    single = len(batch.groups) == 1
    tokens = first.tokens if single else batch.tokens / B
    context = tokens + (first.context if single else batch.cached() / B)
    if batch.over > 1 and batch.decodes:
        context = context / batch.over
    elif batch.over > 1 and single:
        tokens = tokens / batch.over
    return Heads(B, tokens, context, context if reach is None else minimum(context, reach), *heads, size, latent)
