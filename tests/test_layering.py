"""The order of the modules, read off the code: imports go one way, and heavy packages stay where they belong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "perfmodel"
# a module may import, at its top, only from rows above its own
ROWS = (
    ("errors",),
    ("reading", "files", "score"),
    ("arithmetic",),
    ("speculation.acceptance",),
    ("traced",),
    ("spec",),
    ("units",),
    ("op", "batch", "precision", "workload", "lora", "frontend", "cache.policy", "kernels.flash", "layers.dispatch"),
    ("cache.formats",),
    ("layers.layer",),
    ("layers.sampling", "layers.sharing", "layers.thinning"),
    (
        "layers.attention",
        "layers.feedforward",
        "layers.embedding",
        "layers.recurrent",
        "layers.per_layer",
        "layers.adapters",
        "layers.cross_attention",
    ),
    ("layers.latent_attention", "layers.linear_attention", "layers.state_space", "layers.moe"),
    ("layers.compressed_attention",),
    ("layers.variants", "order"),
    ("block",),
    ("collectives",),
    ("kernels.waits",),
    (
        "kernels.attention",
        "kernels.collective",
        "kernels.gemm",
        "kernels.grouped",
        "kernels.scan",
        "kernels.sustained",
        "kernels.overheads",
    ),
    ("kernels.forms", "kernels"),
    ("calibrated",),
    ("gpu", "model", "engine"),
    ("scaling", "written", "exempt", "images", "cache.offload"),
    ("huggingface",),
    ("catalog",),
    ("speculation.method",),
    ("deployment",),
    ("speculation.drafts", "forward", "computes"),
    ("roofline", "calibration", "profiles"),
    ("expected", "interval"),
    ("batching", "cache.held"),
    ("speculation.drafting",),
    ("memory", "latency"),
    ("speculation.speedup", "speculation"),
    ("remedies", "breakeven", "levers", "cache.reload", "cache"),
    ("placement",),
    ("assumptions", "asking"),
    ("table",),
    ("answer", "scored"),
    ("contract", "grid", "explain", "figures", "moved", "flags"),
    ("comparison", "achieved", "sensitivity", "frontier"),
    ("study.coded",),
    ("study.axes", "study.columns"),
    ("study.filters", "study.known"),
    ("study.study", "study.written"),
    ("study.parts", "study.encoded", "study.contract", "study.figures"),
    ("study.rows", "study.summary"),
    ("study.running",),
    ("study.kept",),
    ("study.streamed",),
    ("study.result",),
    ("study.asked",),
    ("study",),
    ("serving.simulation", "serving.trace", "serving.steps"),
    ("serving.pools",),
    ("serving.lengths",),
    ("serving.traffic",),
    ("serving.seen",),
    ("serving.load",),
    ("serving.theory",),
    ("serving.steady",),
    ("serving.disaggregated",),
    ("serving.question",),
    ("serving",),
    ("planning.goals",),
    ("launch.flags", "launch.nodes"),
    ("launch.sheet", "launch.asked"),
    ("launch.checkpoint", "launch.words", "launch.kubernetes", "launch.load"),
    ("launch.vllm", "launch.sglang", "launch.trtllm", "launch.llama_cpp"),
    ("launch.server",),
    ("launch.question",),
    ("launch",),
    ("planning.prices",),
    ("planning.demand",),
    ("planning.reach", "planning.bounds"),
    ("planning.space",),
    ("planning.option",),
    ("planning.search",),
    ("planning.pools",),
    ("planning.robust", "planning.misses", "planning.changes", "planning.grown"),
    ("planning.answer", "planning.advising"),
    ("planning.question",),
    ("planning",),
    ("references",),
    ("report",),
    ("published",),
    ("measured",),
    ("benchmarked.content", "benchmarked.fields"),
    ("benchmarked.run",),
    ("benchmarked.alike",),
    (
        "benchmarked.vllm",
        "benchmarked.trtllm",
        "benchmarked.guidellm",
        "benchmarked.aiperf",
        "benchmarked.sglang",
        "benchmarked.llama_bench",
    ),
    ("benchmarked.startup",),
    ("benchmarked.tools", "benchmarked.written", "benchmarked.terms"),
    ("benchmarked.against",),
    ("benchmarked",),
    ("fitting.fit", "fitting.tables", "fitting.joint", "fitting.write"),
    ("fitting.attention", "fitting.collective", "fitting.gemm", "fitting.grouped", "fitting.scan", "fitting.recorded"),
    ("fitting.products", "fitting.exchange"),
    ("fitting.aiconfigurator",),
    ("fitting.comparison",),
    ("fitting.silicon",),
    ("fitting.runs",),
    ("fitting.free",),
    ("fitting.engines",),
    ("fitting.loaded",),
    ("fitting.kept",),
    ("fitting.own",),
    ("fitting",),
    ("cli",),
    ("__main__",),
)
HEAVY = {
    "pydantic": {"units", "spec", "gpu", "calibrated", "model", "block", "layers", "references", "measured"},
    "yaml": {"catalog", "launch"},
    "typer": {"cli"},
    "pandas": {"table", "fitting"},
    "numpy": {
        "arithmetic",
        "workload",
        "latency",
        "speculation",
        "grid",
        "published",
        "fitting",
        "serving",
        "planning",
        "study",
        "report",
        "frontier",
    },
    "rich": {"table", "cli"},
    "plotly": {"report", "study"},
    "jinja2": {"report"},
    "scipy": {"fitting"},
    "pyarrow": {"fitting", "study"},
    "joblib": {"study"},
    "distributed": {"study"},
    "torch": set(),
    "transformers": set(),
}
# everywhere else it is loaded when an array comes by
NUMPY_AT_TOP = {
    "grid",
    "serving.steps",
    "serving.steady",
    "planning.reach",
    "planning.bounds",
    "planning.pools",
    "published.loaded",
    "published.predictions",
    "published.scores",
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if "data" not in path.relative_to(PACKAGE).parts)


def module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def row(name: str) -> int:
    for i, names in enumerate(ROWS):
        if any(name == known or name.startswith(f"{known}.") for known in names):
            return i
    raise AssertionError(f"perfmodel.{name} has no row in the order of modules: give it one")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(imported module, whether at the top of the file) for every import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                inside = (
                    node.module == "perfmodel" or (PACKAGE.parent / Path(*full.split("."))).with_suffix(".py").exists()
                )
                yield (full if inside else node.module), node in tree.body
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in tree.body


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_go_one_way(path: Path) -> None:
    name = module(path)
    if name in ("", "layers"):
        return
    for imported, at_top in imports(path):
        if not imported.startswith("perfmodel.") or not at_top:
            continue
        other = imported.removeprefix("perfmodel.")
        folder = name.split(".")[0]
        if other.split(".")[0] == folder and folder in (
            "cli",
            "explain",
            "references",
            "huggingface",
            "published",
            "measured",
            "report",
        ):
            continue  # inside one folder
        assert row(other) < row(name), f"{name} imports {other}, which comes after it"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_heavy_packages_stay_where_they_belong(path: Path) -> None:
    name = module(path)
    for imported, at_top in imports(path):
        package = imported.split(".")[0]
        if package in HEAVY:
            assert name.split(".")[0] in HEAVY[package], f"{name} imports {package}"
            if package == "numpy" and name not in NUMPY_AT_TOP and not name.startswith("fitting."):
                assert not at_top, f"{name} imports numpy at its top"
            if package in ("pandas", "rich", "jinja2", "plotly", "pyarrow", "joblib", "distributed"):
                assert not at_top


@pytest.mark.parametrize("path", FILES, ids=module)
def test_files_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 350
    assert path.stem not in ("utils", "util", "common", "base", "manager", "helper", "helpers", "misc", "core")
    assert ast.get_docstring(ast.parse(text)), f"{module(path)} has no docstring"


def test_public_formulas_have_docstrings() -> None:
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{module(path)}.{node.name}"
