"""The smallest network that keeps the contract: a trunk, average pooling, a linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from cam_lightning.contracts import ClassifierOutput, Normalization


class ToyGap(nn.Module):
    """`has_map=False` makes one without a class activation map."""

    normalization = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    has_map = True

    def __init__(self, trunk: nn.Module, units: int, num_classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.classifier = nn.Linear(units, num_classes)

    @property
    def num_classes(self) -> int:
        return self.classifier.out_features

    def forward(self, x_B3HW: Tensor) -> ClassifierOutput:
        return self.forward_head(self.forward_features(x_B3HW))

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        return self.trunk(x_B3HW)

    def forward_head(self, features_BKhw: Tensor) -> ClassifierOutput:
        return ClassifierOutput(self.classifier(features_BKhw.float().mean((2, 3))), features_BKhw.float())

    def class_maps(self, output: ClassifierOutput, classes_BT: Tensor) -> Tensor | None:
        if not self.has_map:
            return None
        weight_BTK = self.classifier.weight.detach()[classes_BT]
        return (weight_BTK @ output.features_BKhw.detach().flatten(2)).unflatten(2, output.features_BKhw.shape[2:])

    def select_classes(self, indices: list[int]) -> ToyGap:
        raise NotImplementedError
