"""What `trainer.precision=auto` takes, and that it says so."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from cam_lightning.run import precision
from cam_lightning.run.precision import bfloat16_speed, fastest_precision
from cam_lightning.run.trainer import build_trainer


def _processor(monkeypatch: pytest.MonkeyPatch, *, avx512: bool, amx: bool, speed: float | None) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    measure: Any = (lambda: pytest.fail("nothing is to be timed")) if speed is None else (lambda: speed)
    monkeypatch.setattr(precision, "bfloat16_speed", measure)


@pytest.mark.parametrize(
    ("avx512", "amx", "speed", "expected", "said"),
    [
        (False, False, None, "32-true", "takes 32-true: this processor has no bfloat16"),
        (True, False, 0.55, "32-true", "takes 32-true: here a convolution in bfloat16 is 0.55 times as fast"),
        (True, False, 2.1, "bf16-mixed", "takes bf16-mixed: here a convolution in bfloat16 is 2.10 times as fast"),
        (False, True, 6.0, "bf16-mixed", "takes bf16-mixed: here a convolution in bfloat16 is 6.00 times as fast"),
        (True, True, 1.1, "32-true", "takes 32-true: here a convolution in bfloat16 is 1.10 times as fast"),
    ],
)
def test_a_processor(
    avx512: bool,
    amx: bool,
    speed: float | None,
    expected: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _processor(monkeypatch, avx512=avx512, amx=amx, speed=speed)
    with caplog.at_level(logging.INFO):
        assert fastest_precision("cpu") == expected
    assert f"trainer.precision=auto {said}" in caplog.text


@pytest.mark.parametrize(("is_native", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu(is_native: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_native)
    assert fastest_precision("gpu") == expected


def test_timing_leaves_torch_as_it_was() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert 0.01 < bfloat16_speed() < 100
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_the_trainer_has_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    _processor(monkeypatch, avx512=True, amx=False, speed=2.0)
    assert build_trainer("cpu", 1, "auto", **quiet).precision == "bf16-mixed"
    _processor(monkeypatch, avx512=True, amx=False, speed=None)
    assert build_trainer("cpu", 1, "32-true", **quiet).precision == "32-true"
