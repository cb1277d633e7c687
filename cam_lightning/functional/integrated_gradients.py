"""Integrated gradients: what each pixel adds to a score on the way from a baseline image."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def integrated_gradients(
    image_B3HW: Tensor, baseline_B3HW: Tensor, gradient: Callable[[Tensor], Tensor], steps: int
) -> Tensor:
    """Maps (B, T, H, W): (x − x') times the mean of ∂score/∂x on the straight line from x' to x, over the colours.

    `gradient` gives (B, T, 3, H, W) of images; they are asked for in the middle of `steps` equal parts of the line.
    Summed over the pixels a map is score(x) − score(x') but for the error of the steps: its unit is the logit.
    Sundararajan et al. 2017, equations 1 and 3 (they take the parts' ends). Raises ValueError for other shapes and
    less than one step.
    """
    if image_B3HW.ndim != 4 or baseline_B3HW.shape != image_B3HW.shape:
        raise ValueError(
            "integrated_gradients needs images and baselines (B, 3, H, W); "
            f"got {tuple(image_B3HW.shape)} and {tuple(baseline_B3HW.shape)}"
        )
    if steps < 1:
        raise ValueError(f"cam.steps is how many gradients are averaged; got {steps}")
    way_B3HW = image_B3HW - baseline_B3HW
    sum_BT3HW = gradient(baseline_B3HW + 0.5 / steps * way_B3HW)
    for step in range(1, steps):
        sum_BT3HW = sum_BT3HW + gradient(baseline_B3HW + (step + 0.5) / steps * way_B3HW)
    return (sum_BT3HW / steps * way_B3HW[:, None]).sum(2)
