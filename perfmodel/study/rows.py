"""A part of a study → its rows, as columns: what each case comes to, and why it cannot be where it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from perfmodel.answer import Estimate, estimate
from perfmodel.catalog import load_gpu, load_model
from perfmodel.deployment import most_devices
from perfmodel.errors import DoesNotFitError, PerfModelError
from perfmodel.grid import breakdown_of, totals_of
from perfmodel.placement import unfit
from perfmodel.scaling import pruned
from perfmodel.study.axes import NUMBERS
from perfmodel.study.coded import Coded, coded, constant, joined
from perfmodel.study.columns import NUMBER, TEXT, TRUTH
from perfmodel.study.parts import Block, Part, blocks
from perfmodel.study.study import Study, shown

SINGLE = 2
"""Most rows of a block that are computed one by one: arrays of so few take longer than numbers."""
SPLIT = ("gpu_count", "tp", "pp", "dp", "ep", "cp", "replicas")

Columns = dict[str, Any]
"""Column → a NumPy array, or `Coded` words; all of one length."""


class Rows:
    """The rows of one study; specs are read, and splits chosen, once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._models: dict[tuple[str, Any], Any] = {}
        self._gpus: dict[str, Any] = {}
        self._placed: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def of(self, part: Part) -> Columns:
        """All rows of a part, with every column."""
        return stacked([self._block(block) for block in blocks(self.study, part)], self.study)

    def answer(self, settings: Mapping[str, Any], sizes: Mapping[str, Any]) -> Estimate:
        """The Estimate of a case, or of a block of them."""
        return estimate(**self.question(settings), **sizes, must_fit=False)

    def question(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of `estimate` for a combination of kinds, its devices chosen for its largest case."""
        asked = self._loaded(settings)
        if asked.get("gpu_count") or asked.get("tp") or asked.get("pp"):
            return asked
        if any(asked.get(name) not in (None, 1) for name in SPLIT):
            return asked
        if self._placed[0] != settings:
            self._placed = (dict(settings), self._split(asked))
        return asked | self._placed[1]

    def _split(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The fewest devices that hold the largest case; as many as can be where none hold it."""
        question: dict[str, Any] = {**asked, **self.study.largest, "must_fit": False}
        try:
            plan = estimate(**question).plan
        except DoesNotFitError:
            return {"gpu_count": most_devices(pruned(asked["model"], asked.get("prune")), asked["gpu"])}
        return {"tp": plan.tp, "pp": plan.pp}

    def _loaded(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        model, gpu, assume = settings["model"], settings["gpu"], settings.get("assume")
        if isinstance(model, str):
            if (model, assume) not in self._models:
                self._models[model, assume] = load_model(model, assume)
            model = self._models[model, assume]
        if isinstance(gpu, str):
            if gpu not in self._gpus:
                self._gpus[gpu] = load_gpu(gpu)
            gpu = self._gpus[gpu]
        return {**settings, "model": model, "gpu": gpu}

    # ── a block ──────────────────────────────────────────────────────────────────────────────────

    def _block(self, block: Block) -> Columns:
        if block.rows <= SINGLE:
            return self._one_by_one(block)
        import numpy as np

        sizes = {name: np.asarray(values, dtype=np.float64) for name, values in block.sizes.items()}
        if block.product:
            shape = tuple(len(values) for values in sizes.values())
            sizes = {name: values.reshape(_along(i)) for i, (name, values) in enumerate(sizes.items())}
        else:
            shape = (block.rows,)
        try:
            answer = self.answer(block.settings, sizes)
        except PerfModelError as error:
            flat = {name: np.broadcast_to(values, shape).ravel() for name, values in sizes.items()}
            return self._refused(block.settings, flat, error)
        return self._answered(block.settings, answer, shape)

    def _one_by_one(self, block: Block) -> Columns:
        rows = []
        for place in range(block.rows):
            sizes = {name: values[min(place, len(values) - 1)] for name, values in block.sizes.items()}
            try:
                rows.append(self._answered(block.settings, self.answer(block.settings, sizes), (1,)))
            except PerfModelError as error:
                rows.append(self._without(block.settings, sizes, 1, str(error)))
        return stacked(rows, self.study)

    def _refused(self, settings: dict[str, Any], flat: dict[str, Any], error: PerfModelError) -> Columns:
        """Rows of a block that `error` refuses as a whole: each is told why, or has figures.

        Only the prompt can make the difference (what is asked of it may be longer than it is): where the shortest and
        the longest are refused alike, all are; else each half of the prompts is asked for itself.
        """
        import numpy as np

        prompts = np.unique(flat["prompt"])
        reasons = {self._complaint(settings, flat, prompt) for prompt in (prompts[0], prompts[-1])}
        if len(reasons) == 1 or len(prompts) == 1:
            return self._without(settings, flat, len(flat["prompt"]), reasons.pop() or str(error))
        middle = prompts[(len(prompts) - 1) // 2]
        short = flat["prompt"] <= middle
        halves = [
            self._points(settings, {name: sizes[chosen] for name, sizes in flat.items()}) for chosen in (short, ~short)
        ]
        order = np.argsort(np.concatenate([np.flatnonzero(short), np.flatnonzero(~short)]), kind="stable")
        return {name: values[order] for name, values in stacked(halves, self.study).items()}

    def _complaint(self, settings: dict[str, Any], flat: dict[str, Any], prompt: float) -> str:
        sizes = {name: int(sizes[0]) for name, sizes in flat.items()} | {"prompt": int(prompt)}
        try:
            self.answer(settings, sizes)
        except PerfModelError as error:
            return str(error)
        return ""

    def _points(self, settings: dict[str, Any], flat: dict[str, Any]) -> Columns:
        try:
            answer = self.answer(settings, flat)
        except PerfModelError as error:
            return self._refused(settings, flat, error)
        return self._answered(settings, answer, (len(flat["prompt"]),))

    def _answered(self, settings: dict[str, Any], answer: Estimate, shape: tuple[int, ...]) -> Columns:
        import numpy as np

        found = totals_of(answer)
        if self.study.breakdown:
            found |= breakdown_of(answer)
        rows = int(np.prod(shape))
        columns = {name: _spread(value, shape) for name, value in found.items()}
        fits = columns["fits"]
        columns["reason"] = Coded((~fits).astype(np.int32), ("", unfit(answer.plan)))
        precision = answer.plan.precision
        named = {"engine": answer.plan.engine.name, "weights": precision.weights.name, "kv": precision.kv.name}
        return self._named(columns, settings, named, rows)

    def _without(self, settings: dict[str, Any], sizes: Mapping[str, Any], rows: int, reason: str) -> Columns:
        """Rows of cases that nothing can be told of but what was asked, and why not."""
        import numpy as np

        asked = self._loaded(settings)
        columns: Columns = {name: np.full(rows, float(count or np.nan)) for name, count in _counts(asked).items()}
        columns |= {name: np.broadcast_to(np.asarray(sizes[name], dtype=np.float64), (rows,)) for name in NUMBERS}
        columns |= {name: constant(asked[name].name, rows) for name in ("model", "gpu")}
        columns |= {"fits": np.zeros(rows, dtype=bool), "reason": constant(reason, rows)}
        return self._named(columns, settings, {"engine": "", "weights": "", "kv": ""}, rows)

    def _named(self, columns: Columns, settings: Mapping[str, Any], named: Mapping[str, str], rows: int) -> Columns:
        """`columns` with what the case was asked to be."""
        import numpy as np

        for name, word in named.items():
            columns[name] = constant(shown(settings.get(name)) or word, rows)
        for name, kind in self.study.extras.items():
            value = settings.get(name)
            if kind == TEXT:
                columns[name] = constant(shown(value), rows)
            elif kind == TRUTH:
                columns[name] = np.full(rows, bool(value))
            else:
                columns[name] = np.full(rows, np.nan if value is None else float(value))
        return columns


def keeps(study: Study, columns: Columns) -> Any:
    """A truth for each row: whether the study keeps it."""
    import numpy as np

    keep = np.ones(len(columns["fits"]), dtype=bool)
    if study.fits_only:
        keep &= columns["fits"]
    for condition in study.where:
        keep &= condition.holds(columns)
    return keep


def kept(study: Study, columns: Columns, keep: Any) -> Columns:
    """The rows and columns that the study keeps."""
    names = study.chosen or tuple(columns)
    if study.fits_only or study.where:
        return {name: columns[name][keep] for name in names}
    return {name: columns[name] for name in names}


def _counts(asked: Mapping[str, Any]) -> dict[str, int | None]:
    """Devices and how they split the model, of a case that cannot be: as asked, one of each where nothing was."""
    found: dict[str, int | None] = {name: asked.get(name) for name in SPLIT}
    found |= {name: found[name] or 1 for name in ("dp", "ep", "cp", "replicas")}
    if found["gpu_count"] is None and (found["tp"] or found["pp"]):
        found |= {name: found[name] or 1 for name in ("tp", "pp")}
        found["gpu_count"] = prod(found[name] or 1 for name in SPLIT if name not in ("gpu_count", "ep"))
    return found


def _along(axis: int) -> tuple[int, ...]:
    return tuple(-1 if i == axis else 1 for i in range(3))


def _spread(value: Any, shape: tuple[int, ...]) -> Any:
    """A figure of a block as a column: words coded, the rest as numbers of the rows' length."""
    import numpy as np

    if isinstance(value, str):
        return constant(value, int(np.prod(shape)))
    array = np.asarray(value)
    if array.dtype.kind == "U":
        return coded(np.broadcast_to(array, shape).ravel().tolist())
    return np.broadcast_to(array if array.dtype.kind == "b" else array.astype(np.float64, copy=False), shape).ravel()


def stacked(found: list[Columns], study: Study) -> Columns:
    """Columns of blocks, one below another: those of the study in its order, then those of a breakdown.

    What a block does not have is empty.
    """
    import numpy as np

    names = list(dict.fromkeys([*study.columns, *(name for block in found for name in block)]))
    rows = [len(block["fits"]) if "fits" in block else len(next(iter(block.values()))) for block in found]
    table: Columns = {}
    for name in names:
        own = [block.get(name) for block in found]
        kind = study.columns.get(name) or next(TEXT if isinstance(c, Coded) else NUMBER for c in own if c is not None)
        if len(own) == 1 and own[0] is not None:
            table[name] = own[0]
        elif kind == TEXT:
            table[name] = joined([constant("", n) if c is None else c for c, n in zip(own, rows, strict=True)])
        else:
            table[name] = np.concatenate(
                [np.full(n, np.nan) if c is None else c for c, n in zip(own, rows, strict=True)]
            )
    return table


def together(parts: Iterator[Columns], study: Study) -> Columns:
    """The columns of all parts, in order; only those that the study keeps."""
    found = stacked(list(parts), study)
    names = study.chosen or tuple(found)
    return {name: found[name] for name in names}
