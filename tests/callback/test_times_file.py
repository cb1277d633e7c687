"""The file of times in a real Trainer: what it holds, and that nothing else changes by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback
from torch import Tensor

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.callback.localization import LocalizationCallback
from cam_lightning.callback.times_file import TimesFile
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.cam.layer_cam import LayerCam
from cam_lightning.localization.localizer import Localizer
from cam_lightning.metric.gt_known_error import GtKnownError
from cam_lightning.run.directory import RunDirectory


class Clock:
    """Moves by what its maps say, and is looked at a little later each time."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1
        return self.now


class Pixels:
    """A map that takes 2000 ns an image, and looks at the image alone."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.seen = 0

    def __call__(self, network: Any, image_B3HW: Tensor, output: Any, classes_BT: Tensor) -> Tensor:
        self.clock.now += 2000 * len(image_B3HW)
        self.seen += len(image_B3HW)
        return image_B3HW.mean(1, keepdim=True).expand(-1, classes_BT.shape[1], -1, -1)


def callbacks(network: Any, path: Path | None, clock: Clock) -> list[Any]:
    cams: dict[str, Any] = {
        "": ClassActivationMap(),
        "grad_cam": GradCam(),
        "layer_cam": LayerCam(),
        "pixels": Pixels(clock),
    }
    localizer = Localizer(network, cams, {"": LargestComponent()})
    further = {name: {"gt_known_error": GtKnownError()} for name in cams if name}
    scoring = LocalizationCallback(localizer, {"gt_known_error": GtKnownError()}, further)
    return [*([] if path is None else [TimesFile(RunDirectory(path), localizer, clock)]), scoring]


def numbers(trainer: Any) -> dict[str, float]:
    return {key: value.item() for key, value in trainer.callback_metrics.items()}


def test_each_map_s_time_is_told_and_no_number_changes(data: Any, method: Any, trainer: Any, tmp_path: Path) -> None:
    """Twenty images in batches of six: the last fourteen."""
    found = []
    for path in (None, tmp_path):
        testing = trainer(*callbacks(method.network, path, Clock()))
        testing.test(method, datamodule=data, verbose=False)
        found.append(numbers(testing))
    assert found[0] == found[1]
    assert "test/pixels/gt_known_error" in found[0]
    assert not [key for key in found[0] if "time" in key]
    times = json.loads((tmp_path / "times.json").read_text())
    specs = times.pop("specs")
    assert "wall-clock per image" in times.pop("protocol/times")
    assert times.pop("protocol/times/maps") == "the true class's", "that is all that a GT-known error reads"
    assert specs.keys() == times.keys()
    assert specs["test/pixels/map_time"]["arm"] == "pixels"
    # Between two looks passes 1 ns: of three batches that are counted.
    tick = 3 / 14 / 1e6
    assert times["test/pixels/map_time"] == pytest.approx(2000 / 1e6 + tick)
    assert times["test/map_time"] == times["test/pass_time/forward"] == pytest.approx(tick)
    assert times["test/grad_cam/map_time"] == times["test/layer_cam/map_time"] == pytest.approx(2 * tick)
    assert times["test/grad_cam/map_time/shared"] == times["test/layer_cam/map_time/shared"] == pytest.approx(tick)
    assert times["test/pass_time/maps"] == pytest.approx(2000 / 1e6 + 5 * tick)
    assert "test/pixels/map_time/shared" not in times


def test_a_training_tells_of_validation_and_test_and_nothing_of_a_sanity_check(
    data: Any, method: Any, trainer: Any, tmp_path: Path
) -> None:
    parts = callbacks(method.network, tmp_path, Clock())
    written: list[bool] = []

    class AfterSanity(Callback):
        def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
            written.append((tmp_path / "times.json").exists())

    training = trainer(*parts, AfterSanity(), max_epochs=1, num_sanity_val_steps=2)
    training.fit(method, datamodule=data)
    assert written == [False]
    split = {key.partition("/")[0] for key in json.loads((tmp_path / "times.json").read_text())}
    assert split == {"val", "protocol", "specs"}
    training.test(method, datamodule=data, verbose=False)
    times = json.loads((tmp_path / "times.json").read_text())
    assert {key.partition("/")[0] for key in times} == {"val", "test", "protocol", "specs"}
    assert {key.partition("/")[0] for key in times["specs"]} == {"val", "test"}


@pytest.mark.parametrize(("reads", "maps"), [("best", "the best class's and the true class's"), ("ranked", "those of")])
def test_times_say_which_maps_they_are_of(
    data: Any, method: Any, trainer: Any, tmp_path: Path, reads: str, maps: str
) -> None:
    times, scoring = callbacks(method.network, tmp_path, Clock())
    scoring.reads = reads
    trainer(times, scoring, limit_test_batches=1).test(method, datamodule=data, verbose=False)
    assert json.loads((tmp_path / "times.json").read_text())["protocol/times/maps"].startswith(maps)
