"""How sure an option is, what breaks first if traffic grows, and which input moves it most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from perfmodel.gpu import GPU
from perfmodel.planning.option import Option
from perfmodel.planning.search import order
from perfmodel.planning.space import Structure
from perfmodel.sensitivity import SHARE, with_bandwidth, with_links, with_peaks

SURE = 0.9
"""Chance to keep the goals that is called safe."""
SWING = SHARE
"""By which share an input is moved up and down."""


@dataclass(frozen=True, slots=True)
class Chance:
    """`carrying` replicas (and so many devices, spare ones included) keep the goals with this probability."""

    carrying: int
    gpu_count: int
    probability: float


def chances(option: Option, sure: float = SURE) -> tuple[Chance, ...]:
    """The chance to keep every goal of fewer and of ever more replicas, to one beyond the first that is sure."""
    found: list[Chance] = []
    fewer = max(option.carrying - FEWER, 1) if type(option) is Option else option.carrying
    one, step = replace(option, carrying=fewer), max(option.carrying // 12, 1)
    while len(found) < 40:
        found.append(Chance(one.carrying, one.gpu_count, one.likelihood()))
        if found[-1].probability >= sure and one.carrying >= option.carrying and len(found) > 1:
            break
        for _ in range(1 if one.carrying < option.carrying else step):
            one = one.more_sure()
    return tuple(found)


FEWER = 2
"""Replicas fewer than chosen whose chance is told too."""


def safe(found: Sequence[Chance], sure: float = SURE) -> Chance | None:
    """The fewest replicas that are sure; None where as many as were looked at are not."""
    return next((chance for chance in found if chance.probability >= sure), None)


# ── what moves the answer ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Swing:
    """An input moved down and up by a share, and what it makes of the answer.

    fewer, more      devices that carry the load, as real numbers, of the option itself
    worth            what is minimised, of the cheapest of the options, in whole replicas
    answers          which option is the cheapest then
    """

    name: str
    title: str
    fewer: float
    more: float
    worth: tuple[float, float]
    answers: tuple[str, str]

    @property
    def wide(self) -> float:
        return abs(self.more - self.fewer)


def _gpu(change: Callable[[GPU, float], GPU]) -> Callable[[Structure, float], Structure]:
    return lambda one, factor: replace(one, plan=replace(one.plan, gpu=change(one.plan.gpu, factor)))


def _demand(field: str) -> Callable[[Structure, float], Structure]:
    def moved(one: Structure, factor: float) -> Structure:
        found = getattr(one.demand, field)
        changed = found.scaled(factor) if hasattr(found, "scaled") else found * factor
        return replace(one, demand=replace(one.demand, **{field: changed}))

    return moved


def _price(one: Structure, factor: float) -> Structure:
    return replace(one, price=None if one.price is None else one.price * factor)


def _accepted(one: Structure, factor: float) -> Structure:
    speculation = one.plan.speculation
    assert speculation is not None
    rates = tuple(min(rate * factor, 0.999) for rate in speculation.rates)
    return replace(one, plan=replace(one.plan, speculation=replace(speculation, rates=rates)))


def inputs(one: Structure) -> dict[str, tuple[str, bool, Callable[[Structure, float], Structure]]]:
    """Name → (title, whether it is of the device alone, how it is moved) of the inputs that a structure has."""
    traffic = "users" if one.demand.interactive else "rate"
    found = {
        "memory_bandwidth": ("memory bandwidth", True, _gpu(with_bandwidth)),
        "peak_flops": ("peak FLOP/s", True, _gpu(with_peaks)),
        "prompts": ("prompt lengths", False, _demand("prompts")),
        "outputs": ("output lengths", False, _demand("outputs")),
        traffic: (f"traffic ({one.demand.unit})", False, _demand(traffic)),
    }
    if one.plan.tp * one.plan.pp * one.plan.dp > 1:
        found["links"] = ("links between devices", True, _gpu(with_links))
    if one.price is not None:
        found["price"] = ("price of the device", True, _price)
    if one.plan.speculation is not None:
        found["acceptance"] = ("acceptance of guesses", False, _accepted)
    if one.demand.interactive and one.demand.think_s:
        found["think_s"] = ("think time", False, _demand("think_s"))
    return found


def swings(option: Option, others: Sequence[Option] = (), share: float = SWING) -> tuple[Swing, ...]:
    """Every input moved by `share` down and up, the one that moves the need for devices most first.

    The answer is the cheapest of `option` and `others`; of an input of the device, others of that device move too.
    """
    found = []
    for name, (title, own, move) in inputs(option.structure).items():
        needs, worths, answers = [], [], []
        for factor in (1 - share, 1 + share):
            moved = [_moved(one, option, own, move, factor) for one in (option, *others)]
            needs.append(option.need_after(_by(move, factor)))
            best = min((one for one in moved if one is not None), key=order, default=option)
            worths.append(best.worth)
            answers.append(best.title)
        found.append(Swing(name, title, needs[0], needs[1], (worths[0], worths[1]), (answers[0], answers[1])))
    return tuple(sorted(found, key=lambda swing: -_effect(swing, option)))


def _effect(swing: Swing, option: Option) -> float:
    """How far apart the two ends are, in what is minimised where whole replicas hide it."""
    if swing.name == "price":
        return abs(swing.worth[1] - swing.worth[0]) / max(option.worth, 1e-12) * option.need
    return swing.wide


def _moved(
    one: Option, option: Option, own: bool, move: Callable[[Structure, float], Structure], factor: float
) -> Option | None:
    """`one` after the move; as it was where the input is another device's, None where it then misses the goals."""
    if own and one.structure.plan.gpu.name != option.structure.plan.gpu.name:
        return one
    return one.moved(_by(move, factor))


def _by(move: Callable[[Structure, float], Structure], factor: float) -> Callable[[Structure], Structure]:
    return lambda structure: move(structure, factor)
