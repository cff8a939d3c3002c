"""`perfmodel validate import`: others' result files and start-up logs, beside what we predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli import options as o
from perfmodel.errors import RequestError

Files = Annotated[list[str], typer.Argument(help="Result files of benchmarks, start-up logs of engines.")]
Model = Annotated[str | None, typer.Option("--model", "-m", help="Model that ran, where the file does not say.")]
Gpu = Annotated[str | None, typer.Option("--gpu", "-g", help="GPU that it ran on.")]
Count = Annotated[int | None, o.whole("--gpu-count", help="How many GPUs.")]
Prompt = Annotated[int | None, o.whole("--prompt", help="Tokens in.")]
Output = Annotated[int | None, o.whole("--output", help="Tokens out.")]
Batch = Annotated[int | None, o.whole("--batch", "-b", help="Sequences, or requests in flight, at once.")]
Weights = Annotated[str | None, typer.Option("--weights", help="Weight format: fp8, int4-awq, q4_k_m, …")]
Engine = Annotated[str | None, typer.Option("--engine", help="What served: vllm, sglang, trtllm, llama.cpp, …")]
Version = Annotated[str | None, typer.Option("--engine-version", help="Its version, like 0.10.2.")]
GIVEN = (
    "model",
    "gpu",
    "gpu_count",
    "tp",
    "pp",
    "weights",
    "kv",
    "engine",
    "engine_version",
    "prompt",
    "output",
    "batch",
)
"""Flags that say what a result file does not."""
Out = Annotated[Path | None, typer.Option("--out", help="CSV file to write the rows to, or to add them to.")]


def import_results(
    files: Files,
    model: Model = None,
    gpu: Gpu = None,
    gpu_count: Count = None,
    tp: o.Tp = None,
    pp: o.Pp = None,
    weights: Weights = None,
    kv: o.Kv = None,
    engine: Engine = None,
    engine_version: Version = None,
    prompt: Prompt = None,
    output: Output = None,
    batch: Batch = None,
    out: Out = None,
    json: o.Json = False,
    path: o.Folders = None,
) -> None:
    """Rows of measurements from benchmarks' result files and start-up logs of engines, each beside our prediction."""
    given = {name: value for name, value in locals().items() if name in GIVEN}
    o.take_up(path)
    found = _imported(files, given)
    written = None if out is None else _write(out, found)
    if json:
        print(o.dumped(found.to_dict() | {"written": written}))
    else:
        print(_screen(found, written))


def _imported(files: list[str], given: dict[str, Any]) -> Any:
    from perfmodel.benchmarked.against import imported
    from perfmodel.benchmarked.run import Given

    return imported(files, Given(**given))


def _write(out: Path, found: Any) -> dict[str, Any]:
    from perfmodel.benchmarked.written import appended
    from perfmodel.files import write_whole

    if not found.rows:
        raise RequestError("--out: a start-up log has no rows to write; leave it out.")
    text, new = appended(out, found.rows)
    write_whole(out, text)
    return {"file": str(out), "rows": new}


def _screen(found: Any, written: dict[str, Any] | None) -> str:
    from perfmodel.cli.screen import bold, narrowed, wrapped

    parts = []
    if found.rows:
        parts += [bold(found.title()), narrowed(found.table().columns, SPARE)]
        parts += [wrapped("No figure", line) for line in found.reasons()]
    for one in found.startups:
        table = one.table()
        parts += [bold(table.title), narrowed(table.columns, ("error",)), wrapped("Verdict", one.verdict())]
    if written is not None:
        parts.append(f"Written: {written['rows']} rows to {written['file']}.")
    return "\n".join(parts)


SPARE = ("tool", "model", "80 % interval", "quality", "GPU", "workload")
"""Columns that a narrow terminal goes without, the first named first."""
