"""A network with layers of a method's own beside its head, which read the same features."""

from __future__ import annotations

from torch import Tensor, nn

from cam_lightning.backbone.network import TrunkNetwork
from cam_lightning.contracts import ClassifierOutput
from cam_lightning.method.trunk_layer import layer_shapes, require_trunk


class BesideHead(TrunkNetwork):
    """A network whose trunk's features its own head reads, now `classifier`, and layers that a subclass adds.

    A subclass makes its layers of `units` channels, then calls `keep_head` with their names, and says `head` and
    `maps`. Raises ValueError, with the method's name, for a network without a trunk.
    """

    classifier: TrunkNetwork

    def __init__(self, network: TrunkNetwork, method: str) -> None:
        require_trunk(network, method)
        super().__init__(network.trunk, network.normalization, network.min_size, network.published)
        self.units = layer_shapes(network.trunk, network.min_size, [""])[""][0]
        self.heads = tuple(f"classifier.{head}" for head in network.heads)

    def keep_head(self, network: TrunkNetwork, *added: str) -> None:
        """Takes the network's head in, behind the layers that were `added`: parameters keep the order they had."""
        if network.is_loaded:
            kept = (layer if layer.startswith("trunk.") else f"classifier.{layer}" for layer in network.new_layers)
            self.new_layers = (*kept, *added)
            self.is_loaded = True
        self.classifier = network
        self.classifier.trunk = nn.Identity()

    def own_output(self, features_BKhw: Tensor) -> ClassifierOutput:
        """What the network's own head makes of the trunk's features."""
        return self.classifier.head(self.classifier.features(features_BKhw))
