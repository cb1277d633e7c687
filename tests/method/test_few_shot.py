"""The few-shot baseline's loss against a plain loop; what its network learns from; its targets in training."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch import Tensor, nn
from toy_batch import batch_of

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.contracts import Network
from cam_lightning.dataset.shapes import Shapes
from cam_lightning.method.few_shot import FewShot, SaliencyMap, cell_targets
from cam_lightning.method.schedule import constant

CLASSES = 4


def make(network: nn.Module, **options: Any) -> FewShot:
    return FewShot(network, torch.optim.SGD, constant, learning_rate=0.1, **options)


@pytest.fixture
def network() -> SaliencyMap:
    torch.manual_seed(0)
    return SaliencyMap(googlenet_gap(CLASSES, width=0.125, units=16))


def masks() -> Tensor:
    """Objects, background, and places that are unknown; of the last image nothing is known."""
    mask_BHW = (torch.rand(3, 64, 112, generator=torch.Generator().manual_seed(2)) < 0.3).to(torch.uint8)
    mask_BHW[:, :20, :50] = 1
    mask_BHW[0, 30:, 60:] = 255
    mask_BHW[2] = 255
    return mask_BHW


def test_the_loss_is_the_entropy_of_what_is_known(network: SaliencyMap, images: Tensor) -> None:
    labels, mask_BHW = [1, 3, 0], masks()
    batch = batch_of(images, labels)
    batch = batch._replace(truth=batch.truth._replace(mask_BHW=mask_BHW))
    with torch.no_grad():
        output = network.eval()(images)
        loss = make(network).loss(output, batch)
    logit = output.more["saliency_B1hw"]
    h, w = logit.shape[2:]
    # Cells of whole pixels, or a plain loop over them would need another rule.
    assert 64 % h == 112 % w == 0
    entropy, weights = 0.0, 0.0
    for b in range(3):
        for y in range(h):
            for x in range(w):
                cell = (
                    mask_BHW[b, y * 64 // h : (y + 1) * 64 // h, x * 112 // w : (x + 1) * 112 // w].flatten().tolist()
                )
                known = [value for value in cell if value != 255]
                if known:
                    share, p = known.count(1) / len(known), 1 / (1 + math.exp(-float(logit[b, 0, y, x])))
                    weight = len(known) / len(cell)
                    entropy -= weight * (share * math.log(p) + (1 - share) * math.log(1 - p))
                    weights += weight
    classes = -sum(float(output.logits_BC[b].log_softmax(0)[c]) for b, c in enumerate(labels)) / 3
    assert float(loss.parts["saliency"]) == pytest.approx(entropy / weights, rel=1e-5)
    assert float(loss.parts["classification"]) == pytest.approx(classes, rel=1e-5)
    assert float(loss.total) == pytest.approx(entropy / weights + classes, rel=1e-5)


def test_the_trunk_learns_from_masks_alone(network: SaliencyMap, images: Tensor) -> None:
    batch = batch_of(images, [1, 3, 0])
    batch = batch._replace(truth=batch.truth._replace(mask_BHW=masks()))
    loss = make(network).loss(network(images), batch)
    trunk = list(network.trunk.parameters())
    by_class = torch.autograd.grad(loss.parts["classification"], trunk, allow_unused=True, retain_graph=True)
    assert all(gradient is None or not gradient.any() for gradient in by_class)
    by_mask = torch.autograd.grad(loss.parts["saliency"], trunk, allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in by_mask)


def test_without_a_mask_or_box_it_says_so(network: SaliencyMap, images: Tensor) -> None:
    batch = batch_of(images, [1, 3, 0])
    output = network(images)
    with pytest.raises(ValueError, match="is given none"):
        make(network).loss(output, batch)
    nothing = batch._replace(truth=batch.truth._replace(mask_BHW=torch.full((3, 64, 112), 255, dtype=torch.uint8)))
    with pytest.raises(ValueError, match="no image of this batch has a mask or a box"):
        make(network).loss(output, nothing)


def test_a_cell_of_which_nothing_is_known_has_no_weight() -> None:
    mask_BHW = torch.tensor([[[1, 1, 255, 255], [0, 255, 255, 255]]], dtype=torch.uint8)
    target_B1hw, weight_B1hw = cell_targets(mask_BHW, (1, 2))
    assert target_B1hw.flatten().tolist() == pytest.approx([2 / 3, 0.0])
    assert weight_B1hw.flatten().tolist() == [0.75, 0.0]


def test_its_map_is_the_same_for_every_class_and_a_probability(network: SaliencyMap, images: Tensor) -> None:
    assert isinstance(network, Network)
    output = network.eval()(images)
    map_BThw = network.class_maps(output, torch.tensor([[0, 2], [1, 1], [3, 0]]))
    assert map_BThw is not None
    assert torch.equal(map_BThw[:, 0], map_BThw[:, 1])
    assert torch.equal(map_BThw[:, 0], torch.sigmoid(output.more["saliency_B1hw"][:, 0]).detach())
    assert network.select_classes([2, 0])(images).logits_BC.shape == (3, 2)


def test_new_layers_are_told_where_weights_were_loaded() -> None:
    torch.manual_seed(0)
    loaded = googlenet_gap(CLASSES, width=0.125, units=16)
    loaded.is_loaded, loaded.new_layers = True, ("trunk.cam_conv", "classifier")
    assert set(SaliencyMap(loaded).new_layers) == {"trunk.cam_conv", "classifier.classifier", "saliency"}
    with pytest.raises(ValueError, match="needs a network of a trunk"):
        SaliencyMap(nn.Identity())  # type: ignore[arg-type]


def test_in_training_every_image_comes_with_the_mask_of_its_view(network: SaliencyMap) -> None:
    """Asked for by the method, before any worker starts; evaluation is as it was."""
    data = Shapes(
        num_train=12, num_test=4, classes=4, image_size=(64, 80), batch_size=4, val_fraction=0.3, num_workers=0
    )
    seen = []

    class Watched(FewShot):
        def loss(self, output: Any, batch: Any) -> Any:
            seen.append(batch.truth.mask_BHW)
            return super().loss(output, batch)

    trainer = Trainer(accelerator="cpu", devices=1, max_steps=2, logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False)  # fmt: skip
    trainer.fit(Watched(network, torch.optim.SGD, constant, learning_rate=0.1), data)
    assert len(seen) == 2
    for mask_BHW in seen:
        assert mask_BHW.shape == (4, 64, 80)
        assert (mask_BHW == 1).flatten(1).any(1).all()
        assert set(mask_BHW.unique().tolist()) == {0, 1}
