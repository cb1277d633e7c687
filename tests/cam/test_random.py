"""The control: another map for every image, class and seed, and the same one every time."""

from __future__ import annotations

import torch

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.cam.random import RandomMap


def test_it_depends_on_image_class_and_seed_alone() -> None:
    torch.manual_seed(0)
    network = googlenet_gap(7, width=0.125, batch_norm=True).eval()
    images = torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        output = network(images)
        maps = RandomMap()(network, images, output, torch.tensor([[0, 6], [0, 6]]))
        torch.manual_seed(5)
        again = RandomMap()(network, images, output, torch.tensor([[6, 0], [6, 0]]))
        other = RandomMap(seed=1)(network, images, output, torch.tensor([[0, 6], [0, 6]]))
    assert torch.equal(again, maps.flip(1))
    assert not torch.allclose(maps[0], maps[1])
    assert not torch.allclose(maps[:, 0], maps[:, 1])
    assert not torch.allclose(maps, other)


def test_it_is_a_sum_of_units_with_uniform_weights() -> None:
    weights = RandomMap()._weights(12345, 3, 20000)
    assert -1 <= float(weights.min()) < -0.99
    assert 0.99 < float(weights.max()) < 1
    assert abs(float(weights.mean())) < 0.02


def test_every_image_class_and_seed_has_weights_of_its_own() -> None:
    # Numbers that differ in a high bit alone, as those of images do: a generator that drops these repeats itself.
    images = [1 << bit for bit in range(32)]
    drawn = {tuple(RandomMap()._weights(image, class_, 4).tolist()) for image in images for class_ in range(20)}
    drawn |= {tuple(RandomMap(seed=256 * n)._weights(images[0], 0, 4).tolist()) for n in range(1, 4)}
    assert len(drawn) == 32 * 20 + 3
