"""What counts as a correct localization, per image; the counters over a dataset are in `metric/`."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.contracts import GroundTruth, Localization
from cam_lightning.functional.overlap import best_overlap


def top_k_hits(localization: Localization, truth: GroundTruth, k: int, iou_BP: Tensor, iou_threshold: float) -> Tensor:
    """Whether one of the first k guesses is right: bool (B,).

    A guess is a proposal with the class of its map; it is right when that class is the label and its IoU
    with the best ground-truth box, `iou_BP`, is at least `iou_threshold`. ILSVRC's measure, where the
    guesses are one box for each of the five best classes.
    """
    class_BP = localization.classes_BT[:, torch.tensor(localization.proposals.rank_P)]
    right_BP = (class_BP == truth.label_B[:, None]) & (iou_BP >= iou_threshold)
    return right_BP[:, :k].any(1)


def gt_known_hits(localization: Localization, truth: GroundTruth, iou_threshold: float) -> Tensor:
    """Whether the box from the true class's map overlaps, whatever was predicted: bool (B,)."""
    iou_B1 = best_overlap(localization.label_box_B4[:, None], truth.boxes_BN4, truth.num_boxes_B)
    return iou_B1[:, 0] >= iou_threshold


def largest_share(truth: GroundTruth) -> Tensor:
    """The share of its image that each image's largest ground-truth box covers: float64 (B,); 0 without a box."""
    boxes_BN4 = truth.boxes_BN4.double()
    if boxes_BN4.shape[1] == 0:
        return boxes_BN4.new_zeros(len(boxes_BN4))
    # Rows that are padding are zero, so their area is.
    area_BN = (boxes_BN4[..., 2:] - boxes_BN4[..., :2]).prod(-1)
    return area_BN.amax(1) / truth.size_B2.double().prod(1)
