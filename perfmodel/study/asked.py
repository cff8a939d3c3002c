"""A sweep as it was asked for in Python, in a study file or by flags → a checked `Study`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.gpu import GPU
from perfmodel.model import Model
from perfmodel.study.axes import Axis, axis
from perfmodel.study.columns import column
from perfmodel.study.filters import conditions
from perfmodel.study.known import check, specs
from perfmodel.study.result import Sweep
from perfmodel.study.study import Study, ordered, sized
from perfmodel.study.written import ASKED, study_file
from perfmodel.workload import BATCH, OUTPUT, PROMPT


def sweep(
    model: Any = None,
    gpu: Any = None,
    *,
    study: str | Path | None = None,
    sample: int | None = None,
    seed: int | None = None,
    where: str | Sequence[str] = (),
    fits_only: bool | None = None,
    columns: str | Sequence[str] = (),
    breakdown: bool = False,
    jobs: int = 1,
    scheduler: str | None = None,
    **axes: Any,
) -> Sweep:
    """Every combination of the values given, one row each, as a `Sweep`: a table, figures, files.

    Every keyword of `estimate` may be one value, or several: a list, range or array, or text as the command line takes
    it ("1,2,4", "1:256:x2", "128:8192:+128"). Rows are in the order of the axes (model, gpu, then the others as given),
    the last varying fastest; `batch`, `prompt` and `output` come after all others, for they are computed together.
    Without a split, each combination of the others gets the fewest devices that hold its largest case (as many as can
    be, where none do).

    A case that cannot be stays in the table with its `reason`; one that does not fit has figures as if it did, and
    `fits` false. `sample` draws so many cases at random (the same for the same `seed`), without repetition, and then
    "log:128-8192" and "uniform:128-8192" are axes too. `where` keeps rows that meet conditions such as "ttft_ms<500",
    `fits_only` those that fit, `columns` the named columns. `breakdown` adds what each phase's time is spent on, and
    every op. `study` is a YAML file of all this; what is given beside it comes first. `jobs` is how many processes
    compute (0: one a core), `scheduler` the address of a Dask or Ray cluster that does instead.

    Nothing is computed until it is asked for; `Sweep.write` streams to a file, of any size. RequestError,
    UnknownNameError or SpecError where the question is wrong, here and now.
    """
    given: dict[str, Any] = {} if study is None else study_file(Path(study))
    named = {"model": model, "gpu": gpu}
    given |= {name: value for name, value in named.items() if value is not None} | axes
    asked = {"sample": sample, "seed": seed, "where": where or None, "fits_only": fits_only, "columns": columns or None}
    given |= {name: value for name, value in asked.items() if value is not None}
    if breakdown:
        given["breakdown"] = True
    found = study_of(given)
    return Sweep(found, jobs=jobs, scheduler=scheduler)


def study_of(given: Mapping[str, Any], axes: Mapping[str, Axis] | None = None) -> Study:
    """The study of a mapping such as a file holds; `axes` are those that were read already, and come first."""
    made = dict(axes or {})
    for name, value in given.items():
        if name not in ASKED:
            own = axis(name, value)
            made.setdefault(own.name, own)
    made = {name: made[name] for name in dict.fromkeys([*_named(given), *made]) if name in made}
    for name in ("model", "gpu"):
        if name not in made:
            raise RequestError(f"A sweep needs a {name}: --{name}, like {'llama3-8b' if name == 'model' else 'h100'}.")
    return _checked(made, given)


def _named(given: Mapping[str, Any]) -> list[str]:
    return [axis(name, value).name for name, value in given.items() if name not in ASKED]


def _checked(made: dict[str, Axis], given: Mapping[str, Any]) -> Study:
    assumed = made["assume"].values if "assume" in made else (None,)
    models: list[Model] = specs(made["model"], assumed)
    gpus: list[GPU] = specs(made["gpu"], ())
    for own in made.values():
        check(own, models, gpus)
    made = {name: _absolute(own) for name, own in made.items()}
    kinds, numbers = ordered(made, {"batch": BATCH, "prompt": PROMPT, "output": OUTPUT})
    study = Study(
        kinds,
        numbers,
        given.get("sample"),
        given.get("seed") or 0,
        breakdown=bool(given.get("breakdown")),
        fits_only=bool(given.get("fits_only")),
        folders=_folders(),
        digest=_digest([*models, *gpus]),
    )
    known = study.columns
    chosen = tuple(dict.fromkeys(column(name, known, "--columns").name for name in _listed(given.get("columns"))))
    texts = given.get("where") or ()
    where = conditions([texts] if isinstance(texts, str) else texts, known)
    return sized(replace(study, chosen=chosen, where=where))


def _listed(names: Any) -> list[str]:
    if isinstance(names, str):
        names = [name for name in names.split(",") if name.strip()]
    return [str(name).strip() for name in names or ()]


def _absolute(own: Axis) -> Axis:
    """Names that are paths, from the root: a worker may stand elsewhere."""
    if own.name not in ("model", "gpu", "draft"):
        return own
    return replace(own, values=tuple(_rooted(value) for value in own.values))


def _rooted(value: Any) -> Any:
    if not isinstance(value, str) or not (value.startswith(("./", "../", "~")) or value in (".", "..")):
        ended = isinstance(value, str) and value.endswith((".yaml", ".yml", ".json"))
        return str(Path(value).absolute()) if ended else value
    return str(Path(value).expanduser().absolute())


def _folders() -> tuple[str, ...]:
    """Folders of the user's own specs, those that come first last."""
    from perfmodel.catalog import known_paths

    here = Path.cwd()
    own = [here] if (here / "hardware").is_dir() or (here / "models").is_dir() else []
    return tuple(str(folder.absolute()) for folder in (*own, *known_paths()))


def _digest(found: list[Any]) -> str:
    """What tells the specs apart from those of the same names at another time."""
    held = hashlib.sha256()
    for spec in found:
        held.update(spec.model_dump_json().encode())
    return held.hexdigest()
