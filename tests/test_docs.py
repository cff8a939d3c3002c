"""The documents are true: every command and flag is in them, their links lead somewhere, their YAML loads."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from perfmodel.cli import COMMANDS, application
from perfmodel.gpu import GPU
from perfmodel.model import Model
from perfmodel.spec import checked

ROOT = Path(__file__).parent.parent
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> dict[str, set[str]]:
    """Command → its flags, as the program has them."""
    found: dict[str, set[str]] = {}

    def walk(group: object, name: str) -> None:
        for child_name, child in getattr(group, "commands", {}).items():
            walk(child, f"{name} {child_name}")
        if not hasattr(group, "commands"):
            flags = {flag for parameter in group.params for flag in parameter.opts if flag.startswith("-")}  # type: ignore[attr-defined]
            found[name] = flags - {"--help"}

    walk(typer.main.get_command(application(*COMMANDS)), "perfmodel")
    return found


@pytest.mark.parametrize(("command", "flags"), commands().items())
def test_every_command_and_flag_is_documented(command: str, flags: set[str]) -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = {part.split("\n", 1)[0]: part for part in text.split("## ")}
    assert command in sections
    written = set(re.findall(r"`(--?[a-z][a-z0-9-]*)", sections[command]))
    if "all flags of `estimate` that shape the question" in sections[command]:
        written |= commands()["perfmodel explain"]
    assert flags == written


def test_every_command_has_help() -> None:
    for command in commands():
        assert command.split()[1] in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", file.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (file.parent / target).exists(), target


def test_the_yaml_of_adding_md_loads() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "adding.md").read_text(encoding="utf-8"), re.S)
    gpu, model = (yaml.safe_load(block) for block in blocks)
    assert checked(GPU, gpu, "adding.md").peak("bf16") == 400e12
    assert checked(Model, model, "adding.md").layers == 32


def test_the_letters_of_the_legend_are_those_of_the_specs() -> None:
    """Each letter of a spec stands in the legend and on the pages of explain, and each field of the legend has it."""
    import perfmodel.block as block
    from perfmodel.explain.asked import MEANINGS
    from perfmodel.layers import latent_attention, per_layer, variants
    from perfmodel.spec import Letter, Spec

    text = (ROOT / "docs" / "nomenclature.md").read_text(encoding="utf-8")
    legend = {
        letter: tuple(field.split(".")) for letter, field in re.findall(r"^\| (\S+) \|.*\| `(\w+\.\w+)`", text, re.M)
    }
    modules = (variants, latent_attention, per_layer, block)
    specs = {k.__name__: k for m in modules for k in vars(m).values() if isinstance(k, type) and issubclass(k, Spec)}
    specs |= {"Model": Model}
    marked = {}
    for name, spec in specs.items():
        for field in spec.model_fields:
            parts = (spec.model_fields[field], *getattr(spec.model_fields[field].annotation, "__args__", ()))
            for part in parts:
                for letter in (
                    m for m in getattr(part, "__metadata__", getattr(part, "metadata", ())) if isinstance(m, Letter)
                ):
                    marked.setdefault(letter.symbol, set()).add((name, field))
    assert len(marked) > 20
    assert set(marked) == set(MEANINGS)
    for symbol, fields in marked.items():
        assert legend[symbol] in fields, symbol


def test_json_keys_are_documented(run) -> None:
    import json

    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    data = json.loads(run("estimate", "-m", "llama3-70b", "-g", "h100", "--json", "--breakdown").out)
    keys = (
        set(data) | set(data["memory"]) | set(data["prefill"]) | set(data["prefill"]["ops"][0]) | set(data["precision"])
    )
    served = json.loads(run("serve", "-m", "llama3-8b", "-g", "h100", "-c", "2", "--requests", "4", "--json").out)
    apart = ("serve", "-m", "llama3-8b", "-g", "h100", "-c", "2", "--requests", "4", "--decode-workers", "1", "--json")
    keys |= (
        set(served)
        | set(served["traffic"])
        | set(served["rules"])
        | set(served["ttft_s"])
        | set(served["saturation"])
        | set(json.loads(run(*apart).out))
    )
    swept = json.loads(run("sweep", "-m", "llama3-8b", "-g", "h100", "--tp", "1,2", "--json").out)
    keys |= set(swept) | set(swept["study"])
    for name in ("llama3-70b", "h100"):
        keys |= set(json.loads(run("show", name, "--json").out))
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_recorded_errors_are_what_the_command_prints(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python benchmarks/accuracy.py --recorded` writes them anew."""
    monkeypatch.setenv("COLUMNS", "110")
    text = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n\$ perfmodel (.*--recorded.*)\n((?:(?!```).*\n)*)```$", text, re.M)
    assert len(blocks) >= 4
    for command, printed in blocks:
        assert run(*shlex.split(command)).out == printed, command


def renewal() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "renew.py"))


def test_pictures_show_what_perfmodel_says() -> None:
    """`python docs/renew.py` draws them anew."""
    for file, drawn in renewal()["pictures"]().items():
        assert file.read_text(encoding="utf-8") == drawn, file.name


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "levers").glob("[!R]*.md")), ids=lambda page: page.stem)
def test_pages_of_levers_hold_what_commands_print(page: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    blocks = renewal()["ANSWER"].findall(page.read_text(encoding="utf-8"))
    assert blocks
    for command, printed in blocks:
        answer = run(*shlex.split(command))
        assert answer.out + answer.err == printed, command


def test_what_the_readme_shows_is_printed(run) -> None:
    """Blocks that begin with a command: `…` and lines of `...` stand for what is left out."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n\$ perfmodel (.*)\n((?:(?!```).*\n)*)```$", text, re.M)
    assert blocks
    for command, shown in blocks:
        ran = run(*shlex.split(command))
        pattern = ".*?".join(re.escape(part) for part in re.split(r"…|\n\.\.\.\n", shown.strip()))
        assert re.search(pattern, ran.out + ran.err, re.S), command
