"""Prefill and decode on workers of their own, under traffic (xPyD)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.expected import STREAMED
from perfmodel.latency import Time
from perfmodel.serving.load import FIRST_SPREAD, STEP_SPREAD, Load, wider
from perfmodel.serving.pools import Handed, Pools, handed, matched
from perfmodel.serving.seen import Distribution, Seen
from perfmodel.serving.simulation import Rules
from perfmodel.serving.theory import Saturation, middle, saturation
from perfmodel.serving.traffic import Traffic


@dataclass(frozen=True)
class Disaggregated(Seen):
    """`traffic` on prefill workers like `filler` and decode workers like `plan`.

    How many there are of one kind, where it is not given, follows from the other: as many as keep pace (matched).
    `together` limits the prompts of a prefill pass.
    """

    plan: Deployment
    filler: Deployment
    traffic: Traffic
    prefill_workers: int | None = None
    decode_workers: int | None = None
    together: int = 1 << 20

    @cached_property
    def decoding(self) -> Load:
        """A decode worker alone, as a server whose prompts are all in its cache."""
        return Load(self.plan, self.traffic)

    @cached_property
    def filling(self) -> Load:
        """A prefill worker alone."""
        return Load(self.filler, self.traffic)

    @property
    def part(self) -> Traffic:
        """All of it: the workers serve it together."""
        return self.traffic

    @property
    def held(self) -> float:
        return self.decoding.held

    @property
    def rules(self) -> Rules:
        return self.decoding.rules

    @property
    def moving_s(self) -> float:
        """Seconds to send the keys and values of a token: each device sends its share over the network that joins the
        workers (the scale-out one; within a node where there is none)."""
        gpu = self.filler.gpu
        link = gpu.scale_out or (gpu.scale_up[-1] if gpu.scale_up else None)
        if link is None:
            return 0.0
        t = self.traffic.prompts.mean
        size = self.filler.model.kv_bytes(t, self.filler.precision, self.filler.tp) / t
        return float(size / (STREAMED * link.bandwidth))

    @cached_property
    def prefill_rate(self) -> float:
        """Requests a second that a prefill worker serves, in passes as full as they may be."""
        prompt = self.traffic.computed
        tokens = max(min(self.filling.rules.budget, self.together * prompt), 1.0)
        return tokens / prompt / self.filling.seconds(tokens, 0.0, 0.0)

    @cached_property
    def decode_rate(self) -> float:
        """Requests a second that a full decode worker serves."""
        load, output = self.decoding, self.traffic.outputs.mean
        batch = min(saturation(load).batch, float(load.most))
        return batch / (output * load.seconds(0.0, batch, middle(load)))

    @cached_property
    def workers(self) -> tuple[int, int]:
        """Prefill and decode workers."""
        x, y = self.prefill_workers, self.decode_workers
        if x is None and y is None:
            return matched(self.prefill_rate, self.decode_rate)
        if x is None:
            return max(round((y or 1) * self.decode_rate / self.prefill_rate), 1), y or 1
        return x, max(round(x * self.prefill_rate / self.decode_rate), 1) if y is None else y

    @property
    def gpu_count(self) -> int:
        x, y = self.workers
        return x * self.filler.gpu_count + y * self.plan.gpu_count

    @cached_property
    def served(self) -> Handed:
        costs, rules = Constants(self.plan.gpu, self.plan.engine).costs, self.decoding.rules
        pools = Pools(
            *self.workers,
            self.filling.seconds,
            self.decoding.seconds,
            self.filling.rules.budget,
            self.together,
            rules.sequences,
            self.held,
            self.moving_s,
            costs.request_s,
            costs.lag,
        )
        return handed(self.drawn, pools, self.traffic.at_once)

    # ── what requests see ────────────────────────────────────────────────────────────────────────

    @property
    def itls(self) -> Distribution:
        """Nothing comes between the steps of a decode worker: those of a request are alike."""
        return self.tpots

    @property
    def ttft(self) -> Time:
        steps = self.filling.steps
        weights = steps.weights([(self.traffic.prompts.mean, 0.0, 0.0, 1.0)])[0]
        return _like(steps.time(weights, 1.0), self.ttfts.mean, wider(steps.prefill_spread, FIRST_SPREAD))

    @property
    def tpot(self) -> Time:
        steps = self.decoding.steps
        weights = steps.weights([(0.0, max(self.running / self.plan.dp, 1.0), middle(self.decoding), 1.0)])[0]
        return _like(steps.time(weights, 1.0), self.tpots.mean, wider(steps.decode_spread, STEP_SPREAD))

    @property
    def e2e(self) -> Time:
        return self.ttft.plus(self.tpot.times(max(self.traffic.outputs.mean - 1, 0)))

    # ── what the workers do ──────────────────────────────────────────────────────────────────────

    @property
    def running(self) -> float:
        """Sequences that a decode worker decodes at once, in the mean of the time that it runs."""
        return self.served.running / self.served.decoding_s if self.served.decoding_s else 0.0

    @property
    def utilisations(self) -> tuple[float, float]:
        """Parts of the time that prefill and decode workers run."""
        x, y = self.workers
        s = self.served
        return s.filling_s / (s.seconds * x), s.decoding_s / (s.seconds * y)

    @property
    def output_rate(self) -> float:
        return self.tokens_out / self.served.seconds

    @property
    def request_rate(self) -> float:
        return self.traffic.requests / self.served.seconds

    @property
    def saturation(self) -> Saturation:
        """The most that the slower pool serves."""
        x, y = self.workers
        most, output = min(x * self.prefill_rate, y * self.decode_rate), self.traffic.outputs.mean
        full = saturation(self.decoding)
        batch = min(full.batch, float(self.decoding.most))
        binds = "prefill workers" if x * self.prefill_rate < y * self.decode_rate else "decode workers"
        return Saturation(batch * y, most, most * output, batch / (output * self.decode_rate), binds)


def _like(time: Time, seconds: float, spread: float) -> Time:
    """A time of so many seconds that is spent as `time` is."""
    return replace(time.times(seconds / time.expected), bound=time.bound, spread=spread)
