"""What users send over time: how long requests are, and when they come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from perfmodel.errors import RequestError
from perfmodel.serving.lengths import Lengths, lengths
from perfmodel.serving.simulation import Request
from perfmodel.serving.trace import trace as read_trace
from perfmodel.spec import nearest
from perfmodel.workload import whole_number

ARRIVALS = ("closed", "open", "burst", "trace")
CONCURRENCY = 32
"""Clients of the closed loop that is taken when nothing is said of arrivals."""
ROUNDS, FEWEST, MOST = 10, 100, 5000
"""Requests of a closed loop for each that is in flight, as benchmarks usually send; and ends of how many are simulated
where nothing is stated."""
SEED = 2026


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests, and by which process they arrive.

    arrival      "closed": `concurrency` clients, each of which sends its next request when its last one ends, all of
                 them their first at once, as benchmark tools do; "open": Poisson arrivals at `rate`, whatever the
                 server does; "burst": all requests at once; "trace": as the trace says
    prompts, outputs  their lengths
    requests     how many there are
    cached       leading tokens of a prompt whose keys and values are there already, for a share `hit` of the requests
    times        of a trace: when each request comes, with its lengths
    """

    arrival: str
    prompts: Lengths
    outputs: Lengths
    concurrency: int | None = None
    rate: float | None = None
    requests: int = FEWEST
    cached: int = 0
    hit: float = 1.0
    times: tuple[tuple[float, int, int], ...] = ()
    seed: int = SEED

    def drawn(self) -> list[Request]:
        """The requests; the same for the same seed."""
        random, at = Random(self.seed), 0.0
        if self.times:
            return [self._request(prompt, output, sent, random) for sent, prompt, output in self.times]
        prompts, outputs = (lengths.drawn(random, self.requests) for lengths in (self.prompts, self.outputs))
        found = []
        for prompt, output in zip(prompts, outputs, strict=True):
            found.append(self._request(prompt, output, at, random))
            at += random.expovariate(self.rate) if self.arrival == "open" and self.rate else 0.0
        return found

    def _request(self, prompt: int, output: int, sent: float, random: Random) -> Request:
        """At least the last token of a prompt is computed, for its logits."""
        cached = min(self.cached, prompt - 1)
        if cached and self.hit < 1 and random.random() >= self.hit:
            cached = 0
        return Request(prompt - cached, output, sent, cached)

    @property
    def computed(self) -> float:
        """Mean of prompt tokens that are not found in the cache."""
        return self.prompts.mean - self.hit * min(self.cached, self.prompts.mean - 1)

    @property
    def at_once(self) -> int | None:
        """Clients of a closed loop; None where requests come by themselves."""
        return self.concurrency if self.arrival == "closed" else None

    def shared(self, servers: int) -> Traffic:
        """One of `servers` equal parts of it: each of so many servers takes every so many-th request."""
        if servers == 1:
            return self
        return replace(
            self,
            concurrency=None if self.concurrency is None else -(-self.concurrency // servers),
            rate=None if self.rate is None else self.rate / servers,
            requests=-(-self.requests // servers),
            times=self.times[::servers],
        )


def traffic(
    arrival: str,
    prompts: Lengths,
    outputs: Lengths,
    concurrency: int | None,
    rate: float | None,
    requests: int | None,
    times: list[tuple[float, int, int]] | None = None,
) -> Traffic:
    """Traffic of flags; RequestError where they contradict."""
    if arrival not in ARRIVALS:
        guess = nearest(arrival, ARRIVALS)
        hint = f"did you mean {guess}?" if guess else "known: " + ", ".join(ARRIVALS)
        raise RequestError(f'--arrival: no arrival process is called "{arrival}"; {hint}')
    needs = {"closed": ("--concurrency", concurrency), "open": ("--rate", rate), "trace": ("--trace", times)}
    if arrival in needs and needs[arrival][1] is None:
        raise RequestError(f"--arrival {arrival} needs {needs[arrival][0]}.")
    for name, (flag, value) in needs.items():
        if name != arrival and value is not None:
            raise RequestError(f"{flag} is for --arrival {name}; this is --arrival {arrival}.")
    if arrival == "trace":
        assert times
        sampled = Lengths.sample([t[1] for t in times]), Lengths.sample([t[2] for t in times])
        return Traffic(arrival, *sampled, requests=len(times), times=tuple(times))
    usual = FEWEST if arrival == "burst" else min(max(ROUNDS * (concurrency or 100), FEWEST), MOST)
    if concurrency is not None:
        usual = max(usual, concurrency)
    return Traffic(arrival, prompts, outputs, concurrency, rate, requests or usual)


FASTEST = 1e7
"""Requests a second beyond which a rate is a mistake."""


def traffic_asked(
    prompts: object,
    outputs: object,
    arrival: str | None = None,
    concurrency: object = None,
    rate: object = None,
    requests: object = None,
    trace: str | None = None,
) -> Traffic:
    """Traffic as it was asked for; what is given tells how requests arrive. RequestError where it cannot be."""
    given = {"closed": concurrency, "open": rate, "trace": trace}
    arrival = arrival or next((name for name, value in given.items() if value is not None), "closed")
    if arrival == "closed" and concurrency is None:
        concurrency = CONCURRENCY
    times = read_trace(trace) if trace is not None and arrival == "trace" else trace
    return traffic(
        arrival,
        lengths(prompts, "--prompt-lengths"),
        lengths(outputs, "--output-lengths"),
        None if concurrency is None else int(whole_number(concurrency, "--concurrency", 10**5)),
        _rate(rate),
        None if requests is None else int(whole_number(requests, "--requests", 10**6)),
        times,  # type: ignore[arg-type]
    )


def _rate(rate: object) -> float | None:
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= FASTEST:
        raise RequestError(f"--rate must be requests a second, above 0, like 2.5; got {rate!r}.")
    return float(rate)
