"""The contract that every yaml of conf/method keeps, on every backbone that averages or has class maps."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from toy_batch import batch_of

from cam_lightning.api import localize
from cam_lightning.build import choice, instantiate
from cam_lightning.dataset.shapes import Shapes
from cam_lightning.method.base import Method
from cam_lightning.method.schedule import constant

CONF = Path(__file__).parents[2] / "conf"
WITHOUT_MAP = ("alexnet", "vgg16")
QUICK = ("googlenet_gap", {"width": 0.125, "units": 16})
"""A small network that every method is tried on; on the others, of the paper's size, they are slow."""


def _methods() -> Iterator[str]:
    """Every yaml that is a method of its own, and no recipe of the plain one."""
    for path in sorted((CONF / "method").glob("*.yaml")):
        if not path.stem.startswith("classification_"):
            yield path.stem


def _cases() -> Iterator[Any]:
    for method in _methods():
        yield pytest.param(method, *QUICK, id=f"{method}-small")
        for path in sorted((CONF / "backbone").glob("*.yaml")):
            if path.stem not in WITHOUT_MAP:
                marks = [pytest.mark.slow]
                if path.stem == "timm_gap" and importlib.util.find_spec("timm") is None:
                    marks.append(pytest.mark.skip(reason="timm is not installed"))
                yield pytest.param(method, path.stem, {}, id=f"{method}-{path.stem}", marks=marks)


def build(method: str, backbone: str, options: dict[str, Any]) -> Method:
    """As a run builds it, its branches narrow, its rate small."""
    torch.manual_seed(0)
    network = instantiate(choice("backbone", backbone), num_classes=5, **options)
    for name, bias in network.named_parameters():
        if name.endswith("bias"):
            # CAM_conv's released bias of 1 holds every unit on everywhere at the start: ADL would drop such maps whole,
            # and C2AM's contrast has no gradient where foreground and background are the same.
            torch.nn.init.zeros_(bias)
    node = choice("method", method)
    node.seed = 3
    node.weight_decay = 0.0  # which would move what has no gradient
    part = node.get("network_part")
    if part is not None:
        smaller = {key: value for key, value in {"units": 8, "drop_rate": 0.5}.items() if key in part}
        network = instantiate(part, network=network, **smaller)
    left_out = ("network_part", "optimizer", "schedule", "learning_rate")
    own = {key: value for key, value in node.items() if key not in left_out}
    return instantiate(own, network=network, learning_rate=1e-3, schedule=constant,
                       optimizer=lambda groups: torch.optim.SGD(groups, 1e-3, momentum=0.9))  # fmt: skip


def data(size: tuple[int, int]) -> Shapes:
    """Three steps an epoch: a run of two steps ends within it."""
    return Shapes(num_train=30, num_test=20, classes=5, image_size=size, batch_size=4, val_fraction=0.2, num_workers=0)


def trainer(folder: Path, steps: int, saves: bool = False) -> Trainer:
    checkpoint = ModelCheckpoint(folder, filename="half", every_n_train_steps=2)
    return Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        callbacks=[checkpoint] if saves else [],
        enable_checkpointing=saves,
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


@pytest.mark.parametrize(("method", "backbone", "options"), list(_cases()))
def test_it_trains_evaluates_predicts_and_resumes_bit_for_bit(
    method: str, backbone: str, options: dict[str, Any], tmp_path: Path
) -> None:
    whole = build(method, backbone, options)
    height = max(48, whole.network.min_size)  # type: ignore[type-var]
    size = (int(height), int(height) + 16)
    fitter = trainer(tmp_path, 4)
    fitter.fit(whole, data(size))
    trainer(tmp_path, 2, saves=True).fit(build(method, backbone, options), data(size))
    parts = build(method, backbone, options)
    trainer(tmp_path, 4).fit(parts, data(size), ckpt_path=tmp_path / "half.ckpt")
    (tmp_path / "half.ckpt").unlink()  # of the slow ones all together, too much for a disk
    after = whole.network.state_dict()  # type: ignore[union-attr]
    for name, value in parts.network.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(value, after[name]), f"{name}: two steps and two more are not four"
        assert value.isfinite().all(), name
    momentum = {id(parameter): state["momentum_buffer"] for parameter, state in fitter.optimizers[0].state.items()}
    learning = {name: parameter for name, parameter in whole.network.named_parameters() if parameter.requires_grad}
    still = [name for name, parameter in learning.items() if not momentum[id(parameter)].any()]
    assert len(still) < 0.1 * len(momentum), still

    (numbers,) = trainer(tmp_path, 4).test(whole, data(size), verbose=False)
    assert 0 <= numbers["test/classification_error/top1"] <= 1
    assert numbers["test/loss"] == numbers["test/loss"]

    photos = [np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)]
    (found,) = localize(whole.network.eval(), photos, image_size=size)  # type: ignore[arg-type]
    assert found.boxes_P4.shape == (5, 4)
    assert np.isfinite(np.asarray(found.map_Thw)).all()


@pytest.mark.parametrize("method", list(_methods()))
def test_a_loss_is_computed_in_float32_under_mixed_precision(method: str) -> None:
    """Only the trunk is not: of one output the loss is the same number within autocast and without."""
    module = build(method, *QUICK)
    image_B3HW = torch.randn(4, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    mask_BHW = (image_B3HW[:, 0] > 0).byte()
    batch = batch_of(image_B3HW, [0, 1, 1, 4])
    batch = module.view(batch._replace(truth=batch.truth._replace(mask_BHW=mask_BHW)))
    with torch.autocast("cpu", torch.bfloat16):
        output = module.network(batch.image_B3HW)
        within = module.loss(output, batch)
    without = module.loss(output, batch)
    assert torch.equal(within.total, without.total)
    for name, part in without.parts.items():
        assert torch.equal(within.parts[name], part), name


TINY = ["dataset.num_train=26", "dataset.num_test=13", "dataset.image_size=48", "dataset.batch_size=4",
        "dataset.val_fraction=0.25", "backbone.width=0.125", "backbone.units=16", "trainer=cpu",
        "trainer.log_every_n_steps=1", "method/schedule=constant", "method.learning_rate=0.01"]  # fmt: skip


def results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text())


def same_numbers(one: dict[str, Any], other: dict[str, Any]) -> None:
    keys = [key for key in one if key.startswith("test/") and key != "test/loss"]
    assert "test/localization_error/top1" in keys
    for key in keys:
        assert one[key] == other[key], f"{key}: {one[key]} and {other[key]}"
    assert one["test/loss"] == pytest.approx(other["test/loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", list(_methods()))
def test_its_commands_say_the_method_once(method: str, tmp_path: Path) -> None:
    """Trained two epochs at once, or one and then one more: the same weights. What follows needs no word of it."""
    choice = [*TINY, f"method={method}"]
    commands.run("train", *choice, "trainer.max_epochs=2", "run_dir=whole", cwd=tmp_path)
    commands.run("train", *choice, "trainer.max_epochs=1", "run_dir=parts", cwd=tmp_path)
    commands.run("train", "resume=parts", "trainer.max_epochs=2", cwd=tmp_path)
    whole, parts = (
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    commands.run("evaluate", "checkpoint=whole", "trainer=cpu", "run_dir=evaluated", cwd=tmp_path)
    same_numbers(results(tmp_path / "whole"), results(tmp_path / "evaluated"))
    Image.new("RGB", (60, 40), (200, 90, 30)).save(tmp_path / "photo.png")
    commands.run("predict", "images=photo.png", "checkpoint=whole", "device=cpu", "run_dir=predicted", cwd=tmp_path)
    (image,) = json.loads((tmp_path / "predicted" / "predictions.json").read_text())["images"]
    assert len(image["boxes"]) == 5


@pytest.mark.slow
@pytest.mark.parametrize("method", list(_methods()))
def test_two_processes_count_what_one_counts(method: str, tmp_path: Path) -> None:
    """13 test images divide by neither 2 processes nor batches of 4."""
    done = subprocess.run(
        [sys.executable, "-m", "cam_lightning.train", *TINY, f"method={method}", "trainer.devices=2",
         "trainer.max_epochs=1", f"run_dir={tmp_path}/two"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True, capture_output=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    commands.run("evaluate", "checkpoint=two", "trainer=cpu", "run_dir=one", cwd=tmp_path)
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    assert two["test/num_images"] == 13
    same_numbers(one, two)
