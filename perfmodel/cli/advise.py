"""`perfmodel advise`: what would make a deployment that you have better."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perfmodel.cli import options as o
from perfmodel.cli.plan import E2e, Goals, Rate, ThinkTime, Tpot, Ttft, Users
from perfmodel.cli.serve import OutputLengths, PromptLengths, Trace

Try = Annotated[
    list[str] | None,
    typer.Option("--try", help='A change to try besides the usual ones, like "kv=fp8,tp=8".', metavar="CHANGE"),
]
Csv = Annotated[bool, typer.Option("--csv", help="One row a change.")]


@o.takes_a_question()
def advise(
    question: dict[str, Any],
    rate: Rate = None,
    users: Users = None,
    think_time: ThinkTime = None,
    trace: Trace = None,
    prompt_lengths: PromptLengths = None,
    output_lengths: OutputLengths = None,
    ttft: Ttft = None,
    tpot: Tpot = None,
    e2e: E2e = None,
    goal: Goals = None,
    try_: Try = None,
    json: o.Json = False,
    csv: Csv = False,
    html: o.Html = None,
) -> int:
    """What would make your deployment serve more, faster or within its goals: ranked changes, each tried."""
    from perfmodel.cli.advised import advice_screen
    from perfmodel.cli.planning import seconds
    from perfmodel.planning.advising import advise as ask

    names = ("rate", "users", "trace", "prompt_lengths", "output_lengths", "ttft", "tpot", "e2e")
    traffic = {name: value for name, value in locals().items() if name in names}
    think = None if think_time is None else seconds(think_time, "--think-time")
    answer = ask(**question, **traffic, think_time=think, goals=goal, changes=try_ or ())
    if html is not None:
        o.write_page(answer, html)
    if csv:
        print(answer.to_frame().to_csv(index=False), end="")
    else:
        print(o.dumped(answer.to_dict()) if json else advice_screen(answer))
    return 0 if answer.met else 1
