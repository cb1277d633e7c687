"""What can be wrong with a map and its box: evidence at the border, a pull to the centre, and the kind of error."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cam_lightning.functional.overlap import intersection_over_union

BORDER = 0.1
"""How much of each side counts as border: a frame of 36 % of the image."""
BORDER_AREA = 1 - (1 - 2 * BORDER) ** 2
INSIDE = 0.7
"""A box that has this share of its area within another one counts as inside of it."""
BESIDE = 0.3
"""Up to this share of its area a box counts as beside another one."""

KINDS = {
    "none": "class and box are right",
    "no region": "the map names no region, so that the box is the whole image",
    "part": "the box lies on a part of the object",
    "whole": "the box holds the whole object and much beside it",
    "shifted": "the box holds a piece of the object and a piece of what is beside it",
    "background": "the box lies beside the object, on background",
    "other object": "the network names something else, and looks elsewhere for it",
    "other name": "the network looks at the object, and names it otherwise",
    "class right": "the class is as expected; without a true box its place cannot be judged",
    "unknown": "neither what is expected nor a true box is known",
}
"""Every kind of error, and what it means."""


class Diagnosis(NamedTuple):
    """The kind of error, and what it was judged by: `true box`, or `maps` where none is known."""

    kind: str
    judged_by: str
    iou: float | None
    """With the best true box; None where none is known."""
    inside: float | None
    """The share of the predicted box that lies in what it is compared with."""


def border_share(map_hw: Tensor) -> float:
    """The share of a map's positive evidence in the frame of `BORDER` along the image's sides; 0 where there is none.

    An even map has `BORDER_AREA`. Cells that the frame cuts count with the share of them that lies in it.
    """
    positive_hw = map_hw.double().clamp(min=0)
    rows_h, columns_w = (_inner_share(cells) for cells in map_hw.shape)
    total = float(positive_hw.sum())
    return 1 - float((positive_hw * rows_h[:, None] * columns_w).sum()) / total if total > 0 else 0.0


def _inner_share(cells: int) -> Tensor:
    """How much of each cell's side lies within the frame."""
    edge = torch.arange(cells + 1, dtype=torch.float64) / cells
    inner = edge.clamp(BORDER, 1 - BORDER)
    return (inner[1:] - inner[:-1]) * cells


def centre_bias(map_hw: Tensor) -> float:
    """How much a map follows nearness to the image's centre alone: their correlation over the cells, −1 to 1.

    Nearness is the negative distance, with half of each side as one unit; 0 for a constant map.
    """
    y_h, x_w = ((torch.arange(n, dtype=torch.float64) + 0.5) / n * 2 - 1 for n in map_hw.shape)
    nearness_P = -torch.hypot(y_h[:, None], x_w[None]).flatten()
    value_P = map_hw.double().flatten()
    pair_2P = torch.stack([value_P, nearness_P])
    pair_2P = pair_2P - pair_2P.mean(1, keepdim=True)
    spread = float(pair_2P.square().sum(1).prod().sqrt())
    return float((pair_2P[0] * pair_2P[1]).sum()) / spread if spread > 1e-12 else 0.0


def diagnose(
    box_4: Tensor,
    has_region: bool,
    is_right: bool | None,
    true_N4: Tensor,
    expected_box_4: Tensor | None,
    iou_threshold: float = 0.5,
) -> Diagnosis:
    """The kind of error (`KINDS`) of the predicted class's box.

    `is_right`: whether the expected class was predicted; None: what is expected is not known. With true boxes the
    predicted box is compared with the one that it overlaps best; without, a wrong class's box with the box of the
    expected class's map, `expected_box_4`, while a right class cannot be judged (`class right`), nor can one that
    nothing is expected of (`unknown`). In this order: `no region`; a wrong class is `other name` where the box is a hit
    or lies in the other to more than `BESIDE`, else `other object`; of a right class (or one that nothing is expected
    of) `none` is a hit, `part` lies inside the true box (`INSIDE`), `whole` has the true box inside, `background` lies
    in it to at most `BESIDE`, and `shifted` is what remains.
    """
    judged_by = "true box" if len(true_N4) else "maps"
    iou = inside = None
    other_4 = None
    if len(true_N4):
        iou_N = intersection_over_union(box_4[None], true_N4)
        other_4 = true_N4[int(iou_N.argmax())]
        iou = float(iou_N.max())
    elif is_right is False:
        other_4 = expected_box_4
    if other_4 is not None:
        inside = _share_inside(box_4, other_4)
    if not has_region:
        return Diagnosis("no region", judged_by, iou, inside)
    if other_4 is None or inside is None:
        return Diagnosis("unknown" if is_right is None else "class right", judged_by, None, None)
    is_hit = iou is not None and iou >= iou_threshold
    if is_right is False:
        return Diagnosis("other name" if is_hit or inside > BESIDE else "other object", judged_by, iou, inside)
    if is_hit:
        kind = "none"
    elif inside >= INSIDE:
        kind = "part"
    elif _share_inside(other_4, box_4) >= INSIDE:
        kind = "whole"
    else:
        kind = "background" if inside <= BESIDE else "shifted"
    return Diagnosis(kind, judged_by, iou, inside)


def _share_inside(box_4: Tensor, other_4: Tensor) -> float:
    """The share of a box's area that lies in another box; 0 of an empty one."""
    side_2 = (torch.minimum(box_4[2:], other_4[2:]) - torch.maximum(box_4[:2], other_4[:2])).double().clamp(min=0)
    area = float((box_4[2:] - box_4[:2]).double().clamp(min=0).prod())
    return float(side_2.prod()) / area if area > 0 else 0.0
