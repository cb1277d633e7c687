"""Score-CAM against one forward for each unit, and what it saves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.cam.score_cam import ScoreCam
from cam_lightning.functional.score_cam import most_varied, unit_masks

CLASSES = torch.tensor([[0, 6, 3], [2, 2, 5]])


@pytest.fixture(scope="module")
def network() -> TrunkNetwork:
    torch.manual_seed(0)
    return googlenet_gap(7, width=0.125, units=256, batch_norm=True).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("units", [None, 6])
@pytest.mark.parametrize("layer", [None, "trunk.inception4a"])
def test_it_equals_a_forward_for_each_unit(
    network: TrunkNetwork, images: Tensor, layer: str | None, units: int | None
) -> None:
    kept: list[Tensor] = []
    handle = network.get_submodule(layer or "trunk").register_forward_hook(lambda *each: kept.append(each[2].detach()))
    with torch.no_grad():
        output = network(images)
    handle.remove()
    (activations,) = kept
    with torch.inference_mode():
        maps = ScoreCam(layer, units=units, batch_size=5)(network, images, output, CLASSES)
        for b in range(2):
            chosen = list(range(activations.shape[1]))
            if units is not None:
                variance = [float(unit.double().var(correction=0)) for unit in activations[b]]
                chosen = sorted(sorted(chosen, key=lambda k: -variance[k])[:units])
            scores = []
            for k in chosen:
                mask = torch.nn.functional.interpolate(activations[b, k][None, None], (48, 80), mode="bilinear")
                span = float(mask.max() - mask.min())
                mask = (mask - mask.min()) / span if span else mask * 0
                scores.append(network(images[b : b + 1] * mask).logits_BC[0])
            for t, label in enumerate(CLASSES[b].tolist()):
                exponentials = [float(score[label].double().exp()) for score in scores]
                expected = sum(
                    e / sum(exponentials) * activations[b, k].double()
                    for e, k in zip(exponentials, chosen, strict=True)
                )
                torch.testing.assert_close(maps[b, t].double(), expected, rtol=1e-4, atol=1e-5)


def images_at_once(network: TrunkNetwork, images: Tensor, features: Tensor) -> list[int]:
    """How many images the network sees at once, forward by forward, for a map of these features."""
    with torch.no_grad():
        output = network(images)
    seen: list[int] = []
    handle = network.register_forward_hook(lambda module, given, gave: seen.append(len(given[0])))
    try:
        with torch.no_grad():
            ScoreCam(batch_size=4)(network, images, output._replace(features_BKhw=features), CLASSES)
    finally:
        handle.remove()
    return seen


def test_units_that_are_off_share_one_forward(network: TrunkNetwork, images: Tensor) -> None:
    features = torch.rand(2, 11, 3, 5)
    features[0, 9:] = 0
    features[1, :5], features[1, 5] = 0, 2.5
    # What is behind all that are off; then nine units of the first image and five of the second.
    assert images_at_once(network, images, features) == [1, 3, 3, 3, 3, 2]


def test_where_no_unit_is_off_nothing_else_is_asked(network: TrunkNetwork, images: Tensor) -> None:
    assert images_at_once(network, images, torch.rand(2, 8, 3, 5)) == [4, 4, 4, 4]


def test_units_that_are_all_off_have_a_map(network: TrunkNetwork, images: Tensor) -> None:
    """Equal scores: the mean of the units."""
    with torch.no_grad():
        output = network(images)
        features = torch.arange(6.0).view(1, 6, 1, 1).expand(2, 6, 3, 5).clone()
        maps = ScoreCam(batch_size=4)(network, images, output._replace(features_BKhw=features), CLASSES)
    torch.testing.assert_close(maps, torch.full((2, 3, 3, 5), 2.5))


def test_a_mask_spans_0_to_1_and_a_constant_unit_lets_nothing_through() -> None:
    masks = unit_masks(torch.stack([torch.rand(3, 4) - 5, torch.full((3, 4), 7.0)]), (9, 16))
    assert masks.shape == (2, 1, 9, 16)
    assert (float(masks[0].min()), float(masks[0].max())) == (0, 1)
    assert (masks[1] == 0).all()


def test_the_most_varied_units_keep_their_order() -> None:
    features = torch.tensor([1.0, 3.0, 0.0, 2.0])[:, None, None] * torch.tensor([[0.0, 1.0]])
    assert most_varied(features, 2).tolist() == [1, 3]
    assert most_varied(features, 9).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"cam\.units .* got 0"):
        ScoreCam(units=0)
