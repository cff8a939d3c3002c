"""What theory says of a server: when it is full, and how long requests wait before.

The engine is one server whose passes serve all running requests together. A request brings prefill work and tokens;
the larger the batch, the more tokens a second, up to what memory or the engine's limits hold. From that follow, in
closed form, the most requests a second (the point of saturation), and by the theory of queues what a request waits
for below that point. The simulation needs none of it; each checks the other.
"""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.arithmetic import Number, minimum
from perfmodel.serving.load import Load
from perfmodel.serving.steps import Steps


class Saturation(NamedTuple):
    """The most that a deployment serves.

    batch           sequences at once, as many as memory and limits hold
    requests_per_s  requests a second in the steady state of that batch
    tokens_per_s    output tokens a second
    tpot_s          time per token there
    binds           "memory" or "limit": what holds no more sequences
    """

    batch: float
    requests_per_s: float
    tokens_per_s: float
    tpot_s: float
    binds: str


def saturation(load: Load) -> Saturation:
    """The steady state of a full server.

    With b sequences running, each step of t(b, s) seconds yields b tokens, and each request of T tokens needs one
    prefill, which takes p seconds more than the steps that it rides in:

        rate = 1/(T·t(b, s)/b + p),   s = S + T/2
    """
    t, rules = load.traffic, load.rules
    held, limit = places(load, rules.sequences, rules.budget, load.held)
    batch = max(min(held, float(limit)), 1.0)
    dp, replicas = load.plan.dp, load.plan.replicas
    steps = Steps.of(load.plan, load.range._replace(most=batch / dp))
    step = steps.seconds(0.0, batch / dp, middle(load))
    each = t.outputs.mean * step / batch + prefill_s(load, steps, batch / dp) / dp
    rate = replicas / each
    binds = "memory" if held < limit else "limit"
    return Saturation(replicas * batch, rate, t.outputs.mean * rate, each * batch / t.outputs.mean, binds)


def places(load: Load, sequences: Number, budget: Number, kept: Number) -> tuple[Number, Number]:
    """Sequences at once, as many as memory and as many as limits hold, of numbers or arrays.

    A running sequence holds its prompt and on average half of its output, unless all of it was set aside.
    """
    t, rules = load.traffic, load.rules
    length = t.prompts.mean + t.outputs.mean
    held = kept / (length if rules.reserves else length - t.outputs.mean / 2)
    return held, minimum(sequences, budget) if rules.policy == "mixed" else sequences


def middle(load: Load) -> float:
    """Mean context of a decoding sequence, S + T/2."""
    t = load.traffic
    return t.prompts.mean + t.outputs.mean / 2


def prefill_s(load: Load, steps: Steps, decodes: float, tokens: float | None = None) -> float:
    """Seconds that one prompt adds to a rank's work beside `decodes` sequences, in passes of `tokens` prompt tokens (as
    full as the budget lets them be)."""
    rules, prompt = load.rules, load.traffic.computed
    room = max(rules.budget / load.plan.dp - (decodes if rules.policy == "mixed" else 0), 1)
    tokens = min(room, prompt * max(decodes, 1)) if tokens is None else tokens
    if rules.policy == "mixed":
        whole = steps.seconds(tokens, decodes, middle(load)) - steps.seconds(0.0, decodes, middle(load))
    else:
        whole = steps.seconds(tokens, 0.0, 0.0)
    return whole * prompt / tokens


class OpenLoop(NamedTuple):
    """Means of a server under Poisson arrivals, below saturation.

    running  sequences at once
    busy     part of the time that prompts take of the engine
    """

    running: float
    busy: float
    ttft_s: float
    tpot_s: float


def open_loop(load: Load) -> OpenLoop | None:
    """The steady state at a rate λ, in closed form; None at or beyond saturation.

    Prompts take λ·p of the engine's time, and decodes the rest, so that a token comes every t(b, s)/(1 − λ·p). By
    Little's law (1961) b = λ·T·tpot sequences decode, which is solved for b by repetition. A prompt waits for the pass
    that is under way, and for the prompts before it, as in a queue of one server (waiting_s).
    """
    t, groups = load.traffic, load.plan.dp * load.plan.replicas
    full = saturation(load)
    if t.rate is None or t.rate >= full.requests_per_s:
        return None
    rate, most = t.rate / groups, max(full.batch / groups, 1.0)
    steps = Steps.of(load.plan, load.range._replace(most=most))
    running = 1.0
    for _ in range(200):
        batch = min(max(running, 1.0), most)
        alone = prefill_s(load, steps, batch, t.computed)
        step = steps.seconds(0.0, batch, middle(load))
        tpot = step / max(1 - rate * alone, 1e-3)
        running = (running + rate * t.outputs.mean * tpot) / 2
    squares = alone**2 * t.prompts.squares / t.prompts.mean**2
    under_way = min(running, 1.0) * step / 2
    waits = waiting_s(rate, alone, squares) + under_way
    way = load.rules.request_s + load.rules.lag * step
    return OpenLoop(groups * running, rate * alone, way + waits + alone + step, tpot)


def waiting_s(rate: float, service_s: float, squares: float) -> float:
    """Mean wait in a queue of one server with Poisson arrivals; `service_s` is E[S] and `squares` E[S²].

    Infinite from λ·E[S] = 1 on.
    """
    busy = rate * service_s
    return float("inf") if busy >= 1 else float(queued_s(busy, squares / (2 * service_s)))


def queued_s(busy: Number, left_s: Number) -> Number:
    """The same of a server that is `busy` that part of the time: ρ/(1 − ρ)·E[S²]/(2·E[S]) (Pollaczek 1930; Khinchine
    1932), where `left_s` is E[S²]/(2·E[S]), what is left in the mean of a service that is under way.
    """
    return busy / (1 - busy) * left_s
