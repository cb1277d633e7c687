"""Any map at several sizes: each size's map is the map's own, and nothing of the network changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_maps import small_network

from cam_lightning.backbone.network import GapNetwork
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.cam.grad_cam import GradCam
from cam_lightning.cam.multi_scale import MultiScaleMap
from cam_lightning.contracts import ActivationMap


@pytest.fixture(scope="module")
def network() -> GapNetwork:
    return small_network()


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(3, 3, 14, 20, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("of", [ClassActivationMap(), GradCam()], ids=lambda of: type(of).__name__)
@pytest.mark.parametrize("flip", [False, True])
def test_it_equals_a_plain_loop_over_sizes(network: GapNetwork, x: torch.Tensor, of: ActivationMap, flip: bool) -> None:
    classes = torch.tensor([[0, 3], [1, 1], [2, 0]])
    with torch.inference_mode():
        found = MultiScaleMap(of, (0.75, 1, 2), "mean", flip)(network, x, network(x), classes)
    maps = []
    for size in ((10, 15), (14, 20), (28, 40)):
        resized = torch.nn.functional.interpolate(x, size, mode="bilinear", antialias=size[0] < 14)
        with torch.no_grad():
            one = of(network, resized, network(resized), classes)
            other = of(network, resized.flip(3), network(resized.flip(3)), classes).flip(3)
        maps.append((one + other) / 2 if flip else one)
    h, w = maps[-1].shape[2:]
    expected = sum(torch.nn.functional.interpolate(each, (h, w), mode="bilinear") for each in maps) / 3
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_one_scale_is_the_map_itself(network: GapNetwork, x: torch.Tensor) -> None:
    classes = torch.tensor([[0], [1], [2]])
    with torch.no_grad():
        output = network(x)
    own = ClassActivationMap()(network, x, output, classes)
    assert MultiScaleMap(ClassActivationMap(), [1], "mean")(network, x, output, classes).equal(own)
    shares = own / own.amax((2, 3), keepdim=True)
    torch.testing.assert_close(MultiScaleMap(ClassActivationMap(), [1], "extent")(network, x, output, classes), shares)


def test_modes_are_left_as_they_were(network: GapNetwork, x: torch.Tensor) -> None:
    other = small_network().train()
    other.classifier.eval()
    modes = [module.training for module in other.modules()]
    with torch.no_grad():
        output = network(x)
    found = MultiScaleMap(ClassActivationMap(), [1, 2])(other, x, output, torch.zeros(3, 1, dtype=torch.int64))
    assert found.isfinite().all()
    assert [module.training for module in other.modules()] == modes


def test_it_says_its_rule_and_its_unit(network: GapNetwork) -> None:
    told = MultiScaleMap(GradCam(), merge="mean", flip=True).protocol()
    assert told.items() >= {"of": "GradCam", "scales": [1.0, 1.4286, 2.0], "merge": "mean", "flip": True}.items()
    assert {f"of/{key}" for key in GradCam().protocol()} <= set(told)
    assert MultiScaleMap(ClassActivationMap(), merge="mean").unit(network).startswith("logit per cell")
    assert MultiScaleMap(GradCam(), merge="extent").unit(network) == "share of the maximum"
    assert MultiScaleMap(GradCam()).unit(small_network()) == getattr(GradCam(), "unit", lambda network: "")(network)


def test_too_small_an_input_is_said_before_any_image(network: GapNetwork) -> None:
    MultiScaleMap(ClassActivationMap(), [1, 2]).check(network, (14, 20))
    with pytest.raises(ValueError, match="too small for this network"):
        MultiScaleMap(ClassActivationMap(), [0.1, 1]).check(network, (14, 20))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scales": []}, "rise from above 0"),
        ({"scales": [0, 1]}, "rise from above 0"),
        ({"scales": [1, 2, 2]}, "rise from above 0"),
        ({"merge": "best"}, "cam.merge is one of mean, max, extent"),
    ],
)
def test_options_that_there_are_not_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        MultiScaleMap(ClassActivationMap(), **options)
