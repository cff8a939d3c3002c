"""`perfmodel validate run`: a real torch Llama on this device, beside what is expected of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli import measuring as m
from perfmodel.cli import options as o
from perfmodel.errors import RequestError

Model = Annotated[str, typer.Option("--model", "-m", help="A Llama of the catalog, or a path (YAML, config.json).")]
Gpu = Annotated[str | None, typer.Option("--gpu", "-g", help="Name of this device; else what calibrate named it.")]
Weights = Annotated[str, typer.Option(help="Format of weights: bf16, fp16, fp32, int8, int4, fp8.")]
Way = Annotated[str, typer.Option(help="eager, compiled (torch.compile), or graphs (CUDA graphs of decode).")]
Attention = Annotated[str, typer.Option(help="flash (torch's fused kernels) or naive (scores in memory).")]
Batches = Annotated[str, typer.Option("--batch", "-b", help="Sequences at once (comma list).", metavar="LIST")]
Prompts = Annotated[str, typer.Option("--prompt", help="Tokens in (comma list).", metavar="LIST")]
Output = Annotated[int, o.whole("--output", help="Tokens out (32).")]
Layers = Annotated[int | None, o.whole("--layers", help="Layers to run; else as many as memory allows.")]
File = Annotated[Path | None, typer.Option("--weights-from", help="safetensors file or folder; else random weights.")]
NoCache = Annotated[bool, typer.Option("--no-kv-cache", help="Recompute the whole sequence at every step.")]
Ops = Annotated[bool, typer.Option("--ops", help="Time every kind of op too (eager).")]
Draft = Annotated[
    str | None,
    typer.Option("--draft", help="Speculate: a draft model, or self:N, the first N layers.", metavar="MODEL"),
]
DraftTokens = Annotated[int, o.whole("--draft-tokens", help="Tokens guessed ahead (4).")]
Budget = Annotated[float | None, o.real("--budget", help=f"Seconds to measure for ({600:g}).")]


def run(
    model: Model = "llama3-8b",
    gpu: Gpu = None,
    weights: Weights = "bf16",
    way: Way = "eager",
    attention: Attention = "flash",
    batch: Batches = "1,4,16",
    prompt: Prompts = "128,512,2048",
    output: Output = 32,
    layers: Layers = None,
    weights_from: File = None,
    no_kv_cache: NoCache = False,
    ops: Ops = False,
    draft: Draft = None,
    draft_tokens: DraftTokens = 4,
    on: m.On = None,
    budget: Budget = None,
    results: m.Kept = None,
    fresh: m.Fresh = False,
    busy: m.Busy = False,
    html: o.Html = None,
    json: o.Json = False,
    path: o.Folders = None,
) -> None:
    """Run a real torch Llama here, and print measured beside predicted: prefill, decode, memory, ops, speculation."""
    from perfmodel.catalog import load_model
    from perfmodel.cli.scripts import script

    o.take_up(path)
    devices, work = script("device"), script("run")
    found = m.free(devices, on, busy)
    asked = work.Asked(
        found,
        _gpu(gpu, found),
        load_model(model),
        weights.lower(),
        way,
        _one_of(attention, ("flash", "naive"), "--attention"),
        whole_list(batch, "--batch"),
        whole_list(prompt, "--prompt"),
        output,
        o.command(),
        results or m.RESULTS,
        layers,
        not no_kv_cache,
        ops,
        weights_from,
        m.seconds(budget, 600.0),
        fresh,
        (draft, draft_tokens) if draft else None,
    )
    with m.Bar(f"{asked.model.name} on {found.name}") as bar:
        outcome = work.run(asked, bar.tell)
    _tell(outcome, html, json)


def _gpu(name: str | None, found: Any) -> Any:
    """The spec of this device: the one that is named, or the one that `calibrate` wrote."""
    from perfmodel.catalog import load_gpu
    from perfmodel.cli.scripts import script
    from perfmodel.errors import PerfModelError

    wanted = name or script("calibrate").name_of(found)
    try:
        return load_gpu(wanted)
    except PerfModelError:
        if name:
            raise
        raise RequestError(
            f"{found.name} is in no hardware file; `perfmodel calibrate` makes hardware/{wanted}.yaml, "
            "or --gpu names a device that is known."
        ) from None


def whole_list(text: str, use: str) -> tuple[int, ...]:
    """Whole numbers of a comma list; RequestError for anything else."""
    parts = [part.strip() for part in str(text).split(",") if part.strip()]
    if not parts or not all(part.isdigit() and 0 < int(part) <= 10**7 for part in parts):
        raise RequestError(f'{use} takes whole numbers above 0, like "1,4,16"; got "{str(text)[:40]}".')
    return tuple(dict.fromkeys(map(int, parts)))


def _one_of(word: str, known: tuple[str, ...], use: str) -> str:
    if word not in known:
        raise RequestError(f'{use} must be {" or ".join(known)}; got "{word[:40]}".')
    return word


def _tell(outcome: Any, html: Path | None, json: bool) -> None:
    from perfmodel.cli.report import write_page
    from perfmodel.cli.screen import bold, wrapped
    from perfmodel.measured.beside import contract, errors, table

    if html is not None:
        write_page([outcome.results], html)
    if json:
        print(o.dumped(contract(outcome.results) | {"notes": list(outcome.notes), "written": str(outcome.path)}))
        return
    print(bold("Measured beside predicted"))
    print(table(outcome.results).to_text())
    print(f"\n{errors(outcome.results)}")
    for note in outcome.notes:
        print(wrapped("Note", note))
    print(wrapped("Written", str(outcome.path)))
