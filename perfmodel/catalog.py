"""Names → specs. The only file that knows where hardware and model files lie, and the only one that reads YAML.

A name is a file name ("llama3-70b"), an alias, a Hub id, or a path: a YAML file, a config.json, or a folder that holds
one. A Hub id that no file has is looked up on the Hub. Names are compared in lower case without
punctuation except dots, so that "Llama-3.1-8B", "llama_3.1_8b" and "llama3.1-8b" are one. The user's own
files come first: `--path` folders, then ./hardware and ./models, then the ones that ship with perfmodel.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from perfmodel.calibrated import Architecture
from perfmodel.errors import SpecError, UnknownNameError, one_line
from perfmodel.gpu import GPU
from perfmodel.model import Model
from perfmodel.reading import read_json, text_of
from perfmodel.spec import Spec, checked, nearest

_HERE = Path(__file__).resolve().parent
_PACKAGED = _HERE / "data"
_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FOLDERS = {"gpu": "hardware", "model": "models"}
_KINDS: dict[str, type[Spec]] = {"model": Model, "gpu": GPU}
_MOST_VALUES = 50_000  # in one file, aliases followed
_HUB_ID = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)
_QUANTIZED = "hf_quant_config.json"  # where NVIDIA's Model Optimizer says what it did
_extra: list[Path] = []

ALL = "all devices"
"""The "architecture" of what kernels of all devices have in common."""
RUNS = "runs of all devices"
"""The one of what runs of whole models told: of engines, and of hosts' links."""


class _Loader(_SAFE):  # type: ignore[misc]
    """Plain data only, and no key twice: the second would silently win."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                mark = key.start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} stands twice", mark)
            if isinstance(key.value, str):
                seen.add(key.value)
        built: dict[Any, Any] = super().construct_mapping(node, deep)
        return built


def add_path(folder: str | Path) -> None:
    """Look for specs in `folder`, and in its hardware/ and models/, before anywhere else."""
    path = Path(folder).absolute()  # it stays where it is when somebody goes elsewhere
    if not path.is_dir():
        raise SpecError(f"{folder}: is not a folder to look for specs in.")
    _extra.append(path)
    _files.cache_clear()
    load_architecture.cache_clear()


def known_paths() -> tuple[Path, ...]:
    """Folders of the user's own specs, in the order in which they were added."""
    return tuple(_extra)


def data_folder(name: str) -> Path:
    """Where a folder that ships with perfmodel lies: inside the package once installed, else the checkout."""
    packaged = _PACKAGED / name
    return packaged if packaged.is_dir() else _HERE.parent / name


def load_gpu(name: str) -> GPU:
    """The GPU of that name, alias or path."""
    gpu = _load("gpu", name)
    assert isinstance(gpu, GPU)
    return gpu


def architecture_stem(name: str) -> str:
    """Name of the file in hardware/architectures/, without ".yaml"."""
    return {ALL: "all", RUNS: "runs"}.get(name, name.lower().replace(" ", "-"))


@cache
def load_architecture(name: str) -> Architecture | None:
    """What devices of an architecture have in common, or `ALL`, or what `RUNS` told; None where nothing is on file."""
    stem = architecture_stem(name)
    for folder in (*(extra / "hardware" for extra in reversed(_extra)), data_folder("hardware")):
        file = folder / "architectures" / f"{stem}.yaml"
        if re.fullmatch(r"[a-z0-9.-]+", stem) and file.is_file():
            found = checked(Architecture, read_yaml(file), _shown(file))
            return found.model_copy(update={"name": name})
    return None


def load_model(name: str, assume: str | None = None) -> Model:
    """The model of that name, alias, Hub id or path; `assume` is the family to read an unknown model_type as."""
    if assume is not None:
        from perfmodel.huggingface import family_named

        family_named(assume)
    try:
        model = _load("model", name, assume)
    except UnknownNameError as unknown:
        if not _HUB_ID.fullmatch(name):
            raise
        return _from_hub(name, assume, str(unknown))
    assert isinstance(model, Model)
    return model


def load_any(name: str, assume: str | None = None) -> GPU | Model:
    """The model or GPU of that name; a path is whichever its fields fit."""
    if file := _path(name):
        return load_gpu(name) if _told_apart(_data(file)) == "gpu" else load_model(name, assume)
    for kind in _KINDS:
        try:
            _find(kind, name)
        except UnknownNameError:
            continue
        return load_gpu(name) if kind == "gpu" else load_model(name, assume)
    if _HUB_ID.fullmatch(name):
        return load_model(name, assume)
    guess = nearest(normal(name), known := _known("model") | _known("gpu"), cutoff=0.5)
    hint = f"Did you mean {known[guess]}? " if guess else ""
    raise UnknownNameError(
        f'No model or GPU is called "{name[:80]}". {hint}"perfmodel list models" and "perfmodel list gpus" show all.'
    )


def names(kind: str) -> list[str]:
    """Canonical names of every spec of a kind ("gpu" or "model"), sorted."""
    return sorted(_files(kind), key=_natural)


def normal(name: str) -> str:
    """The form in which names are compared; a plus tells models apart ("command-r+")."""
    return re.sub(r"[^a-z0-9.]", "", name.lower().replace("+", "plus"))


def _load(kind: str, name: str, assume: str | None = None) -> Spec:
    file = _find(kind, name)
    data, shown = _data(file), _shown(file)
    found = _told_apart(data) or ("config" if file.suffix == ".json" else kind)
    if found != kind and (kind == "gpu" or found == "gpu"):
        described = (
            "a GPU, not a model: give it as --gpu" if found == "gpu" else "a model, not a GPU: give it as --model"
        )
        raise SpecError(f"{shown}: describes {described}.")
    if found == "config":
        return _from_config(file, data, shown, assume)
    spec = checked(_KINDS[kind], data, shown)
    idle = [] if assume is None else [f"{file.stem} has a file of its own: --assume {assume} changes nothing."]
    notes = {"notes": (*spec.notes, *idle)} if isinstance(spec, Model) and idle else {}
    return spec.model_copy(update={"name": file.stem} | notes)


def _told_apart(data: Any) -> str:
    """Whether `data` are those of a "gpu", a "model" or a "config" of transformers; "" when no field tells."""
    marks = {"gpu": ("memory_bandwidth",), "model": ("blocks",), "config": ("model_type", "text_config")}
    held = data if isinstance(data, dict) else {}
    return next((kind for kind, fields in marks.items() if any(field in held for field in fields)), "")


def _data(file: Path) -> Any:
    return read_json(file, _shown(file)) if file.suffix == ".json" else read_yaml(file)


def _from_config(file: Path, data: Any, shown: str, assume: str | None, name: str = "") -> Model:
    """A config.json, with what its folder says of its quantization."""
    from perfmodel.huggingface import model_from_config

    beside = file.with_name(_QUANTIZED)
    if isinstance(data, dict) and not _quantized(data) and beside.is_file():
        data = data | {"quantization_config": read_json(beside, _shown(beside))}
    return model_from_config(data, shown, assume, name)


def _quantized(data: dict[str, Any]) -> bool:
    return any("quantization_config" in part for part in (data, *data.values()) if isinstance(part, dict))


def _from_hub(name: str, assume: str | None, unknown: str) -> Model:
    """A model of the Hub that no file describes; `unknown` says so, and names the nearest that one does."""
    from perfmodel.huggingface.hub import hub_file

    try:
        file = hub_file(name, "config.json")
        if file is None:
            raise SpecError(f"{name}: has no config.json on the Hub; pass one by hand: --model ./config.json.")
        data = read_json(file, f"{name}/config.json")
        if isinstance(data, dict) and not _quantized(data):
            with suppress(SpecError):  # most have none
                hub_file(name, _QUANTIZED)  # it comes to lie beside the other
    except SpecError as error:
        guess = re.search(r"Did you mean [^?]*\?", unknown)
        raise SpecError(f"{error}{' ' + guess[0] if guess else ''}") from None
    model = _from_config(file, data, f"{name}/config.json", assume, name.partition("/")[2])
    return model.model_copy(update={"hub": (name,)})


def _find(kind: str, name: str) -> Path:
    """The file that `name` means: a path as it stands, else a file name, else an alias, else a folder."""
    if file := _path(name):
        return file
    files, wanted = _files(kind), normal(name)
    if wanted:
        for stem, file in files.items():
            if normal(stem) == wanted:
                return file
        for file in files.values():
            # reading is cheap, parsing is not: parse only files that hold the name's letters at all
            if wanted in normal(_text(file)) and wanted in _other_names(file):
                return file
    if name and os.path.isfile(folder := os.path.join(name, "config.json")):
        return Path(folder)
    raise UnknownNameError(_unknown(kind, name))


def _path(name: str) -> Path | None:
    """The file that `name` means as a path; that of a folder is its config.json. None when it is not a path."""
    plain = name.endswith((".yaml", ".yml", ".json")) or name.startswith(("./", "../", "/", "~")) or name in (".", "..")
    if not plain and not ("/" in name and os.path.isfile(os.path.join(name, "config.json"))):
        return None
    path = _user_path(name)
    if not os.path.isdir(path) or path.suffix:
        return path
    if not os.path.isfile(path / "config.json"):
        raise SpecError(f"{name}: is a folder without a config.json; give a file or a folder that holds one.")
    return path / "config.json"


def _user_path(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise SpecError(f"{name}: no such home folder.") from None


def _unknown(kind: str, name: str) -> str:
    known = _known(kind)
    guess = nearest(normal(name), known, cutoff=0.5)
    hint = f"Did you mean {known[guess]}? " if guess else ""
    word, also = ("GPU", "") if kind == "gpu" else ("model", "or a config.json ")
    shows = f'"perfmodel list {kind}s" shows all; a path to a YAML file {also}works too.'
    return f'No {word} is called "{name[:80]}". {hint}{shows}'


def _known(kind: str) -> dict[str, str]:
    """Every normalised name of a kind → the canonical name it stands for."""
    known: dict[str, str] = {}
    for stem, file in _files(kind).items():
        known |= dict.fromkeys(_other_names(file), stem) | {normal(stem): stem}
    return known


@cache
def _files(kind: str) -> dict[str, Path]:
    """Canonical name → file, the first folder that has it winning."""
    folder = _FOLDERS[kind]
    places = [place for extra in reversed(_extra) for place in (extra / folder, extra)]
    places += [Path(folder).absolute(), data_folder(folder)]
    found: dict[str, Path] = {}
    for place in places:
        for file in sorted(place.glob("*.y*ml")):
            found.setdefault(file.stem, file)
    return found


@cache
def _other_names(file: Path) -> frozenset[str]:
    """Every normalised alias and Hub id of a spec file; none if the file is broken."""
    try:
        data = read_yaml(file)
    except SpecError:
        return frozenset()
    if not isinstance(data, dict):
        return frozenset()
    listed = [*(data.get("aliases") or ()), *(data.get("hub") or ())]
    hub_tails = [str(entry).split("/")[-1] for entry in data.get("hub") or ()]
    return frozenset(normal(str(entry)) for entry in [*listed, *hub_tails])


def read_yaml(file: Path) -> Any:
    """The plain data in a YAML file; SpecError names the line and column of a mistake."""
    try:
        data = yaml.load(_text(file), Loader=_Loader)
        crowded = _exceeds(data, [_MOST_VALUES])
    except yaml.YAMLError as error:
        raise SpecError(f"{_shown(file)}: is not valid YAML{_where(error)}.") from None
    except RecursionError:
        raise SpecError(f"{_shown(file)}: is nested too deeply to be a spec, or holds itself.") from None
    except (ValueError, TypeError) as error:
        raise SpecError(f"{_shown(file)}: is not valid YAML: {error}.") from None
    if crowded:
        raise SpecError(f"{_shown(file)}: holds more than {_MOST_VALUES:,} values, which no spec does.")
    return data


def _exceeds(data: Any, left: list[int]) -> bool:
    """Whether `data` holds more values than are `left`; stops counting when it does."""
    left[0] -= 1
    if left[0] < 0:
        return True
    inside = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return any(_exceeds(value, left) for value in inside)


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or "unreadable character"
    if mark is None:
        return f": {' '.join(str(problem).split())}"
    return f" at line {mark.line + 1}, column {mark.column + 1}: {' '.join(str(problem).split())}"


def _text(file: Path) -> str:
    return text_of(file, _shown(file), "a YAML file")


def _shown(file: Path) -> str:
    """A path as a person would write it, on one line: the last two parts of a shipped file, any other from here."""
    inside = file.parent.name in _FOLDERS.values() and file.is_relative_to(data_folder(file.parent.name))
    here = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return f"{file.parent.name}/{file.name}" if inside else one_line(str(here))


def _natural(name: str) -> list[object]:
    return [float(part) if part.replace(".", "", 1).isdigit() else part for part in re.split(r"(\d+\.?\d*)", name)]
