"""Score-CAM: units weighed by the score of the image that each lets through; no gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cam_lightning.functional.cam import class_activation_map


def unit_masks(features_Khw: Tensor, size: tuple[int, int]) -> Tensor:
    """Each unit as a mask (K, 1, H, W) in 0..1: upsampled bilinearly, then by its own least and greatest value.

    A constant unit lets nothing through. Wang et al. 2020, equations 5 and 6. grad-cam 1.5 upsamples with aligned
    corners; torchcam 0.5 brings to 0..1 first.
    """
    mask_K1HW = F.interpolate(features_Khw[:, None], size, mode="bilinear")
    low, high = mask_K1HW.amin((2, 3), keepdim=True), mask_K1HW.amax((2, 3), keepdim=True)
    # A constant unit, upsampled, differs in its last bits; one of two cells may be constant on a small image.
    varies_K111 = varying(features_Khw)[:, None, None, None] & (high > low)
    return torch.where(varies_K111, (mask_K1HW - low) / (high - low), 0)


def varying(features_Khw: Tensor) -> Tensor:
    """Which units are not constant, bool (K)."""
    return features_Khw.flatten(1).amax(1) > features_Khw.flatten(1).amin(1)


def score_cam(features_BKhw: Tensor, score_BTK: Tensor) -> Tensor:
    """Maps (B, T, h, w): Σ_k α_k A_k with α the softmax over the units of their masked images' scores; raw.

    Wang et al. 2020, algorithm 1 and equation 3, without its ReLU: scores are logits, and the score of the baseline
    image, which is taken off each, cancels in the softmax. Their released code has the softmax over the classes in
    place of that over the units.
    """
    return class_activation_map(features_BKhw, score_BTK.softmax(2))


def most_varied(features_Khw: Tensor, count: int) -> Tensor:
    """The `count` units of the largest variance over the cells, in their own order; all where there are fewer."""
    variance_K = features_Khw.double().flatten(1).var(1, correction=0)
    return variance_K.sort(descending=True, stable=True).indices[:count].sort().values
