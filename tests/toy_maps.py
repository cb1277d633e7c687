"""Images, a small network's output and maps, and boxes: what an evaluator is asked of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from cam_lightning.backbone.network import IMAGENET, GapNetwork, PublishedWeights
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import ClassifierOutput, GroundTruth, LabelBox, Localization, Proposals

B, H, W, C = 7, 9, 14, 4


def small_network() -> GapNetwork:
    """Dropout is in it, which only training mode shows."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(inplace=True))
    network = GapNetwork(
        trunk, nn.Linear(8, C), normalization=IMAGENET, min_size=3, published=PublishedWeights({}), dropout=0.5
    )
    nn.init.normal_(network.classifier.weight, std=3.0)
    return network.eval()


class Case:
    """Images, what the network says of them, and their maps; any of them can be a batch."""

    def __init__(self, network: GapNetwork) -> None:
        self.network = network
        self.image_B3HW = torch.randn(B, 3, H, W, generator=torch.Generator().manual_seed(1))
        self.label_B = torch.tensor([0, 1, 2, 3, 0, 1, 2])
        with torch.no_grad():
            self.output = network(self.image_B3HW)
            self.classes_BT = self.output.logits_BC.argsort(1, descending=True)
            wanted = torch.cat([self.classes_BT, self.label_B[:, None]], 1)
            maps = ClassActivationMap()(network, self.image_B3HW, self.output, wanted)
        corners = torch.tensor([[0, 0, 12, 9], [5, 4, 30, 20], [0, 0, 0, 0], [2, 0, 28, 20]])
        self.boxes_BN4 = corners[torch.arange(B) % 4][:, None].float()
        self.num_boxes_B = (self.boxes_BN4[:, 0, 2] > 0).long()
        # With many equal values, as a rectified map has them, and one that says nothing.
        maps = (maps * 2).round()
        maps[3] = 0.3
        self.map_BThw, self.label_map_Bhw = maps[:, :C], maps[:, C]

    def update(self, evaluator: Any, rows: Sequence[int]) -> None:
        index_B = torch.tensor(rows, dtype=torch.int64)
        n = len(rows)
        unknown = torch.zeros(n, C, dtype=torch.bool)
        localization = Localization(
            index_B=index_B,
            classes_BT=self.classes_BT[index_B],
            probability_BT=self.output.logits_BC[index_B].softmax(1),
            map_BThw=self.map_BThw[index_B],
            proposals=Proposals(torch.zeros(n, C, 4), tuple(range(C)), unknown),
            label=LabelBox(self.label_map_Bhw[index_B], torch.zeros(n, 4), unknown[:, 0]),
        )
        truth = GroundTruth(
            self.label_B[index_B],
            self.boxes_BN4[index_B],
            self.num_boxes_B[index_B],
            torch.tensor([[20, 30]] * n).reshape(n, 2),
        )
        output = ClassifierOutput(self.output.logits_BC[index_B], self.output.features_BKhw[index_B])
        with torch.inference_mode():
            evaluator.update(self.network, self.image_B3HW[index_B], output, localization, truth)
