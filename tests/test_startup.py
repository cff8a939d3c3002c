"""Heavy packages stay out of commands that do not need them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from made_results import full_run

HEAVY = ("torch", "pandas", "plotly", "jinja2", "numpy", "scipy", "transformers")
COMMANDS = {
    "estimate": ["estimate", "-m", "llama3-70b", "-g", "h100"],
    "estimate --json": ["estimate", "-m", "llama3-70b", "-g", "h100", "--json", "--breakdown"],
    "launch": ["launch", "-m", "llama3-70b", "-g", "h100", "--tp", "4", "--rate", "4"],
    "show": ["show", "h100"],
    "list": ["list", "models"],
    "list --fits": ["list", "models", "--fits", "h100", "--sort", "params"],
    "explain": ["explain", "-m", "llama3-70b"],
    "validate": ["validate", "references"],
    "validate kernels": ["validate", "kernels", "--recorded"],
    "validate report": ["validate", "report", "RESULTS"],
    "help": ["--help"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_heavy_packages_are_absent(arguments: list[str], tmp_path: Path) -> None:
    full_run().save(tmp_path / "results.json")
    arguments = [str(tmp_path) if argument == "RESULTS" else argument for argument in arguments]
    code = (
        "import sys; from perfmodel.cli import main; "
        f"assert main({arguments!r}) == 0; print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_names_of_the_catalog_need_neither_families_nor_hub() -> None:
    code = (
        "import sys; from perfmodel.cli import main; main(['estimate', '-m', 'Qwen/Qwen3-8B', '-g', 'h100']); "
        "print([m for m in ('perfmodel.huggingface', 'huggingface_hub') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_importing_the_package_loads_next_to_nothing() -> None:
    code = "import sys, perfmodel; print([m for m in ('pydantic', 'yaml', 'numpy', 'typer') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_what_they_say() -> None:
    import types

    import perfmodel

    for name in perfmodel.__all__:
        thing = getattr(perfmodel, name)
        assert not isinstance(thing, types.ModuleType), name
    # also after the submodules have been imported, which binds their names on the package
    perfmodel.estimate("llama3-70b", "h100")
    perfmodel.sweep("llama3-70b", "h100", batch=[1, 2])
    assert callable(perfmodel.estimate)
    assert callable(perfmodel.sweep)
