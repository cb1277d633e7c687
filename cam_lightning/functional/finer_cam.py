"""Finer-CAM: what tells a class from those that the network takes for most like it."""

from __future__ import annotations

import torch
from torch import Tensor


def class_differences(logits_BC: Tensor, classes_BT: Tensor, references: int, strength: float) -> Tensor:
    """For each wanted class its logit less `strength` times the mean logit of its references, (B, T).

    References are the `references` other classes whose logits are nearest to its own (the lower class where two are
    equally near), or all others where there are fewer. Zhang et al. 2025: y_c − γ y_d, averaged over the references.
    grad-cam 1.5 weighs them by their softmax, through which it differentiates too. Raises ValueError for one class.
    """
    C = logits_BC.shape[1]
    if C < 2:
        raise ValueError("finer_cam compares a class with others, and this network has one")
    logit_BT = logits_BC.gather(1, classes_BT)
    distance_BTC = (logits_BC.detach()[:, None] - logit_BT.detach()[..., None]).abs()
    distance_BTC = distance_BTC.scatter(2, classes_BT[..., None], torch.inf)
    nearest_BTR = distance_BTC.sort(dim=2, stable=True).indices[..., : min(references, C - 1)]
    reference_BTR = logits_BC.gather(1, nearest_BTR.flatten(1)).unflatten(1, nearest_BTR.shape[1:])
    return logit_BT - strength * reference_BTR.mean(2)
