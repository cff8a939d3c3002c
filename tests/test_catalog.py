"""Every file loads, every figure has a source, every name leads to one spec, and wrong files are one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from perfmodel import catalog
from perfmodel.catalog import add_path, data_folder, load_any, load_gpu, load_model, names, normal, read_yaml
from perfmodel.contract import gpu_figures
from perfmodel.errors import SpecError, UnknownNameError

WANTED_GPUS = (
    "v100",
    "t4",
    "a10g",
    "a10",
    "a40",
    "a100-40gb",
    "a100",
    "a100-pcie-40gb",
    "a100-pcie",
    "a6000",
    "l4",
    "l40",
    "l40s",
    "rtx-3090",
    "rtx-4090",
    "rtx-5090",
    "rtx-6000-ada",
    "rtx-pro-6000",
    "h20",
    "h800",
    "h100",
    "h100-pcie",
    "h100-nvl",
    "h200",
    "gh200",
    "b200",
    "gb200",
    "b300",
    "mi250x",
    "mi300x",
    "mi325x",
    "mi355x",
    "gaudi2",
    "gaudi3",
    "tpu-v5e",
    "tpu-v5p",
    "tpu-v6e",
    "m2-ultra",
    "m3-max",
    "m4-max",
    "cpu-server",
)
DENSE = {  # FLOP/s, memory bandwidth in bytes/s: vendors' dense figures, noted by hand
    "h100": (989.4e12, 3.35e12),
    "h200": (989.4e12, 4.8e12),
    "a100": (312e12, 2.039e12),
    "b200": (2250e12, 8e12),
    "mi300x": (1307.4e12, 5.3e12),
    "rtx-4090": (165.2e12, 1.008e12),
    "l40s": (362.05e12, 0.864e12),
    "l4": (121e12, 0.3e12),
    "tpu-v5e": (197e12, 0.819e12),
}


@pytest.fixture(autouse=True)
def fresh_catalog() -> Iterator[None]:
    yield
    catalog._extra.clear()
    catalog._files.cache_clear()
    catalog._other_names.cache_clear()


def test_the_catalog_is_whole() -> None:
    assert set(WANTED_GPUS) <= set(names("gpu"))
    assert len(names("gpu")) >= 36
    assert len(names("model")) >= 35


@pytest.mark.parametrize("name", names("gpu"))
def test_every_gpu_is_sound(name: str) -> None:
    gpu = load_gpu(name)
    assert [figure for figure, row in gpu_figures(gpu).items() if not row["source"]] == []
    assert 0.7 < gpu.memory / gpu.memory_sold < 1.1
    peaks = gpu.peak_flops
    for narrow, wide in (("fp8", "bf16"), ("fp4", "fp8"), ("bf16", "fp32"), ("int8", "bf16")):
        # INT8 is all but gone from Blackwell Ultra
        if narrow in peaks and wide in peaks and not (narrow == "int8" and gpu.architecture == "Blackwell Ultra"):
            assert peaks[narrow] >= peaks[wide]
    if gpu.vendor == "NVIDIA":
        assert gpu.compute_capability
    assert gpu.domain >= 1


@pytest.mark.parametrize(("name", "figures"), DENSE.items())
def test_dense_figures(name: str, figures: tuple[float, float]) -> None:
    gpu = load_gpu(name)
    assert gpu.peak("bf16") == pytest.approx(figures[0], rel=2e-3)
    assert gpu.memory_bandwidth == pytest.approx(figures[1], rel=2e-3)


def test_formats_that_a_device_lacks_are_not_there() -> None:
    for name, lacks in {"v100": "bf16", "t4": "bf16", "a100": "fp8", "h100": "fp4", "m2-ultra": "fp8"}.items():
        assert lacks not in load_gpu(name).peak_flops


@pytest.mark.parametrize("kind", ["gpu", "model"])
def test_every_name_leads_to_one_spec(kind: str) -> None:
    owner: dict[str, str] = {}
    for stem, file in catalog._files(kind).items():
        for other in {normal(stem), *catalog._other_names(file)}:
            assert owner.setdefault(other, stem) == stem, other


@pytest.mark.parametrize(
    ("typed", "name"),
    {
        "llama-3-70b": "llama3-70b",
        "Llama 3.1 8B": "llama3.1-8b",
        "llama-3.1-8b-instruct": "llama3.1-8b",
        "meta-llama/Llama-3.1-8B-Instruct": "llama3.1-8b",
        "meta-llama/Meta-Llama-3-70B-Instruct": "llama3-70b",
        "llama2-7b-chat": "llama2-7b",
        "mistralai/Mistral-7B-Instruct-v0.3": "mistral-7b",
        "Qwen/Qwen3-8B": "qwen3-8b",
        "qwen2.5-7b-instruct": "qwen2.5-7b",
        "google/gemma-7b-it": "gemma-7b",
        "phi-3-mini": "phi3-mini",
    }.items(),
)
def test_models_by_what_people_type(typed: str, name: str) -> None:
    assert load_model(typed).name == name


@pytest.mark.parametrize(
    ("typed", "name"),
    {
        "H100-SXM-80GB": "h100",
        "a100-80gb": "a100",
        "A100-SXM4-80GB": "a100",
        "4090": "rtx-4090",
        "rtx4090": "rtx-4090",
        "MI300": "mi300x",
        "trillium": "tpu-v6e",
        "h100_pcie": "h100-pcie",
    }.items(),
)
def test_gpus_by_what_people_type(typed: str, name: str) -> None:
    assert load_gpu(typed).name == name


def test_unknown_names_say_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r'No model is called "lama3-8b". Did you mean llama3-8b\?'):
        load_model("lama3-8b")
    with pytest.raises(UnknownNameError, match=r"Did you mean h100-nvl\?"):
        load_gpu("h100-nlv")
    with pytest.raises(UnknownNameError, match="perfmodel list gpus"):
        load_gpu("zzz")


def test_the_users_own_files_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (data_folder("hardware") / "h100.yaml").read_text(encoding="utf-8").replace("700 W", "300 W")
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "h100.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(text.replace("h100-", "mine-").replace("nvidia-", "mine-"), encoding="utf-8")
    assert load_gpu("h100").power == 700
    add_path(tmp_path)
    assert load_gpu("h100").power == 300
    assert load_gpu("mine").power == 300
    assert load_gpu(str(tmp_path / "mine.yaml")).name == "mine"
    assert load_any(str(tmp_path / "mine.yaml")).name == "mine"
    catalog._extra.clear()
    monkeypatch.chdir(tmp_path)
    add_path(".")  # it stays where it is when one goes elsewhere
    monkeypatch.chdir("/")
    assert load_gpu("mine").power == 300
    catalog._extra.clear()
    catalog._files.cache_clear()
    monkeypatch.chdir(tmp_path)  # ./hardware counts too
    assert load_gpu("h100").power == 300


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title: [1, 2\nvendor: x", "is not valid YAML at line 2, column 7"),
        ("a: 1\na: 2", "at line 2, column 1: the key 'a' stands twice"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML at line 1"),
        ("- 1\n- 2", "must be a mapping of fields to values"),
        ("", "must be a mapping of fields to values"),
        ("&a [*a]", "mapping"),
        ("? [a]\n: b", "mapping"),
    ],
)
def test_broken_files_are_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_gpu(str(file))
    if says != "mapping":
        assert says in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "huge.yaml").write_text("a: " + "x" * 2_000_000, encoding="utf-8")
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True))
    (tmp_path / "bomb.yaml").write_text(bomb, encoding="utf-8")
    (tmp_path / "folder.yaml").mkdir()
    for name, says in {
        "binary.yaml": "is not UTF-8 text",
        "huge.yaml": "is larger than 1 MB",
        "bomb.yaml": "holds more than 50,000 values",
        "folder.yaml": "cannot be read",
        "none.yaml": "cannot be read (no such file or directory)",
    }.items():
        with pytest.raises(SpecError) as caught:
            load_model(str(tmp_path / name))
        assert says in str(caught.value)


def test_nothing_in_yaml_is_run(tmp_path: Path) -> None:
    file = tmp_path / "evil.yaml"
    target = tmp_path / "made"
    file.write_text(f"!!python/object/apply:os.mkdir ['{target}']", encoding="utf-8")
    with pytest.raises(SpecError):
        read_yaml(file)
    assert not target.exists()
