"""One change to a deployment, and which changes suggest themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from perfmodel.catalog import load_gpu
from perfmodel.deployment import Deployment
from perfmodel.planning.option import Option
from perfmodel.planning.prices import prices
from perfmodel.planning.space import gpus_asked
from perfmodel.serving.load import pass_tokens
from perfmodel.units import show_seconds

SLIGHT = 0.005
"""Changes by less than this share are called none."""
TOGETHER = ("kv", "weights", "max_num_seqs", "max_num_batched_tokens", "replicas", "tp", "engine")
"""Keywords whose changes are also tried by twos, where none alone meets the goals."""
LOSSY = ("weights", "kv")
EFFORT = {
    "max_num_seqs": 0, "max_num_batched_tokens": 0, "memory_share": 0, "kv": 1, "tp": 1, "replicas": 1, "weights": 2,
    "speculate": 3, "engine": 4, "gpu": 5,
}  # fmt: skip
"""What is asked of people who make a change: a flag, a restart on other devices, another checkpoint, a draft to train,
another engine, other hardware."""


@dataclass(frozen=True)
class Counterfactual:
    """One change to a deployment.

    change    in words, like "kv=fp8"; "" for the deployment as it is
    settings  the keywords of `estimate` that it changes
    option    what it makes; None where it cannot be, or does not fit, for which `refusal` says why
    """

    change: str
    settings: Mapping[str, Any]
    option: Option | None
    refusal: str = ""

    @property
    def lossy(self) -> bool:
        """Whether it changes what is written, by fewer bits."""
        return any(name in LOSSY for name in self.settings)

    @cached_property
    def carried(self) -> float:
        """The load that all of it carries within the goals."""
        return 0.0 if self.option is None else self.option.structure.most * self.option.carrying

    @cached_property
    def figures(self) -> dict[str, float] | None:
        """Seconds that requests see under the load; None where it is more than can be served at all."""
        option = self.option
        if option is None or option.share > option.structure.reach.carried[0].max():
            return None
        return option.figures

    @property
    def meets(self) -> bool:
        """Whether every goal is kept under the load, by theory."""
        return self.option is not None and self.carried >= self.option.structure.demand.load * (1 - 1e-9)

    def told(self, now: Counterfactual) -> str:
        """Its effect and its price in words: "38 % more requests/s, TPOT −12 %, no cost"."""
        if self.option is None:
            return self.refusal
        parts = []
        carried, unit = self.ratio(now, "carried"), self.option.structure.demand.unit
        if carried is None:
            some = f"{self.carried:.3g} {unit} within the goals"
            parts.append(some if self.carried else f"still no load within the goals ({self._best()})")
        elif abs(carried - 1) < SLIGHT:
            parts.append(f"as many {unit}")
        else:
            parts.append(f"{abs(carried - 1):.0%} {'more' if carried > 1 else 'fewer'} {unit}")
        if self.figures is None:
            parts.append("overrun by this traffic")
        for name in ("ttft", "tpot"):
            found = self.ratio(now, f"{name}_p95_s")
            if found is not None and abs(found - 1) >= SLIGHT:
                parts.append(f"{name.upper()} p95 {found - 1:+.0%}".replace("-", "−"))
        cost = self.ratio(now, "cost") or self.ratio(now, "gpu_count") or 1.0
        parts.append("no cost" if abs(cost - 1) < SLIGHT else f"cost {cost - 1:+.0%}".replace("-", "−"))
        if self.lossy:
            parts.append("changes what is written slightly")
        return ", ".join(parts)

    def _best(self) -> str:
        """What the goal that is missed most comes to without load."""
        assert self.option is not None
        one = self.option.structure
        idle = zip(one.goals, one.reach.idle[:, 0], strict=True)
        goal, seconds = max(idle, key=lambda found: found[1] / found[0].limit_s)
        return f"{goal.title} {show_seconds(float(seconds))} at best"

    def ratio(self, other: Counterfactual, name: str) -> float | None:
        """A figure ("carried", "cost", "gpu_count", or one of `figures`) over that of `other`; None without either."""
        a, b = self.value(name), other.value(name)
        return None if a is None or not b else a / b

    def value(self, name: str) -> float | None:
        if self.option is None:
            return None
        if name == "carried":
            return self.carried
        if name == "cost":
            return self.option.usd_per_month
        if name == "gpu_count":
            return float(self.option.gpu_count)
        return None if self.figures is None else self.figures[name]

    def matters(self, now: Counterfactual) -> bool:
        """Whether it moves anything that is told."""
        names = ("carried", "cost", "gpu_count", "ttft_p95_s", "tpot_p95_s")
        ratios = [self.ratio(now, name) for name in names]
        alike = [r is None or abs(r - 1) < SLIGHT for r in ratios]
        return (
            not all(alike)
            or (self.figures is None) != (now.figures is None)
            or (not now.carried and bool(self.carried))
        )


def suggested(plan: Deployment) -> Iterator[dict[str, Any]]:
    """Changes that suggest themselves for a deployment, a mapping of keywords each."""
    engine, gpu = plan.engine, plan.gpu
    if plan.precision.kv.bits >= 16:
        yield {"kv": "fp8"}
    for weights, bits in (("fp8", 8), ("int8", 8), ("int4", 4)):
        if bits < plan.precision.weights.bits and (
            weights == "int4" or (weights == "fp8") == ("fp8" in gpu.peak_flops)
        ):
            yield {"weights": weights}
    yield {"replicas": plan.replicas + 1}
    if plan.dp == plan.ep == 1:
        yield {"tp": plan.tp * 2, "pp": plan.pp}
        if plan.tp % 2 == 0:
            yield {"tp": plan.tp // 2, "pp": plan.pp, "replicas": plan.replicas * 2}
        if plan.replicas % 2 == 0:
            yield {"tp": plan.tp * 2, "pp": plan.pp, "replicas": plan.replicas // 2}
    if plan.model.has_experts and plan.tp > 1 and plan.dp == 1:
        yield {"tp": 1, "dp": plan.tp, "ep": plan.tp}
    for tokens in (2048, 4096, 8192):
        if tokens != pass_tokens(engine):
            yield {"max_num_batched_tokens": tokens}
    for sequences in (64, 128, 256, 512):
        if sequences < (engine.sequences_limit or 1 << 20):
            yield {"max_num_seqs": sequences}
    if engine.memory_share < 0.95:
        yield {"memory_share": 0.95}
    if plan.speculation is None:
        yield {"speculate": "eagle3"}
    for name in ("vllm", "sglang", "trtllm"):
        if name != engine.name and (gpu.vendor == "NVIDIA" or name != "trtllm"):
            yield {"engine": name}
    for other in gpus_asked(None, prices()):
        if other != gpu.name and load_gpu(other).memory >= gpu.memory * 0.5:
            yield {"gpu": other}
