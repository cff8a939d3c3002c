"""A deployment → what starts it: one kind of server, or workers that prefill and decode apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from perfmodel.deployment import Deployment
from perfmodel.errors import RequestError
from perfmodel.launch import llama_cpp, sglang, trtllm, vllm
from perfmodel.launch.asked import Asked
from perfmodel.launch.checkpoint import hub_id
from perfmodel.launch.flags import TOOLS, numbers, version_for
from perfmodel.launch.kubernetes import RESOURCES, SECRET, TOKEN, image, manifest
from perfmodel.launch.load import load_tests
from perfmodel.launch.nodes import nodes
from perfmodel.launch.sheet import Command, Sheet, blank, blanks
from perfmodel.memory import memory
from perfmodel.precision import Precision
from perfmodel.serving.traffic import Traffic
from perfmodel.workload import Workload

WRITERS: dict[str, ModuleType] = {"vllm": vllm, "sglang": sglang, "trtllm": trtllm, "llama.cpp": llama_cpp}
"""Engine → the module that writes its command."""
ROLES = ("prefill", "decode")
LAST_PORT = 65535


@dataclass(frozen=True)
class Launch:
    """What starts a deployment.

    engine, version  what the commands are written for
    checkpoint  repository or folder of the weights, or a place to fill in
    server      command lines of one copy, one for each host; where prefill and decode are apart, those of one worker of
                each kind, and the router's
    files       name → text of files that the commands read
    manifest    Kubernetes objects as YAML; "" where there are none, which a note explains
    copies      how many such servers there are; 1 where prefill and decode are apart
    workers     of prefill and decode, where these are apart; `filler` is then a worker that prefills
    port        where requests go
    context     tokens of the longest request
    notes       what must be known, or done beside
    lacks       what was modelled and the commands do not do: where there is any, the server differs from the plan
    """

    plan: Deployment
    engine: str
    version: str
    checkpoint: str
    server: tuple[Command, ...]
    files: Mapping[str, str]
    manifest: str
    copies: int
    workers: tuple[int, int] | None
    port: int
    context: int
    notes: tuple[str, ...]
    lacks: tuple[str, ...]
    filler: Deployment | None = None

    @property
    def gpu_count(self) -> int:
        """Devices in all."""
        if self.workers is None or self.filler is None:
            return self.plan.joined * self.copies
        return self.workers[0] * self.filler.joined + self.workers[1] * self.plan.joined

    @property
    def served(self) -> str:
        """What requests call the model."""
        return self.plan.model.name if self.engine == "llama.cpp" else self.checkpoint

    @property
    def tokenizer(self) -> str:
        """Where a load generator finds the tokenizer: with the weights, which a GGUF file is not."""
        if self.engine != "llama.cpp":
            return self.checkpoint
        return hub_id(self.plan.model) or blank(f"repository of {self.plan.model.name}")

    @property
    def placeholders(self) -> tuple[str, ...]:
        """Places that the user must fill in before the commands run, each once."""
        told = [word for command in self.server for word in command.argv]
        told += [value for command in self.server for _, value in command.env]
        return blanks([*told, *self.files.values()])


def launch(
    plan: Deployment,
    *,
    context: int,
    replicas: int = 1,
    prefill: Deployment | None = None,
    workers: tuple[int, int] | None = None,
    checkpoint: str | None = None,
    port: int | None = None,
    gpus_per_node: int | None = None,
    prefix: bool = False,
    sequences: int = 1,
) -> Launch:
    """What starts `plan`: `context` tokens are the longest prompt and its output.

    `replicas` multiplies the copies that the plan has. `prefill` and `workers` disaggregate: x workers like `prefill`,
    y like `plan`. `checkpoint` names the weights, where the model's file does not or others are meant; `prefix` says
    that requests share one; `sequences` is how many run at once, where the engine has no limit of its own (llama.cpp).

    Raises RequestError for engines without a known command, versions older than any whose flags were read, devices that
    do not fill hosts evenly, and a context that the model does not take.
    """
    writer = WRITERS.get(plan.engine.name)
    if writer is None:
        known = ", ".join(WRITERS)
        raise RequestError(
            f"--engine {plan.engine.name}: no command line is known for it; launch writes those of {known}."
        )
    version = version_for(plan.engine.name, plan.engine.version)
    _checked(plan, context, port, workers)
    asked = Asked(
        version,
        context,
        nodes(plan, gpus_per_node),
        checkpoint,
        port or int(writer.PORT),
        prefix,
        _offloaded(plan),
        sequences,
    )
    if prefill is None or workers is None:
        return _together(writer, plan, asked, replicas)
    return _apart(writer, plan, prefill, workers, asked, gpus_per_node)


def load_test(
    told: Launch, traffic: Traffic, goals: Mapping[str, float | None] | None = None, host: str = "localhost"
) -> dict[str, Command]:
    """Tool → the command that sends `traffic` to the server (perfmodel.launch.load); goals in seconds, by their names
    `ttft_s`, `tpot_s` and `e2e_s`."""
    version = told.version if told.engine == "vllm" else ""
    return load_tests(told.served, told.tokenizer, f"http://{host}:{told.port}", traffic, goals, version, told.context)


def _checked(plan: Deployment, context: int, port: int | None, workers: tuple[int, int] | None) -> None:
    most = plan.model.extended_context or plan.model.max_context
    if isinstance(context, bool) or not 1 <= context <= most:
        raise RequestError(
            f"prompt and output of {context:,} tokens are more than {plan.model.name} takes ({most:,}); "
            "use a shorter --prompt or --output."
        )
    if port is not None and not 1 <= port <= LAST_PORT:
        raise RequestError(f"--port must be from 1 to {LAST_PORT:,}; got {port}.")
    if workers is not None and min(workers) < 1:
        raise RequestError(f"prefill and decode workers must be at least one each; got {workers}.")


def _offloaded(plan: Deployment) -> float:
    """Bytes of weights that wait on the host for one device."""
    if not plan.offload.weights:
        return 0.0
    return float(memory(replace(plan, offload=replace(plan.offload, kv=0.0)), Workload(1, 1, 1)).offloaded)


# ── one kind of server ───────────────────────────────────────────────────────────────────────────


def _together(writer: ModuleType, plan: Deployment, asked: Asked, replicas: int) -> Launch:
    commands, sheet = writer.commands(plan, asked)
    files = _files(sheet, "server")
    copies, reason = plan.copies * replicas, _no_manifest(plan, commands, asked)
    size = _fetched(plan, sheet)
    text = "" if reason else manifest(plan, commands, asked.version, asked.port, copies, files, size)
    notes = [*sheet.notes, *([reason] if reason else _about_manifest(plan, commands, copies)), *_about(plan, asked)]
    return _launch(plan, asked, sheet, commands, files, notes, manifest=text, copies=copies)


def _launch(
    plan: Deployment,
    asked: Asked,
    sheet: Sheet,
    commands: Sequence[Command],
    files: Mapping[str, str],
    notes: Sequence[str],
    **more: Any,
) -> Launch:
    usual: dict[str, Any] = {"manifest": "", "copies": 1, "workers": None, "lacks": tuple(sheet.lacks)}
    return Launch(
        plan,
        plan.engine.name,
        asked.version,
        sheet.weights,
        tuple(commands),
        dict(files),
        port=asked.port,
        context=asked.context,
        notes=tuple(dict.fromkeys(notes)),
        **(usual | more),
    )


def _fetched(plan: Deployment, sheet: Sheet) -> float:
    """Bytes of the weights as the server fetches them: in 16 bits where it quantizes them itself."""
    whole, quantizes = plan.whole(), sheet.value("--quantization") is not None
    precision = Precision.plain(plan.precision.stream.name) if quantizes else whole.precision
    return float(sum(whole.model.weight_bytes(precision, 1, whole.model.blocks, "both", 1, 1).values()))


def _files(sheet: Sheet, name: str) -> dict[str, str]:
    """The YAML file that a command reads; none where it has nothing to say."""
    if not sheet.fields:
        return {}
    import yaml

    return {f"{name}.yaml": yaml.safe_dump(sheet.fields, sort_keys=False)}


def _no_manifest(plan: Deployment, commands: Sequence[Command], asked: Asked) -> str:
    """Why there is no manifest; "" where there is one."""
    engine, vendor = plan.engine.name, plan.gpu.vendor
    if image(engine, vendor, asked.version) is None or vendor not in RESOURCES:
        return f"no manifest: {TOOLS[engine].title} publishes no image for {plan.gpu.title}"
    if asked.nodes.count > 1 and (engine == "trtllm" or len(commands) != asked.nodes.count):
        wants = "MPI" if engine == "trtllm" else "Ray"
        return f"no manifest: several hosts need {wants}, with an operator of its own (mpi-operator, KubeRay)"
    if asked.nodes.count > 1 and plan.dp > 1 and plan.model.has_experts and engine == "vllm":
        return "no manifest: each host begins at another data-parallel rank, which a LeaderWorkerSet cannot count"
    return ""


def _about_manifest(plan: Deployment, commands: Sequence[Command], copies: int) -> list[str]:
    found = [
        f"the manifest reads a Hugging Face token from a Secret {SECRET}, key {TOKEN}, for gated repositories",
        "the manifest asks for devices only: add requests of CPU and memory, and a node selector for "
        f"{plan.gpu.title}, as your cluster names them",
    ]
    if len(commands) > 1:
        found.append("the manifest needs LeaderWorkerSet 0.6 or later in the cluster (lws.sigs.k8s.io)")
    if copies * len(commands) > 1:
        found.append("its pods share one volume, which needs a storage class that writes from several (ReadWriteMany)")
    return found


def _about(plan: Deployment, asked: Asked) -> list[str]:
    """What a version says of what is known."""
    tool = TOOLS[plan.engine.name]
    if numbers(asked.version) > numbers(tool.newest):
        return [f"flags were read from {tool.title} {tool.newest}; that {asked.version} still has them is assumed"]
    return []


# ── prefill and decode apart ─────────────────────────────────────────────────────────────────────


def _apart(
    writer: ModuleType,
    plan: Deployment,
    filler: Deployment,
    workers: tuple[int, int],
    asked: Asked,
    gpus_per_node: int | None,
) -> Launch:
    """A command for each kind of worker, and what takes the requests: on ports of their own, so that one host does."""
    commands: list[Command] = []
    files: dict[str, str] = {}
    notes: list[str] = []
    lacks: list[str] = []
    sheet = Sheet(plan.engine.name, asked.version)
    for step, (role, part) in enumerate(zip(ROLES, (filler, plan), strict=True), 1):
        own = replace(asked, port=asked.port + 100 * step, nodes=nodes(part, gpus_per_node))
        found, sheet = writer.commands(part, own, role)
        commands += found
        files |= _files(sheet, role)
        notes += sheet.notes
        lacks += sheet.lacks
    addresses = [
        [f"{blank(f'address of {role} worker {number + 1}')}:{asked.port + 100 * step}" for number in range(count)]
        for step, (role, count) in enumerate(zip(ROLES, workers, strict=True), 1)
    ]
    router, extra, told = _router(plan.engine.name, addresses, asked.port)
    commands += router
    notes += [f"start {workers[0]} prefill and {workers[1]} decode workers; commands are of one of each", *told]
    notes.append("no manifest: routing between prefill and decode wants a router such as llm-d, Dynamo or SGLang's")
    return _launch(plan, asked, sheet, commands, files | extra, [*notes, *_about(plan, asked)],
                   workers=workers, filler=filler, lacks=tuple(dict.fromkeys(lacks)))  # fmt: skip


def _router(engine: str, addresses: list[list[str]], port: int) -> tuple[list[Command], dict[str, str], list[str]]:
    """The command that takes requests, files that it reads, and what must be known."""
    if engine == "sglang":
        return (
            [sglang.router([f"http://{at}" for at in addresses[0]], [f"http://{at}" for at in addresses[1]], port)],
            {},
            [],
        )
    if engine == "trtllm":
        import yaml

        command, told = trtllm.router(port, addresses[0], addresses[1])
        return [command], {"disaggregated.yaml": yaml.safe_dump(told, sort_keys=False)}, []
    return [], {}, [
        f"vLLM leaves routing to others: llm-d, Dynamo or the production stack take requests on port {port} and pass "
        "them on; its own toy_proxy_server.py does for a test"
    ]  # fmt: skip
