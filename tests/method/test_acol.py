"""ACoL against its equations, written as plain loops; and as a method like any other."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import commands
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.vgg16_gap import vgg16_gap
from cam_lightning.contracts import Batch, GroundTruth, Network
from cam_lightning.functional.network_input import evaluation_mode
from cam_lightning.method.acol import Acol, TwoBranches
from cam_lightning.method.class_map_branch import unit_range
from cam_lightning.method.schedule import constant

CLASSES = 4


@pytest.fixture(scope="module")
def network() -> TwoBranches:
    torch.manual_seed(0)
    return TwoBranches(googlenet_gap(CLASSES, width=0.125, units=16), units=8, threshold=0.6).eval()


def normalised(map_hw: Tensor) -> Tensor:
    low, high = float(map_hw.min()), float(map_hw.max())
    return torch.tensor([[(float(v) - low) / (high - low) for v in row] for row in map_hw])


def by_hand(network: TwoBranches, images: Tensor, image: int, label: int) -> tuple[Tensor, Tensor, Tensor]:
    """Branch A's maps, branch B's with A's map of the label erased cell by cell, and the label's fused map."""
    with torch.no_grad():
        features = network.trunk(images[image : image + 1])
        seen = F.avg_pool2d(features, 3, 1, 1)
        map_a = network.branch_a(seen)[0]
        attention, erased = normalised(map_a[label]), seen.clone()
        for y in range(attention.shape[0]):
            for x in range(attention.shape[1]):
                if attention[y, x] >= network.threshold:
                    # Smoothing comes first in the released code: what is erased is what the branch sees.
                    erased[0, :, y, x] = 0
        map_b = network.branch_b(erased)[0]
    pairs = zip(normalised(map_a[label]).flatten(), normalised(map_b[label]).flatten(), strict=True)
    return map_a, map_b, torch.tensor([max(float(a), float(b)) for a, b in pairs]).view_as(attention)


def test_both_branches_equal_a_plain_loop(network: TwoBranches, images: Tensor) -> None:
    labels = torch.tensor([2, 0, 3])
    with torch.no_grad():
        output = network(images)
        second = network.erased_map(output, labels)
        fused = network.class_maps(output, torch.tensor([[2, 1], [0, 3], [3, 3]]))
    assert fused is not None
    assert output.features_BKhw.shape[2:] == fused.shape[2:] == (4, 7)
    for image, label in enumerate(labels.tolist()):
        map_a, map_b, expected = by_hand(network, images, image, label)
        torch.testing.assert_close(output.more["map_BChw"][image], map_a)
        torch.testing.assert_close(output.logits_BC[image], map_a.mean((1, 2)))
        torch.testing.assert_close(second[image], map_b)
        torch.testing.assert_close(fused[image, 0], expected)
        assert not torch.equal(map_a, map_b)
    for image, other in ((0, 1), (1, 3)):
        torch.testing.assert_close(fused[image, 1], by_hand(network, images, image, other)[2])
    assert fused.min() == 0
    assert fused.max() == 1


def test_the_loss_is_the_sum_of_both_cross_entropies(network: TwoBranches, images: Tensor) -> None:
    labels = torch.tensor([1, 2, 2])
    method = Acol(network, optimizer=torch.optim.SGD, schedule=constant, learning_rate=0.1)
    truth = GroundTruth(labels, torch.zeros(3, 0, 4), torch.zeros(3), torch.tensor([[64, 112]] * 3))
    batch = Batch(images, truth, torch.arange(3))
    loss = method.loss(network(images), batch)
    terms: dict[str, float] = {"branch_a": 0.0, "branch_b": 0.0}
    for image, label in enumerate(labels.tolist()):
        map_a, map_b, _ = by_hand(network, images, image, label)
        for name, maps in (("branch_a", map_a), ("branch_b", map_b)):
            terms[name] -= float(maps.mean((1, 2)).log_softmax(0)[label]) / 3
    for name, expected in terms.items():
        assert float(loss.parts[name]) == pytest.approx(expected, rel=1e-5)
    assert float(loss.total) == pytest.approx(sum(terms.values()), rel=1e-5)


def test_the_erasing_is_not_differentiated_and_every_parameter_learns(network: TwoBranches, images: Tensor) -> None:
    network = copy.deepcopy(network)
    labels = torch.tensor([1, 2, 3])
    output = network(images)
    second = F.cross_entropy(network.erased_map(output, labels).mean((2, 3)), labels)
    second.backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in network.branch_a.parameters()), "B teaches A nothing"
    F.cross_entropy(output.logits_BC, labels).backward()
    assert all(parameter.grad is not None for parameter in network.parameters()), "else DDP would refuse"


def test_a_constant_map_erases_nothing() -> None:
    assert unit_range(torch.full((2, 3, 4), 7.0)).eq(0).all()


def test_it_is_a_network_like_any_other(network: TwoBranches, images: Tensor) -> None:
    assert isinstance(network, Network)
    with torch.no_grad():
        whole, part = network(images), network.select_classes([3, 1])(images)
        maps = network.select_classes([3, 1]).class_maps(part, torch.tensor([[0, 1]] * 3))
        expected = network.class_maps(whole, torch.tensor([[3, 1]] * 3))
    torch.testing.assert_close(part.logits_BC, whole.logits_BC[:, [3, 1]])
    assert maps is not None
    assert expected is not None
    torch.testing.assert_close(maps, expected)
    assert network.num_classes == CLASSES


def test_it_branches_where_it_is_told() -> None:
    with torch.device("meta"):
        base = vgg16_gap(3)
    assert TwoBranches(base, last=29).branch_a[0].in_channels == 512
    assert TwoBranches(base).branch_a[0].in_channels == 1024
    for wrong, message in (({"last": "conv9"}, "no layer of the trunk"), ({"threshold": 0}, "in .0, 1.; got 0"),
                           ({"units": 0}, "at least 1")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            TwoBranches(base, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a network of a trunk and a head; Linear is none"):
        TwoBranches(nn.Linear(2, 2))  # type: ignore[arg-type]


def test_branches_on_loaded_weights_are_new_layers() -> None:
    base = googlenet_gap(CLASSES, width=0.125, units=16)
    assert TwoBranches(base, units=8).new_layers == ()
    base.is_loaded, base.new_layers = True, ("trunk.cam_conv.conv", "classifier")
    assert TwoBranches(base, units=8).new_layers == ("trunk.cam_conv.conv", "branch_a", "branch_b")


def test_a_look_at_the_trunk_leaves_its_modes() -> None:
    base = googlenet_gap(CLASSES, width=0.125, units=16, batch_norm=True)
    before = copy.deepcopy(base.state_dict())
    with evaluation_mode(base):
        TwoBranches(base, units=8)
        assert not base.training
    TwoBranches(base, units=8)
    assert all(module.training for module in base.trunk.modules())
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())


TINY = ["dataset.num_train=24", "dataset.num_test=12", "dataset.image_size=48", "dataset.batch_size=8",
        "backbone.width=0.125", "backbone.units=16", "method.network_part.units=8", "trainer=cpu",
        "trainer.log_every_n_steps=1"]  # fmt: skip


@pytest.mark.slow
def test_it_trains_evaluates_predicts_and_resumes_as_commands(tmp_path: Path) -> None:
    """Trained two epochs at once, or one and then one more: the same weights. Evaluation needs no word of ACoL."""
    longer = [*TINY, "method=acol", "method/schedule=constant", "method.learning_rate=0.01"]
    commands.run("train", *longer, "trainer.max_epochs=2", "run_dir=whole", cwd=tmp_path)
    commands.run("train", *longer, "trainer.max_epochs=1", "run_dir=parts", cwd=tmp_path)
    commands.run("train", "resume=parts", "trainer.max_epochs=2", cwd=tmp_path)
    whole, parts = (
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert any(name.startswith("network.branch_b") for name in whole)
    commands.run("evaluate", "checkpoint=whole", "trainer=cpu", "run_dir=evaluated", cwd=tmp_path)
    trained, evaluated = results(tmp_path / "whole"), results(tmp_path / "evaluated")
    for key in ("localization_error/top1", "gt_known_error", "classification_error/top1", "num_images"):
        assert trained[f"test/{key}"] == evaluated[f"test/{key}"]
    rows = (tmp_path / "whole" / "metrics.csv").read_text()
    assert "train/loss/branch_b" in rows
    Image.new("RGB", (60, 40), (200, 90, 30)).save(tmp_path / "photo.png")
    commands.run("predict", "images=photo.png", "checkpoint=whole", "device=cpu", "run_dir=predicted", cwd=tmp_path)
    (image,) = json.loads((tmp_path / "predicted" / "predictions.json").read_text())["images"]
    assert len(image["boxes"]) == 5


def results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text())


def test_published_weights_are_not_evaluated_with_branches_of_chance(tmp_path: Path) -> None:
    answer = commands.run("evaluate", *TINY[:4], "method=acol", "backbone.weights=imagenet", cwd=tmp_path, check=False)
    assert answer.returncode == 1
    assert "published weights do not have" in answer.stderr
