"""The contract that every yaml of conf/method keeps, on every backbone that averages or has class maps."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from cam_lightning.api import localize
from cam_lightning.build import choice, instantiate
from cam_lightning.dataset.shapes import Shapes
from cam_lightning.method.base import Method
from cam_lightning.method.schedule import constant

CONF = Path(__file__).parents[2] / "conf"
WITHOUT_MAP = ("alexnet", "vgg16")
QUICK = ("googlenet_gap", {"width": 0.125, "units": 16})
"""A small network that every method is tried on; on the others, of the paper's size, they are slow."""
SIZE = (48, 64)


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
    node = choice("method", method)
    node.seed = 3
    node.weight_decay = 0.0  # which would move what has no gradient
    part = node.get("network_part")
    if part is not None:
        # ADL drops nearly constant maps, as networks at their start have, whole: here less often than it would.
        smaller = {key: value for key, value in {"units": 8, "drop_rate": 0.5}.items() if key in part}
        network = instantiate(part, network=network, **smaller)
    left_out = ("network_part", "optimizer", "schedule", "learning_rate")
    own = {key: value for key, value in node.items() if key not in left_out}
    return instantiate(own, network=network, learning_rate=1e-3, schedule=constant,
                       optimizer=lambda groups: torch.optim.SGD(groups, 1e-3, momentum=0.9))  # fmt: skip


def data() -> Shapes:
    """Three steps an epoch: a run of two steps ends within it."""
    return Shapes(num_train=30, num_test=20, classes=5, image_size=SIZE, batch_size=4, val_fraction=0.2, num_workers=0)


def trainer(folder: Path, steps: int) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=2, save_top_k=1)],
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
    fitter = trainer(tmp_path / "whole", 4)
    fitter.fit(whole, data())
    trainer(tmp_path / "half", 2).fit(build(method, backbone, options), data())
    parts = build(method, backbone, options)
    trainer(tmp_path / "rest", 4).fit(parts, data(), ckpt_path=tmp_path / "half" / "last.ckpt")
    after = whole.network.state_dict()  # type: ignore[union-attr]
    for name, value in parts.network.state_dict().items():  # type: ignore[union-attr]
        assert torch.equal(value, after[name]), f"{name}: two steps and two more are not four"
        assert value.isfinite().all(), name
    momentum = {id(parameter): state["momentum_buffer"] for parameter, state in fitter.optimizers[0].state.items()}
    still = [name for name, parameter in whole.network.named_parameters() if not momentum[id(parameter)].any()]
    assert len(still) < 0.1 * len(momentum), still

    (numbers,) = trainer(tmp_path / "tested", 4).test(whole, data(), verbose=False)
    assert 0 <= numbers["test/classification_error/top1"] <= 1
    assert numbers["test/loss"] == numbers["test/loss"]

    photos = [np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)]
    (found,) = localize(whole.network.eval(), photos, image_size=SIZE)  # type: ignore[arg-type]
    assert found.boxes_P4.shape == (5, 4)
    assert np.isfinite(np.asarray(found.map_Thw)).all()
