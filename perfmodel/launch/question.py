"""A question in names and numbers → what to run: the server, and the load tests that verify it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perfmodel.answer import Estimate, estimate
from perfmodel.deployment import Deployment
from perfmodel.errors import RequestError
from perfmodel.launch.server import Launch, launch, load_test
from perfmodel.launch.sheet import Command
from perfmodel.planning.goals import goals as goals_asked
from perfmodel.precision import STREAMS
from perfmodel.serving.traffic import Traffic, traffic_asked
from perfmodel.workload import OUTPUT, PROMPT, whole_number


@dataclass(frozen=True)
class Launched:
    """The answer: what starts the deployment of `estimate`, and what sends `traffic` to it."""

    estimate: Estimate
    launch: Launch
    traffic: Traffic
    goals: Mapping[str, float]
    tests: Mapping[str, Command]

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        from perfmodel import __version__

        told, plan = self.launch, self.estimate.plan
        return {
            "version": __version__,
            "model": plan.model.name,
            "gpu": plan.gpu.name,
            "gpu_count": plan.gpu_count,
            "engine": told.engine,
            "engine_version": told.version,
            "checkpoint": told.checkpoint,
            "context": told.context,
            "port": told.port,
            "copies": told.copies,
            "workers": None if told.workers is None else dict(zip(("prefill", "decode"), told.workers, strict=True)),
            "server": [_command(command) for command in told.server],
            "files": dict(told.files),
            "manifest": told.manifest,
            "load_tests": {name: _command(command) for name, command in self.tests.items()},
            "placeholders": list(told.placeholders),
            "lacks": list(told.lacks),
            "notes": list(told.notes),
        }


def _command(command: Command) -> dict[str, Any]:
    return {
        "title": command.title,
        "argv": command.argv,
        "env": dict(command.env),
        "text": command.text,
        "notes": list(command.notes),
    }


def launched(
    model: Any,
    gpu: Any,
    *,
    concurrency: int | None = None,
    rate: float | None = None,
    requests: int | None = None,
    prompt_lengths: Any = None,
    output_lengths: Any = None,
    trace: str | None = None,
    goals: Sequence[str] = (),
    context: int | None = None,
    checkpoint: str | None = None,
    port: int | None = None,
    gpus_per_node: int | None = None,
    prefill_workers: int | None = None,
    decode_workers: int | None = None,
    prefill_tp: int | None = None,
    prompt: Any = PROMPT,
    output: Any = OUTPUT,
    **question: Any,
) -> Launched:
    """What starts `model` on `gpu`, and sends it the stated traffic; other keywords are those of `estimate`.

    `goals` are "ttft=500 ms", "tpot=50 ms", "e2e=10 s". `context` is the longest prompt and output together, by default
    that of the lengths. `prefill_workers` and `decode_workers`, given together, disaggregate.

    Raises RequestError where the question is wrong, DoesNotFitError where the deployment does not hold the model.
    """
    prompts, outputs = prompt_lengths or prompt, output_lengths or output
    sent = traffic_asked(prompts, outputs, None, concurrency, rate, requests, trace)
    one = estimate(
        model, gpu, prompt=max(round(sent.prompts.mean), 1), output=max(round(sent.outputs.mean), 1), **question
    )
    sent = replace(sent, cached=one.work.prefix, hit=one.work.prefix_hit)
    longest = longest_request(one.plan, sent) if context is None else int(whole_number(context, "--context"))
    told = launch(
        one.plan,
        context=longest,
        checkpoint=checkpoint or _named(model, one),
        port=port,
        gpus_per_node=None if gpus_per_node is None else int(whole_number(gpus_per_node, "--gpus-per-node", 1024)),
        prefix=bool(one.work.prefix),
        sequences=sent.at_once or one.work.sequences,
        **_apart(one, prefill_workers, decode_workers, prefill_tp),
    )
    wanted = {f"{goal.figure}_s": goal.limit_s for goal in goals_asked(goals)}
    return Launched(one, told, sent, wanted, load_test(told, sent, wanted))


def longest_request(plan: Deployment, sent: Traffic) -> int:
    """Tokens of the longest request; of lengths without an end, as many as the model takes."""
    most = plan.model.extended_context or plan.model.max_context
    asked = round(sent.prompts.high) + round(sent.outputs.high)
    endless = "lognormal" in (sent.prompts.kind, sent.outputs.kind)
    return min(asked, most) if endless else asked


def _named(model: Any, one: Estimate) -> str | None:
    """The Hub id that the question itself names, where the model's file knows it and its weights are served as such."""
    if not isinstance(model, str) or one.plan.precision.weights.name not in STREAMS:
        return None
    return next((name for name in one.plan.model.hub if name.lower() == model.lower()), None)


def _apart(one: Estimate, prefill: int | None, decode: int | None, tp: int | None) -> dict[str, Any]:
    if prefill is None and decode is None:
        if tp is not None:
            raise RequestError("--prefill-tp is for --prefill-workers and --decode-workers.")
        return {}
    if prefill is None or decode is None:
        raise RequestError(
            "--prefill-workers and --decode-workers belong together here; perfmodel serve finds the one that keeps "
            "pace with the other."
        )
    if one.plan.replicas > 1:
        raise RequestError(
            "--replicas is for deployments that do both; pools have --prefill-workers, --decode-workers."
        )
    from perfmodel.serving.question import filler_of  # simulations bring numpy

    sizes = (("--prefill-workers", prefill), ("--decode-workers", decode))
    x, y = (int(whole_number(count, use, 1024)) for use, count in sizes)
    return {"prefill": filler_of(one.plan, None if tp is None else int(whole_number(tp, "--prefill-tp", 1024))),
            "workers": (x, y)}  # fmt: skip
