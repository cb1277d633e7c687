"""Pixels as a network expects them, and the precision of evaluation."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
import torch

from cam_lightning.functional.network_input import full_float32, normalised

BACKENDS: Any = torch.backends


def test_pixels_are_normalised_by_channel() -> None:
    """Black, white and a quarter of white, by hand."""
    pixels_13HW = torch.tensor([0, 255, 51], dtype=torch.uint8).expand(3, 2, 3)[None]
    mean, std = (0.5, 0.2, 0.0), (0.5, 0.1, 1.0)
    expected = torch.tensor([[-1.0, 1.0, -0.6], [-2.0, 8.0, 0.0], [0.0, 1.0, 0.2]])
    result = normalised(pixels_13HW, mean, std)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, expected[None, :, None].expand(1, 3, 2, 3), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("allow_tf32", [True, False])
def test_float32_is_full_and_everything_is_put_back(monkeypatch: pytest.MonkeyPatch, allow_tf32: bool) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allow_tf32)
    one = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (one @ one).dtype == torch.bfloat16
        with full_float32("cpu"):
            assert (one @ one).dtype == torch.float32
            assert not torch.backends.cudnn.allow_tf32
        assert (one @ one).dtype == torch.bfloat16
        with pytest.raises(ZeroDivisionError), full_float32("cpu"):
            _ = 1 / 0
    assert torch.backends.cudnn.allow_tf32 is allow_tf32


def lowered() -> dict[str, str]:
    """What stands in for float32, by the part of torch where something does; by its newer switches."""
    cudnn, mkldnn = BACKENDS.cudnn, BACKENDS.mkldnn
    parts = {
        "convolution on a GPU": cudnn.conv,
        "recurrence on a GPU": cudnn.rnn,
        "product on a GPU": BACKENDS.cuda.matmul,
        "convolution on a CPU": mkldnn.conv,
        "product on a CPU": mkldnn.matmul,
    }
    return {name: part.fp32_precision for name, part in parts.items() if part.fp32_precision not in ("none", "ieee")}


def full_and_as_before(object_: Any, attribute: str, value: str) -> None:
    if callable(getattr(object_, attribute)):
        getattr(object_, attribute)(value)
    else:
        setattr(object_, attribute, value)
    before = lowered()
    assert value in before.values() or value in ("ieee", "high", "medium")
    for _ in range(2):
        with full_float32("cpu"):
            assert not lowered()
            # Those who ask the older way get an answer too.
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cuda.matmul.allow_tf32
        assert lowered() == before
        with pytest.raises(ZeroDivisionError), full_float32("cpu"):
            _ = 1 / 0
        assert lowered() == before


@pytest.mark.parametrize(("object_", "attribute", "value"), [
    (torch, "set_float32_matmul_precision", "high"),  # as Lightning advises
    (torch, "set_float32_matmul_precision", "medium"),
    (BACKENDS, "fp32_precision", "tf32"),
    (BACKENDS.cudnn, "fp32_precision", "tf32"),
    (BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
    (BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    (BACKENDS.mkldnn.matmul, "fp32_precision", "bf16"),
    (BACKENDS.mkldnn.conv, "fp32_precision", "bf16"),
])  # fmt: skip
def test_whoever_asked_for_less_than_float32_gets_it_but_for_evaluation(
    object_: Any, attribute: str, value: str
) -> None:
    """In a process of its own, since not every one of these switches can be put back to where it was."""
    process = multiprocessing.get_context("fork").Process(target=full_and_as_before, args=(object_, attribute, value))
    process.start()
    process.join(60)
    assert process.exitcode == 0
