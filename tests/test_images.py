"""Images as tokens of the prompt, and a request's time on the host."""

from __future__ import annotations

import pytest

import perfmodel as pm
from perfmodel.errors import RequestError
from perfmodel.images import image_tokens


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        ("gemma-3-4b", None, 256),
        ("gemma-3-27b", "4000x3000", 256),
        ("gemma-4-31b", None, 280),
        ("qwen3-vl-8b", "1024x1024", 1024),
        ("qwen3-vl-8b", "1280x720", 40 * 22),
        ("llama4-scout", "336x336", 144),
        ("llama4-scout", "672×336", 3 * 144),  # two tiles and the whole
        ("llama4-scout", "9000x9000", 17 * 144),
    ],
)
def test_tokens_of_an_image(model: str, size: str | None, tokens: int) -> None:
    assert image_tokens(pm.load_model(model), size) == tokens


def test_images_are_prompt_and_nothing_else() -> None:
    seen = pm.estimate("qwen3-vl-8b", "h100", prompt=100, images=2, image_size="1280x720")
    text = pm.estimate("qwen3-vl-8b", "h100", prompt=100 + 2 * 880)
    assert (seen.ttft_s, seen.tpot_s, seen.memory) == (text.ttft_s, text.tpot_s, text.memory)
    assert (seen.work.text, seen.work.prompt) == (100, 1860)
    assert any("2 images of 880 tokens" in line and "not modelled" in line for line in seen.assumptions)
    given = pm.estimate("llama3-8b", "h100", prompt=[100, 200], images=1, image_tokens=576)
    assert list(given.work.prompt) == [676, 776]


def test_the_longest_prompt_leaves_room_for_images() -> None:
    asked = {"model": "qwen3-vl-32b", "gpu": "h100", "tp": 1, "images": 3, "image_size": "1024x1024"}
    with pytest.raises(pm.DoesNotFitError) as error:
        pm.estimate(**asked, prompt=200_000)
    longest = int(next(way for way in error.value.remedies if way.startswith("--prompt")).split()[1])
    assert pm.estimate(**asked, prompt=longest).fits
    with pytest.raises(pm.DoesNotFitError):
        pm.estimate(**asked, prompt=longest + 16)


def test_sweeps_take_images() -> None:
    grid = pm.sweep("qwen3-vl-8b", "h100", prompt=[100, 500], images=2, image_size="1280x720")
    text = pm.sweep("qwen3-vl-8b", "h100", prompt=[1860, 2260])
    assert grid["ttft_s"].tolist() == text["ttft_s"].tolist()


def test_none_is_the_answer_without() -> None:
    ask = {"model": "gemma-3-4b", "gpu": "h100"}
    assert pm.estimate(**ask, images=None, server=False).to_dict(True) == pm.estimate(**ask).to_dict(True)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"model": "llama3-8b", "images": 1}, "give --image-tokens"),
        ({"model": "gemma-3-1b", "images": 1}, "give --image-tokens"),  # text alone
        ({"model": "llama3.2-11b-vision", "images": 1}, "by cross-attention"),
        ({"model": "gemma-3-4b", "images": 1, "image_size": "big"}, "width and height in pixels"),
        ({"model": "gemma-3-4b", "image_size": "100x100"}, "give --images"),
        ({"model": "gemma-3-4b", "images": 0}, "--images must be a whole number"),
        ({"model": "gemma-3-4b", "images": 1, "image_size": "9x9", "image_tokens": 3}, "leave --image-size out"),
    ],
)
def test_wrong_images_are_one_sentence(asked: dict[str, object], told: str) -> None:
    with pytest.raises(RequestError) as error:
        pm.estimate(gpu="h100", **asked)
    assert told in str(error.value)


def test_a_request_on_the_host_adds_to_the_first_token_alone() -> None:
    """100,000 tokens take 220 ms to tokenize (vLLM 0.19's front end), and a millisecond for the rest."""
    ask = {"model": "llama3.1-8b", "gpu": "h200", "prompt": 100_000}
    off, on = (pm.estimate(**ask, server=server) for server in (False, True))
    assert on.ttft_s.expected - off.ttft_s.expected == pytest.approx(0.223, rel=0.02)
    assert on.e2e_s.expected - off.e2e_s.expected == pytest.approx(0.223, rel=0.02)
    assert (on.tpot_s, on.ttft_s.bound) == (off.tpot_s, off.ttft_s.bound)
    legs = on.latency.ttft
    assert legs.compute + legs.bandwidth + legs.link + legs.overhead == pytest.approx(legs.expected, rel=1e-12)
    assert legs.bound <= legs.low <= legs.expected <= legs.high
