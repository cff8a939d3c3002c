"""How near the theory of servers in the steady state (perfmodel.serving.steady) comes to their simulation.

    python benchmarks/steady.py [--cases 60] [--seed 1]

Random deployments, lengths and loads; each error is theory over simulation. Loads are shares of the saturation point.
"""

from __future__ import annotations

import argparse
from random import Random
from statistics import median, quantiles

import numpy as np

from perfmodel.errors import PerfModelError
from perfmodel.serving.load import Load
from perfmodel.serving.question import Serving, serve
from perfmodel.serving.steady import Steady
from perfmodel.serving.steps import Steps
from perfmodel.serving.theory import saturation

DEPLOYMENTS = [
    ("llama3-70b", "h100", {"tp": 4}), ("llama3.1-8b", "l40s", {}), ("llama3.1-8b", "h100", {}),
    ("qwen3-30b-a3b", "h200", {"tp": 2}), ("llama3-70b", "h200", {"tp": 8}), ("deepseek-v3", "h200", {"tp": 8}),
    ("qwen3-32b", "a100", {"tp": 2}), ("deepseek-v3", "h200", {"tp": 1, "dp": 8, "ep": 8}),
]  # fmt: skip
FIGURES = [(figure, p) for figure in ("ttft", "tpot", "e2e") for p in (0, 50, 95, 99)]


def case(random: Random) -> tuple[float, Serving]:
    """(share of saturation, answer of the simulation) of one random server."""
    model, gpu, split = random.choice(DEPLOYMENTS)
    prompt, output, cv = (
        random.choice([200, 1024, 4000, 12000]),
        random.choice([64, 256, 800]),
        random.choice([0, 0.5, 1]),
    )
    share = random.choice([0.15, 0.4, 0.6, 0.8])
    asked = {
        "engine": random.choice(["vllm", "vllm", "sglang", "trtllm"]),
        **split,
        "requests": 2000,
        "prompt_lengths": f"lognormal:{prompt},{cv}" if cv else prompt,
        "output_lengths": f"lognormal:{output},{cv}" if cv else output,
    }
    full = saturation(serve(model, gpu, rate=1.0, **asked).load)  # type: ignore[arg-type]
    return share, serve(model, gpu, rate=full.requests_per_s * share, **asked)


def errors(answer: Serving) -> list[float]:
    """ln(theory/simulation) of every figure."""
    load, rate = answer.load, answer.traffic.rate
    assert isinstance(load, Load)
    most = saturation(load).batch / load.plan.dp
    states = Steady(load, Steps.of(load.plan, load.range._replace(most=most)))
    seen = {"ttft": load.ttfts, "tpot": load.tpots, "e2e": load.e2es}
    found = []
    for figure, p in FIGURES:
        theory = float(np.interp(rate, states.rate[0], states.seen(figure, p)[0]))
        found.append(float(np.log(theory / getattr(seen[figure], f"p{p}" if p else "mean"))))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    random, kept = Random(given.seed), []
    while len(kept) < given.cases:
        try:
            share, answer = case(random)
        except PerfModelError:
            continue
        kept.append((share, errors(answer)))
    print(f"{given.cases} servers, seed {given.seed}: theory against simulation")
    print("load             figure     median error   90th   bias")
    for told, low, high in (("up to 0.6", 0.0, 0.7), ("0.8", 0.7, 1.0)):
        for i, (figure, p) in enumerate(FIGURES):
            values = [found[i] for share, found in kept if low < share <= high]
            sizes = [abs(value) for value in values]
            ninth = quantiles(sizes, n=10)[-1]
            name = f"{figure:4} {f'p{p}' if p else 'mean':5}"
            print(f"{told:16} {name} {median(sizes):12.1%} {ninth:7.1%} {median(values):+6.1%}")


if __name__ == "__main__":
    main()
