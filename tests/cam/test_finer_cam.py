"""Finer-CAM: a difference of CAMs where the head is average pooling and a linear layer."""

from __future__ import annotations

import pytest
import torch

from cam_lightning.backbone.googlenet_gap import googlenet_gap
from cam_lightning.cam.backprop import Backprop
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.eigen_cam import EigenCam
from cam_lightning.cam.finer_cam import FinerCam
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.cam.layer_cam import LayerCam
from cam_lightning.cam.refine_cam import RefineCam
from cam_lightning.functional.finer_cam import class_differences


@pytest.mark.parametrize(("references", "strength"), [(3, 0.6), (1, 1.0), (50, 0.25)])
def test_it_is_the_difference_of_the_cams(references: int, strength: float) -> None:
    torch.manual_seed(0)
    network = googlenet_gap(7, width=0.125, batch_norm=True).eval()
    images = torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([[0, 6, 3], [2, 2, 5]])
    with torch.inference_mode():
        output = network(images)
        maps = FinerCam(GradCam(), references, strength)(network, images, output, classes)
        every = ClassActivationMap()(network, images, output, torch.arange(7).expand(2, 7))
    h, w = every.shape[2:]
    for b, row in enumerate(classes.tolist()):
        logits = output.logits_BC[b].tolist()
        for t, c in enumerate(row):
            nearest = sorted((d for d in range(7) if d != c), key=lambda d: abs(logits[d] - logits[c]))[:references]
            expected = every[b, c] - strength * sum(every[b, d] for d in nearest) / len(nearest)
            torch.testing.assert_close(maps[b, t] * (h * w), expected, rtol=1e-4, atol=1e-5)


def test_of_equally_near_classes_the_lower_is_taken_and_never_itself() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0]])
    # 2 has 3 on its own logit, then 0 and 1 equally near.
    found = class_differences(logits, torch.tensor([[2]]), references=2, strength=1.0)
    assert found.tolist() == [[2.0 - (2.0 + 1.0) / 2]]


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(ValueError, match="this network has one"):
        class_differences(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.int64), 3, 0.6)
    with pytest.raises(ValueError, match=r"cam\.of is a map from the gradients of layers.*Backprop"):
        FinerCam(Backprop())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"cam\.of is a map from the gradients of layers.*EigenCam"):
        FinerCam(EigenCam())
    with pytest.raises(ValueError, match=r"cam\.of is a map from layers.*Backprop"):
        RefineCam(Backprop())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"cam\.references .* got 0"):
        FinerCam(GradCam(), references=0)


def test_the_protocol_names_what_is_within() -> None:
    assert FinerCam(GradCam("trunk.conv1")).protocol() == {
        "of": "GradCam",
        "of/layer": "trunk.conv1",
        "of/rectify": False,
        "references": 3,
        "strength": 0.6,
    }
    assert RefineCam(EigenCam("trunk.conv1"), 2).protocol() == {
        "of": "EigenCam",
        "of/centre": False,
        "layers": "the last of the 2 coarsest map sizes",
    }
    # Layers that have no say are not told.
    for of in (FinerCam(GradCam("trunk.conv1")), LayerCam(layers=["trunk.conv1"])):
        told = RefineCam(of, 2).protocol()
        assert [value for key, value in told.items() if "layer" in key] == ["the last of the 2 coarsest map sizes"]
