"""Batches for tests of methods: images, labels, and no box, since a method sees none."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.contracts import Batch, GroundTruth


def batch_of(image_B3HW: Tensor, labels: list[int]) -> Batch:
    B, _, H, W = image_B3HW.shape
    size_B2 = torch.tensor([[H, W]]).expand(B, 2)
    truth = GroundTruth(torch.tensor(labels), torch.zeros(B, 0, 4), torch.zeros(B, dtype=torch.int64), size_B2)
    return Batch(image_B3HW, truth, torch.arange(B))


def waves(shape: tuple[int, ...], pace: float, start: float, height: float = 1.0) -> Tensor:
    """Numbers that any code can make again: `height` · sin(`pace` · i + `start`), in doubles, then float32."""
    count = torch.Size(shape).numel()
    return (height * torch.sin(torch.arange(count).double() * pace + start)).view(shape).float()
