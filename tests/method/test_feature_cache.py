"""Training from what frozen layers gave once: bit for bit the training that computes it in every epoch."""

from __future__ import annotations

import gc
import logging
import math
import os
import shutil
import subprocess
import sys
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from lightning import Callback
from torch import Tensor, nn
from toy_network import ToyGap
from toy_world import NUM_CLASSES, ToyData

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.network import GapNetwork, Normalization, PublishedWeights
from cam_lightning.callback.checkpoint import Checkpoints
from cam_lightning.contracts import Batch
from cam_lightning.dataset.augmentation.random_crop import RandomCrop
from cam_lightning.dataset.pipeline.sampler import Key
from cam_lightning.dataset.pipeline.transform import View, resized_view
from cam_lightning.method import feature_cache
from cam_lightning.method.adl import with_attention_dropout
from cam_lightning.method.classification import Classification
from cam_lightning.method.cutmix import CutMix
from cam_lightning.method.few_shot import FewShot, SaliencyMap
from cam_lightning.method.hide_and_seek import HideAndSeek
from cam_lightning.method.multi_label import MultiLabel
from cam_lightning.method.schedule import constant
from cam_lightning.method.spg import SelfProducedGuidance
from cam_lightning.run.checkpoint import WholeCheckpoints

SGD = partial(torch.optim.SGD, momentum=0.9)
NUM_TRAIN, BATCH = 21, 5
SHAPE = (8, 8, 32)
ROW = math.prod(SHAPE) * 4


def small() -> GapNetwork:
    """What could tell a kept image from one that is computed: statistics, dropout, layers that change their input."""
    torch.manual_seed(0)
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, 8, 3, stride=2, padding=1)),
        ("norm1", nn.BatchNorm2d(8)),
        ("relu1", nn.ReLU(inplace=True)),
        ("drop1", nn.Dropout(0.3)),
        ("conv2", nn.Conv2d(8, 8, 3, padding=1)),
        ("norm2", nn.BatchNorm2d(8)),
        ("relu2", nn.ReLU(inplace=True)),
    ]
    with torch.no_grad():
        for name, layer in layers:
            if name.startswith("norm"):
                layer.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr, operator]
                layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    return GapNetwork(
        nn.Sequential(OrderedDict(layers)),
        nn.Linear(8, NUM_CLASSES),
        normalization=Normalization((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)),
        min_size=4,
        published=PublishedWeights({}),
        dropout=0.5,
    )


class Seen(Callback):
    """What happened while training: the losses, how often the first layer ran, and the file of what is kept."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.frozen_runs = 0
        self.file = b""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        file = Path(trainer.default_root_dir) / feature_cache.FILE
        self.file = file.read_bytes() if file.is_file() else b""

        def count(layer: nn.Module, given: Any, output: Any) -> None:
            self.frozen_runs += pl_module.network.training

        next(pl_module.network.trunk.children()).register_forward_hook(count)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(outputs["loss"].detach().clone())


class Fit(NamedTuple):
    trainer: Any
    module: Classification
    seen: Seen
    state: dict[str, Tensor]


@pytest.fixture
def fit(trainer: Any) -> Any:
    def run(
        network: nn.Module | None = None,
        data: Any = None,
        epochs: int = 2,
        checkpoint: Path | None = None,
        method: type[Classification] = Classification,
        fitting: dict[str, Any] | None = None,
        **options: Any,
    ) -> Fit:
        seen = Seen()
        module = method(network or small(), SGD, constant, 0.05, **options)
        fitter = trainer(max_epochs=epochs, callbacks=[seen], **(fitting or {}))
        data = data or ToyData(batch_size=BATCH)
        data.resumed_at = (0, 0) if checkpoint is None else (1, 0)
        fitter.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        return Fit(fitter, module, seen, module.network.state_dict())

    return run


def assert_equal(one: Fit, other: Fit) -> None:
    assert len(one.seen.losses) > 0
    assert [float(each) for each in one.seen.losses] == [float(each) for each in other.seen.losses]
    for name, value in one.state.items():
        assert torch.equal(value, other.state[name]), name


def googlenet() -> Any:
    torch.manual_seed(0)
    return googlenet_gap(NUM_CLASSES, width=0.125, units=32)


CASES = {
    "in the middle, before a layer that changes its input": (small, {"freeze_through": "norm1"}),
    "before a dropout": (small, {"freeze": ["conv1", "norm1", "relu1", "norm2"]}),
    "a dropout that rests": (small, {"freeze_through": "conv2"}),
    "whole trunk": (small, {"freeze": ["trunk"]}),
    "a dropout behind all of its layers": (
        lambda: with_attention_dropout(small(), drop_rate=0.5),
        {"freeze_through": "relu2"},
    ),
    "GoogLeNet": (googlenet, {"freeze_through": "inception3a"}),
}


@pytest.mark.parametrize("case", CASES)
def test_training_is_bit_for_bit_the_one_without(case: str, fit: Any, caplog: pytest.LogCaptureFixture) -> None:
    make, options = CASES[case]
    plain = fit(make(), **options)
    kept = fit(make(), cache_features=True, **options)
    assert_equal(plain, kept)
    begun = make().state_dict()
    assert not torch.equal(kept.state["classifier.weight"], begun["classifier.weight"])
    assert plain.seen.frozen_runs == 2 * (NUM_TRAIN // BATCH)
    assert kept.seen.frozen_runs == 0
    assert not any(record.levelno >= logging.WARNING for record in caplog.records if "cache" in record.getMessage())


def test_mirrored_images_have_rows_of_their_own(fit: Any) -> None:
    data = [ToyData(batch_size=BATCH, augmentation=RandomCrop(64, 64)) for _ in range(3)]
    options = {"freeze_through": "relu1"}
    plain = fit(data=data[0], **options)
    kept = fit(data=data[1], cache_features=True, **options)
    assert_equal(plain, kept)
    data[2].setup()
    examples = data[2].examples["train"]
    mirrored = [examples.view(Key(epoch, image), 9, 7).mirrored for epoch in range(2) for image in range(NUM_TRAIN)]
    assert 10 < sum(mirrored) < 32
    rows = np.frombuffer(kept.seen.file, np.float32).reshape(2, NUM_TRAIN, *SHAPE)
    network = kept.module.network.eval()
    for image in range(NUM_TRAIN):
        seen_3HW = resized_view(examples.split.read(image).image_HW3, None, (16, 64)).float()
        for flipped in (False, True):
            mean, std = (torch.tensor(each)[:, None, None] * 255 for each in network.normalization)
            image_3HW = (seen_3HW.flip(-1) if flipped else seen_3HW).sub(mean).div(std)
            with torch.no_grad():
                expected = network.trunk[:3](image_3HW[None])[0]
            torch.testing.assert_close(torch.from_numpy(rows[int(flipped), image].copy()), expected)


def test_images_are_read_once_and_never_in_an_epoch(fit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ToyData(batch_size=BATCH)
    data.setup()
    split, read = data.examples["train"].split, []
    original = split.read
    monkeypatch.setattr(split, "read", lambda index: read.append(index) or original(index))
    fit(data=data, epochs=3, freeze=["trunk"], cache_features=True)
    assert sorted(read) == sorted([*range(NUM_TRAIN), 0, 1, 2, 3]), "the last of five batches is filled up"
    assert data.examples["train"].has_pixels
    fit(data=data, epochs=1, freeze=["trunk"])
    assert len(read) == 25 + NUM_TRAIN // BATCH * BATCH


def test_workers_know_that_there_is_nothing_to_read(fit: Any) -> None:
    data = [ToyData(batch_size=BATCH) for _ in range(2)]
    data[1].num_workers = 1
    options = {"freeze_through": "relu1"}
    assert_equal(fit(data=data[0], **options), fit(data=data[1], cache_features=True, **options))


def test_bfloat16_is_kept_as_it_is_computed(fit: Any) -> None:
    fitting = {"precision": "bf16-mixed"}
    plain = fit(freeze_through="relu1", fitting=fitting)
    kept = fit(freeze_through="relu1", cache_features=True, fitting=fitting)
    assert_equal(plain, kept)
    assert len(kept.seen.file) == NUM_TRAIN * ROW // 2


@pytest.mark.parametrize("first_half_kept", [True, False])
def test_a_run_that_goes_on_ends_bit_for_bit_the_same(fit: Any, tmp_path: Path, first_half_kept: bool) -> None:
    whole = fit(freeze_through="norm1")
    half = fit(epochs=1, freeze_through="norm1", cache_features=first_half_kept)
    half.trainer.save_checkpoint(tmp_path / "half.ckpt")
    # What a run that was killed leaves, and layers that are not those of the checkpoint.
    (tmp_path / feature_cache.FILE).write_bytes(b"old" * 100_000)
    network = small()
    nn.init.normal_(network.trunk.conv1.weight)  # type: ignore[union-attr, arg-type]
    resumed = fit(network, checkpoint=tmp_path / "half.ckpt", freeze_through="norm1", cache_features=True)
    assert len(resumed.seen.file) == NUM_TRAIN * ROW
    assert len(resumed.seen.losses) == NUM_TRAIN // BATCH
    for name, value in whole.state.items():
        assert torch.equal(value, resumed.state[name]), name


def test_a_run_cut_off_within_an_epoch_goes_on_equal(trainer: Any, fit: Any, tmp_path: Path) -> None:
    class Fails(Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
            if trainer.global_step == 7:
                raise KeyError("cut off")

    checkpoints = partial(trainer, enable_checkpointing=True, plugins=[WholeCheckpoints()])
    whole = fit(freeze_through="norm1")
    options = {"freeze_through": "norm1", "cache_features": True}
    module = Classification(small(), SGD, constant, 0.05, **options)
    keep = Checkpoints(str(tmp_path / "checkpoints"), monitor=None, every_minutes=0)
    with pytest.raises(KeyError, match="cut off"):
        checkpoints(max_epochs=2, callbacks=[keep, Fails()]).fit(module, datamodule=ToyData(batch_size=BATCH))
    path = tmp_path / "checkpoints" / "last.ckpt"
    position = torch.load(path, weights_only=True)["position"]
    assert (position["epoch"], position["batch"]) == (1, 2)
    data = ToyData(batch_size=BATCH)
    data.resumed_at = (1, 2)
    module = Classification(small(), SGD, constant, 0.05, **options)
    keep = Checkpoints(str(path.parent), monitor=None)
    going_on = checkpoints(max_epochs=2, callbacks=[keep])
    going_on.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    assert going_on.global_step == 2 * (NUM_TRAIN // BATCH)
    for name, value in whole.state.items():
        assert torch.equal(value, module.network.state_dict()[name]), name


def test_the_file_is_announced_and_goes_when_training_ends(
    fit: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        done = fit(freeze_through="norm1", cache_features=True, epochs=1)
    assert len(done.seen.file) == NUM_TRAIN * ROW
    said = "0.2 MB for what norm1 gives of 21 images, each 8×8×32 of torch.float32, in "
    assert f"frozen layers: {said}{tmp_path / feature_cache.FILE}" in caplog.text
    assert not (tmp_path / feature_cache.FILE).exists()


def test_the_file_goes_when_training_fails(trainer: Any, tmp_path: Path) -> None:
    class Fails(Callback):
        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            assert (tmp_path / feature_cache.FILE).exists()
            raise KeyError("enough")

    def fail() -> None:
        module = Classification(small(), SGD, constant, 0.05, freeze_through="norm1", cache_features=True)
        with pytest.raises(KeyError, match="enough"):
            trainer(max_epochs=1, callbacks=[Fails()]).fit(module, datamodule=ToyData(batch_size=BATCH))

    fail()
    gc.collect()
    assert not (tmp_path / feature_cache.FILE).exists()


def test_a_trial_keeps_nothing(fit: Any) -> None:
    done = fit(freeze_through="norm1", cache_features=True, fitting={"fast_dev_run": True})
    assert (done.seen.file, done.seen.frozen_runs) == (b"", 1)


def test_of_pixels_the_size_is_left_and_all_that_is_known_of_an_image(fit: Any) -> None:
    batches: list[Batch] = []

    class Looks(Classification):
        def loss(self, output: Any, batch: Batch) -> Any:
            batches.append(batch)
            return super().loss(output, batch)

    for caches in (False, True):
        fit(epochs=1, method=Looks, freeze_through="relu1", cache_features=caches)
    half = len(batches) // 2
    for plain, kept in zip(batches[:half], batches[half:], strict=True):
        assert kept.image_B3HW.shape == plain.image_B3HW.shape == (BATCH, 3, 16, 64)
        assert kept.image_B3HW.isnan().all()
        assert not plain.image_B3HW.isnan().any()
        assert torch.equal(kept.index_B, plain.index_B)
        for one, other in zip(kept.truth, plain.truth, strict=True):
            assert one is other is None or torch.equal(one, other)
    assert any(batch.truth.boxes_BN4.any() for batch in batches[half:])


def test_several_classes_of_an_image_are_known_as_well(fit: Any) -> None:
    class Several(ToyData):
        def read_splits(self) -> Any:
            names, *splits = super().read_splits()
            for split in splits:
                target_NC = np.random.default_rng(0).choice([0, 1, np.nan], (len(split), NUM_CLASSES))
                target_NC[np.arange(len(split)), split.label_N] = 1
                split.target_NC = target_NC.astype(np.float32)
            return names, *splits

    options = {"method": MultiLabel, "freeze_through": "relu1"}
    plain = fit(data=Several(batch_size=BATCH), **options)
    assert_equal(plain, fit(data=Several(batch_size=BATCH), cache_features=True, **options))


def test_what_depends_on_the_rest_of_the_batch_is_said(fit: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Ordinal(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.125 * torch.arange(len(x))[:, None, None, None]

    network = small()
    network.trunk.norm1 = Ordinal()
    fit(network, epochs=1, freeze_through="norm1", cache_features=True)
    assert "numbers for an image depend on its place in the batch here (by up to 5.0e-01)" in caplog.text


# --- what is refused


class CentreSquare:
    """A part of high images alone, so that it shows only where one of them is used."""

    def __call__(self, height: int, width: int, random: np.random.Generator) -> View:
        return View(0, 0, width, min(height, width), False)


@pytest.mark.parametrize(
    ("match", "data", "options"),
    [
        (r"RandomCrop moves it: dataset\.augmentation=null shows", {"augmentation": RandomCrop()}, {}),
        (r"CentreSquare moves it", {"augmentation": CentreSquare()}, {}),
        (r"dataset\.train_size changes", {"train_size": [[0, [12, 20]], [1, [14, 20]]]}, {}),
        (r"dataset\.on_bad_image=error", {"on_bad_image": "skip"}, {}),
        (r"the very first, conv1, learns: method\.freeze_through=LAYER", {}, {"freeze_through": None}),
        (r"the very first, conv1, learns", {}, {"freeze_through": None, "freeze": ["relu1", "conv2"]}),
        (r"HideAndSeek has a view of its own", {}, {"method": HideAndSeek}),
        (r"CutMix has a view of its own", {}, {"method": CutMix}),
        (r"method\.compile makes one kernel", {}, {"compile": True}),
        (r"this trunk is no sequence of layers: freeze the whole", {}, {"freeze": ["conv1"], "freeze_through": None,
                                                                        "network": "no sequence"}),
        (r"ToyGap reads more than what they give", {}, {"network": "foreign"}),
        (r"SelfProducedGuidance reads more than what", {}, {"network": "guided", "freeze_through": "relu1"}),
        (r"AttentionDropout behind one of them gives another thing in", {}, {"network": "dropped"}),
        (r"AttentionDropout behind one of them", {}, {"network": "dropped behind", "freeze": ["trunk"],
                                                      "freeze_through": None}),
        (r"keeps no masks, and this method learns from them", {}, {"network": "salient", "method": FewShot}),
    ],
)  # fmt: skip
def test_what_is_refused_is_one_line_before_training(
    match: str, data: dict[str, Any], options: dict[str, Any], fit: Any
) -> None:
    class Unordered(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    networks: dict[str, Any] = {
        "no sequence": lambda: _with_trunk(small(), Unordered),
        "foreign": lambda: ToyGap(small().trunk, 8, NUM_CLASSES),
        "guided": lambda: SelfProducedGuidance(small(), layers=["relu1", "relu2"]),
        "salient": lambda: SaliencyMap(small()),
        "dropped": lambda: with_attention_dropout(small(), ["relu1"]),
        "dropped behind": lambda: with_attention_dropout(small()),
    }
    if "network" in options:
        options = options | {"network": networks[options["network"]]()}
    with pytest.raises(ValueError, match=match) as error:
        fit(data=ToyData(batch_size=BATCH, **data), **({"cache_features": True, "freeze_through": "relu1"} | options))
    assert "\n" not in str(error.value)


def _with_trunk(network: GapNetwork, kind: type[nn.Sequential]) -> GapNetwork:
    network.trunk = kind(OrderedDict(network.trunk.named_children()))
    return network


def test_a_full_disk_is_refused_with_the_number(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    needed = 2 * NUM_TRAIN * ROW
    for free, refuses in ((needed, False), (needed - 1, True)):
        monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda folder, free=free: usage._replace(free=free))
        data = ToyData(batch_size=BATCH, augmentation=RandomCrop(32, 32))
        if not refuses:
            fit(data=data, epochs=1, freeze_through="relu1", cache_features=True)
            continue
        said = (
            r"needs 0\.3 MB for what relu1 gives of 21 images, plain and mirrored, each 8×8×32 of torch\.float32, "
            rf"and {tmp_path} has 0\.3 MB free: make room, freeze"
        )
        with pytest.raises(ValueError, match=said) as error:
            fit(data=data, epochs=1, freeze_through="relu1", cache_features=True)
        assert "\n" not in str(error.value)
    assert not (tmp_path / feature_cache.FILE).exists()


TINY = ["dataset.num_train=26", "dataset.num_test=13", "dataset.image_size=48", "dataset.batch_size=4",
        "dataset.val_fraction=0.25", "dataset.augmentation.crop=256", "backbone.width=0.125", "backbone.units=16",
        "trainer=cpu", "method/schedule=constant", "method.learning_rate=0.01", "method.freeze_through=inception3a",
        "trainer.max_epochs=2", "trainer.limit_val_batches=0", "callback.checkpoint.monitor=null"]  # fmt: skip


@pytest.mark.slow
def test_two_processes_share_the_file_and_end_equal(tmp_path: Path) -> None:
    """Each computes a part of it, mirrored images too, and reads all of it."""
    states = []
    for caches in ("false", "true"):
        run = tmp_path / f"cached_{caches}"
        done = subprocess.run(
            [sys.executable, "-m", "cam_lightning.train", *TINY, f"method.cache_features={caches}",
             "trainer.devices=2", f"run_dir={run}"],
            cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, capture_output=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        states.append(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"])
        said = "for what inception3a gives of 16 images, plain and mirrored" in (run / "log.txt").read_text()
        assert said == (caches == "true")
        assert not (run / feature_cache.FILE).exists()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
