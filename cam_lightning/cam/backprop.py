"""The image's own gradient as a map: the paper's comparison in Table 2, for networks without a CAM too."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.cam.gradient_map import GradientMap
from cam_lightning.contracts import Network
from cam_lightning.functional.backprop import backprop
from cam_lightning.functional.differentiation import input_gradients


class Backprop(GradientMap):
    """Maps (B, T, H, W) at the input's resolution, float32: the largest |∂logit/∂image| over the colours.

    The image is the network's input, normalised, as in Simonyan et al. 2014, section 3.1, whose networks see pixels
    less their mean. Where a network divides each colour by a standard deviation of its own, the gradient by raw pixel
    is that much larger, up to 2 % apart between the colours; for all others one factor. Never negative.

    Costs a forward, and for every class a backward of one to two forwards. Raises ValueError for `batch_size` < 1.
    """

    def __init__(self, batch_size: int = 8) -> None:
        super().__init__(batch_size)

    def maps(self, network: Network, image_B3HW: Tensor, features_BKhw: Tensor, classes_BT: Tensor) -> Tensor:
        return backprop(input_gradients(network, image_B3HW, classes_BT))
