"""Maps from a named layer of tokens, without a reshape: on the trunk's own grid, against plain loops."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.backbone.timm_gap import timm_gap
from cam_lightning.cam.ablation_cam import AblationCam
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.cam.hires_cam import HiResCam
from cam_lightning.cam.layer_cam import LayerCam

pytest.importorskip("timm")
CLASSES = torch.tensor([[0, 2], [1, 1]])
SWIN = {"trunk": "swin_tiny_patch4_window7_224", "size": (64, 96), "layer": "trunk.model.layers.1", "cells": (8, 12)}
VIT = {"trunk": "test_vit", "size": (32, 48), "layer": "trunk.model.blocks.3", "cells": (2, 3)}


@cache
def built(trunk: str) -> TrunkNetwork:
    torch.manual_seed(0)
    return timm_gap(3, trunk).eval()


def image(size: tuple[int, int]) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def made(cam: Any, case: dict[str, Any]) -> Tensor:
    with torch.inference_mode():
        network = built(case["trunk"])
        return cam(network, image(case["size"]), network(image(case["size"])), CLASSES.clone())


def token_and_gradient(case: dict[str, Any], b: int, class_: int) -> list[list[tuple[Tensor, Tensor]]]:
    """What the layer gives in every cell of an image, and its gradient by the logit, row by row."""
    network, kept = built(case["trunk"]), []
    handle = network.get_submodule(case["layer"]).register_forward_hook(
        lambda module, inputs, output: kept.append(output) or output.retain_grad()
    )
    try:
        network(image(case["size"])).logits_BC[b, class_].backward()
    finally:
        handle.remove()
        network.zero_grad()
    value, gradient = kept[0].detach()[b], kept[0].grad[b]
    h, w = case["cells"]
    if value.ndim == 3:  # (h, w, D)
        return [[(value[y, x], gradient[y, x]) for x in range(w)] for y in range(h)]
    return [[(value[1 + y * w + x], gradient[1 + y * w + x]) for x in range(w)] for y in range(h)]


@pytest.mark.parametrize("case", [VIT, SWIN], ids=["class token, then a row of patches", "rows and columns"])
def test_a_layer_of_tokens_gives_a_map_in_its_place(case: dict[str, Any]) -> None:
    """The class token is left out of the mean of the gradients too."""
    cells = token_and_gradient(case, b=1, class_=1)
    flat = [cell for row in cells for cell in row]
    alpha = sum(gradient for _, gradient in flat) / len(flat)
    expected = {
        GradCam: [[float(alpha @ value) for value, _ in row] for row in cells],
        HiResCam: [[float(gradient @ value) for value, gradient in row] for row in cells],
        LayerCam: [[float(gradient.relu() @ value) for value, gradient in row] for row in cells],
    }
    for cam, rows in expected.items():
        found = made(cam(case["layer"]), case)
        assert found.shape == (2, 2, *case["cells"])
        limit = 1e-4 * float(found.abs().max())
        torch.testing.assert_close(found[1, 0], torch.tensor(rows), rtol=1e-3, atol=limit)


@torch.no_grad()
def test_ablation_takes_a_unit_from_the_patches_and_leaves_the_class_token() -> None:
    network = built(VIT["trunk"])
    found = made(AblationCam(VIT["layer"]), VIT)
    logit = float(network(image(VIT["size"])).logits_BC[0, 2])
    kept: list[Tensor] = []
    expected = torch.zeros(2, 3)
    for unit in range(64):

        def ablate(module: Any, inputs: Any, output: Tensor, unit: int = unit) -> Tensor:
            kept.append(output)
            output = output.clone()
            output[:, 1:, unit] = 0
            return output

        handle = network.get_submodule(VIT["layer"]).register_forward_hook(ablate)
        without = float(network(image(VIT["size"])).logits_BC[0, 2])
        handle.remove()
        expected += (logit - without) / abs(logit) * kept[0][0, 1:, unit].view(2, 3)
    torch.testing.assert_close(found[0, 1], expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            "trunk.model.blocks.3.attn.q_norm",
            r"gives no map \(B, K, h, w\) on the grid of 2×3 tokens, but \(1, 2, 7, 32\)",
        ),
        ("trunk.model.blocks.33", "the network has no layer trunk.model.blocks.33"),
    ],
)
def test_what_lies_otherwise_is_said_before_any_image(layer: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GradCam(layer).check(built("test_vit"), (32, 48))


def test_windows_are_no_map() -> None:
    with pytest.raises(ValueError, match="gives no map"):
        GradCam("trunk.model.layers.0.blocks.0.attn").check(built(SWIN["trunk"]), (224, 224))


def test_swins_coarsest_layers_are_found() -> None:
    """Its maps lie as (B, h, w, D)."""
    found = made(LayerCam(3), SWIN)
    assert found.shape == (2, 2, 8, 12)
    with pytest.raises(ValueError, match="this network has 1 of"):
        LayerCam(2).check(built("test_vit"), (32, 48))
