"""The class activation map of the paper: no hook, no second forward, one contraction."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.contracts import ClassifierOutput, Network, NoClassMapError
from cam_lightning.functional.network_input import blank_input, evaluation_mode


class ClassActivationMap:
    """The network's own maps (B, T, h, w), raw float32, from features already computed (`Network.class_maps`).

    For a pooled linear head these are its rows times the features: Zhou et al. 2016, section 2. `required=False` says
    that a network without such a map may go on, and classify only.
    """

    def __init__(self, required: bool = True) -> None:
        self.required = required

    def check(self, network: Network, input_size: tuple[int, int]) -> None:
        """Raises NoClassMapError, before any image is read, for a network that has no class activation map.

        And whatever the network raises for images of this height and width: it sees an empty one.
        """
        with torch.no_grad(), evaluation_mode(network):
            blank_13HW = blank_input(network, input_size)
            _own_maps(network, network(blank_13HW), torch.zeros(1, 1, dtype=torch.int64, device=blank_13HW.device))

    def unit(self, network: Network) -> str:
        """What a raw value is, in the network's own words; empty where it has none."""
        return getattr(network, "map_unit", "")

    def __call__(self, network: Network, image_B3HW: Tensor, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        return _own_maps(network, output, classes_BT)


def _own_maps(network: Network, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
    # In bfloat16 the cells that hold the maximum would tie.
    with torch.autocast(output.features_BKhw.device.type, enabled=False):
        map_BThw = network.class_maps(output, classes_BT)
    if map_BThw is None:
        raise NoClassMapError(
            f"{type(network).__name__} has no class activation map: it does not end in global pooling and one linear "
            "layer. Choose its `_gap` variant, or a map that needs none, such as cam=grad_cam."
        )
    return map_BThw.detach().float()
