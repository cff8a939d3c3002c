"""What must be served: how much traffic there is, how long requests are, and how both grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfmodel.errors import RequestError
from perfmodel.serving.lengths import Lengths, lengths
from perfmodel.serving.trace import trace as read_trace
from perfmodel.serving.traffic import FASTEST, Traffic
from perfmodel.workload import OUTPUT, PROMPT

SIMULATED = 2000
"""Requests by which a plan is simulated: at the 99th percentile twenty of them are slower."""
WINDOW_S = 60.0
"""Width of the windows by which the busiest time of a trace is told."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Traffic that a plan must carry.

    rate      requests a second in the mean; or
    users     people who each wait `think_s` after an answer before they send again
    peak      busiest time over the mean
    growth    by which traffic grows in a month, over `months`
    cached    leading tokens that prompts share and the cache holds, for a share `hit` of them
    source    where rate and peak come from, where a trace told them
    """

    prompts: Lengths
    outputs: Lengths
    rate: float | None = None
    users: float | None = None
    think_s: float = 0.0
    peak: float = 1.0
    growth: float = 0.0
    months: float = 0.0
    cached: int = 0
    hit: float = 1.0
    source: str = ""

    @property
    def interactive(self) -> bool:
        """Whether users, and not a rate, are given."""
        return self.users is not None

    @property
    def factor(self) -> float:
        """Traffic to plan for, over the traffic now: peak·(1 + growth)^months."""
        return float(self.peak * (1 + self.growth) ** self.months)

    @property
    def now(self) -> float:
        """Requests a second, or users, now and in the mean."""
        return float(self.users if self.users is not None else self.rate or 0.0)

    @property
    def load(self) -> float:
        """Requests a second, or users at once, to plan for."""
        return self.now * self.factor

    @property
    def unit(self) -> str:
        return "users" if self.interactive else "requests/s"

    def traffic(self, rate: float) -> Traffic:
        """Poisson arrivals of such requests; many users who think a while send as good as at random."""
        return Traffic("open", self.prompts, self.outputs, None, rate, SIMULATED, self.cached, self.hit)


def demand(
    *,
    rate: float | None = None,
    users: float | None = None,
    think_time: float | None = None,
    prompt: object = PROMPT,
    output: object = OUTPUT,
    prompt_lengths: object = None,
    output_lengths: object = None,
    trace: str | None = None,
    peak: float | None = None,
    growth: float = 0.0,
    months: float = 0.0,
    prefix: int = 0,
    prefix_hit: float = 1.0,
) -> Demand:
    """The demand of flags; RequestError in one sentence where they contradict or cannot be.

    Lengths are the distributions, else those of the trace, else `prompt` and `output`.
    """
    source = ""
    if trace is not None:
        times = read_trace(trace)
        if prompt_lengths is None:
            prompt_lengths = Lengths.sample([t[1] for t in times])
        if output_lengths is None:
            output_lengths = Lengths.sample([t[2] for t in times])
        mean, busiest = _paces([t[0] for t in times])
        source = f"{trace}: {len(times):,} requests, {mean:.3g} a second"
        if rate is None and users is None:
            rate = mean
            if peak is None and busiest > mean:
                peak = busiest / mean
                source += f", {busiest:.3g} in the busiest minute"
    prompts = lengths(prompt if prompt_lengths is None else prompt_lengths, "--prompt-lengths")
    outputs = lengths(output if output_lengths is None else output_lengths, "--output-lengths")
    if (rate is None) == (users is None):
        raise RequestError("A plan needs traffic: --rate (requests a second), --users (people), or --trace FILE.")
    if think_time is not None and users is None:
        raise RequestError("--think-time is how long users wait before they send again; it needs --users.")
    if users is not None and think_time is None:
        raise RequestError('--users needs --think-time, like "30 s": how long they read and write between requests.')
    found = Demand(
        prompts,
        outputs,
        None if rate is None else _number("--rate", rate, 0, FASTEST, "requests a second, like 2.5"),
        None if users is None else _number("--users", users, 0, 1e9, "people, like 500"),
        _number("--think-time", think_time or 0.0, 0, 86_400, "seconds, like 30", ends=True),
        _number("--peak", 1.0 if peak is None else peak, 0, 1000, "busiest time over the mean, like 2.5"),
        _number("--growth", growth, -1, 10, "a share a month, like 0.05"),
        _number("--months", months, 0, 600, "a number of months, like 12", ends=True),
        prefix,
        prefix_hit,
        source,
    )
    if prefix and prefix > found.prompts.mean:
        raise RequestError(f"--prefix {prefix} is longer than the {found.prompts.mean:,.0f} tokens of a mean prompt.")
    return found


def _number(flag: str, value: object, low: float, high: float, told: str, ends: bool = False) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not (low < value <= high or (ends and value == low))
    ):
        raise RequestError(f"{flag} must be {told}; got {value!r}.")
    return float(value)


def _paces(times: Sequence[float]) -> tuple[float, float]:
    """(requests a second in the mean, in the busiest window) of arrivals at `times`."""
    first, last = min(times), max(times)
    if last <= first:
        raise RequestError("--trace: all its requests come at once, which tells no rate; give --rate too.")
    counts: dict[int, int] = {}
    for at in times:
        window = int((at - first) / WINDOW_S)
        counts[window] = counts.get(window, 0) + 1
    whole = [n for window, n in counts.items() if (window + 1) * WINDOW_S <= last - first]
    mean = (len(times) - 1) / (last - first)
    return mean, max([n / WINDOW_S for n in whole], default=mean)
