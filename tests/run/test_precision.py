"""What `trainer.precision=auto` takes, and that it says so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from cam_lightning.run import precision
from cam_lightning.run.directory import RunDirectory
from cam_lightning.run.precision import bfloat16_speed, fastest_precision
from cam_lightning.run.trainer import build_trainer
from cam_lightning.train import _keep_precision


def _processor(monkeypatch: pytest.MonkeyPatch, *, avx512: bool, amx: bool, speed: float | None) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    measure: Any = (lambda: pytest.fail("nothing is to be timed")) if speed is None else (lambda: speed)
    monkeypatch.setattr(precision, "bfloat16_speed", measure)
    monkeypatch.delenv(precision.CHOSEN, raising=False)


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
    monkeypatch.delenv(precision.CHOSEN, raising=False)
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


def test_the_processes_of_a_run_take_the_first_one_s_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timing near the limit would fall out one way on one rank and the other way on the next."""
    quiet: Any = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    _processor(monkeypatch, avx512=True, amx=False, speed=1.26)
    # So that what the trainer sets is taken back after the test.
    monkeypatch.setenv(precision.CHOSEN, "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert build_trainer("cpu", 2, "auto", **quiet).precision == "bf16-mixed"
    monkeypatch.setattr(precision, "bfloat16_speed", lambda: 1.24)
    assert build_trainer("cpu", 2, "auto", **quiet).precision == "bf16-mixed"
    assert build_trainer("cpu", 2, "32-true", **quiet).precision == "32-true"


def test_a_run_keeps_what_was_chosen_when_it_began(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for asked, kept in (("auto", "bf16-mixed"), ("32-true", "32-true")):
        config = OmegaConf.create({"trainer": {"precision": asked}})
        run.write_text("config.yaml", OmegaConf.to_yaml(config))
        _keep_precision(config, run, "bf16-mixed")
        assert OmegaConf.load(tmp_path / "config.yaml") == config == {"trainer": {"precision": kept}}
