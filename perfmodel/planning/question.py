"""A question about capacity in names and numbers → a `Plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import Any

from perfmodel.cache.formats import cache_format
from perfmodel.engine import engine as engine_named
from perfmodel.errors import RequestError
from perfmodel.exempt import recipe
from perfmodel.model import Model
from perfmodel.planning.answer import Plan
from perfmodel.planning.demand import demand
from perfmodel.planning.goals import goals_or_usual
from perfmodel.planning.option import OBJECTIVES, Constraints
from perfmodel.planning.pools import pairs
from perfmodel.planning.prices import Prices
from perfmodel.planning.prices import prices as prices_asked
from perfmodel.planning.search import searched
from perfmodel.planning.space import BUDGETS, SEQUENCES, SIZES, Space, gpus_asked, model_asked
from perfmodel.precision import number_format
from perfmodel.spec import nearest
from perfmodel.workload import OUTPUT, PROMPT, whole_number


def plan(
    model: str | Model,
    gpu: str | Sequence[str] | None = None,
    *,
    rate: float | None = None,
    users: float | None = None,
    think_time: float | None = None,
    trace: str | None = None,
    prompt: Any = PROMPT,
    output: Any = OUTPUT,
    prompt_lengths: Any = None,
    output_lengths: Any = None,
    peak: float | None = None,
    growth: float = 0.0,
    months: float = 0.0,
    ttft: float | str | None = None,
    tpot: float | str | None = None,
    e2e: float | str | None = None,
    goals: Any = None,
    spare: int = 0,
    minimize: str = "cost",
    max_gpus: int | None = None,
    budget: float | None = None,
    max_power: float | None = None,
    prices: str | None = None,
    region: str | None = None,
    price: Mapping[str, float] | None = None,
    gpus_per_replica: Sequence[int] | None = None,
    weights: str | Sequence[str] | None = None,
    kv: str | Sequence[str] | None = None,
    engine: str | Sequence[str] = "vllm",
    max_num_seqs: Sequence[int] | int | None = None,
    max_num_batched_tokens: Sequence[int] | int | None = None,
    disaggregated: bool = True,
    confidence: float | None = None,
    draft: str | None = None,
    speculate: str | None = None,
    draft_tokens: int | None = None,
    acceptance: Any = None,
    accepted_length: float | None = None,
    prefix: int = 0,
    prefix_hit: float = 1.0,
    memory_share: float | None = None,
    exempt: str | None = None,
    assume: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """The cheapest deployments of `model` that serve the traffic within the goals.

    Traffic is `rate` (requests a second), `users` who each wait `think_time` seconds between answer and next request,
    or a `trace` (CSV), times `peak` and `growth` a month over `months`; lengths are numbers or distributions
    (serving.lengths). Goals are seconds or texts at p95 (`ttft`, `tpot`, `e2e`) and `goals`, texts such as
    "ttft p99 < 2 s"; `spare` replicas may be out of service. The search goes over `gpu` (all with a price by default),
    1, 2, 4 and 8 devices a replica (`gpus_per_replica`) in every split, formats of `weights` and `kv`, engines, their
    limits, with and without speculation, and prefill and decode together and apart. `minimize` is "cost", "gpus" or
    "power"; `max_gpus`, `budget` (USD a month) and `max_power` (W) limit it. With `confidence` times are taken as slow
    as they may be with that certainty. Raises RequestError or SpecError where the question is wrong.
    """
    needed = demand(
        rate=rate, users=users, think_time=think_time, trace=trace, peak=peak, growth=growth, months=months,
        prompt=prompt, output=output, prompt_lengths=prompt_lengths, output_lengths=output_lengths,
        prefix=prefix, prefix_hit=prefix_hit,
    )  # fmt: skip
    promised, assumed = goals_or_usual(goals, ttft=ttft, tpot=tpot, e2e=e2e)
    constraints = _constraints(minimize, spare, max_gpus, budget, max_power)
    priced = prices_asked(prices, region, price)
    spec = model_asked(model, assume)
    options = {"prefix": prefix, "prefix_hit": prefix_hit, "memory_share": memory_share, "exempt": exempt}
    guessing = {
        "draft": draft, "speculate": speculate, "draft_tokens": draft_tokens, "acceptance": acceptance,
        "accepted_length": accepted_length,
    }  # fmt: skip
    guessing = {name: value for name, value in guessing.items() if value is not None}
    space = Space(
        spec,
        gpus_asked([gpu] if isinstance(gpu, str) else gpu, priced),
        _sizes(gpus_per_replica),
        _formats(weights) or ((None,) if spec.quantization else (None, "fp8")),
        _formats(kv) or (None,),
        (engine,) if isinstance(engine, str) else tuple(engine),
        ({}, guessing) if guessing else ({},),
        _limits(max_num_seqs, SEQUENCES, "--max-num-seqs"),
        _limits(max_num_batched_tokens, BUDGETS, "--max-num-batched-tokens"),
        disaggregated and not needed.interactive,
        {name: value for name, value in options.items() if value not in (None, 0) and (name != "prefix_hit" or prefix)},
    )
    _known(space)
    _priced(space, priced, constraints)
    sigmas = 0.0 if confidence is None else NormalDist().inv_cdf(_confidence(confidence))
    found = searched(
        space.structures(needed, promised, priced, sigmas),
        constraints,
        progress,
        paired=pairs if space.disaggregated else None,
    )
    return Plan(needed, promised, constraints, space, priced, found, confidence, assumed)


def _constraints(minimize: str, spare: int, gpus: object, budget: object, power: object) -> Constraints:
    if minimize not in OBJECTIVES:
        guess = nearest(str(minimize), OBJECTIVES) or "cost"
        raise RequestError(f'--minimize must be {", ".join(OBJECTIVES)}; got "{minimize}" (did you mean {guess}?).')
    if isinstance(spare, bool) or not isinstance(spare, int) or not 0 <= spare <= 100:
        raise RequestError(f"--spare must be a number of replicas from 0 to 100, like 1 for N+1; got {spare!r}.")
    for flag, value, told in (("--budget", budget, "USD a month"), ("--max-power", power, "kW")):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0):
            raise RequestError(f"{flag} must be {told}, above 0; got {value!r}.")
    most = None if gpus is None else int(whole_number(gpus, "--max-gpus"))
    return Constraints(minimize, spare, most, budget, power)  # type: ignore[arg-type]


def _confidence(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.5 <= value < 1:
        raise RequestError(f"--confidence must be from 0.5 to below 1, like 0.9; got {value!r}.")
    return float(value)


def _sizes(given: Sequence[int] | int | None) -> tuple[int, ...]:
    if given is None:
        return SIZES
    found = [given] if isinstance(given, int) else list(given)
    return tuple(sorted({int(whole_number(n, "--gpus-per-replica", 1024)) for n in found}))


def _formats(given: str | Sequence[str] | None) -> tuple[str | None, ...]:
    found = [given] if isinstance(given, str) else list(given or ())
    return tuple(None if name == "auto" else name for name in dict.fromkeys(found))


def _limits(given: Sequence[int] | int | None, usual: tuple[int, ...], flag: str) -> tuple[int, ...]:
    if given is None:
        return usual
    found = [given] if isinstance(given, int) else list(given)
    return tuple(int(whole_number(n, flag)) for n in dict.fromkeys(found))


def _known(space: Space) -> None:
    """RequestError for a format or an engine that nobody knows, and for models that no server batches in flight."""
    if space.model.bidirectional:
        raise RequestError(
            f"{space.model.name} writes by denoising: plans are for models that write token by token; see estimate."
        )
    for weights in filter(None, space.weights):
        number_format(recipe(weights, None)[0] or weights, "--weights")
    for kv in filter(None, space.kv):
        cache_format(kv, "--kv")
    for name in space.engines:
        engine_named(name.partition("@")[0])


def _priced(space: Space, prices: Prices, constraints: Constraints) -> None:
    """RequestError where money decides and a device has no price."""
    from perfmodel.catalog import load_gpu

    if constraints.objective != "cost" and constraints.budget is None:
        return
    if not space.gpus:
        raise RequestError("No GPU has a price; give --price NAME=USD or --prices FILE.")
    for name in space.gpus:
        if prices.of(load_gpu(name)) is None:
            raise RequestError(
                f"{name} has no price: give --price {name}=USD (a device and hour), --prices FILE, or --minimize gpus."
            )
