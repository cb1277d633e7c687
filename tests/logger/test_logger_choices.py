"""The choices of `conf/logger` that only a yaml makes ours."""

from __future__ import annotations

import csv
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


def resumed(choice: str, run_dir: Path) -> list[object]:
    """A logger of a run of 4 steps that is cut off after a checkpoint at step 2, and that of the run that goes on."""
    node = OmegaConf.merge({"run_dir": str(run_dir)}, OmegaConf.load(CONF / f"{choice}.yaml"))[choice]
    first, second = instantiate(node), None
    position = 0
    for step in range(4):
        if step == 2:
            position = first.position()
        first.log_metrics({"a": float(step)} | ({"late": 1.0} if step == 3 else {}), step=step)
        first.save()
    second = instantiate(node)
    second.rewind(position)
    for step in range(2, 4):
        second.log_metrics({"a": 10.0 + step}, step=step)
        second.save()
    second.finalize("success")
    return [first, second]


@pytest.mark.filterwarnings("ignore:Experiment logs directory")
def test_csv_goes_on_after_the_checkpoint_s_row(tmp_path: Path) -> None:
    _, logger = resumed("csv", tmp_path)
    with (tmp_path / "csv" / "metrics.csv").open(newline="") as file:
        rows = [(int(row["step"]), float(row["a"])) for row in csv.DictReader(file)]
    assert rows == [(0, 0.0), (1, 1.0), (2, 12.0), (3, 13.0)]
    assert logger.position() == 4  # type: ignore[attr-defined]


def test_tensorboard_leaves_out_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra `tensorboard` is not installed"
    )
    resumed("tensorboard", tmp_path)
    written = events.EventAccumulator(str(tmp_path / "tensorboard"))
    written.Reload()
    assert [(event.step, event.value) for event in written.Scalars("a")] == [(0, 0), (1, 1), (2, 12), (3, 13)]
