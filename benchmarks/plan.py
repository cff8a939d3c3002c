"""How fast a capacity plan is found, and what bounds and theory save.

    python benchmarks/plan.py [--deployments 50000]

Three searches of one question in one run: all deployments with bounds, without, and what simulating each of them would
take (from a few, chosen at random). The answers of the first two must be the same.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from random import Random

from perfmodel.catalog import load_model
from perfmodel.planning.demand import demand
from perfmodel.planning.goals import goals
from perfmodel.planning.option import Constraints
from perfmodel.planning.pools import pairs
from perfmodel.planning.prices import prices
from perfmodel.planning.search import searched
from perfmodel.planning.space import Space, gpus_asked

LIMITS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 448, 512, 640, 768)
SAMPLE = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=50_000)
    most = parser.parse_args().deployments
    priced = prices()
    wanted = demand(rate=40.0, prompt_lengths="lognormal:1024,0.8", output_lengths=256)
    promised = goals(["ttft p95 < 1 s", "tpot p95 < 50 ms"])
    space = Space(
        load_model("llama3-70b"),
        gpus_asked(None, priced),
        weights=("bf16", "fp8", "int4"),
        kv=("bf16", "fp8"),
        engines=("vllm", "sglang"),
        sequences=LIMITS,
        budgets=(1024, 2048, 3072, 4096, 6144),
        disaggregated=False,
    )
    structures, count = [], 0
    for one in space.structures(wanted, promised, priced):
        if count >= most:
            break
        if not isinstance(one, str):
            structures.append(one)
            count += len(one.variants) if one.fits else 0
    found = {}
    for name, prune in (("with bounds", True), ("without bounds", False)):
        fresh = [replace(one) for one in structures]  # nothing worked out yet
        start = time.perf_counter()
        found[name] = searched(fresh, Constraints(spare=1), prune=prune)
        winner = found[name].winner
        seconds = time.perf_counter() - start
        told = "nothing" if winner is None else f"{winner.gpu_count} × {winner.title}"
        tried = found[name].tried
        print(f"{name:15} {tried:,} deployments in {seconds:.1f} s, {tried / seconds:,.0f} a second: {told}")
        print(f"{'':15} {len(found[name].passed):,} of {len(fresh):,} structures ruled out by bounds")
    same = [o.point for o in found["with bounds"].front] == [o.point for o in found["without bounds"].front]
    print(f"the same front: {same}")
    options = Random(1).sample(found["without bounds"].options, SAMPLE)
    start = time.perf_counter()
    for option in options:
        _ = replace(option).seen
    each = (time.perf_counter() - start) / SAMPLE
    every = each * found["without bounds"].tried / 60
    print(f"a simulation takes {each * 1e3:.0f} ms: of all of them {every:,.0f} minutes")
    fitting = [one for one in structures if one.fits][:200]
    start = time.perf_counter()
    together = list(pairs(fitting, fitting, Constraints(spare=1)))
    seconds = time.perf_counter() - start
    print(f"prefill and decode apart: {len(together):,} pairs of 200 structures in {seconds:.1f} s")


if __name__ == "__main__":
    main()
