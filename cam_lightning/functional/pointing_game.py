"""The pointing game: does a map's highest point lie on the object?"""

from __future__ import annotations

import torch
from torch import Tensor


def pointing_shares(map_Bhw: Tensor, size_B2: Tensor, boxes_BN4: Tensor, num_B: Tensor, tolerance: float) -> Tensor:
    """The share (B,), float64, of each map's highest cells that point at one of its boxes: 0 or 1 unless some tie.

    A cell points at its centre, in the pixels of a photo of height and width `size_B2`: there, and at no other place of
    the row and column, is the maximum of the map that is upsampled bilinearly. It is on a box, edges included, or at
    most `tolerance` pixels beside it. What a point drawn among equal cells can hope for is counted, so a constant map
    has the chance of a random point. 0 for a map that is not finite.
    """
    shares = []
    for map_hw, size_2, boxes_N4, num in zip(map_Bhw, size_B2, boxes_BN4, num_B.tolist(), strict=True):
        if not map_hw.isfinite().all():
            shares.append(torch.zeros((), dtype=torch.float64))
            continue
        cell_P2 = (map_hw == map_hw.max()).nonzero()
        point_P2 = (cell_P2 + 0.5) * size_2 / torch.tensor(map_hw.shape)  # y, x
        shares.append(points_at(point_P2.double(), boxes_N4[:num], tolerance).double().mean())
    return torch.stack(shares) if shares else torch.zeros(0, dtype=torch.float64)


def points_at(point_P2: Tensor, boxes_N4: Tensor, tolerance: float) -> Tensor:
    """Whether each point (y, x) is at most `tolerance` from one of some boxes, bool (P,)."""
    y_P1, x_P1 = point_P2[:, :1], point_P2[:, 1:]
    x0_N, y0_N, x1_N, y1_N = boxes_N4.double().unbind(1)
    beside_x_PN = torch.maximum(x0_N - x_P1, x_P1 - x1_N).clamp(min=0)
    beside_y_PN = torch.maximum(y0_N - y_P1, y_P1 - y1_N).clamp(min=0)
    return (torch.hypot(beside_x_PN, beside_y_PN) <= tolerance).any(1)
