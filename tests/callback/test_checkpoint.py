"""A run that is cut off at any moment goes on as if it had not been: same weights, same rows."""

from __future__ import annotations

import csv
import math
import re
import types
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, Trainer
from torch import Tensor, nn
from toy_network import ToyGap

from cam_lightning.callback.best import Best
from cam_lightning.callback.checkpoint import BEST, LAST, PREVIOUS, Checkpoints
from cam_lightning.contracts import Normalization, Spec
from cam_lightning.dataset.pipeline.datamodule import LocalizationDataModule
from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage
from cam_lightning.logger.metrics_file import MetricsFile
from cam_lightning.method.base import log_exactly
from cam_lightning.method.classification import Classification
from cam_lightning.method.schedule import one_cycle
from cam_lightning.run.checkpoint import WholeCheckpoints
from cam_lightning.run.interruption import Interrupted, interruption
from cam_lightning.run.place import CONF

NUM_CLASSES = 3


class NoiseSplit(ImageSplit):
    """Noise, 8 high and 10 wide."""

    def __init__(self, seed: int, count: int, broken: frozenset[int] = frozenset()) -> None:
        self.broken = broken
        self.ids = [f"{seed}/{i}" for i in range(count)]
        self.label_N = np.arange(count) % NUM_CLASSES
        self.images = np.random.default_rng(seed).integers(0, 256, (count, 8, 10, 3), dtype=np.uint8)

    def read(self, index: int) -> RawImage:
        if index in self.broken:
            raise OSError(f"{self.ids[index]} is broken")
        return RawImage(self.images[index], np.zeros((0, 4), np.float32))


class NoiseData(LocalizationDataModule):
    """5 batches of 4 and a remainder, which differs from epoch to epoch; 7 images held out; some are unreadable."""

    broken: frozenset[int] = frozenset()

    def read_splits(self) -> tuple[list[str], ImageSplit, ImageSplit]:
        return ["a", "b", "c"], NoiseSplit(0, 30, self.broken), NoiseSplit(1, 6)


class Dropping(ToyGap):
    """With everything that has a state of its own: dropout, and batch normalisation's statistics."""

    normalization = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.3)), 4, NUM_CLASSES)


class Cut(Exception):
    """Stands for `kill -9`: nothing of the process is left but its files."""


class CutAt(Callback):
    """Ends the process at the n-th of all moments at which Lightning lets us look."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def _look(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left == -1:
            self._end(trainer)

    def _end(self, trainer: Trainer) -> None:
        raise Cut

    on_train_epoch_start = on_train_batch_start = on_before_optimizer_step = on_train_batch_end = _look  # type: ignore[assignment]
    on_validation_start = on_validation_batch_end = on_validation_end = on_train_epoch_end = on_train_end = _look  # type: ignore[assignment]


def fit(
    folder: Path,
    cut: Callback | None = None,
    monitor: str | None = "val/loss",
    num_workers: int = 0,
    broken: frozenset[int] = frozenset(),
    beside: dict[str, list[str]] | None = None,
    mode: str | None = None,
    **options: Any,
) -> tuple[Classification, Trainer]:
    """Trains in `folder`, from its last checkpoint where it has one; the network at the end."""
    torch.manual_seed(0)
    method = Classification(Dropping(), partial(torch.optim.SGD, momentum=0.9), one_cycle, 0.1, seed=3)
    data = NoiseData(image_size=(8, 10), batch_size=4, val_fraction=7 / 30, num_workers=num_workers, seed=5)
    data.on_bad_image = "skip" if broken else "error"
    data.broken = broken
    folder.mkdir(exist_ok=True)
    logger = MetricsFile(folder)
    path = folder / LAST if (folder / LAST).exists() else None
    position = torch.load(path, weights_only=True)["position"] if path else None
    if position:
        data.resumed_at = (position["epoch"], position["batch"])
    logger.rewind(position["loggers"]["MetricsFile"] if position else 0)
    keep = Checkpoints(str(folder), monitor, mode, every_minutes=0, beside=beside)
    trainer = Trainer(
        **{"max_epochs": 3, "log_every_n_steps": 1} | options,
        accelerator="cpu",
        devices=1,
        logger=logger,
        callbacks=[*([cut] if cut else []), keep],
        default_root_dir=folder,
        plugins=[WholeCheckpoints()],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(method, datamodule=data, ckpt_path=path, weights_only=True)
    return method, trainer


def rows(folder: Path) -> list[tuple[str, ...]]:
    """Everything logged, but for the time."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [tuple(row.values())[1:] for row in csv.DictReader(file)]


def same(one: Classification, other: Classification) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


OPTIONS = {
    "epochs": {},
    "steps": {"max_epochs": -1, "max_steps": 13},
    "accumulated": {"accumulate_grad_batches": 2, "gradient_clip_val": 0.5},
}


@pytest.fixture(scope="module", params=OPTIONS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """A run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    return (OPTIONS[request.param], folder, *fit(folder, **OPTIONS[request.param]))


MOMENTS = [[3], [0, 24], [9], [17, 1], [19], [21], [40, 2, 9], [52]]
EVERY_MOMENT = [pytest.param([moment], marks=pytest.mark.slow) for moment in range(54)]


@pytest.mark.parametrize("moments", MOMENTS + EVERY_MOMENT, ids=str)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_that_is_cut_off_goes_on_to_the_same_end(
    whole: tuple[Any, ...], moments: list[int], tmp_path: Path
) -> None:
    """Within a step, between steps, before, within and after a validation, at an epoch's end; also repeatedly."""
    options, folder, method, trainer = whole
    for moment in moments:
        with pytest.raises(Cut):
            fit(tmp_path, CutAt(moment), **options)
    resumed, resumed_trainer = fit(tmp_path, **options)
    assert same(method, resumed)
    assert rows(folder) == rows(tmp_path)
    assert resumed_trainer.current_epoch == trainer.current_epoch
    assert resumed_trainer.global_step == trainer.global_step
    best, resumed_best = (torch.load(path / BEST, weights_only=True) for path in (folder, tmp_path))
    assert best["best_value"] == resumed_best["best_value"]
    assert all(torch.equal(value, resumed_best["state_dict"][key]) for key, value in best["state_dict"].items())


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("moment", [9, 30])
def test_workers_that_read_ahead_begin_where_training_goes_on(moment: int, tmp_path: Path) -> None:
    """They are asked for batches before Lightning has read the checkpoint, to count them for the schedule."""
    with pytest.raises(Cut):
        fit(tmp_path / "cut", CutAt(moment), num_workers=1)
    resumed, _ = fit(tmp_path / "cut", num_workers=1)
    assert same(resumed, fit(tmp_path / "whole")[0])
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("moment", [4, 10, 22, 23, 26])
def test_a_signal_saves_the_step_that_it_came_in(moment: int, tmp_path: Path) -> None:
    """Nothing is computed twice: the second part begins where the first ended."""

    class Signal(CutAt):
        def _end(self, trainer: Trainer) -> None:
            interruption.number = 15
            self.steps = trainer.global_step

    signal = Signal(moment)
    try:
        with pytest.raises(Interrupted, match="SIGTERM"):
            fit(tmp_path, signal)
    finally:
        interruption.number, interruption._has_ended, interruption.deferred = None, False, False
    position = torch.load(tmp_path / LAST, weights_only=True)["position"]
    assert position["step"] - signal.steps in (0, 1)
    resumed, _ = fit(tmp_path)
    method, _ = fit(tmp_path / "whole")
    assert same(method, resumed)
    assert rows(tmp_path / "whole") == rows(tmp_path)


def test_checkpoints_are_plain_and_the_one_before_stays(whole: tuple[Any, ...]) -> None:
    _, folder, method, trainer = whole
    last, previous = (torch.load(folder / name, weights_only=True) for name in (LAST, PREVIOUS))
    assert last["position"]["step"] == trainer.global_step
    assert previous["position"] != last["position"]
    assert all(torch.equal(value, method.state_dict()[key]) for key, value in last["state_dict"].items())
    assert {path.name for path in folder.iterdir()} == {LAST, PREVIOUS, BEST, "metrics.csv"}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_best_is_by_any_number_of_validation(tmp_path: Path) -> None:

    class Noting(Callback):
        """Has a state that belongs to a validation, as chosen thresholds do."""

        validations = 0

        def on_validation_epoch_end(self, *_: Any) -> None:
            self.validations += 1

        def state_dict(self) -> dict[str, Any]:
            return {"validations": self.validations}

    fit(tmp_path, Noting(), monitor="val/loss")
    values = [float(value) for _, _, key, value in rows(tmp_path) if key == "val/loss"]
    best = torch.load(tmp_path / BEST, weights_only=True)
    assert best["best_value"] == min(values)
    assert "optimizer_states" not in best
    assert list(best["callbacks"].values()) == [{"validations": values.index(min(values)) + 1}]


@pytest.mark.parametrize("monitor", ["val/nothing", "loss", "test/loss", "val/gt_known_error"])
def test_a_monitor_that_validation_does_not_log_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, monitor: str
) -> None:
    """Without maps there is no error of boxes either."""

    def no_training(*_: Any) -> None:
        raise AssertionError("nothing is trained before the error")

    monkeypatch.setattr(Classification, "training_step", no_training)
    with pytest.raises(ValueError, match=rf"monitor={monitor} is not logged by validation\. It logs .*val/loss"):
        fit(tmp_path / "run", monitor=monitor)


def test_what_a_callback_of_one_s_own_logs_can_be_monitored(tmp_path: Path) -> None:
    """Nobody says beforehand what it logs, so only a validation tells that it does not."""

    class Logging(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
            pl_module.log("val/of_my_own", 1.0)

    fit(tmp_path / "run", Logging(), monitor="val/of_my_own", mode="max", max_epochs=1)
    assert torch.load(tmp_path / "run" / BEST, weights_only=True)["best_value"] == 1
    with pytest.raises(ValueError, match=r"monitor=val/nothing is not logged by validation\. It logs .*val/loss"):
        fit(tmp_path / "other", Logging(), monitor="val/nothing", mode="max")
    with pytest.raises(ValueError, match=r"monitor=val/of_my_own is better lower or higher: give .*mode=min or max"):
        fit(tmp_path / "unsaid", Logging(), monitor="val/of_my_own")
    assert not (tmp_path / "unsaid" / LAST).exists(), "before training"


def test_the_best_is_the_highest_of_a_number_that_is_better_higher(tmp_path: Path) -> None:
    (default,) = re.findall(r"(?m)^  mode: (\S+)", (CONF / "callback" / "checkpoint.yaml").read_text())
    assert default == "null", "whoever names another number alone, gets the best by it"
    specs = {"val/score": Spec("score", better="higher"), "val/loss": Spec("loss"), "val/count": Spec("n", better=None)}
    for key, mode, improved in (
        ("val/score", None, [True, True, False]),
        ("val/score", "min", [True, False, True]),
        ("val/loss", None, [True, False, True]),
    ):
        best = Best(BEST, (key,), mode, is_required=True)
        assert [best.is_improved({key: value}, specs, 1) for value in (0.5, 0.9, 0.1)] == improved
    with pytest.raises(ValueError, match=r"val/count is better lower or higher"):
        Best(BEST, ("val/count",), is_required=True).is_improved({"val/count": 1.0}, specs, 1)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_best_by_several_numbers_lie_side_by_side(tmp_path: Path) -> None:
    """Each by the first number that is logged, in its own direction, with what validation logged there."""

    class Scoring(Callback):
        """Logs what is higher the better, at its best in the second epoch."""

        def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
            score = [0.1, 0.9, 0.5, 0.6][min(trainer.current_epoch, 3)]
            log_exactly(pl_module, "val", {"score": score}, {"score": Spec("score", better="higher", headline=1)})

    beside = {"best_score": ["val/nothing", "val/score"], "best_loss": ["val/loss"], "best_nothing": ["val/nothing"]}
    _, trainer = fit(tmp_path, Scoring(), monitor=None, beside=beside)
    values = {key: [float(v) for _, _, k, v in rows(tmp_path) if k == key] for key in ("val/loss", "val/score")}
    assert len(values["val/loss"]) > 2
    assert not (tmp_path / BEST).exists()
    assert not (tmp_path / "best_nothing.ckpt").exists()
    contents = {name: torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in ("best_score", "best_loss")}
    assert contents["best_score"]["record"]["epoch"] == 2
    assert contents["best_score"]["best_value"] == 0.9
    lowest = values["val/loss"].index(min(values["val/loss"]))
    assert contents["best_loss"]["record"]["epoch"] == lowest + 1
    assert contents["best_loss"]["record"]["val/loss"] == min(values["val/loss"])
    assert contents["best_loss"]["record"]["val/score"] == values["val/score"][lowest]
    kept = trainer.checkpoint_callback.kept
    assert kept == {name: content["record"] for name, content in contents.items()}

    other = Checkpoints(str(tmp_path), monitor=None, beside=beside)
    other.setup(trainer, trainer.lightning_module, "fit")
    assert other.kept == kept, "read from the files where a run goes on"
    for wrong in ({"last": ["val/loss"]}, {"a/b": ["val/loss"]}):
        with pytest.raises(ValueError, match=r"names files other than last\.ckpt, previous\.ckpt; got"):
            Checkpoints(str(tmp_path), monitor=None, beside=wrong)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_full_disk_ends_training_and_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = []

    def full(descriptor: int) -> None:
        writes.append(descriptor)
        if len(writes) == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("cam_lightning.run.checkpoint.os.fsync", full)
    with pytest.raises(OSError, match=r"could not be written \(No space left on device\); .*last.ckpt still holds"):
        fit(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {LAST, PREVIOUS, "metrics.csv"}
    assert torch.load(tmp_path / LAST, weights_only=True)["position"]["step"] == 3
    monkeypatch.undo()
    resumed, _ = fit(tmp_path)
    assert same(resumed, fit(tmp_path / "whole")[0])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_best_checkpoint_stops_no_run_that_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Cut):
        fit(tmp_path, CutAt(30))
    whole = (tmp_path / BEST).read_bytes()
    (tmp_path / BEST).write_bytes(whole[: len(whole) // 2])
    fit(tmp_path)
    assert f"{BEST} is damaged or holds no weights" in caplog.text
    assert math.isfinite(torch.load(tmp_path / BEST, weights_only=True)["best_value"]), "it has been written anew"


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_images_that_were_skipped_before_the_cut_are_counted_in_the_end(tmp_path: Path) -> None:
    """What the last batches alone would meet is a part of them."""
    broken = frozenset(range(0, 30, 2))
    _, whole = fit(tmp_path / "whole", broken=broken)
    skipped = whole.datamodule.skipped.ids()  # type: ignore[attr-defined]
    assert {*skipped["train"], *skipped["val"]} == {f"0/{index}" for index in broken}
    with pytest.raises(Cut):
        fit(tmp_path / "cut", CutAt(57), broken=broken)
    _, resumed = fit(tmp_path / "cut", broken=broken)
    assert resumed.datamodule.skipped.ids() == skipped  # type: ignore[attr-defined]


HERE = {"epoch": 2, "batch": 0, "step": 50}


@pytest.mark.parametrize(
    ("own", "other", "says"),
    [
        (HERE, HERE, None),
        ({}, {}, None),
        (HERE, {**HERE, "batch": 1}, "rank 0 goes on from epoch 2, batch 1, step 50, rank 2 from epoch 2, batch 0,"),
        ({}, HERE, "rank 0 goes on from epoch 2, batch 0, step 50, rank 2 from the beginning"),
        (HERE, {}, "rank 0 goes on from the beginning, rank 2 from epoch 2, batch 0, step 50"),
    ],
)
def test_ranks_that_read_other_checkpoints_are_an_error(
    own: dict[str, int], other: dict[str, int], says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each falls back to the one before by itself; they would go on at other places, with other optimizers."""

    def checkpoints(position: dict[str, int]) -> Checkpoints:
        made = Checkpoints(str(tmp_path))
        made.on_load_checkpoint(trainer, None, {"position": position})  # type: ignore[arg-type]
        return made

    def gather(of_ranks: list[Tensor], own_3: Tensor) -> None:
        """The first call is by ranks 0 and 1, which only show what they have; the second by rank 2."""
        shown.append(own_3)
        for tensor, value in zip(of_ranks, [shown[0], shown[0], own_3], strict=True):
            tensor.copy_(value)

    shown: list[Tensor] = []
    monkeypatch.setattr(torch.distributed, "all_gather", gather)
    strategy = types.SimpleNamespace(root_device=torch.device("cpu"))
    trainer: Any = types.SimpleNamespace(world_size=3, strategy=strategy)
    checkpoints(other).on_fit_start(trainer, None)  # type: ignore[arg-type]
    if says is None:
        checkpoints(own).on_fit_start(trainer, None)  # type: ignore[arg-type]
        return
    with pytest.raises(ValueError, match=f"not read the same checkpoint of .*: {says}"):
        checkpoints(own).on_fit_start(trainer, None)  # type: ignore[arg-type]


def test_an_unknown_mode_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="min or max; got 'low'"):
        Checkpoints(str(tmp_path), mode="low")
