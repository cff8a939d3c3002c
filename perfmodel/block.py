"""`Block`: layers alike, and how norms and residuals stand around their parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from perfmodel.arithmetic import Number
from perfmodel.layers.attention import GroupedQueryAttention
from perfmodel.layers.embedding import NORM_VECTORS, Norm
from perfmodel.layers.feedforward import GatedFeedForward
from perfmodel.layers.layer import ALONE, Formats, Layer, Spread, Tensor, Tensors, stored_as, vector
from perfmodel.layers.variants import Extra, FeedForward, Mixer
from perfmodel.precision import Precision, stored_bytes
from perfmodel.spec import Letter, Spec
from perfmodel.units import Count

Layout = Literal["pre", "post", "sandwich", "parallel", "parallel-two"]


class Adapter(Spec):
    """What each use of shared weights has of its own (Zamba 2): a D × D matrix, and low-rank parts of shared ones."""

    link: bool = True
    ffn_rank: Count | None = None
    attention_rank: Count | None = None


class Kept(Spec):
    """Tensors of a block, by name or prefix, that a checkpoint keeps in a format of their own (mixed precision)."""

    tensors: Annotated[tuple[str, ...], Field(max_length=200)]
    format: str


class Block(Spec):
    """`repeat` layers alike.

    layout     "pre": x + f(norm(x)) for mixer, then feed-forward; "post": x + norm(f(x)); "sandwich": both;
               "parallel": x + mixer(norm(x)) + ffn(norm(x)), one norm; "parallel-two": a norm for each
    beside     a second mixer that reads what the first reads; their results are added (Falcon-H1)
    extras     what stands beside both (Gemma 3n)
    copies     how many times its weights are stored, where layers share them (Zamba); `adapter` is each use's own
    inner      a part of the layer after it, not counted as a layer (Zamba's shared block)
    residual_scale  a learned factor of the stream at each residual (Doge)
    formats    tensors that it keeps in another format than most of the model, by name or prefix
    exempt     tensors that a quantized checkpoint leaves in 16 bits, by name or prefix ("attention", "ffn.shared")
    """

    repeat: Annotated[Count, Letter("L")]
    mixer: Mixer | None = None
    feed_forward: FeedForward | None = None
    layout: Layout = "pre"
    beside: Mixer | None = None
    extras: tuple[Extra, ...] = ()
    copies: Annotated[Count, Letter("Lₛ")] | None = None
    adapter: Adapter | None = None
    inner: bool = False
    residual_scale: bool = False
    exempt: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    formats: Annotated[tuple[Kept, ...], Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Block:
        if self.mixer is None and self.feed_forward is None:
            raise ValueError("a block needs a mixer, a feed_forward, or both")
        if self.beside is not None and self.mixer is None:
            raise ValueError("beside needs a mixer to stand beside")
        if self.copies is not None and self.copies > self.repeat:
            raise ValueError(f"copies must be at most repeat {self.repeat}; got {self.copies}")
        return self

    @property
    def mixers(self) -> tuple[Mixer, ...]:
        return tuple(mixer for mixer in (self.mixer, self.beside) if mixer is not None)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All parts that have weights."""
        return (*self.mixers, *((self.feed_forward,) if self.feed_forward else ()), *self.extras)

    @property
    def idle(self) -> bool:
        """Whether a request of text alone skips it (cross-attention to images)."""
        return self.mixer is not None and self.mixer.kind == "cross-attention"

    @property
    def own_formats(self) -> Formats:
        """(tensors, their format) where it is another than that of most."""
        return tuple((kept.tensors, kept.format) for kept in self.formats)

    def norms(self, width: Number) -> list[Number]:
        """Widths of its norms, in order."""
        D = width
        into = D if getattr(self.mixer, "input_size", None) is None else self.mixer.input_size  # type: ignore[union-attr]
        first, second = ([into] if self.mixer else []), ([D] if self.feed_forward else [])
        match self.layout:
            case "parallel":
                return first or second
            case "sandwich":
                return [w for norm in (first, second) for w in (*norm, *([D] * len(norm)))]
            case _:
                return first + second

    def own_tensors(self, width: Number, norm: Norm) -> Tensors:
        """Norms and what else stands around the parts, shared where the block is shared."""
        widths, vectors = self.norms(width), NORM_VECTORS[norm]
        found = {"norms": vector(width, vectors * len(widths))} if vectors and widths else {}
        if vectors and any(size != width for size in widths):
            found["norms"] = vector(sum(widths), vectors)
        if self.residual_scale:
            found["residual_scale"] = vector(width, len(self.layers))
        return found

    def adapter_tensors(self, width: Number) -> Tensors:
        """What each use of a shared block has of its own."""
        if self.adapter is None:
            return {}
        D, a = width, self.adapter
        found = {"adapter.link": Tensor(D, D)} if a.link else {}
        if a.ffn_rank is not None and isinstance(self.feed_forward, GatedFeedForward):
            found["adapter.ffn_in"] = Tensor(a.ffn_rank, D)
            found["adapter.ffn_out"] = Tensor(2 * self.feed_forward.size, a.ffn_rank)
        if a.attention_rank is not None and isinstance(self.mixer, GroupedQueryAttention):
            heads = self.mixer.heads * self.mixer.head_size
            found["adapter.qkv_in"] = Tensor(a.attention_rank, self.mixer.input_size or D, 3)
            found["adapter.qkv_out"] = Tensor(heads, a.attention_rank, 3)
        return found

    def parameters(self, width: Number, norm: Norm, tp: int = 1) -> dict[str, Number]:
        """Elements of one layer's tensors, by name, on one of `tp` devices."""
        return {name: tensor.elements for name, tensor in self._tensors(width, norm, Spread(tp))}

    def _tensors(self, width: Number, norm: Norm, spread: Spread = ALONE) -> Iterator[tuple[str, Tensor]]:
        for layer in self.layers:
            for name, tensor in layer.tensors_on(width, spread).items():
                yield f"{layer.label}.{name}", tensor
        yield from self.own_tensors(width, norm).items()
        yield from self.adapter_tensors(width).items()

    def stored_parameters(self, width: Number, norm: Norm) -> dict[str, Number]:
        """Elements of all its layers together; what layers share counts once a copy."""
        found = {}
        for name, tensor in self._tensors(width, norm):
            found[name] = self._times(name) * tensor.elements
        return found

    def _times(self, name: str) -> Number:
        return self.repeat if self.copies is None or name.startswith("adapter.") else self.copies

    def active_parameters(self, width: Number, norm: Norm) -> Number:
        """Parameters of all its layers that serve one token."""
        skipped = sum(sum(part.parameters(width).values()) - part.active_parameters(width) for part in self.layers)
        return sum(self.stored_parameters(width, norm).values()) - self.repeat * skipped

    def weight_bytes(
        self, width: Number, norm: Norm, precision: Precision, tp: int = 1, dp: int = 1, ep: int = 1
    ) -> Number:
        """Bytes of all its layers' weights on one of `tp` devices, whose dp groups share experts in `ep` parts."""
        each: Number = 0  # what every layer has of its own
        shared: Number = 0
        for name, (rows, columns, count, wide) in self._tensors(width, norm, Spread(tp, dp, ep)):
            label, _, part = name.partition(".")
            kept = stored_as(precision, self.exempt, self.own_formats, label, part, wide or not part)
            size = count * stored_bytes(kept.weights, rows, columns)
            if self.copies is None or label == "adapter":
                each = each + size
            else:
                shared = shared + size
        return self.repeat * each + (shared if self.copies is None else self.copies * shared)

    def kv_bytes(self, tokens: Number, precision: Precision, tp: int = 1, plain: Number | None = None) -> Number:
        """Cache and state that one layer keeps of one sequence of `tokens`; `plain` tokens in ordinary attention."""
        kept = tokens if plain is None else plain
        return sum(mixer.kv_bytes(kept if mixer.plain else tokens, precision, tp) for mixer in self.mixers)

    def split_error(self, tp: int, dp: int = 1, ep: int = 1) -> str:
        """Why it cannot be split over `tp` devices, its experts over dp groups of them in ep parts; "" when it can."""
        spread = Spread(tp, dp, ep)
        return next((complaint for layer in self.layers if (complaint := layer.spread_error(spread))), "")

    @property
    def has_experts(self) -> bool:
        return self.feed_forward is not None and self.feed_forward.kind == "experts"
