"""A question about a server in names and numbers → an answer: what its requests see, and when it is full."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from perfmodel.answer import HOUR, MILLION, Estimate, estimate
from perfmodel.errors import DoesNotFitError, RequestError
from perfmodel.memory import memory
from perfmodel.placement import too_big
from perfmodel.remedies import ways_out
from perfmodel.serving.lengths import lengths
from perfmodel.serving.load import Distribution, Load
from perfmodel.serving.simulation import POLICIES
from perfmodel.serving.theory import Saturation, saturation
from perfmodel.serving.trace import trace as read_trace
from perfmodel.serving.traffic import Traffic, traffic
from perfmodel.spec import nearest
from perfmodel.workload import OUTPUT, PROMPT, whole_number

CONCURRENCY = 32
"""Clients of the closed loop that is taken when nothing is said of arrivals."""
FASTEST = 1e7


@dataclass(frozen=True)
class Serving:
    """The answer for one deployment under traffic.

    `estimate` is that of a request alone; `load` the simulation; every distribution is in seconds.
    """

    estimate: Estimate
    load: Load

    @property
    def traffic(self) -> Traffic:
        return self.load.traffic

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the figures rest on."""
        kept = (line for line in self.estimate.assumptions if not line.startswith("static batch"))
        return (*kept, f"every request simulated, pass by pass; drawn with seed {self.traffic.seed}")

    @property
    def distributions(self) -> dict[str, Distribution]:
        """Time to first token, between tokens, per token (a request's mean), end to end."""
        load = self.load
        return {"ttft_s": load.ttfts, "itl_s": load.itls, "tpot_s": load.tpots, "e2e_s": load.e2es}

    @cached_property
    def saturation(self) -> Saturation:
        """The most that the deployment serves of such requests."""
        return saturation(self.load)

    @property
    def utilisation(self) -> float:
        """Part of the time from the first request to the last token in which passes ran."""
        return self.load.served.busy / self.load.served.seconds

    @property
    def usd_per_million_tokens(self) -> float | None:
        """Cost of a million output tokens at this traffic; None where no price is known."""
        price = self.estimate.price_per_hour
        if price is None:
            return None
        return price * self.estimate.plan.gpu_count / HOUR * MILLION / self.load.output_rate

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        from perfmodel.serving.contract import serving_dict

        return serving_dict(self)

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row a request: when it was sent, its lengths, and what it saw."""
        from perfmodel.serving.contract import requests_table

        return requests_table(self).to_frame()


def serve(
    model: Any,
    gpu: Any,
    *,
    arrival: str | None = None,
    concurrency: int | None = None,
    rate: float | None = None,
    requests: int | None = None,
    prompt_lengths: Any = None,
    output_lengths: Any = None,
    trace: str | None = None,
    policy: str | None = None,
    prompt: Any = PROMPT,
    output: Any = OUTPUT,
    batch: Any = 1,
    **question: Any,
) -> Serving:
    """The `Serving` of `model` on `gpu` under traffic; other keywords are those of `estimate`.

    `arrival` is "closed" (`concurrency` clients, each of which sends its next request when its last one ends), "open"
    (Poisson arrivals at `rate` requests a second), "burst" (all `requests` at once) or "trace" (a CSV file); it may be
    left out where what is given tells it. Lengths are `prompt` and `output` tokens, or distributions (Lengths, or text
    such as "lognormal:1024,0.8"). `policy` is how the engine makes passes (perfmodel.serving.simulation), its own by
    default. Raises RequestError where the question is wrong, DoesNotFitError where not even one request fits.
    """
    if batch != 1:
        raise RequestError("--batch is for a batch that starts together; a server has --concurrency or --rate.")
    given = {"closed": concurrency, "open": rate, "trace": trace}
    arrival = arrival or next((name for name, value in given.items() if value is not None), "closed")
    if arrival == "closed" and concurrency is None:
        concurrency = CONCURRENCY
    times = read_trace(trace) if trace is not None and arrival == "trace" else trace
    sent = traffic(
        arrival,
        lengths(prompt if prompt_lengths is None else prompt_lengths, "--prompt-lengths"),
        lengths(output if output_lengths is None else output_lengths, "--output-lengths"),
        None if concurrency is None else whole_number(concurrency, "--concurrency", 10**5),
        _rate(rate),
        None if requests is None else whole_number(requests, "--requests", 10**6),
        times,  # type: ignore[arg-type]
    )
    one = estimate(
        model,
        gpu,
        prompt=max(round(sent.prompts.mean), 1),
        output=max(round(sent.outputs.mean), 1),
        batch=1,
        must_fit=False,
        **question,
    )
    return Serving(one, load_of(one, sent, policy))


def load_of(one: Estimate, sent: Traffic, policy: str | None) -> Load:
    """The simulation of `sent` on the deployment of `one`."""
    plan = one.plan
    if plan.model.bidirectional or not plan.cache:
        why = "writes by denoising" if plan.model.bidirectional else "keeps no cache (--no-kv-cache)"
        raise RequestError(f"{plan.model.name} {why}: batching in flight is for models that keep one.")
    longest = replace(one.work, prompt=round(sent.prompts.high), output=round(sent.outputs.high))
    held = memory(plan, longest if sent.prompts.kind != "lognormal" else one.work)
    if not held.fits:
        raise DoesNotFitError(too_big(plan, held), ways_out(plan, longest))
    if policy is not None and policy not in POLICIES:
        guess = nearest(policy, POLICIES)
        raise RequestError(
            f'--policy: no policy is called "{policy}"; {f"did you mean {guess}?" if guess else ", ".join(POLICIES)}'
        )
    return Load(plan, sent, (("policy", policy),) if policy else ())


def _rate(rate: object) -> float | None:
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= FASTEST:
        raise RequestError(f"--rate must be requests a second, above 0, like 2.5; got {rate!r}.")
    return float(rate)
