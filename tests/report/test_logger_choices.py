"""The choices of `conf/logger` that only a yaml makes ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

CONF = Path(__file__).parents[2] / "conf" / "logger"


def test_tensorboard_writes_below_the_run(tmp_path: Path) -> None:
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra `tensorboard` is not installed"
    )
    config = OmegaConf.merge({"run_dir": str(tmp_path)}, OmegaConf.load(CONF / "tensorboard.yaml"))
    logger = instantiate(config.tensorboard)
    logger.log_metrics({"val/localization_error/top1": 0.25}, step=7)
    logger.finalize("success")
    written = events.EventAccumulator(str(tmp_path / "tensorboard"))
    written.Reload()
    assert [(event.step, event.value) for event in written.Scalars("val/localization_error/top1")] == [(7, 0.25)]
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]
