"""The class activation map of the paper: no hook, no second forward, one contraction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cam_lightning.contracts import ClassifierOutput, Network
from cam_lightning.functional.cam import class_activation_map


class ClassActivationMap:
    """Maps (B, T, h, w), raw float32, from features already computed and the classifier's rows.

    Zhou et al. 2016, section 2. Where the classifier is the identity (NIN), a unit is a class and its
    activations, before their ReLU, are the map.
    """

    def check(self, network: Network, input_size: tuple[int, int]) -> None:
        """Raises ValueError, before any image is read, for a network that has no class activation map."""
        if not network.has_cam:
            raise ValueError(
                f"{type(network).__name__} has no class activation map: it does not end in global pooling "
                "and one linear layer. Choose its `_gap` variant."
            )

    def __call__(self, network: Network, image_B3HW: Tensor, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        features_BKhw = output.features_BKhw.detach().float()
        if isinstance(network.classifier, nn.Identity):
            _, _, h, w = features_BKhw.shape
            return features_BKhw.gather(1, classes_BT[:, :, None, None].expand(-1, -1, h, w))
        weight_CK = network.classifier.get_parameter("weight").detach().float()
        # The contraction would otherwise run in a surrounding autocast's precision.
        with torch.autocast(features_BKhw.device.type, enabled=False):
            return class_activation_map(features_BKhw, weight_CK[classes_BT])
