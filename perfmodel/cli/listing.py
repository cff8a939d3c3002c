"""`perfmodel list`: what the catalog holds, filtered and sorted."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perfmodel.cli import options as o
from perfmodel.errors import RequestError, UnknownNameError

KINDS = ("models", "gpus", "engines")
# what --sort takes → the figure that it sorts by; sizes the smallest first, the newest first
SORTS = {
    "name": "",
    "params": "total_parameters",
    "active": "active_parameters",
    "kv": "kv_cache_bytes_per_token",
    "context": "max_context",
    "released": "released",
}
Family = Annotated[str | None, typer.Option("--family", help="Only models whose family begins so.", metavar="NAME")]
MaxParams = Annotated[str | None, typer.Option("--max-params", help="Only models up to 70B, 500M, …", metavar="SIZE")]
Fits = Annotated[str | None, typer.Option("--fits", help="Only models that one such GPU holds.", metavar="GPU")]
Sort = Annotated[str, typer.Option("--sort", help=f"By {', '.join(SORTS)}.", metavar="FIGURE")]


def list_names(
    kind: Annotated[str, typer.Argument(help="models, gpus or engines")],
    family: Family = None,
    max_params: MaxParams = None,
    fits: Fits = None,
    sort: Sort = "name",
    path: o.Folders = None,
    json: o.Json = False,
) -> int:
    """Every model, every GPU, or every engine that is known by name."""
    o.take_up(path)
    chosen = {
        "--family": family,
        "--max-params": max_params,
        "--fits": fits,
        "--sort": None if sort == "name" else sort,
    }
    if (wanted := _kind(kind)) != "models":
        _for_models(next((flag for flag, value in chosen.items() if value is not None), ""))
        return _gpus(json) if wanted == "gpus" else _engines(json)
    return _models(family, max_params, fits, sort, json)


def _kind(word: str) -> str:
    """ "models", "gpus" or "engines", also in the singular; RequestError for anything else."""
    plural = word.lower().rstrip("s") + "s"
    if plural not in KINDS:
        raise RequestError(f'perfmodel lists "models", "gpus" or "engines"; got "{word[:40]}".')
    return plural


# ── models ───────────────────────────────────────────────────────────────────────────────────────


def _models(family: str | None, max_params: str | None, fits: str | None, sort: str, json: bool) -> int:
    from perfmodel.catalog import load_model, names
    from perfmodel.contract import model_figures

    order, most = _sort(sort), _size(max_params)
    models = _of_family([load_model(name) for name in names("model")], family)
    models = [model for model in models if model.total_parameters <= most]
    rows = [model_figures(model) for model in _fitting(models, fits)]
    if order:
        rows.sort(key=lambda row: row[order] or "" if order == "released" else row[order], reverse=order == "released")
    return _print(rows, [_model_row(row) for row in rows], json)


def _sort(word: str) -> str:
    from perfmodel.spec import nearest

    if word not in SORTS:
        guess = nearest(word, SORTS)
        hint = f"did you mean {guess}?" if guess else f"known: {', '.join(SORTS)}."
        raise RequestError(f'--sort: models are not sorted by "{word[:40]}"; {hint}')
    return SORTS[word]


def _size(text: str | None) -> float:
    """ "70B", "500M" or a plain number → parameters; no limit where nothing is given."""
    if text is None:
        return float("inf")
    scales = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    number, scale = (text[:-1], scales[text[-1:].upper()]) if text[-1:].upper() in scales else (text, 1)
    try:
        value = float(number) * scale
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise RequestError(f'--max-params needs a number of parameters, like 70B or 500M; got "{text[:40]}".')
    return value


def _of_family(models: list[Any], family: str | None) -> list[Any]:
    """The models whose family, or whose name, begins with `family`; UnknownNameError where none does."""
    from perfmodel.catalog import normal
    from perfmodel.spec import nearest

    if family is None:
        return models
    wanted = normal(family)
    found = [m for m in models if wanted and any(normal(name).startswith(wanted) for name in (m.family, m.name))]
    if not found:
        guess = nearest(wanted, sorted({m.family for m in models}))
        hint = f'Did you mean "{guess}"?' if guess else '"perfmodel list models --json" shows the family of each.'
        raise UnknownNameError(f'No family of models is called "{family[:40]}". {hint}')
    return found


def _fitting(models: list[Any], gpu: str | None) -> list[Any]:
    """The models that one such GPU holds, as they would be served by default, with the default workload."""
    if gpu is None:
        return models
    from perfmodel.catalog import load_gpu
    from perfmodel.memory import held_by_one

    device = load_gpu(gpu)
    return [model for model in models if held_by_one(model, device)]


def _model_row(row: dict[str, Any]) -> dict[str, Any]:
    from perfmodel.units import show_bytes, show_count

    return {
        "name": row["name"],
        "title": row["title"],
        "parameters": show_count(row["total_parameters"]),
        "active": show_count(row["active_parameters"]),
        "layers": row["layers"],
        "KV a token": show_bytes(row["kv_cache_bytes_per_token"]),
        "state": show_bytes(row["state_bytes"]) if row["state_bytes"] else "",
        "context": f"{row['max_context']:,}",
    }


# ── GPUs ─────────────────────────────────────────────────────────────────────────────────────────


def _for_models(flag: str) -> None:
    if flag:
        raise RequestError(f'{flag} is for models: "perfmodel list models {flag} …".')


def _gpus(json: bool) -> int:
    from perfmodel.catalog import load_gpu, names
    from perfmodel.contract import gpu_main_figures

    rows = [gpu_main_figures(load_gpu(name)) for name in names("gpu")]
    return _print(rows, [_gpu_row(row) for row in rows], json)


def _engines(json: bool) -> int:
    from perfmodel.cli.engines import engine_row
    from perfmodel.profiles import engine_rows

    rows = engine_rows()
    return _print(rows, [engine_row(row) for row in rows], json)


def _gpu_row(row: dict[str, Any]) -> dict[str, Any]:
    from perfmodel.units import show_bytes, show_bytes_per_s, show_flops_per_s

    return {
        "name": row["name"],
        "title": row["title"],
        "memory": show_bytes(row["memory_bytes"]),
        "bandwidth": show_bytes_per_s(row["memory_bandwidth_bytes_per_s"]),
        "16-bit peak": show_flops_per_s(row["peak_16_bit_flop_per_s"]),
        "USD/h": row["usd_per_hour"],
    }


def _print(rows: list[dict[str, Any]], shown: list[dict[str, Any]], json: bool) -> int:
    """The rows for scripts or for eyes; exit code 1 when there are none."""
    from perfmodel.cli.screen import listing

    print(o.dumped(rows) if json else listing(shown) if shown else "No model of the catalog is like that.")
    return 0 if rows else 1
