"""`Op`: what one kernel asks of one device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from perfmodel.arithmetic import Number

Kind = Literal["gemm", "attention", "scan", "fused", "elementwise", "gather", "collective"]
Shape = tuple[Number, ...]


class Heads(NamedTuple):
    """Sizes of an attention kernel: what its work is cut into.

    `sequences` of `tokens` new tokens in a `context` of so many, themselves included, whose last sees `reach` keys;
    `query` and `kv` heads of `size` elements, the mean of a key's and a value's. `latent` marks latent attention
    (MLA), which has kernels of its own.
    """

    sequences: Number
    tokens: Number
    context: Number
    reach: Number
    query: Number
    kv: Number
    size: Number
    latent: bool = False


@dataclass(frozen=True)
class Op:
    """The work of one step of the forward pass on one device, `repeat` times over (once a layer).

    All amounts are of one repetition. FLOPs are causal (the pairs a query may see);
    `full_square_flops` counts the masked half as well, as torch and much published work do.

    kind                "gemm": a weight matrix; "attention": queries against keys and values;
                        "scan": the recurrence of a mixer without a cache;
                        "fused": rides inside the attention kernel and takes no time of its own;
                        "elementwise": norms, activations, sampling; "gather": table look-up;
                        "collective": talk between devices
    computes_masked     whether the kernel does the masked half's work too (naive attention)
    weight_bytes        parameters read, scales included
    kv_read_bytes       KV cache of earlier passes read
    kv_write_bytes      KV cache written for later passes
    activation_bytes    intermediate tensors read and written; fusion can keep them on the chip
    spilled_bytes       intermediate tensors that the algorithm must write out and read back (naive
                        attention's scores)
    format              what computes: "bf16", "fp8", … or "vector" outside the matrix units
    launches            kernels; 0 for what rides along in the op before (K and V beside Q, softmax inside
                        FlashAttention)
    rows, columns, depth  of a matrix product: rows × depth times depth × columns
    matrices            different matrices of that size that the rows go through (experts)
    widened             1 where a product's weights are written out in 16 bits first (`spilled_bytes` has that copy,
                        written and read), 0 where the product widens them itself
    outliers            share of a product's depth that is multiplied in 16 bits (LLM.int8())
    dynamic             1 where a scale of the whole input is looked for in every pass
    products            matrix products that are one kernel here, Q, K and V
    storage             by which the constants of its kernel go: how weights ("bf16", "fp8", "w4", …) or cache are kept,
                        or the kind of recurrence
    part                tensor of the model that it multiplies by ("attention.q"), where it is one
    variant             attention kernel that is meant, where it is another than the measured one ("flash2", "unsplit")
    unpack_flops        vector operations inside the kernel that widen cached elements of few bits
    form                kernel of its own, by its name in `calibration:` blocks, where the kind does not tell
    heads               of attention: what its work is cut into
    decodes             whether every sequence goes on from a cache, by one token or by those that are guessed
    wire_bytes, ranks   of a collective: size of the tensor, and devices that share it
    span                devices from the first to the last of that group: which link it must use
    inputs → output     tensor shapes, for reading
    """

    name: str
    kind: Kind
    flops: Number = 0
    full_square_flops: Number | None = None
    computes_masked: bool = False
    weight_bytes: Number = 0
    kv_read_bytes: Number = 0
    kv_write_bytes: Number = 0
    activation_bytes: Number = 0
    spilled_bytes: Number = 0
    format: str = "vector"
    launches: int = 1
    repeat: int = 1
    rows: Number = 0
    columns: Number = 0
    depth: Number = 0
    matrices: Number = 1
    widened: Number = 0
    outliers: float = 0.0
    dynamic: int = 0
    products: int = 1
    storage: str = ""
    part: str = ""
    form: str = ""
    variant: str = ""
    unpack_flops: Number = 0
    heads: Heads | None = None
    decodes: bool = False
    collective: str = ""
    wire_bytes: Number = 0
    ranks: int = 1
    span: int = 1
    inputs: tuple[Shape, ...] = ()
    output: Shape = ()
    source: str = ""

    def changed(self, **fields: Any) -> Op:
        """The same with other values of some fields: what dataclasses.replace does, without reading every field anew.

        A pass has a hundred ops, each of which is changed: it takes a twentieth of the time.
        """
        other = object.__new__(Op)
        other.__dict__.update(self.__dict__, **fields)
        return other

    @property
    def is_matmul(self) -> bool:
        """Whether a FLOP counter that knows only matrix products sees this op."""
        return self.kind in ("gemm", "attention")

    @property
    def square_flops(self) -> Number:
        """FLOPs with attention's masked half counted."""
        return self.flops if self.full_square_flops is None else self.full_square_flops

    @property
    def executed_flops(self) -> Number:
        """FLOPs the kernel really does."""
        return self.square_flops if self.computes_masked else self.flops

    @property
    def kv_bytes(self) -> Number:
        return self.kv_read_bytes + self.kv_write_bytes

    @property
    def compulsory_bytes(self) -> Number:
        """Bytes that cross device memory however well kernels are fused."""
        return self.weight_bytes + self.kv_read_bytes + self.kv_write_bytes + self.spilled_bytes

    @property
    def copied_bytes(self) -> Number:
        """What the pass moves that writes a product's weights out in 16 bits: they are read, the copy is written."""
        return self.widened * (self.weight_bytes + self.spilled_bytes / 2)

    @property
    def bytes(self) -> Number:
        """Everything read and written when each op stands alone."""
        return self.compulsory_bytes + self.activation_bytes

    @property
    def arithmetic_intensity(self) -> Number:
        """FLOP per byte (Williams et al. 2009)."""
        return self.flops / self.bytes


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the ops of a pass, repeats included. All of it is counted, none of it timed."""

    flops: Number
    matmul_flops: Number
    matmul_flops_full_square: Number
    weight_bytes: Number
    kv_read_bytes: Number
    kv_write_bytes: Number
    activation_bytes: Number
    spilled_bytes: Number

    @property
    def bytes(self) -> Number:
        """Weights, cache and activations, read and written."""
        return self.compulsory_bytes + self.activation_bytes

    @property
    def compulsory_bytes(self) -> Number:
        """What crosses device memory however well kernels are fused."""
        return self.weight_bytes + self.kv_read_bytes + self.kv_write_bytes + self.spilled_bytes

    @property
    def arithmetic_intensity(self) -> Number:
        """FLOP per byte of the whole pass."""
        return self.flops / self.bytes


def totals(ops: list[Op]) -> Totals:
    """What the ops of a pass ask together."""
    matmuls = [op for op in ops if op.is_matmul]
    return Totals(
        flops=_sum(op.flops * op.repeat for op in ops),
        matmul_flops=_sum(op.flops * op.repeat for op in matmuls),
        matmul_flops_full_square=_sum(op.square_flops * op.repeat for op in matmuls),
        weight_bytes=_sum(op.weight_bytes * op.repeat for op in ops),
        kv_read_bytes=_sum(op.kv_read_bytes * op.repeat for op in ops),
        kv_write_bytes=_sum(op.kv_write_bytes * op.repeat for op in ops),
        activation_bytes=_sum(op.activation_bytes * op.repeat for op in ops),
        spilled_bytes=_sum(op.spilled_bytes * op.repeat for op in ops),
    )


def _sum(parts: Iterable[Number]) -> Number:
    total: Number = 0
    for part in parts:
        total = total + part
    return total
