"""A question about a server in names and numbers → an answer: what its requests see, and when it is full."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from perfmodel.answer import Estimate, estimate, million_seconds_usd
from perfmodel.deployment import Deployment, split_error
from perfmodel.errors import DoesNotFitError, RequestError
from perfmodel.memory import memory
from perfmodel.placement import too_big
from perfmodel.remedies import ways_out
from perfmodel.serving.disaggregated import Disaggregated
from perfmodel.serving.load import Load
from perfmodel.serving.seen import Distribution
from perfmodel.serving.simulation import POLICIES
from perfmodel.serving.theory import Saturation, saturation
from perfmodel.serving.traffic import Traffic, traffic_asked
from perfmodel.spec import nearest
from perfmodel.workload import OUTPUT, PROMPT, Workload, whole_number


@dataclass(frozen=True)
class Serving:
    """The answer for one deployment under traffic.

    `estimate` is that of a request alone; `load` the simulation; every distribution is in seconds.
    """

    estimate: Estimate
    load: Load | Disaggregated

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
        return saturation(self.load) if isinstance(self.load, Load) else self.load.saturation

    @property
    def usd_per_million_tokens(self) -> float | None:
        """Cost of a million output tokens at this traffic; None where no price is known."""
        price = self.estimate.price_per_hour
        if price is None:
            return None
        return float(million_seconds_usd(price, self.load.gpu_count) / self.load.output_rate)

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        from perfmodel.serving.contract import serving_dict

        return serving_dict(self)

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        from perfmodel.report.notebook import notebook_html

        return str(notebook_html(self))

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
    prefill_workers: int | None = None,
    decode_workers: int | None = None,
    prefill_tp: int | None = None,
    prefill_batch: int | None = None,
    prompt: Any = PROMPT,
    output: Any = OUTPUT,
    batch: Any = 1,
    samples: int = 1,
    beams: int = 1,
    **question: Any,
) -> Serving:
    """The `Serving` of `model` on `gpu` under traffic; other keywords are those of `estimate`.

    `arrival` is "closed" (`concurrency` clients, each of which sends its next request when its last one ends), "open"
    (Poisson arrivals at `rate` requests a second), "burst" (all `requests` at once) or "trace" (a CSV file); it may be
    left out where what is given tells it. Lengths are `prompt` and `output` tokens, or distributions (Lengths, or text
    such as "lognormal:1024,0.8"). `policy` is how the engine makes passes (perfmodel.serving.simulation), its own by
    default. `prefill_workers` or `decode_workers` disaggregate: deployments like that of the question decode, others
    (of `prefill_tp` devices a layer, `prefill_batch` prompts a pass) prefill; how many there are of the kind that is
    not given follows from the other's pace.

    Raises RequestError where the question is wrong, DoesNotFitError where not even one request fits.
    """
    if batch != 1:
        raise RequestError("--batch is for a batch that starts together; a server has --concurrency or --rate.")
    if samples != 1 or beams != 1:
        raise RequestError("--samples and --beams are for estimate; serve completes each request once.")
    prompts, outputs = prompt_lengths or prompt, output_lengths or output
    sent = traffic_asked(prompts, outputs, arrival, concurrency, rate, requests, trace)
    one = estimate(
        model,
        gpu,
        prompt=max(round(sent.prompts.mean), 1),
        output=max(round(sent.outputs.mean), 1),
        batch=1,
        must_fit=False,
        **question,
    )
    sent = replace(sent, cached=one.work.prefix, hit=one.work.prefix_hit)
    if prefill_workers is None and decode_workers is None:
        if prefill_tp is not None or prefill_batch is not None:
            raise RequestError("--prefill-tp and --prefill-batch are for --prefill-workers or --decode-workers.")
        return Serving(one, load_of(one, sent, policy))
    if policy is not None:
        raise RequestError("--policy is for workers that prefill and decode; these do one of both.")
    if one.plan.replicas > 1:
        raise RequestError(
            "--replicas is for deployments that do both; pools have --prefill-workers, --decode-workers."
        )
    load_of(one, sent, None)  # raises where it does not fit
    sizes = [("--prefill-workers", prefill_workers, 1024), ("--decode-workers", decode_workers, 1024)]
    sizes += [("--prefill-tp", prefill_tp, 1024), ("--prefill-batch", prefill_batch, 10**5)]
    x, y, tp, together = (None if n is None else whole_number(n, use, most) for use, n, most in sizes)
    return Serving(one, Disaggregated(one.plan, filler_of(one.plan, tp), sent, x, y, together or 1 << 20))


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


def filler_of(plan: Deployment, tp: int | None) -> Deployment:
    """The deployment of a prefill worker: that of a decode worker, with its own tensor parallelism.

    RequestError for a split that cannot be, DoesNotFitError where it does not hold the model.
    """
    filler = plan if tp is None else plan.split(tp, plan.pp)
    if complaint := split_error(plan.model, plan.gpu, filler.tp, filler.pp):
        raise RequestError(f"--prefill-{complaint}.")
    held = memory(filler, Workload(1, 1, 1))
    if not held.fits:
        raise DoesNotFitError(f"--prefill-tp {tp}: {too_big(filler, held)}", ways_out(filler, Workload(1, 1, 1)))
    return filler
