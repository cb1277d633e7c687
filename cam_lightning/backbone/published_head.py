"""A trunk with the head that it was published with, whatever lies between its features and its linear layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from cam_lightning.backbone.network import Normalization, PublishedWeights, TrunkNetwork


class PublishedHead(TrunkNetwork):
    """A trunk whose `pooled` gives what one linear layer reads: a class token, an average that is normalised, …

    It classifies as published, and has no class activation map: nothing says how much of a logit a cell is. Where the
    features are one cell, `map_layer` names the layer whose map stands in for them in maps from gradients, and is empty
    where no such layer is known.
    """

    heads = ("classifier",)

    def __init__(
        self,
        trunk: nn.Module,
        classifier: nn.Linear,
        *,
        normalization: Normalization,
        min_size: int,
        published: PublishedWeights,
        map_layer: str | None = None,
    ) -> None:
        super().__init__(trunk, normalization, min_size, published)
        self.classifier = classifier
        self.map_layer = map_layer

    def logits(self, features_BKhw: Tensor) -> Tensor:
        trunk: Any = self.trunk
        return self.classifier(trunk.pooled(features_BKhw))

    def maps(self, output: Any, classes_BT: Tensor) -> None:
        """None: a logit is no mean over cells."""
