"""What every layer answers, and what it is told."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from perfmodel.arithmetic import Number
from perfmodel.batch import Batch
from perfmodel.cache.policy import CachePolicy
from perfmodel.lora import Lora
from perfmodel.op import Op, Shape
from perfmodel.precision import Precision, Stored, storage_of, stored_bytes
from perfmodel.spec import Spec


class Tensor(NamedTuple):
    """`count` weight matrices alike, of `rows` outputs × `columns` inputs. `wide` ones are never quantized."""

    rows: Number
    columns: Number = 1
    count: Number = 1
    wide: bool = False

    @property
    def elements(self) -> Number:
        return self.count * self.rows * self.columns


def vector(size: Number, count: Number = 1) -> Tensor:
    """Norms, biases, decays: kept in 16 bits."""
    return Tensor(size, count=count, wide=True)


Tensors = dict[str, Tensor]
Formats = tuple[tuple[tuple[str, ...], str], ...]


class Spread(NamedTuple):
    """How the devices of a stage share its layers.

    Heads and columns are cut `tp` ways; `dp` such groups each have sequences of their own. Experts are spread over all
    tp·dp devices: in `ep` parts, and the columns of each expert among the devices of a part.
    """

    tp: int = 1
    dp: int = 1
    ep: int = 1

    @property
    def columns(self) -> int:
        """Devices that share the columns of one expert."""
        return self.tp if self.dp == self.ep == 1 else self.tp * self.dp // self.ep


ALONE = Spread()


@dataclass(frozen=True, slots=True)
class Context:
    """What a layer is told besides its own fields.

    width       D, the model's hidden size
    batch       what the pass is given
    precision   how weights, cache and activations are stored
    tp          devices that share the layer's heads and columns
    attention   "flash" (scores stay on the chip), a kernel of that kind, or "naive" (scores go through memory)
    cache       whether keys and values are kept for later passes
    skew        exponent α of the experts' popularity, i^−α; 0 when all are alike
    policy      which cached tokens layers with ordinary attention keep; None: all
    exempt      tensors of the block that a checkpoint leaves in 16 bits, by name or prefix
    formats     (tensors by name or prefix, their format) where it is another than that of most
    label       prefix of the names of the layer's tensors
    lora        adapters that stand beside products; None without
    sampling    steps of the sampler before the draw (perfmodel.layers.sampling)
    dp, ep      groups of tp devices that share experts, and parts that the experts are in
    cp          devices that share each sequence
    exchange    how tokens reach experts on other devices: "none", "all-gather", "all-to-all" or "deepep"
    balanced    whether experts are placed (and doubled) so that no device has more popular ones
    """

    width: Number
    batch: Batch
    precision: Precision
    tp: int = 1
    attention: str = "flash"
    cache: bool = True
    skew: float = 0.0
    policy: CachePolicy | None = None
    exempt: tuple[str, ...] = ()
    formats: Formats = ()
    label: str = ""
    lora: Lora | None = None
    sampling: tuple[str, ...] = ()
    dp: int = 1
    ep: int = 1
    cp: int = 1
    exchange: str = "none"
    balanced: bool = False

    @property
    def spread(self) -> Spread:
        return Spread(self.tp, self.dp, self.ep)

    def stored(self, part: str, wide: bool = False) -> Stored:
        """How the layer's tensor `part` is kept."""
        return stored_as(self.precision, self.exempt, self.formats, self.label, part, wide)

    def gemm(
        self,
        name: str,
        d_in: Number,
        d_out: Number,
        *,
        part: str,
        bias: bool = False,
        feeds: bool = True,
        wide: bool = False,
        rows: Number | None = None,
        matrices: Number = 1,
        **more: object,
    ) -> Op:
        """A product of M rows with a [d_in, d_out] matrix: 2·M·d_in·d_out FLOPs.

        `part` names the tensor. `feeds` is False when the rows were already read by the op before (K and V beside
        Q): then neither a launch nor the reading of the input is counted again. `rows` replaces M, and `matrices` is
        how many different ones are read for them (experts).
        """
        M, p = self.batch.tokens if rows is None else rows, self.precision
        stored, fed, compute = kept = self.stored(part, wide)
        widened = p.widened(kept, M)
        biased = d_out * p.exempt.bytes if bias else 0
        shapes = self.rows(d_in, rows), self.rows(d_out, rows)
        return Op(
            name,
            "gemm",
            flops=2 * M * d_in * d_out,
            weight_bytes=matrices * (stored_bytes(stored, d_out, d_in) + biased),
            activation_bytes=(M * d_in * fed.bytes if feeds else 0) + M * d_out * p.stream.bytes,
            spilled_bytes=widened * (2 * p.stream.bytes * matrices * d_in * d_out),
            format=compute,
            launches=1 if feeds else 0,
            widened=widened,
            dynamic=int(stored.dynamic and compute == stored.computes),
            outliers=stored.outliers if compute == stored.computes else 0.0,
            rows=M,
            columns=d_out,
            depth=d_in,
            matrices=matrices,
            storage=storage_of(stored, fed),
            part=f"{self.label}.{part}" if self.label else "",
            inputs=(shapes[0], (d_in, d_out)),
            output=shapes[1],
            **more,  # type: ignore[arg-type]
        )

    def elementwise(
        self,
        name: str,
        size: Number,
        flops: Number,
        reads: Number = 1,
        writes: Number = 1,
        vectors: Number = 0,
        **more: object,
    ) -> Op:
        """`flops` on each of M·size elements, with `reads` and `writes` tensors of that size.

        `vectors` is how many elements of 16-bit weights it reads.
        """
        M, p = self.batch.tokens, self.precision
        return Op(
            name,
            "elementwise",
            flops=flops * M * size,
            weight_bytes=vectors * p.exempt.bytes,
            activation_bytes=(reads + writes) * M * size * p.stream.bytes,
            inputs=(self.rows(size),),
            output=self.rows(size),
            **more,  # type: ignore[arg-type]
        )

    def all_reduce(self, name: str) -> tuple[Op, ...]:
        """The sum of every device's partial result after a row-split product (Shoeybi et al. 2019, §3)."""
        return self.collective(name, "all-reduce", self.batch.tokens * self.width * self.precision.stream.bytes)

    def collective(self, name: str, operation: str, size: Number) -> tuple[Op, ...]:
        """`size` bytes shared among the tensor-parallel group; no op at all when it has one member."""
        if self.tp == 1:
            return ()
        source = "Shoeybi et al. 2019 (Megatron-LM), §3"
        op = Op(name, "collective", collective=operation, wire_bytes=size, ranks=self.tp, span=self.tp, source=source)
        return (op,)

    def across(self, name: str, operation: str, size: Number, ranks: int, span: int, source: str) -> tuple[Op, ...]:
        """`size` bytes among `ranks` devices, of which the first and the last are `span` apart; no op of one."""
        if ranks == 1:
            return ()
        op = Op(name, "collective", collective=operation, wire_bytes=size, ranks=ranks, span=span, source=source)
        return (op,)

    def rows(self, size: Number, rows: Number | None = None) -> Shape:
        return (*self.batch.rows, size) if rows is None else (rows, size)


def stored_as(
    precision: Precision, exempt: tuple[str, ...], formats: Formats, label: str, part: str, wide: bool = False
) -> Stored:
    """How the tensor `label.part` of a block is kept: exempt, in a format of its own, or as most are."""
    if wide or exempted(exempt, label, part):
        return precision.sixteen
    own = next((name for tensors, name in formats if exempted(tensors, label, part)), "")
    return precision.named(own) if own else precision.main


def exempted(exempt: tuple[str, ...], label: str, part: str) -> bool:
    """Whether `exempt` names the tensor `label.part`, or something it is inside of."""
    whole = f"{label}.{part}"
    return any(whole == name or whole.startswith(f"{name}.") for name in exempt)


class Layer(Spec):
    """One variant of mixer or feed-forward."""

    label: ClassVar[str] = ""
    """Prefix of the names of its tensors, as in "attention.q"."""

    @abstractmethod
    def tensors(self, width: Number, tp: int = 1) -> Tensors:
        """Every weight tensor on one of `tp` devices, by name; biases and norms included."""

    @abstractmethod
    def ops(self, context: Context) -> list[Op]:
        """The kernels of one pass through the layer on one device, in order."""

    @abstractmethod
    def split_error(self, tp: int) -> str:
        """Why the layer cannot be split over `tp` devices; "" when it can."""

    @abstractmethod
    def live_elements(self, width: Number, tp: int = 1) -> Number:
        """Elements a token alive at once on one device while the layer runs."""

    def tensors_on(self, width: Number, spread: Spread) -> Tensors:
        """The tensors on one device; those of experts go by more than tp."""
        return self.tensors(width, spread.tp)

    def spread_error(self, spread: Spread) -> str:
        """Why the layer cannot be spread so; "" when it can."""
        return self.split_error(spread.tp)

    def live_on(self, width: Number, spread: Spread) -> Number:
        """Elements alive for each token of the device's own; experts also serve those of other devices."""
        return self.live_elements(width, spread.tp)

    def parameters(self, width: Number, tp: int = 1) -> dict[str, Number]:
        """Elements of each weight tensor on one of `tp` devices, by name."""
        return {name: tensor.elements for name, tensor in self.tensors(width, tp).items()}

    def active_parameters(self, width: Number) -> Number:
        """Parameters that serve one token."""
        return sum(self.parameters(width).values())


class TokenMixer(Layer):
    """A layer that carries something from token to token: a cache that grows, or a state that does not.

    `shared_context` says whether devices can share one sequence: keys and values can be gathered, a state cannot.
    """

    shared_context: ClassVar[bool] = False

    def kv_bytes(self, tokens: Number, precision: Precision, tp: int = 1) -> Number:
        """What one sequence of `tokens` leaves for later passes, on one of `tp` devices."""
        return 0

    @property
    def plain(self) -> bool:
        """Whether it is ordinary attention: every query sees all keys before it, so that a cache policy can hold."""
        return False

    def score_heads(self, tp: int) -> Number:
        """Heads with a score matrix on one of `tp` devices; 0 where there is none."""
        return 0

    @property
    def edges(self) -> tuple[int, ...]:
        """Contexts at which its cost changes slope: where a window, or the choice of keys, fills."""
        return ()
