"""What Weights & Biases gets, read back from the file that an offline run leaves."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader

from cam_lightning.contracts import GroundTruth, LabelBox, Localization, Proposals, Spec

wandb = pytest.importorskip("wandb", reason="the extra `wandb` is not installed")

from wandb.proto.wandb_internal_pb2 import Record  # noqa: E402

from cam_lightning.logger.wandb import WandbLogger  # noqa: E402
from cam_lightning.logger.wandb_overlays import WandbOverlays  # noqa: E402
from cam_lightning.logger.wandb_run import finish_run, start_run  # noqa: E402

CONFIG = "seed: 3\nbox: {threshold: 0.2}\n"


@pytest.fixture(scope="module", autouse=True)
def _at_home_nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No account or cache of this machine is used or changed."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NETRC", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            patch.setenv(name, str(home / name.lower()))
        for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_BASE_URL"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def _no_open_run() -> Iterator[None]:
    """A test that fails leaves no run behind that the next would find."""
    yield
    if wandb.run is not None:
        wandb.run.finish(exit_code=1)


def records(run_dir: Path) -> list[Record]:
    """The records of a directory's one run: blocks of 32 KiB, entries of (crc, length, kind), as in LevelDB's log."""
    (path,) = run_dir.glob("wandb/offline-run-*/*.wandb")
    data = path.read_bytes()
    found, whole, place = [], b"", 7
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        # 1 is a whole record, 2 to 4 are the first, a middle and the last piece of one.
        if kind in (1, 4):
            found.append(Record.FromString(whole))
            whole = b""
    return found


def history(run_dir: Path) -> list[dict[str, Any]]:
    """Every call to log, in order."""
    rows = [record.history for record in records(run_dir) if record.WhichOneof("record_type") == "history"]
    return [nested(row.item) for row in rows]


def nested(items: Any) -> dict[str, Any]:
    """`["val/boxes", "count"]: 4` is the count of `val/boxes`."""
    found: dict[str, Any] = {}
    for item in items:
        *above, last = item.nested_key or [item.key]
        place = found
        for key in above:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
    return found


def file_of(run_dir: Path, path: str) -> Path:
    (files,) = run_dir.glob("wandb/offline-run-*/files")
    return files / path


class Images:
    """Six images: 40 wide and 20 high, or 20 wide and 30 high where odd."""

    ids = tuple(f"x/{index}.jpg" for index in range(6))
    class_names = ("n01", "n02")

    def __len__(self) -> int:
        return 6

    def original(self, index: int) -> np.ndarray:
        return np.full((30, 20, 3) if index % 2 else (20, 40, 3), 40 * index, np.uint8)


def localized(index: int, has_box: bool = True) -> tuple[Localization, GroundTruth, dict[str, Localization]]:
    """Image `index`, of class 0, predicted as 1 where odd; the box is the left half of the true one."""
    box_114 = torch.tensor([[[0.0, 0, 10, 20]]])
    localization = Localization(
        torch.tensor([index]),
        torch.tensor([[index % 2, 1 - index % 2]]),
        torch.tensor([[0.75, 0.25]]),
        torch.ones(1, 2, 3, 4),
        Proposals(box_114.expand(1, 2, 4), (0, 1), torch.zeros(1, 2, dtype=torch.bool)),
        LabelBox(torch.ones(1, 3, 4), box_114[:, 0], torch.zeros(1, dtype=torch.bool)),
    )
    truth = GroundTruth(
        torch.tensor([0]),
        torch.tensor([[[0.0, 0, 20, 20]]]) * has_box,
        torch.tensor([int(has_box)]),
        torch.tensor([[30, 20] if index % 2 else [20, 40]]),
    )
    return localization, truth, {}


def show(sink: WandbOverlays, split: str, world_size: int = 1) -> None:
    """One evaluation of all images, dealt to ranks in turn as they would be: rank zero merges last."""
    for rank in reversed(range(world_size)):
        sink.start(split, Images(), ["cat", "dog"], rank, world_size)
        for index in range(rank, 6, world_size):
            sink.add(*localized(index))
        sink.finish()
    sink.merge()


class _Method(LightningModule):
    """The least that trains: it logs as ours does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
        loss = (self.weight - batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: torch.Tensor, index: int) -> None:
        self.log("val/loss", batch.mean())

    def test_step(self, batch: torch.Tensor, index: int) -> None:
        self.log("test/loss", batch.mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class _Shows(Callback):
    """Calls the sink when the localization callback would."""

    def __init__(self, sink: WandbOverlays) -> None:
        self.sink = sink

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        show(self.sink, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        show(self.sink, "test")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of two epochs with a test, which then fails with exit code 3."""
    run_dir = tmp_path_factory.mktemp("a 'run'=1")
    (run_dir / "config.yaml").write_text(CONFIG, encoding="utf-8")
    logger = WandbLogger(str(run_dir), project="a-project", num_overlays=4)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=logger,
        callbacks=[_Shows(logger.sink)],
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=run_dir,
    )
    data = DataLoader(torch.ones(3, 1))
    method = _Method()
    trainer.fit(method, data, data)
    trainer.test(method, data, verbose=False)
    results = {"test/loss": 1.0, "test/sharpness": 2.5, "test/num_images": 3, "protocol/box/rule": "best"}
    specs = {"test/loss": "lower", "test/sharpness": "higher", "test/num_images": None}
    results["specs"] = {key: Spec(key, better=better)._asdict() for key, better in specs.items()}  # type: ignore[arg-type]
    (run_dir / "results.json").write_text(json.dumps(results))
    finish_run(run_dir, 3)
    return run_dir


def test_one_run_with_the_jobs_name_configuration_and_exit_code(run_dir: Path) -> None:
    kinds = [record.WhichOneof("record_type") for record in records(run_dir)]
    assert kinds.count("run") >= 1
    runs = [record.run for record in records(run_dir) if record.WhichOneof("record_type") == "run"]
    assert {run.run_id for run in runs} == {runs[0].run_id}
    assert (runs[0].project, runs[0].display_name) == ("a-project", run_dir.name)
    config = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    assert config["seed"] == 3
    assert config["box"] == {"threshold": 0.2}
    exits = [record.exit.exit_code for record in records(run_dir) if record.WhichOneof("record_type") == "exit"]
    assert exits == [3]
    assert wandb.run is None


def test_every_number_is_there_at_the_trainers_step(run_dir: Path) -> None:
    rows = history(run_dir)
    losses = [(row["trainer/global_step"], row["train/loss"]) for row in rows if "train/loss" in row]
    assert [step for step, _ in losses] == [0, 1, 2, 3, 4, 5]
    # One weight w towards 1 by steps of 0.1 · 2 (1 - w), so the loss falls by 0.8² every step.
    assert [loss for _, loss in losses] == pytest.approx([0.64**step for step in range(6)], rel=1e-5)
    assert [row["trainer/global_step"] for row in rows if "val/loss" in row] == [2, 5]


def test_the_same_pictures_stand_beside_every_validations_numbers(run_dir: Path) -> None:
    rows = [row for row in history(run_dir) if "val/loss" in row]
    assert len(rows) == 2
    for row in rows:
        boxes, overlays = row["val/boxes"], row["val/overlays"]
        assert boxes["count"] == overlays["count"] == 4
        assert boxes["captions"] == overlays["captions"] == rows[0]["val/boxes"]["captions"]
        assert boxes["count"] + overlays["count"] <= 32
        assert all(name.endswith(".jpg") for name in boxes["filenames"])
        assert all(name.endswith(".png") for name in overlays["filenames"])
        for name, image_id in zip(boxes["filenames"], boxes["captions"], strict=True):
            pixels = np.asarray(Image.open(file_of(run_dir, name)).convert("RGB"))
            # One size for all, the image in the top left corner.
            assert pixels.shape == (30, 40, 3)
            assert np.abs(pixels[:12, :12].astype(int) - 40 * Images.ids.index(image_id)).max() <= 2
        with Image.open(file_of(run_dir, overlays["filenames"][0])) as picture:
            assert picture.width > 2 * 40


def test_boxes_are_fractions(run_dir: Path) -> None:
    row = next(row for row in history(run_dir) if "val/boxes" in row)
    groups = row["val/boxes"]["all_boxes"]
    assert len(groups) == 4
    for group, image_id in zip(groups, row["val/boxes"]["captions"], strict=True):
        files = [file_of(run_dir, group[name]["path"]) for name in ("predicted", "ground_truth")]
        (predicted,), (truth,) = (json.loads(path.read_text())["box_data"] for path in files)
        assert predicted["position"] == {"minX": 0, "minY": 0, "maxX": 10 / 40, "maxY": 20 / 30}
        assert truth["position"] == {"minX": 0, "minY": 0, "maxX": 20 / 40, "maxY": 20 / 30}
        assert predicted["class_id"] == Images.ids.index(image_id) % 2
        assert predicted["scores"] == {"probability": 0.75, "IoU": 0.5}
        assert truth["box_caption"] == "cat"
        assert "domain" not in predicted


def test_the_test_leaves_a_table_of_the_sample(run_dir: Path) -> None:
    (row,) = [row for row in history(run_dir) if "test/sample" in row]
    assert row["test/loss"] == 1
    (artifact,) = [record.artifact for record in records(run_dir) if record.WhichOneof("record_type") == "artifact"]
    files = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    table = json.loads(files["test/sample.table.json"].read_text())
    assert table["columns"] == ["id", "label", "predicted", "probability", "IoU", "hit", "boxes", "overlay"]
    assert len(table["data"]) == 4
    for image_id, label, predicted, probability, iou, hit, boxes, overlay in table["data"]:
        assert (label, predicted) == ("cat", ("cat", "dog")[Images.ids.index(image_id) % 2])
        assert (probability, iou, hit) == (0.75, 0.5, True)
        assert boxes["boxes"]["predicted"][0]["position"]["maxX"] == 10 / 40
        assert {boxes["path"], overlay["path"]} <= files.keys()


def test_the_results_are_the_summary(run_dir: Path) -> None:
    summary: dict[str, Any] = {}
    for record in records(run_dir):
        if record.WhichOneof("record_type") == "summary":
            summary |= nested(record.summary.update)
    assert summary["protocol/box/rule"] == "best"
    assert (summary["test/loss"], summary["test/sharpness"]) == (1, 2.5)
    assert not [key for key in summary if key.startswith("specs")]


def test_every_number_with_a_better_direction_says_it(run_dir: Path) -> None:
    """As its spec has it; a count has none."""
    metrics = [record.metric for record in records(run_dir) if record.WhichOneof("record_type") == "metric"]
    told = {metric.name: metric.summary for metric in metrics if metric.name}
    assert (told["test/loss"].min, told["test/loss"].max) == (True, False)
    assert (told["test/sharpness"].min, told["test/sharpness"].max) == (False, True)
    assert "test/num_images" not in told


def test_nothing_but_wandbs_folder_is_left(run_dir: Path) -> None:
    left = {path.name for path in run_dir.iterdir()}
    assert left == {"config.yaml", "results.json", "wandb"}


def test_the_sample_does_not_depend_on_the_number_of_ranks(tmp_path: Path) -> None:
    seen = []
    for world_size in (1, 3):
        sink = WandbOverlays(str(tmp_path), count=4)
        show(sink, "val", world_size)
        seen.append([image._caption for image in sink.take()["val/boxes"]])
        assert sink.take() == {}
    assert seen[0] == seen[1]
    assert len(seen[0]) == 4


def test_an_image_without_a_known_box_has_no_verdict(tmp_path: Path) -> None:
    sink = WandbOverlays(str(tmp_path), count=6)
    sink.start("test", Images(), ["cat", "dog"], 0, 1)
    sink.add(*localized(2, has_box=False))
    sink.finish()
    sink.merge()
    (row,) = sink.take()["test/sample"].data
    assert list(row[4:6]) == [None, None]


def test_a_second_job_has_a_run_of_its_own(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        start_run(tmp_path / name, "p", None, "offline", "a sweep")
        finish_run(tmp_path / name, 0)
    runs = [
        record.run
        for name in ("first", "second")
        for record in records(tmp_path / name)
        if record.WhichOneof("record_type") == "run"
    ]
    assert len({run.run_id for run in runs}) == 2
    assert {run.run_group for run in runs} == {"a sweep"}


def test_a_job_that_goes_on_has_the_run_that_it_had(tmp_path: Path) -> None:
    for _ in range(2):
        start_run(tmp_path, "p", None, "offline")
        finish_run(tmp_path, 0)
    folders = sorted(path.name for path in tmp_path.glob("wandb/offline-run-*"))
    assert len(folders) == 2, "what was written before stays"
    assert len({name.split("-")[3] for name in folders}) == 1, "offline-run-DATE_TIME-ID, and a count if in one second"


def test_finishing_without_a_run_does_nothing(tmp_path: Path) -> None:
    finish_run(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []
    assert wandb.run is None


def test_more_pictures_than_a_step_may_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 16; got 17"):
        WandbLogger(str(tmp_path), num_overlays=17)
    assert wandb.run is None


def test_a_mode_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="offline or online; got 'on'"):
        start_run(tmp_path, "p", None, "on")


def test_online_without_an_account_is_one_clear_line(tmp_path: Path) -> None:
    """In a process of its own, because wandb remembers accounts; nothing is sent before one is found."""
    code = f"""
from pathlib import Path
from cam_lightning.logger.wandb_run import start_run
start_run(Path({str(tmp_path)!r}), "p", None, "online")
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last == (
        "ConnectionError: logger.wandb.mode=online has no account: run `wandb login` once, or leave the mode at offline"
    )


def test_online_without_a_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**options: Any) -> bool:
        raise wandb.errors.CommError("Failed to authenticate with https://api.wandb.ai: no route to host\nmore")

    monkeypatch.setattr(wandb, "login", unreachable)
    with pytest.raises(ConnectionError) as caught:
        start_run(tmp_path, "p", None, "online")
    assert str(caught.value) == (
        "logger.wandb.mode=online has no network or no valid account (Failed to authenticate with "
        "https://api.wandb.ai: no route to host); mode=offline needs neither"
    )


def test_a_missing_package_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pip install wandb"):
        start_run(tmp_path, "p", None, "offline")
