"""`perfmodel validate device`: this device calibrated and real models run on it, in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from perfmodel.cli import measuring as m
from perfmodel.cli import options as o

USUAL_S = 450.0
"""So that all of it, with what building models and guessing ahead take besides, ends within ten minutes."""
Budget = Annotated[float | None, o.real("--budget", help=f"Seconds in all ({USUAL_S:g}).")]
Hardware = Annotated[Path | None, m.folder("--hardware", "Folder for the device's file (hardware).")]


def device(
    on: m.On = None,
    name: m.Name = None,
    formats: m.Formats = None,
    budget: Budget = None,
    hardware: Hardware = None,
    results: m.Kept = None,
    fresh: m.Fresh = False,
    busy: m.Busy = False,
    html: o.Html = None,
    json: o.Json = False,
) -> None:
    """Calibrate this device and run real Llamas on it, all within a budget: measured beside predicted."""
    from perfmodel.cli.scripts import script

    asked = m.asked(on, name, formats, m.seconds(budget, USUAL_S), results, fresh, busy, hardware)
    with m.Bar(f"{asked.device.name}, {asked.budget_s:g} s") as bar:
        outcome = script("battery").battery(asked, bar.tell)
    _tell(outcome, html, json)


def _tell(outcome: Any, html: Path | None, json: bool) -> None:
    from perfmodel.cli.report import write_page
    from perfmodel.cli.screen import bold, wrapped
    from perfmodel.measured.beside import contract, errors, table

    if html is not None:
        write_page(list(outcome.results), html)
    runs = [one for one in outcome.results if one.kind == "run" and any(not x.used_in_fit for x in one.measurements)]
    if json:
        print(o.dumped({"runs": [contract(one) for one in runs], "notes": list(outcome.notes)}))
        return
    for one in runs:
        first = one.measurements[0]
        print(bold(f"{first.model}, {first.weights}, {first.way}"))
        print(f"{table(one).to_text()}\n{errors(one)}\n")
    for note in outcome.notes:
        print(wrapped("Note", note))
