"""A deployment that someone has → what would make it better: changes, each tried, and the smallest that is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from perfmodel.answer import Estimate, estimate
from perfmodel.comparison import settings_of
from perfmodel.deployment import Deployment
from perfmodel.errors import DoesNotFitError, PerfModelError, RequestError
from perfmodel.placement import too_big
from perfmodel.planning.changes import EFFORT, TOGETHER, Counterfactual, suggested
from perfmodel.planning.demand import Demand, demand
from perfmodel.planning.goals import Goal, goals_or_usual
from perfmodel.planning.option import Constraints, Option
from perfmodel.planning.search import FURTHER
from perfmodel.planning.space import Structure
from perfmodel.remedies import ways_out
from perfmodel.workload import OUTPUT, PROMPT


@dataclass(frozen=True)
class Advice:
    """The answer: the deployment as it is, changes to it with the most worthwhile first, and what meets the goals.

    smallest  the change that meets every goal at the least cost; None where the deployment does, or nothing does
    """

    now: Counterfactual
    changes: tuple[Counterfactual, ...]
    refused: tuple[Counterfactual, ...]
    smallest: Counterfactual | None
    demand: Demand
    goals: tuple[Goal, ...]
    estimate: Estimate
    stated: bool

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the figures rest on."""
        alone = ("static batch", "the batch is over")
        kept = (line for line in self.estimate.assumptions if not line.startswith(alone))
        return (*kept, "requests come at random (Poisson); servers in the steady state, by theory")

    @property
    def met(self) -> bool:
        """Whether the goals are met as it is, or by a change."""
        return self.now.meets or self.smallest is not None

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        from perfmodel import __version__

        return {
            "version": __version__,
            "model": self.estimate.plan.model.name,
            "gpu": self.estimate.plan.gpu.name,
            "load": self.demand.load,
            "unit": self.demand.unit,
            "goals": {goal.name: goal.limit_s for goal in self.goals},
            "met": self.now.meets,
            "now": self._row(self.now),
            "changes": [self._row(change) for change in self.changes],
            "smallest": None if self.smallest is None else self._row(self.smallest),
            "refused": [{"change": one.change, "why": one.refusal} for one in self.refused],
        }

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row a change, the deployment as it is first."""
        from perfmodel.table import Table

        rows = [self._flat(self._row(one)) for one in (self.now, *self.changes)]
        return Table({name: [row[name] for row in rows] for name in rows[0]}).to_frame()

    def _repr_html_(self) -> str:
        from perfmodel.report.notebook import notebook_html

        return notebook_html(self)

    def _row(self, one: Counterfactual) -> dict[str, Any]:
        names = ("carried", "cost", "gpu_count", "ttft_p95_s", "tpot_p95_s", "e2e_p95_s")
        return {
            "change": one.change,
            "told": one.told(self.now) if one is not self.now else "",
            "meets_goals": one.meets,
            "lossy": one.lossy,
            **{name: one.value(name) for name in names},
            "ratios": {name: one.ratio(self.now, name) for name in names},
        }

    @staticmethod
    def _flat(row: dict[str, Any]) -> dict[str, Any]:
        ratios = row.pop("ratios")
        return row | {f"{name}_ratio": value for name, value in ratios.items()}


def advise(
    model: Any,
    gpu: Any,
    *,
    rate: float | None = None,
    users: float | None = None,
    think_time: float | None = None,
    trace: str | None = None,
    prompt: Any = PROMPT,
    output: Any = OUTPUT,
    prompt_lengths: Any = None,
    output_lengths: Any = None,
    ttft: float | str | None = None,
    tpot: float | str | None = None,
    e2e: float | str | None = None,
    goals: Any = None,
    changes: Sequence[str | Mapping[str, Any]] = (),
    batch: Any = 1,
    **question: Any,
) -> Advice:
    """What would make a deployment (keywords of `estimate`) serve the traffic better, or within the goals.

    Traffic and goals are those of `plan`; without traffic it is as much as the deployment carries. `changes` are tried
    besides those that suggest themselves, written as `compare` takes them. Raises RequestError where the question is
    wrong, DoesNotFitError where the deployment does not fit.
    """
    if batch != 1:
        raise RequestError("--batch is for a batch that starts together; traffic has --rate or --users.")
    stated = not (rate is None and users is None and trace is None)
    prefix = {name: question[name] for name in ("prefix", "prefix_hit") if name in question}
    needed = demand(
        rate=rate if stated else 1.0, users=users, think_time=think_time, trace=trace, prompt=prompt, output=output,
        prompt_lengths=prompt_lengths, output_lengths=output_lengths, **prefix,
    )  # fmt: skip
    promised, _ = goals_or_usual(goals, ttft=ttft, tpot=tpot, e2e=e2e)
    asked = {"model": model, "gpu": gpu, **question}
    answer = estimate(
        prompt=max(round(needed.prompts.mean), 1), output=max(round(needed.outputs.mean), 1), must_fit=False, **asked
    )
    if answer.plan.model.bidirectional or not answer.plan.cache:
        raise RequestError(f"{answer.plan.model.name} keeps no cache of what it writes: advice is for servers that do.")
    asked |= _split(answer.plan)
    now = _tried("", {}, asked, needed, promised)
    if now.option is None:
        raise DoesNotFitError(too_big(answer.plan, answer.memory), ways_out(answer.plan, answer.work))
    if not stated:
        if now.carried <= 0:
            raise RequestError("No load keeps these goals here; give --rate, to see what changes would do to it.")
        needed = replace(needed, rate=now.carried)
        now = _tried("", {}, asked, needed, promised)
    given = [(_named(change), _settings(change)) for change in changes]
    found = [_tried(name, settings, asked, needed, promised) for name, settings in given]
    for settings in suggested(answer.plan):
        if not any(settings == other.settings for other in found):
            found.append(_tried(_named(settings), settings, asked, needed, promised))
    worthwhile = [one for one in found if one.option is not None]
    smallest = None if now.meets else _smallest(worthwhile, asked, needed, promised)
    ranked = sorted(worthwhile, key=lambda one: -_worth(one, now))
    refused = tuple(one for one in found if one.option is None)
    return Advice(now, tuple(ranked), refused, smallest, needed, promised, answer, stated)


def _settings(change: str | Mapping[str, Any]) -> dict[str, Any]:
    """The keywords that a change sets; RequestError, under the name that changes have here."""
    try:
        return settings_of(change)
    except RequestError as error:
        raise RequestError(str(error).replace("--compare", "--try", 1)) from None


def _split(plan: Deployment) -> dict[str, Any]:
    """The split as keywords, so that a change to one part of it leaves the others."""
    return {"gpu_count": None} | {name: getattr(plan, name) for name in ("tp", "pp", "dp", "ep", "cp", "replicas")}


def _tried(
    name: str, settings: Mapping[str, Any], asked: Mapping[str, Any], needed: Demand, promised: tuple[Goal, ...]
) -> Counterfactual:
    """A change as it turns out: what it makes, or why it cannot be."""
    changed = {**asked, **settings}
    if "gpu_count" in settings:
        changed |= {part: None for part in ("tp", "pp", "dp", "ep", "cp", "replicas") if part not in settings}
    if "tp" in settings and "ep" not in settings:
        changed["ep"] = changed["tp"] if asked["ep"] == asked["tp"] * asked["dp"] > 1 else asked["ep"]
    if "gpu" in settings:
        changed["price"] = None
    prompt, output = (max(round(n.mean), 1) for n in (needed.prompts, needed.outputs))
    try:
        answer = estimate(**{**changed, "prompt": prompt, "output": output, "must_fit": False})
    except PerfModelError as error:
        if not name:
            raise
        return Counterfactual(name, settings, None, str(error))
    one = Structure(replace(answer.plan, replicas=1), changed, answer.price_per_hour, needed, promised)
    if not one.fits:
        return Counterfactual(name, settings, None, "does not fit")
    return Counterfactual(name, settings, Option(one, answer.plan.replicas, Constraints()))


def _smallest(
    found: Sequence[Counterfactual], asked: Mapping[str, Any], needed: Demand, promised: tuple[Goal, ...]
) -> Counterfactual | None:
    """The change that meets the goals at the least cost, confirmed by the simulation.

    Of single changes; where none is enough of pairs of those that need no other hardware; then of more replicas.
    """
    if (single := _confirmed(found)) is not None:
        return single
    small = [one for one in found if set(one.settings) <= set(TOGETHER)]
    both = [
        _tried(f"{a.change}, {b.change}", {**a.settings, **b.settings}, asked, needed, promised)
        for a, b in combinations(small, 2)
        if not set(a.settings) & set(b.settings)
    ]
    if (pair := _confirmed(both)) is not None:
        return pair
    more = next((one for one in found if set(one.settings) == {"replicas"} and one.carried > 0), None)
    if more is None or more.option is None:
        return None
    fewest = -int(-needed.load // more.option.structure.most)
    grown = (replace(more.option, carrying=n) for n in range(fewest, fewest + FURTHER + 1))
    enough = next((option for option in grown if option.kept), None)
    settings = {"replicas": enough.carrying} if enough else {}
    return None if enough is None else Counterfactual(_named(settings), settings, enough)


def _confirmed(found: Sequence[Counterfactual]) -> Counterfactual | None:
    """The cheapest that meets the goals, in the simulation too; of equals the one that asks least of people."""
    enough = [one for one in found if one.meets]
    enough.sort(key=lambda one: (one.value("cost") or one.value("gpu_count") or 0.0, _effort(one)))
    return next((one for one in enough if one.option is not None and one.option.kept), None)


def _effort(one: Counterfactual) -> int:
    return sum(10 ** EFFORT.get(name, 1) for name in one.settings)


def _worth(one: Counterfactual, now: Counterfactual) -> float:
    """Load carried for the money; where nobody carries any, how much faster, for the money."""
    cost = one.ratio(now, "cost") or one.ratio(now, "gpu_count") or 1.0
    if now.carried > 0:
        return one.carried / now.carried / cost
    if one.carried > 0:
        return 1e6 * one.carried / cost
    faster = [one.option.structure.reach.idle[:, 0].max() if one.option is not None else 1e9]
    return 1 / (float(faster[0]) * cost)


def _named(change: str | Mapping[str, Any]) -> str:
    if isinstance(change, str):
        return change
    return ",".join(f"{name.replace('_', '-')}={getattr(value, 'name', value)}" for name, value in change.items())
