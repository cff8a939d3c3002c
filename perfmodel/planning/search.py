"""The cheapest deployments that keep every goal: theory for all of them, the simulation for those that matter.

A structure is worth as many replicas as its reach asks for. Structures are looked at from the least that physics lets
them cost; one that cannot be on the front, even so, is passed over. The rest is sorted, and simulated from the
cheapest on until one keeps every goal there too. So the answer is that of trying all of them (tests/test_planning.py).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from perfmodel.planning.bounds import Least
from perfmodel.planning.option import Constraints, Option, Point, options_of
from perfmodel.planning.space import Structure

MOST_SIMULATED = 400
"""Options that are simulated before a search gives up: half a minute."""
FURTHER = 8
"""Replicas more than theory asks for that are tried in the simulation before a structure is given up."""


@dataclass(frozen=True)
class Searched:
    """What a search found.

    options   of every structure that can keep the goals, by theory, cheapest first
    failed    structures that fit, and miss a goal even without load
    passed    structures that physics ruled out, with the least that they could be worth
    refused   sentences for what cannot be
    unfit     how many structures do not hold the model
    tried     deployments that were looked at or ruled out: structures times limits
    """

    options: tuple[Option, ...]
    failed: tuple[Structure, ...]
    passed: tuple[tuple[Structure, float], ...]
    refused: tuple[str, ...]
    unfit: int
    tried: int

    @cached_property
    def front(self) -> tuple[Option, ...]:
        """Options that none beats in cost, end-to-end time and load per device."""
        return tuple(front(self.options))

    @cached_property
    def winner(self) -> Option | None:
        """The cheapest that the simulation confirms within the constraints; None where there is none."""
        return next(confirmed(self.options), None)


def searched(
    structures: Iterable[Structure | str],
    constraints: Constraints,
    progress: Callable[[int, int], None] | None = None,
    prune: bool = True,
    paired: Callable[[Sequence[Structure], Sequence[Structure], Constraints], Iterable[Option]] | None = None,
) -> Searched:
    """Every structure against its goals; `progress` is told how many of how many are done.

    One whose steps or answers cannot, by physics, be as short as a goal asks is ruled out, and so is one whose least
    cost, latency and devices are beaten already. `paired` makes further options of structures together, those that may
    prefill and those that may decode (planning.pools.pairs); then the latter is not done, for one that is nothing by
    itself may be good at half of the work.
    """
    known: dict[int, Least] = {}
    found: list[tuple[Point, int, Structure]] = []
    hopeless: list[tuple[Structure, float]] = []
    fillers: list[Structure] = []
    refused: list[str] = []
    unfit = 0
    for one in structures:
        if isinstance(one, str):
            refused.append(one)
        elif not one.fits:
            unfit += 1
        else:
            fillers.append(one)
            least, point = _least(one, constraints, known)
            if prune and least.misses(one.goals, one.gpu_count):
                hopeless.append((one, point.cost))
            else:
                found.append((point, len(found), one))
    found.sort(key=lambda entry: entry[:2])
    options: list[Option] = []
    failed: list[Structure] = []
    passed = list(hopeless)
    best: list[Point] = []
    for done, (point, _, one) in enumerate(found):
        if progress is not None:
            progress(done, len(found))
        if prune and paired is None and any(other.beats(point) for other in best):
            passed.append((one, point.cost))
            continue
        option = options_of(one, constraints)
        if option is None:
            failed.append(one)
            continue
        options.append(option)
        if not any(other.beats(option.point) for other in best):
            best = [other for other in best if not option.point.beats(other)] + [option.point]
    tried = sum(len(one.variants) for one in fillers)
    if paired is not None:
        together = list(paired(fillers, [one for _, _, one in found], constraints))
        tried += len(together)
        options += together
    options.sort(key=order)
    return Searched(tuple(options), tuple(failed), tuple(passed), tuple(dict.fromkeys(refused)), unfit, tried)


def order(option: Option) -> tuple[float, int, float]:
    """Cheapest first; of equals the fewest devices, then what may carry most."""
    return option.worth, option.gpu_count, -option.hoped.per_gpu


def _least(one: Structure, constraints: Constraints, known: dict[int, Least]) -> tuple[Least, Point]:
    """Bounds of a structure, and the best point that they allow it."""
    whole = one.plan.whole()
    key = hash((whole.gpu.name, whole.precision, whole.engine.runs, whole.speculation, id(one.asked)))
    least = known.get(key)
    if least is None:
        known[key] = least = Least.of(one.plan, one.demand)
    n = one.gpu_count
    worth = Option(one, least.replicas(n), constraints).worth
    per_gpu = 1 / least.request_s(n) if not one.demand.interactive else float("inf")
    return least, Point(worth, least.e2e_s(n), per_gpu)


def front(options: Sequence[Option]) -> list[Option]:
    """Options that no other beats, cheapest first; of equals the first."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda one: (one.worth, one.hoped.e2e_s, -one.hoped.per_gpu)):
        if any(other.point.beats(option.hoped) for other in kept):
            continue
        point = option.point
        if not any(other.point.beats(point) or other.point == point for other in kept):
            kept = [other for other in kept if not point.beats(other.point)] + [option]
    return kept


def confirmed(options: Sequence[Option]) -> Iterator[Option]:
    """Options that the simulation confirms within the constraints, cheapest first.

    One that it does not is tried with ever one replica more, where that is still cheaper than what comes next. After
    MOST_SIMULATED it ends: theory and simulation then disagree on all that is cheap.
    """
    left = MOST_SIMULATED
    queue = [(order(option), i, option) for i, option in enumerate(options)]
    heapq.heapify(queue)
    first = {i: option.carrying for i, option in enumerate(options)}
    while queue:
        _, i, option = heapq.heappop(queue)
        if not option.affordable:
            continue
        if (left := left - 1) < 0:
            return
        if option.kept:
            yield option
        elif option.carrying < first[i] + FURTHER:
            following = option.more()
            heapq.heappush(queue, (order(following), i, following))
