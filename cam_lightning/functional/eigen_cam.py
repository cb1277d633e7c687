"""Eigen-CAM: where a layer's units vary together, whatever the class."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.functional.principal_component import first_component


def eigen_cam(features_BKhw: Tensor, centre: bool = False) -> Tensor:
    """Maps (B, 1, h, w): the cells' activations projected on their first principal direction, A V_1; raw.

    Muhammad and Yeasin 2020: O = U Σ Vᵀ, L = O V_1, not centred. `centre` takes each unit's mean over the
    cells off first, as grad-cam 1.5 does. The sign, which neither fixes, is `first_component`'s: the cell of the
    largest magnitude is positive. Behind a ReLU an uncentred map is nowhere negative.
    """
    if centre:
        features_BKhw = features_BKhw - features_BKhw.mean((2, 3), keepdim=True)
    vector_Bhw, value_B = first_component(features_BKhw)
    return (vector_Bhw * value_B[:, None, None]).float()[:, None]
