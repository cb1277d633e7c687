"""TS-CAM: a convolution makes one map per class of a transformer's patch tokens; what is trained is their mean."""

from __future__ import annotations

from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.contracts import ClassifierOutput
from cam_lightning.method.trunk_layer import layer_shapes, require_trunk


class TokenSemanticHead(TrunkNetwork):
    """A network whose head is replaced by a 3×3 convolution of its features, with one map per class.

    A class's score is the mean of its map, which `cam=ts_cam` multiplies by the class token's attention. The
    convolution starts as torch starts it, as released. Gao et al. 2021 (ICCV), section 3.2; vasgaowei/TS-CAM,
    lib/models/deit.py. It takes any trunk; the attention is a transformer's. Raises
    ValueError for a network without a trunk, and for one whose features are a single cell, as of a class token.
    """

    map_unit = "logit per cell (mean over the cells = logit)"
    heads = ("semantic",)

    def __init__(self, network: TrunkNetwork) -> None:
        require_trunk(network, "ts_cam")
        if hasattr(network, "map_layer"):
            raise ValueError("method=ts_cam replaces the head, and reads a map of patches: use backbone.head=mean")
        super().__init__(network.trunk, network.normalization, network.min_size, network.published)
        K = layer_shapes(network.trunk, network.min_size, [""])[""][0]
        self.semantic = nn.Conv2d(K, network.num_classes, 3, padding=1)
        if network.is_loaded:
            self.new_layers = (*(layer for layer in network.new_layers if layer.startswith("trunk.")), "semantic")
            self.is_loaded = True

    def head(self, features_BKhw: Tensor) -> ClassifierOutput:
        map_BChw = self.semantic(features_BKhw)
        return ClassifierOutput(map_BChw.mean((2, 3)), features_BKhw, {"map_BChw": map_BChw})

    def maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        """The semantic maps of the wanted classes."""
        map_BChw = output.more["map_BChw"].detach()
        h, w = map_BChw.shape[2:]
        return map_BChw.gather(1, classes_BT[:, :, None, None].expand(-1, -1, h, w))
