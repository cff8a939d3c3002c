"""What users send over time: how long requests are, and when they come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from perfmodel.errors import RequestError
from perfmodel.serving.lengths import Lengths
from perfmodel.serving.simulation import Request
from perfmodel.spec import nearest

ARRIVALS = ("closed", "open", "burst", "trace")
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
    cached       tokens before each prompt whose keys and values are there already
    times        of a trace: when each request comes, with its lengths
    """

    arrival: str
    prompts: Lengths
    outputs: Lengths
    concurrency: int | None = None
    rate: float | None = None
    requests: int = FEWEST
    cached: int = 0
    times: tuple[tuple[float, int, int], ...] = ()
    seed: int = SEED

    def drawn(self) -> list[Request]:
        """The requests; the same for the same seed."""
        if self.times:
            return [Request(prompt, output, at, self.cached) for at, prompt, output in self.times]
        random = Random(self.seed)
        prompts, outputs = (lengths.drawn(random, self.requests) for lengths in (self.prompts, self.outputs))
        found = [Request(p, o, 0.0, self.cached) for p, o in zip(prompts, outputs, strict=True)]
        if self.arrival != "open":
            return found
        at, rate = 0.0, self.rate or 1.0
        for i, request in enumerate(found):
            found[i] = request._replace(sent=at)
            at += random.expovariate(rate)
        return found

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
