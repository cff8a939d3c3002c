"""Mixture of experts: a router sends each token to k of E feed-forwards; shared experts serve all."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from perfmodel.arithmetic import Number, hit
from perfmodel.layers.dispatch import Experts, busiest, destinations
from perfmodel.layers.feedforward import ACTIVATION_FLOPS, Activation
from perfmodel.layers.layer import Context, Layer, Spread, Tensor, Tensors, vector
from perfmodel.op import Op
from perfmodel.spec import Letter
from perfmodel.traced import value_of
from perfmodel.units import Count

SHAZEER = "Shazeer et al. 2017 (MoE), eq. 1–5"
DAI = "Dai et al. 2024 (DeepSeekMoE), §3"
FEDUS = "Fedus et al. 2022 (Switch), §2.2"
DEEPEP = "DeepSeek-AI 2024 (V3), §3.2.2"
GATHERED = "vLLM, expert parallel deployment: allgather_reducescatter"


class MixtureOfExperts(Layer):
    """k of E experts of width F serve a token (Shazeer et al. 2017), and shared ones all tokens (Dai et al. 2024).

        router    2·M·D·E FLOPs, kept in 16 bits
        experts   2·k·M·D·F FLOPs for each of their two or three matrices
        touched   E·(1 − (1 − k/E)^M) experts have a token of the batch, when all are alike; their weights are read.
                  With skewed routing expert i is chosen by a share qᵢ of tokens: Σᵢ 1 − (1 − qᵢ)^M

    Which experts a group limit or a bias prefers changes neither count. Over tp devices each holds F/tp columns of
    every expert. Where experts are in ep parts, and dp groups of tp devices bring tokens of their own, each device
    holds E/ep experts, of each F·ep/(tp·dp) columns; the busiest has more than its part k·M·dp/ep of the rows
    (perfmodel.layers.dispatch). Router, shared experts and latents serve a group's own tokens, and are split by tp.

    size, shared_size   width of an expert, and of all shared experts together
    gated               three matrices (GLU), or two
    shared_gate         a sigmoid of the input scales the shared experts (Qwen2-MoE)
    router_bias         a weight an expert that corrects the choice or the logit
    bias                biases inside the experts (gpt-oss)
    latent_size         width the experts work on where it is not D (Nemotron 3), projected to and from
    router_scale        scales of the router's input and of each expert's output (Gemma 4)
    norms               norms around the routed and the shared experts (Gemma 4)
    groups, kept_groups routing is limited to the best groups of experts (DeepSeek-V3)
    """

    label: ClassVar[str] = "ffn"

    kind: Literal["experts"]
    experts: Annotated[Count, Letter("E")]
    chosen: Annotated[Count, Letter("k")]
    size: Annotated[Count, Letter("F")]
    activation: Activation = "silu"
    gated: bool = True
    shared_size: Annotated[Count, Letter("Fₛ")] | None = None
    shared_gate: bool = False
    router_bias: bool = False
    bias: bool = False
    latent_size: Annotated[Count, Letter("Dₑ")] | None = None
    router_scale: bool = False
    norms: Annotated[int, Field(strict=True, ge=0, lt=10)] = 0
    groups: Count | None = None
    kept_groups: Count | None = None

    @model_validator(mode="after")
    def _enough(self) -> MixtureOfExperts:
        if self.chosen > self.experts:
            raise ValueError(f"chosen must be at most experts {self.experts}; got {self.chosen}")
        if self.groups is not None and self.experts % self.groups:
            raise ValueError(f"groups must divide experts; got {self.experts} experts in {self.groups} groups")
        return self

    def sizes_on(self, spread: Spread) -> tuple[Number, Number]:
        """F and Fₛ on one device."""
        shared, columns = 0 if self.shared_size is None else self.shared_size, spread.columns
        return self.size if columns == 1 else self.size // columns, shared if spread.tp == 1 else shared // spread.tp

    def split_error(self, tp: int) -> str:
        return self.spread_error(Spread(tp))

    def spread_error(self, spread: Spread) -> str:
        if self.experts % spread.ep:
            return f"its {self.experts} experts do not divide into {spread.ep} parts"
        parts = (("expert", self.size, spread.columns), ("shared expert", self.shared_size or 0, spread.tp))
        for name, size, devices in parts:
            if size % devices:
                return f"its {name} size {size} does not divide among {devices} devices"
        return ""

    def tensors(self, width: Number, tp: int = 1) -> Tensors:
        return self.tensors_on(width, Spread(tp))

    def tensors_on(self, width: Number, spread: Spread) -> Tensors:
        D, E, (F, S) = width, self.experts, self.sizes_on(spread)
        held = E if spread.ep == 1 else E // spread.ep
        I = D if self.latent_size is None else self.latent_size  # noqa: E741
        found = {"router": Tensor(E, D, wide=True)}
        if self.router_bias:
            found["router_bias"] = vector(E)
        if self.router_scale:
            found["router_scale"] = vector(D + E)
        if self.norms:
            found["norms"] = vector(D, self.norms)
        if self.latent_size is not None:
            found |= {"latent_in": Tensor(I, D), "latent_out": Tensor(D, I)}
        found |= {f"experts.{name}": Tensor(F, I, held) for name in self._inward}
        found["experts.down"] = Tensor(I, F, held)
        if self.bias:
            found["experts.bias"] = vector(len(self._inward) * F + I, held)
        if self.shared_size is not None:
            found |= {f"shared.{name}": Tensor(S, D) for name in self._inward}
            found["shared.down"] = Tensor(D, S)
        if self.shared_gate:
            found["shared_gate"] = Tensor(1, D, wide=True)
        return found

    @property
    def _inward(self) -> tuple[str, ...]:
        return ("gate", "up") if self.gated else ("up",)

    def active_parameters(self, width: Number) -> Number:
        """All but the experts that a token does not pass."""
        sizes = self.parameters(width)
        routed = sum(size for name, size in sizes.items() if name.startswith("experts."))
        return sum(sizes.values()) - routed + routed * self.chosen // self.experts

    def touched(self, tokens: Number, skew: float = 0.0) -> Number:
        """Expected experts that `tokens` tokens reach, each choosing k; popularity of expert i is i^−skew."""
        return hit(shares(self.experts, self.chosen, skew), tokens)

    def live_elements(self, width: Number, tp: int = 1) -> Number:
        return self.live_on(width, Spread(tp))

    def live_on(self, width: Number, spread: Spread) -> Number:
        """Residual, normed input, k copies of the input and of an expert's wide layers, and the shared expert's.

        Of experts in parts it is the copies that are sent there: as many, from all dp groups, as this device sends.
        """
        F, S = self.sizes_on(spread)
        I = width if self.latent_size is None else self.latent_size  # noqa: E741
        wide = len(self._inward) + 1
        copies = self.chosen if spread == Spread(spread.tp) else self.chosen * spread.dp / spread.ep
        return 2 * width + copies * (2 * I + wide * F) + wide * S

    def ops(self, context: Context) -> list[Op]:
        D, E, k, M = context.width, self.experts, self.chosen, context.batch.tokens
        ops = [context.gemm("router", D, E, part="router", wide=True, bias=self.router_bias, source=SHAZEER)]
        scales = D + E if self.router_scale else 0
        ops.append(context.elementwise("routing", E, 6, vectors=scales, source=FEDUS))
        if self.norms:
            ops.append(context.elementwise("expert_norms", self.norms * D, 4, vectors=self.norms * D, source=FEDUS))
        if self.latent_size is not None:
            ops.append(context.gemm("latent_in", D, self.latent_size, part="latent_in", source=SHAZEER))
        ops += [*self._dispatch(context), *self._routed(context), *self._collect(context)]
        if self.latent_size is not None:
            ops.append(context.gemm("latent_out", self.latent_size, D, part="latent_out", source=SHAZEER))
        if self.shared_size is not None:
            ops += self._shared(context)
        if self.shared_gate:
            ops.append(context.gemm("shared_gate", D, 1, part="shared_gate", wide=True, source=DAI))
        p = context.precision
        joined = Op(
            "combine",
            "fused",  # rides with the experts' products, as their activation does: kernels of experts do it all
            launches=0,
            flops=2 * k * M * D,
            activation_bytes=(k + 1) * M * D * p.stream.bytes,
            inputs=((M, k, D),),
            output=context.rows(D),
            source=SHAZEER,
        )
        return [*ops, joined, *context.all_reduce("ffn_all_reduce")]

    def parts(self, ep: int) -> Experts:
        """The experts in `ep` parts, in plain numbers."""
        E, k, groups, kept = (int(value_of(n or 1)) for n in (self.experts, self.chosen, self.groups, self.kept_groups))
        return Experts(E, k, ep, groups, kept)

    def busiest(self, tokens: Number, ep: int, skew: float = 0.0, balanced: bool = False) -> Number:
        """Rows of the busiest of `ep` parts over the mean, with `tokens` tokens from everywhere."""
        e = self.parts(ep)
        popularity = shares(e.experts, e.chosen, skew) if skew and not balanced else ()
        return busiest(tokens, e, popularity)

    def tokens_of_all(self, context: Context) -> Number:
        """Tokens that come to the experts: of all dp groups, which run in step, each with as many."""
        return context.batch.tokens if context.dp == 1 else context.batch.tokens * context.dp

    def _dispatch(self, context: Context) -> tuple[Op, ...]:
        """Tokens on their way to experts of other devices: all to all devices, or each to those that it chose.

        all-gather    of the M·dp tokens of all groups, in 16 bits
        all-to-all    M/tp tokens of each device, each to the parts that hold its experts and there to every device
                      that shares their columns, in the format that the experts' products are fed
        """
        inward = context.stored(f"experts.{self._inward[0]}").activations
        return self._exchange(context, "dispatch", "all-gather", inward.bytes)

    def _collect(self, context: Context) -> tuple[Op, ...]:
        """Results on their way back, in 16 bits: summed as they are scattered, or each from where it was made."""
        return self._exchange(context, "combine", "reduce-scatter", context.precision.stream.bytes)

    def _exchange(self, context: Context, way: str, ring: str, element: Number) -> tuple[Op, ...]:
        I = context.width if self.latent_size is None else self.latent_size  # noqa: E741
        span = context.tp * context.cp * context.dp
        if context.exchange == "all-gather":
            size = self.tokens_of_all(context) * I * context.precision.stream.bytes
            name = f"experts_{ring.replace('-', '_')}"
            return context.across(name, ring, size, context.dp, span, GATHERED)
        if context.exchange == "none":
            return ()
        copies = destinations(self.parts(context.ep)) * context.spread.columns
        size = context.batch.tokens / context.tp * copies * I * element
        operation = way if context.exchange == "deepep" else context.exchange
        return context.across(f"experts_{way}", operation, size, context.tp * context.dp, span, DEEPEP)

    def _routed(self, context: Context) -> list[Op]:
        """The chosen experts: k·M rows through the weights of those that are touched, on the busiest device."""
        k, (F, _) = self.chosen, self.sizes_on(context.spread)
        M = self.tokens_of_all(context)
        I = context.width if self.latent_size is None else self.latent_size  # noqa: E741
        rows, matrices = k * M, self.touched(M, context.skew)
        if context.ep > 1:
            over = self.busiest(M, context.ep, context.skew, context.balanced)
            rows, matrices = rows / context.ep * over, self.touched(M * over, context.skew) / context.ep
        each: dict[str, Any] = {
            "rows": rows,
            "matrices": matrices,
            "bias": self.bias,
            "form": "grouped",
            "source": SHAZEER,
        }
        ops = [
            context.gemm(f"expert_{name}", I, F, part=f"experts.{name}", feeds=i == 0, **each)
            for i, name in enumerate(self._inward)
        ]
        activation = _activation("expert_activation", rows, F, self.activation, len(self._inward), context, SHAZEER)
        ops.append(replace(activation, kind="fused", launches=0))
        return [*ops, context.gemm("expert_down", F, I, part="experts.down", **each)]

    def _shared(self, context: Context) -> list[Op]:
        D, (_, S) = context.width, self.sizes_on(context.spread)
        ops = [
            context.gemm(f"shared_{name}", D, S, part=f"shared.{name}", feeds=i == 0, source=DAI)
            for i, name in enumerate(self._inward)
        ]
        M = context.batch.tokens
        ops.append(_activation("shared_activation", M, S, self.activation, len(self._inward), context, DAI))
        return [*ops, context.gemm("shared_down", S, D, part="shared.down", source=DAI)]


def _activation(
    name: str, rows: Number, size: Number, activation: str, reads: int, context: Context, source: str
) -> Op:
    """The activation of `rows` tokens, and its product with up where there are two ways in."""
    return Op(
        name,
        "elementwise",
        flops=(ACTIVATION_FLOPS[activation] + reads - 1) * rows * size,
        activation_bytes=(reads + 1) * rows * size * context.precision.stream.bytes,
        inputs=((rows, size),),
        output=(rows, size),
        source=source,
    )


def shares(experts: Number, chosen: Number, skew: float = 0.0) -> tuple[tuple[Number, Number], ...]:
    """(how many experts, share of tokens that choose each) for popularity i^−skew (Zipf 1949); Σ count·share = k.

    A token chooses an expert at most once, so that no share is above 1: what the most popular would have beyond it
    goes to the others, in proportion.
    """
    if skew == 0:
        return ((experts, chosen / experts),)
    popular = [float(i) ** -skew for i in range(1, int(experts) + 1)]
    full = 0
    while True:
        left = sum(popular[full:])
        scale = (chosen - full) / left
        over = sum(1 for weight in popular[full:] if weight * scale > 1)
        if not over:
            return tuple((1, 1.0) for _ in range(full)) + tuple((1, weight * scale) for weight in popular[full:])
        full += over
