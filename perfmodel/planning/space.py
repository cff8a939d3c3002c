"""The deployments that a plan may choose from: GPU × count × split × precision × engine × speculation × limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from statistics import NormalDist
from typing import Any

from perfmodel.answer import estimate
from perfmodel.catalog import load_gpu, load_model, names
from perfmodel.deployment import Deployment, split_error, splits
from perfmodel.engine import Engine
from perfmodel.errors import RequestError
from perfmodel.memory import memory
from perfmodel.model import Model
from perfmodel.planning.demand import Demand
from perfmodel.planning.goals import Goal
from perfmodel.planning.prices import Prices
from perfmodel.planning.reach import Reach
from perfmodel.serving.load import NO_LIMIT, Load, pass_tokens, tokens_held_by
from perfmodel.serving.steady import Decoding, Steady
from perfmodel.serving.steps import Steps
from perfmodel.workload import Workload

EIGHTY = NormalDist().inv_cdf(0.9)
"""Standard deviations on both sides of which 80 % lie."""
SIZES = (1, 2, 4, 8)
"""Devices of one replica that are tried; more only where none of these holds the model."""
MORE = (16, 32, 64)
SEQUENCES = (16, 32, 64, 128, 256, 512, 1024)
BUDGETS = (2048, 4096, 8192)
"""Limits of engines that are tried besides their own: sequences at once, tokens of a pass."""


@dataclass(frozen=True)
class Space:
    """What may be chosen.

    gpus       names; those with a price where none are given
    sizes      devices of one replica
    weights, kv, engines  formats and engines; None is the checkpoint's or the device's own
    drafts     keywords of `estimate` for speculation, a mapping each; {} is none
    sequences, budgets  limits of the engine besides its own; () keeps its own
    disaggregated  whether workers of their own for prefill and decode are tried, besides those that do both
    options    further keywords of `estimate`, the same for all
    """

    model: Model
    gpus: tuple[str, ...]
    sizes: tuple[int, ...] = SIZES
    weights: tuple[str | None, ...] = (None,)
    kv: tuple[str | None, ...] = (None,)
    engines: tuple[str, ...] = ("vllm",)
    drafts: tuple[Mapping[str, Any], ...] = field(default=({},))
    sequences: tuple[int, ...] = SEQUENCES
    budgets: tuple[int, ...] = BUDGETS
    disaggregated: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    def bases(self) -> Iterator[tuple[Deployment, dict[str, Any]] | str]:
        """Every deployment on one device, with the keywords that it was asked by; a sentence for what cannot be."""
        for gpu in self.gpus:
            for engine in self.engines:
                for weights in self.weights:
                    for kv in self.kv:
                        for draft in self.drafts:
                            asked = {"weights": weights, "kv": kv, "engine": engine, **draft}
                            yield self._base(gpu, {n: v for n, v in asked.items() if v is not None})

    def _base(self, gpu: str, asked: dict[str, Any]) -> tuple[Deployment, dict[str, Any]] | str:
        try:
            answer = estimate(self.model, gpu, tp=1, must_fit=False, **{**self.options, **asked})
        except RequestError as error:
            return str(error)
        return answer.plan, {**self.options, **asked}

    def structures(
        self, demand: Demand, goals: tuple[Goal, ...], prices: Prices, sigmas: float = 0.0
    ) -> Iterator[Structure | str]:
        """Every structure, the ones of fewer devices first; a sentence for each that cannot be."""
        for base in self.bases():
            if isinstance(base, str):
                yield base
                continue
            single, asked = base
            if mixes(single):
                yield from self._sizes(
                    replace(single, engine=mixing(single.engine)), asked, demand, goals, prices, sigmas
                )
            yield from self._sizes(single, asked, demand, goals, prices, sigmas)

    def _sizes(
        self,
        single: Deployment,
        asked: dict[str, Any],
        demand: Demand,
        goals: tuple[Goal, ...],
        prices: Prices,
        sigmas: float,
    ) -> Iterator[Structure]:
        """A deployment on every number of devices, in every split."""
        price, held = prices.of(single.gpu), False
        for size in (*self.sizes, *(MORE if self.sizes == SIZES else ())):
            if held and size not in self.sizes:
                break
            for plan in placements(single, size):
                found = Structure(plan, asked, price, demand, goals, self.sequences, self.budgets, sigmas)
                held = held or found.fits
                yield found


def mixes(plan: Deployment) -> bool:
    """Whether its engine can also decode in the passes that prefill, which it does not by default.

    SGLang can (--enable-mixed-chunk), except with speculation, beside which it turns that off.
    """
    return plan.engine.name == "sglang" and plan.engine.policy != "mixed" and plan.speculation is None


def mixing(engine: Engine) -> Engine:
    return replace(engine, policy="mixed", asked=(*engine.asked, "policy"))


def placements(single: Deployment, count: int) -> Iterator[Deployment]:
    """`single` on `count` devices in every way that splits it: TP × PP, and of models with experts DP × EP."""
    model, gpu = single.model, single.gpu
    pairs = splits(model, gpu, count)
    wide = [(count, 1)] if count > gpu.domain and not split_error(model, gpu, count, 1) else []
    for tp, pp in [*wide, *pairs]:
        yield single.split(tp, pp)
        if model.has_experts and tp > 1 and not split_error(model, gpu, tp, pp, 1, tp):
            yield single.split(tp, pp, ep=tp)
    if not model.has_experts or single.speculation is not None:
        return
    for dp in (n for n in range(2, count + 1) if count % n == 0):
        tp = count // dp
        if tp <= gpu.domain and not split_error(model, gpu, tp, 1, dp, count):
            yield single.split(tp, 1, dp, count)


@dataclass(frozen=True)
class Structure:
    """One replica, apart from the limits of its engine: `plan`, and the keywords by which it was asked.

    Its times are those expected, or slower by `sigmas` standard deviations of what times err by.
    """

    plan: Deployment
    asked: Mapping[str, Any]
    price: float | None
    demand: Demand
    goals: tuple[Goal, ...]
    sequences: tuple[int, ...] = ()
    budgets: tuple[int, ...] = ()
    sigmas: float = 0.0

    @property
    def gpu_count(self) -> int:
        return self.plan.gpu_count

    @property
    def goes_with(self) -> tuple[Any, ...]:
        """What workers that hand over caches must have in common."""
        return self.plan.gpu.name, self.plan.engine.name, tuple(sorted((k, str(v)) for k, v in self.asked.items()))

    @cached_property
    def load(self) -> Load:
        """It under such requests, whatever their rate."""
        return Load(self.plan, self.demand.traffic(1.0), (), self.limits[0][2])

    @cached_property
    def fits(self) -> bool:
        """Whether the longest request fits; of lengths without an end, one in the mean."""
        prompts, outputs = self.demand.prompts, self.demand.outputs
        ends = [n.mean if n.kind == "lognormal" else n.high for n in (prompts, outputs)]
        longest = Workload(max(round(ends[0]), 1), max(round(ends[1]), 1), self.plan.dp)
        return bool(memory(self.plan, longest).fits)

    @cached_property
    def variants(self) -> tuple[tuple[int, int], ...]:
        """Limits that are tried, (sequences at once, tokens of a pass) each, the engine's own first."""
        engine = self.plan.engine
        own, tokens = engine.sequences_limit or NO_LIMIT, pass_tokens(engine)
        most = [own, *(n for n in self.sequences if n < own and "sequences_limit" not in engine.asked)]
        widest = [tokens, *(n for n in self.budgets if n < tokens and "token_budget" not in engine.asked)]
        return tuple((n, m) for m in widest for n in most if n <= m or n == own)

    def variant(self, i: int) -> Deployment:
        """It with the limits of a variant."""
        return limited(self.plan, *self.variants[i])

    @cached_property
    def limits(self) -> tuple[tuple[float, float, float], ...]:
        """Sequences at once, tokens of a pass, and tokens that the cache holds, of each variant."""
        budgets, dp = tuple(dict.fromkeys(tokens for _, tokens in self.variants)), self.plan.dp
        held = dict(zip(budgets, tokens_held_by(self.plan, self.demand.traffic(1.0), budgets), strict=True))
        return tuple((float(n * dp), float(tokens * dp), held[tokens]) for n, tokens in self.variants)

    @cached_property
    def reach(self) -> Reach:
        """What it carries, a row a variant."""
        return Reach(Steady(self.load, self.slower(self.sigmas), self.limits), self.demand, self.goals)

    def surely(self, sigmas: float) -> float:
        """The load that a replica carries, with its best limits, where times are `sigmas` deviations slower."""
        steady = Steady(self.load, self.slower(sigmas), (self.limits[self.best],))
        return float(Reach(steady, self.demand, self.goals).most[0])

    def slower(self, sigmas: float | None = None) -> Steps:
        """Passes where all errors go the same way: by the spreads that hold 80 % of times, as of a lognormal one."""
        sigmas = self.sigmas if sigmas is None else sigmas
        if not sigmas:
            return self.steps
        spreads = float(self.steps.prefill_spread), float(self.steps.decode_spread)
        return self.steps.slower(*(spread ** (sigmas / EIGHTY) for spread in spreads))

    @cached_property
    def best(self) -> int:
        """The variant that carries most; among those that carry as much to a thousandth, the first."""
        most = self.reach.most
        return int((most >= most.max() * 0.999).argmax())

    @cached_property
    def decoding(self) -> Decoding:
        """It as a worker whose prompts come with their caches, under its engine's own limits."""
        return Decoding(self.load, self.slower(self.sigmas), self.limits[:1])

    @cached_property
    def decoding_most(self) -> float:
        """Requests a second that it decodes within the goals for time per token."""
        goals = tuple(goal for goal in self.goals if goal.figure == "tpot")
        return float(Reach(self.decoding, self.demand, goals).most[0])

    @cached_property
    def worked_out(self) -> dict[tuple[str, int, float], Any]:
        """What pools of such workers were found to do, by how many and under which load (planning.pools)."""
        return {}

    def under(self, demand: Demand, sigmas: float | None = None) -> Structure:
        """It under more or less of such requests, or with slower times; what passes take is known already."""
        found = replace(self, demand=demand, sigmas=self.sigmas if sigmas is None else sigmas)
        for name in ("load", "steps", "variants", "limits", "fits"):
            if name in self.__dict__:
                found.__dict__[name] = self.__dict__[name]
        return found

    @property
    def most(self) -> float:
        """The load that a replica carries within all goals, with the limits of the best variant."""
        return float(self.reach.most[self.best])

    @cached_property
    def steps(self) -> Steps:
        """What its passes are expected to take."""
        within = self.load.range
        most = ceil(float(Steady(self.load, None, self.limits).most.max()))  # type: ignore[arg-type]
        return Steps.of(self.plan, within._replace(most=most, shortest=min(within.shortest, within.prompt)))

    def figures(self, variant: int, load: float) -> dict[str, float]:
        """What requests see with so much load on a replica, in the mean and at percentiles."""
        every = [(figure, p) for figure in ("ttft", "tpot", "e2e") for p in (0, 50, 95, 99)]
        seen = self.reach.at(variant, load, every)
        return {f"{figure}_{f'p{p}' if p else 'mean'}_s": s for (figure, p), s in zip(every, seen, strict=True)}


def limited(plan: Deployment, sequences: int, tokens: int) -> Deployment:
    """`plan` with these limits, which count as asked for where they differ from the engine's own."""
    engine = plan.engine
    changed = {}
    if sequences != (engine.sequences_limit or NO_LIMIT):
        changed["sequences_limit"] = sequences
    if tokens != pass_tokens(engine):
        changed["token_budget"] = tokens
    if not changed:
        return plan
    return replace(plan, engine=replace(engine, **changed, asked=(*engine.asked, *changed)))  # type: ignore[arg-type]


def gpus_asked(given: Sequence[str] | None, prices: Prices) -> tuple[str, ...]:
    """GPUs by their names; all that have a price where none are given."""
    if given:
        return tuple(dict.fromkeys(name if _is_path(name) else load_gpu(name).name for name in given))
    return tuple(name for name in names("gpu") if prices.of(load_gpu(name)) is not None)


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith((".yaml", ".yml"))


def model_asked(model: str | Model, assume: str | None = None) -> Model:
    return load_model(model, assume) if isinstance(model, str) else model
