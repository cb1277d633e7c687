"""Ten crops as a way to make maps: each crop's own map, put back where the crop was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.cam.ten_crop import TenCropMap
from cam_lightning.contracts import ClassifierOutput, Network
from cam_lightning.functional.imresize import imresize

SIZE, CROP = 80, 64


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return googlenet_gap(7, width=0.125, batch_norm=True).eval()


def maps(network: Network, merge: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    image = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([[3, 0], [6, 6]])
    with torch.inference_mode():
        output = ClassifierOutput(torch.zeros(2, 7), torch.zeros(0))
        return image, classes, TenCropMap(CROP, merge)(network, image, output, classes)


@pytest.mark.parametrize("merge", ["sum", "mean"])
def test_every_pixel_gathers_the_crops_that_show_it(network: Network, merge: str) -> None:
    image, classes, merged = maps(network, merge)
    assert merged.shape == (2, 2, SIZE, SIZE)
    assert merged.dtype == torch.float32
    end = SIZE - CROP
    places = [(0, 0), (end, 0), (0, end), (end, end), (end // 2, end // 2)]
    weight = network.classifier.get_parameter("weight").detach()
    oracle, coverage = np.zeros((2, 2, SIZE, SIZE)), np.zeros((SIZE, SIZE))
    for b in range(2):
        for mirrored in (False, True):
            for y, x in places:
                crop = image[b, :, y : y + CROP, x : x + CROP]
                with torch.inference_mode():
                    features = network((crop.flip(-1) if mirrored else crop)[None]).features_BKhw[0]
                for t, label in enumerate(classes[b].tolist()):
                    large = imresize(sum(weight[label, k] * features[k] for k in range(len(features))), (CROP, CROP))
                    large = (large.flip(-1) if mirrored else large).numpy()
                    oracle[b, t, y : y + CROP, x : x + CROP] += 3 * np.abs(large) if merge == "sum" else large
                coverage[y : y + CROP, x : x + CROP] += b == 0
    if merge == "mean":
        oracle /= coverage
    assert np.abs(merged.numpy() - oracle).max() < 1e-4 * np.abs(oracle).max()


def test_what_cannot_be_done_is_said(network: Network) -> None:
    with pytest.raises(ValueError, match="sum, mean; got 'max'"):
        TenCropMap(CROP, "max")
    output = ClassifierOutput(torch.zeros(1, 7), torch.zeros(0))
    with pytest.raises(ValueError, match="square"):
        TenCropMap(CROP)(network, torch.zeros(1, 3, SIZE, SIZE + 8), output, torch.zeros(1, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="does not fit"):
        TenCropMap(SIZE + 1)(network, torch.zeros(1, 3, SIZE, SIZE), output, torch.zeros(1, 1, dtype=torch.int64))


def test_a_network_without_maps_is_refused() -> None:
    from cam_lightning.backbone.alexnet import alexnet

    with pytest.raises(ValueError, match="no class activation map"):
        TenCropMap().check(alexnet(3), (256, 256))


@pytest.mark.parametrize("input_size", [(112, 112), (256, 300)])
def test_inputs_that_it_cannot_crop_are_refused_beforehand(input_size: tuple[int, int]) -> None:
    """Not after the first epoch of training, where the first validation would come upon them."""
    with pytest.raises(ValueError, match=r"cam\.crop_size=224.*dataset\.image_size=256"):
        TenCropMap().check(googlenet_gap(2, width=0.25), input_size)
    TenCropMap().check(googlenet_gap(2, width=0.25), (256, 256))
