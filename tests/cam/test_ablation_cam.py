"""Ablation-CAM: the closed form of an average-pooled head, and a plain loop anywhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toy_network import ToyGap

from cam_lightning.backbone.alexnet import alexnet
from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.cam.ablation_cam import AblationCam
from cam_lightning.functional.ablation_cam import ablation_cam

CLASSES = torch.tensor([[0, 6, 3], [2, 2, 5]])


def images(height: int, width: int) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_of_an_average_pooled_head_a_unit_takes_its_mean_with_it() -> None:
    """w_k = row_k · mean(A_k) / |score|."""
    torch.manual_seed(0)
    network = googlenet_gap(7, width=0.125, batch_norm=True).eval()
    with torch.inference_mode():
        output = network(images(48, 80))
        maps = AblationCam(batch_size=50)(network, images(48, 80), output, CLASSES)
        rows = network.classifier.weight[CLASSES]
        weight = rows * output.features_BKhw.mean((2, 3))[:, None]
        weight = weight / output.logits_BC.gather(1, CLASSES).abs()[..., None]
        expected = torch.einsum("btk,bkhw->bthw", weight, output.features_BKhw)
    torch.testing.assert_close(maps, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("layer", [None, "trunk.3"])
def test_it_equals_a_loop_over_units(layer: str | None) -> None:
    """`trunk.3` is a convolution in the middle; None: what the fully connected layers read."""
    torch.manual_seed(0)
    network = alexnet(7).eval()
    image = images(70, 100)[:1]
    kept: list[Tensor] = []
    handle = network.get_submodule(layer or "trunk").register_forward_hook(lambda *each: kept.append(each[2].clone()))
    with torch.no_grad():
        output = network(image)
    handle.remove()
    units = (0, 7, 100)

    def without(k: int) -> Tensor:
        def hook(module: object, given: object, gave: Tensor) -> Tensor:
            changed = gave.clone()
            changed[:, k] = 0
            return changed

        handle = network.get_submodule(layer or "trunk").register_forward_hook(hook)
        with torch.no_grad():
            logits = network(image).logits_BC[0]
        handle.remove()
        return logits

    with torch.inference_mode():
        found = AblationCam(layer)
        scores = found._scores(network, image[0], kept[0])
        torch.testing.assert_close(scores, output.logits_BC, rtol=1e-4, atol=1e-6)
        ablated = kept[0].repeat(len(units), 1, 1, 1)
        for row, k in enumerate(units):
            ablated[row, k] = 0
        scores = found._scores(network, image[0], ablated)
    for row, k in enumerate(units):
        torch.testing.assert_close(scores[row], without(k), rtol=1e-4, atol=1e-6)
        assert not torch.equal(scores[row], output.logits_BC[0])


@pytest.mark.slow
def test_a_compiled_network_is_asked_without_the_unit_too() -> None:
    """A compiled forward has no eye for hooks that came after it: every unit would seem to say nothing."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU())
    network = ToyGap(trunk, 5, 7).eval()
    given = images(6, 9).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = AblationCam("trunk.0")(network, given, network(given), CLASSES)
        network.compile(backend="eager")
        for count in (1, 2, 4):  # as evaluation does: compiled for its batches before any map is made
            output = network(given.repeat(2, 1, 1, 1)[:count])
        maps = AblationCam("trunk.0")(network, given, network(given), CLASSES)
    assert output.logits_BC.shape == (4, 7)
    assert float(expected.abs().max()) > 0.01
    torch.testing.assert_close(maps, expected)


def test_a_negative_score_does_not_turn_the_map_around() -> None:
    features = torch.rand(1, 3, 2, 4)
    lost = torch.tensor([[[0.5, -0.2, 0.1]]])
    maps = [ablation_cam(features, torch.tensor([[score]]), score - lost) for score in (2.0, -2.0, 0.0)]
    expected = sum(float(w) * unit for w, unit in zip(lost[0, 0], features[0], strict=True))
    torch.testing.assert_close(maps[0][0, 0], expected / 2)
    torch.testing.assert_close(maps[1][0, 0], expected / 2)
    torch.testing.assert_close(maps[2][0, 0], expected)
