"""Mixers that carry a state of fixed size instead of a growing cache: what they share, and the element-wise ones."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

from perfmodel.arithmetic import Number
from perfmodel.layers.layer import Context, Tensor, Tensors, TokenMixer, vector
from perfmodel.op import Heads, Op
from perfmodel.precision import Precision
from perfmodel.spec import Letter
from perfmodel.units import Count

DE = "De et al. 2024 (Griffin), §2.4"
PENG = "Peng et al. 2023 (RWKV), §3"
LFM2 = "Liquid AI 2025 (LFM2), §2"
STATE_BYTES = 4  # states are summed, and kept, in FP32; inputs of a convolution in 16 bits


class Recurrent(TokenMixer):
    """A mixer whose state does not grow."""

    @abstractmethod
    def state_elements(self, tp: int = 1) -> tuple[Number, Number]:
        """Elements of one sequence's state on one of `tp` devices: (kept in FP32, kept in the stream's format)."""

    def kv_bytes(self, tokens: Number, precision: Precision, tp: int = 1) -> Number:
        """Bytes of one sequence's state, however long it is."""
        summed, inputs = self.state_elements(tp)
        return summed * STATE_BYTES + inputs * precision.stream.bytes

    def scan(
        self,
        context: Context,
        *,
        flops: Number,
        moved: Number,
        out: Number,
        source: str,
        matrix: bool = False,
        vectors: Number = 0,
        square: Number | None = None,
    ) -> Op:
        """The recurrence itself: one kernel that reads the states left by earlier passes and writes the new ones.

        `moved` is activation elements a token in and out, `out` those of the result; `matrix` says that it runs as
        small matrix products.
        """
        batch, p = context.batch, context.precision
        each = self.kv_bytes(0, p, context.tp) if context.cache else 0
        return Op(
            "scan",
            "scan",
            flops=flops,
            full_square_flops=square,
            weight_bytes=vectors * p.exempt.bytes,
            kv_read_bytes=batch.resumed * each,
            kv_write_bytes=batch.sequences * each,
            activation_bytes=batch.tokens * moved * p.stream.bytes,
            format=p.stream.name if matrix else "vector",
            storage=str(getattr(self, "kind", "")),
            heads=Heads(batch.sequences, batch.tokens / batch.sequences, 0, 0, 0, 0, 0),
            decodes=batch.decodes,
            inputs=(context.rows(moved - out),),
            output=context.rows(out),
            source=source,
        )


def convolution(context: Context, channels: Number, kernel: Number, bias: bool, source: str) -> Op:
    """A causal convolution of each channel with its own `kernel` weights: 2·M·channels·kernel FLOPs."""
    weights = channels * (kernel + 1) if bias else channels * kernel
    return context.elementwise("conv", channels, 2 * kernel, vectors=weights, source=source)


class GatedLinearRecurrence(Recurrent):
    """RG-LRU: h = a·h + √(1 − a²)·(i·x), with gates a and i from block-diagonal matrices (De et al. 2024, eq. 1–4).

    The block of Griffin and RecurrentGemma: x and y branches of width I, a convolution on x, the recurrence, and
    their product projected back.
    """

    label: ClassVar[str] = "rg_lru"

    kind: Literal["rg-lru"]
    size: Annotated[Count, Letter("I")]
    heads: Annotated[Count, Letter("N")]
    kernel: Annotated[Count, Letter("J")]

    def size_on(self, tp: int) -> Number:
        """W on one of `tp` devices."""
        return self.size if tp == 1 else self.size // tp

    def tensors(self, width: Number, tp: int = 1) -> Tensors:
        D, W, c = width, self.size_on(tp), self.kernel
        H = self.size // self.heads
        heads = W // H
        return {
            "x": Tensor(W, D),
            "y": Tensor(W, D),
            "out": Tensor(D, W),
            "bias": vector(2 * W + D),
            "conv": vector(W, c + 1),
            "gates": Tensor(H, H, 2 * heads, wide=True),
            "gate_bias": vector(2 * W),
            "decay": vector(W),
        }

    def split_error(self, tp: int) -> str:
        return f"its {self.heads} recurrence heads do not divide among {tp} devices" if self.heads % tp else ""

    def live_elements(self, width: Number, tp: int = 1) -> Number:
        return 2 * width + 5 * self.size_on(tp)

    def state_elements(self, tp: int = 1) -> tuple[Number, Number]:
        W = self.size_on(tp)
        return W, W * self.kernel

    def ops(self, context: Context) -> list[Op]:
        D, W, M, p = context.width, self.size_on(context.tp), context.batch.tokens, context.precision
        H = self.size // self.heads
        gates = Op(
            "gates",
            "gemm",
            flops=2 * M * 2 * W * H,
            weight_bytes=2 * W * (H + 1) * p.exempt.bytes,
            activation_bytes=3 * M * W * p.stream.bytes,
            format=p.stream.name,
            rows=M,
            columns=H,
            depth=H,
            matrices=2 * W // H,
            storage=p.stream.name,
            inputs=(context.rows(W), (2 * W // H, H, H)),
            output=context.rows(2 * W),
            source=DE,
        )
        return [
            context.gemm("y_proj", D, W, part="y", bias=True, source=DE),
            context.gemm("x_proj", D, W, part="x", bias=True, feeds=False, source=DE),
            convolution(context, W, self.kernel, True, DE),
            gates,
            self.scan(context, flops=14 * M * W, moved=4 * W, out=W, vectors=W, source=DE),
            context.elementwise("gelu_gate", W, 9, reads=2, source=DE),
            context.gemm("out_proj", W, D, part="out", bias=True, source=DE),
            *context.all_reduce("mixer_all_reduce"),
        ]


class TimeMix(Recurrent):
    """RWKV-4's token mixing: a decayed average of values weighted by exp(key), times σ(receptance).

    key, value, receptance, output   2·M·D·I FLOPs each          (Peng et al. 2023, eq. 11–16)
    The state: two sums and a running maximum of I in FP32; the last input of this and of the channel mix, D each.
    """

    label: ClassVar[str] = "time_mix"

    kind: Literal["rwkv"]
    size: Annotated[Count, Letter("I")]
    stream_size: Annotated[Count, Letter("D")]

    def size_on(self, tp: int) -> Number:
        return self.size if tp == 1 else self.size // tp

    def tensors(self, width: Number, tp: int = 1) -> Tensors:
        D, A = width, self.size_on(tp)
        into = Tensor(A, D)
        return {
            "key": into,
            "value": into,
            "receptance": into,
            "output": Tensor(D, A),
            "decay": vector(A, 2),
            "mix": vector(D, 3),
        }

    def split_error(self, tp: int) -> str:
        return f"its attention size {self.size} does not divide among {tp} devices" if self.size % tp else ""

    def live_elements(self, width: Number, tp: int = 1) -> Number:
        return 5 * width + 4 * self.size_on(tp)

    def state_elements(self, tp: int = 1) -> tuple[Number, Number]:
        return 3 * self.size_on(tp), 2 * self.stream_size

    def ops(self, context: Context) -> list[Op]:
        D, A, M = context.width, self.size_on(context.tp), context.batch.tokens
        return [
            context.elementwise("token_shift", D, 9, writes=3, vectors=3 * D, source=PENG),
            context.gemm("key_proj", D, A, part="key", source=PENG),
            context.gemm("value_proj", D, A, part="value", source=PENG),
            context.gemm("receptance_proj", D, A, part="receptance", source=PENG),
            self.scan(context, flops=20 * M * A, moved=4 * A, out=A, vectors=2 * A, source=PENG),
            context.gemm("output_proj", A, D, part="output", source=PENG),
            *context.all_reduce("mixer_all_reduce"),
        ]


class ShortConvolution(Recurrent):
    """LFM2's gated short convolution: out(C · conv(B · x)), B, C and x from one projection (Liquid AI 2025).

    in    2·M·D·3D FLOPs
    out   2·M·D·D FLOPs
    """

    label: ClassVar[str] = "conv"

    kind: Literal["short-conv"]
    kernel: Annotated[Count, Letter("J")]
    stream_size: Annotated[Count, Letter("D")]
    bias: bool = False

    def tensors(self, width: Number, tp: int = 1) -> Tensors:
        D, share = width, width // tp if tp > 1 else width
        found = {"in": Tensor(3 * share, D), "conv": vector(share, self.kernel + (1 if self.bias else 0))}
        found["out"] = Tensor(D, share)
        return found | ({"bias": vector(3 * share + D)} if self.bias else {})

    def split_error(self, tp: int) -> str:
        return f"its {self.stream_size} channels do not divide among {tp} devices" if self.stream_size % tp else ""

    def live_elements(self, width: Number, tp: int = 1) -> Number:
        return 2 * width + 5 * width // tp

    def state_elements(self, tp: int = 1) -> tuple[Number, Number]:
        return 0, self.stream_size // tp * self.kernel if tp > 1 else self.stream_size * self.kernel

    def ops(self, context: Context) -> list[Op]:
        D, M = context.width, context.batch.tokens
        C = D if context.tp == 1 else D // context.tp
        weights = C * (self.kernel + (1 if self.bias else 0))
        return [
            context.gemm("in_proj", D, 3 * C, part="in", bias=self.bias, source=LFM2),
            self.scan(context, flops=(2 * self.kernel + 2) * M * C, moved=4 * C, out=C, vectors=weights, source=LFM2),
            context.gemm("out_proj", C, D, part="out", bias=self.bias, source=LFM2),
            *context.all_reduce("mixer_all_reduce"),
        ]
