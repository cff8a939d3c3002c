"""Hold perfmodel's table of flags against the source of an engine: `python docs/flags.py vllm 0.33.0 FOLDER`.

FOLDER is the unpacked source distribution or wheel of that very version ("pip download --no-deps vllm==0.33.0"). Every
flag that perfmodel would write for the version must stand in it as a string, and none that it says is gone. Exits 1 and
names those that differ.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from perfmodel.launch.flags import FLAGS, TOOLS, numbers

# where a tool defines its flags, inside its source
PLACES = {
    "vllm": ("vllm/engine", "vllm/entrypoints", "vllm/config"),
    "vllm bench": ("vllm/benchmarks",),
    "sglang": ("sglang/srt/server_args.py", "sglang/srt/arg_groups"),
    "guidellm": ("guidellm/cli", "guidellm/schemas", "guidellm/backends", "guidellm/utils"),
    "aiperf": ("aiperf/config/flags",),
}
# where flags are fields of records, named with underscores
RECORDS = {
    "vllm": ("vllm/entrypoints",),
    "sglang": ("sglang/srt/arg_groups",),
    "guidellm": ("guidellm/schemas", "guidellm/backends"),
}
_WORD = re.compile(r"""["'](--[a-zA-Z][\w-]*)["']""")
_FIELD = re.compile(r"^    (\w+)\s*:", re.M)
_ALIAS = re.compile(r""""argument_alias": "(\w+)\"""")  # GuideLLM's names of lists


def flags_in(folder: Path, tool: str) -> set[str]:
    """Flags that the sources of a tool name: strings that begin with --, and fields of records."""
    found = {word for text in _texts(folder, PLACES[tool]) for word in _WORD.findall(text)}
    for text in _texts(folder, RECORDS.get(tool, ())):
        for name in (*_FIELD.findall(text), *_ALIAS.findall(text)):
            found |= {name, f"--{name.replace('_', '-')}"}
    return found


def _texts(folder: Path, places: Iterable[str]) -> Iterator[str]:
    for place in places:
        path = folder / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            yield file.read_text(encoding="utf-8")


def differences(folder: Path, tool: str, version: str) -> list[str]:
    """What the table says of a version that its source does not, or the other way round."""
    there, told = flags_in(folder, tool), []
    for flag in (flag for flag in FLAGS.values() if flag.tool == tool):
        if flag.holds(numbers(version)) and flag.name not in there:
            told.append(f"{flag.name} is written for {tool} {version}, whose source does not name it")
        if not flag.holds(numbers(version)) and flag.since > numbers(version) and flag.name in there:
            told.append(f"{flag.name} is in the source of {tool} {version}; the table has it from a later version on")
    return told


def main(arguments: list[str]) -> int:
    """Exit code 0 where table and source agree, 1 where they differ, 2 for a wrong question."""
    if len(arguments) != 3 or arguments[0] not in PLACES or not Path(arguments[2]).is_dir():
        known = ", ".join(PLACES)
        print(f"usage: python docs/flags.py TOOL VERSION FOLDER, where TOOL is one of {known}", file=sys.stderr)
        return 2
    tool, version, folder = arguments
    told = differences(Path(folder), tool, version)
    print("\n".join(told) or f"every flag written for {TOOLS[tool].title} {version} stands in its source")
    return 1 if told else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
