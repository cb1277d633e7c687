"""Receptive fields against what gradients say, pixel by pixel, and against arithmetic by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from cam_lightning.build import choice, instantiate
from cam_lightning.functional.receptive_field import receptive_fields

SIZE = (72, 104)


class Averaged(nn.Module):
    """Averages the windows that a max pooling takes the maximum of: what it can depend on, it does depend on."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)

    def forward(self, x_BKHW: Tensor) -> Tensor:
        return self.pool(x_BKHW)


def open_everywhere(network: Any) -> Any:
    """A copy in float64 in which no path is closed: weights and biases are positive, and maxima are means."""
    twin = copy.deepcopy(network).double().eval()
    for name, module in list(twin.named_modules()):
        if isinstance(module, nn.MaxPool2d):
            parent = twin.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], Averaged(module))
    for parameter in twin.parameters():
        parameter.data = parameter.data.abs() + 1e-3
    return twin


def by_gradient(network: Any, unit: int, row: int, column: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    image_13HW = torch.rand(1, 3, *size, dtype=torch.float64, requires_grad=True)
    open_everywhere(network).trunk(image_13HW)[0, unit, row, column].backward()
    assert image_13HW.grad is not None
    rows, columns = ((image_13HW.grad[0] != 0).any(0).any(axis).nonzero().flatten() for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


NETWORKS = {
    "alexnet_gap": {},
    "googlenet_gap": {"variant": "caffe"},
    "resnet50_gap": {},
    "inception_v3_gap": {},
    "squeezenet_gap": {},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_fields_are_what_gradients_reach(name: str) -> None:
    torch.manual_seed(0)
    network = instantiate(choice("backbone", name), num_classes=3, weights="none", **NETWORKS[name]).eval()
    # In front of the deepest layers fields are still smaller than the image, and branches differ.
    layers = [layer for layer, _ in network.trunk.named_children()]
    network.trunk = nn.Sequential(*list(network.trunk.children())[: max(2, len(layers) * 2 // 3)])
    with torch.no_grad():
        _, num_units, h, w = network.trunk(torch.zeros(1, 3, *SIZE)).shape
    units = torch.tensor([0, num_units // 2, num_units - 1])
    fields = receptive_fields(network.trunk, SIZE, units)
    assert fields.rows_Kh2.shape == (3, h, 2)
    assert fields.columns_Kw2.shape == (3, w, 2)
    for place, unit in enumerate(units.tolist()):
        for row, column in ((0, 0), (h // 2, w // 2), (h - 1, w - 1)):
            assert fields.box(place, row, column) == by_gradient(network, unit, row, column, SIZE)


def test_a_timm_trunk_that_looks_everywhere_sees_the_whole_image() -> None:
    trunk = timm.create_model("mobilenetv3_small_050", features_only=True, out_indices=[-1]).eval()
    fields = receptive_fields(lambda x: trunk(x)[0], (64, 96), torch.tensor([0, 1]))
    assert (fields.rows_Kh2 == torch.tensor([0, 64])).all()  # squeeze-and-excitation
    assert (fields.columns_Kw2 == torch.tensor([0, 96])).all()


def test_by_hand() -> None:
    """A 3×3 convolution of stride 2 and padding 1, then 2×2 pooling of stride 1: 5 pixels from 2y − 1 on."""
    trunk = nn.Sequential(nn.Conv2d(3, 2, 3, stride=2, padding=1), nn.MaxPool2d(2, 1))
    fields = receptive_fields(trunk, (9, 13), torch.tensor([1]))
    assert fields.rows_Kh2.tolist() == [[[0, 4], [1, 6], [3, 8], [5, 9]]]
    assert fields.columns_Kw2[0, -1].tolist() == [9, 13]


def test_units_of_branches_have_fields_of_their_own_and_a_constant_none() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near, self.far = nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, (1, 5), padding=(0, 2))

        def forward(self, x_B3HW: Tensor) -> Tensor:
            return torch.cat([self.near(x_B3HW), self.far(x_B3HW), torch.ones_like(x_B3HW[:, :1])], 1)

    fields = receptive_fields(Branches(), (4, 8), torch.tensor([0, 1, 2]))
    assert fields.box(0, 2, 5) == (5, 2, 6, 3)
    assert fields.box(1, 2, 5) == (3, 2, 8, 3)
    assert fields.box(1, 2, 0) == (0, 2, 3, 3)
    assert fields.box(2, 2, 5) == (0, 0, 0, 0)
