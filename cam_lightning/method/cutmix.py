"""CutMix: a rectangle of each training image comes from another one, and so does its share of the label."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributions import Beta
from torch.nn import functional as F

from cam_lightning.contracts import Batch
from cam_lightning.method.classification import Classification


class CutMix(Classification):
    """Classification of images mixed in pairs, with their labels' shares as target; options as `Classification`'s.

    Yun et al. 2019 (ICCV), equation 1: x = M ⊙ x_A + (1 − M) ⊙ x_B, y = λ·y_A + (1 − λ)·y_B; equation 2: λ is drawn
    from Beta(`beta`, `beta`), the rectangle is √(1 − λ) as high and wide as the image, its centre uniform. One λ, one
    rectangle and one order of partners for a batch, which is mixed with the given `probability`.

    In the paper the rectangle has exactly the share 1 − λ. In its code (clovaai/CutMix-PyTorch, train.py), which the
    WSOL benchmark and this file follow, its half sides are whole pixels, it ends where the image does, and λ becomes
    the share that is left. `probability` is 1 in ImageNet's recipe and the benchmark, 0.5 for CIFAR.
    The training error counts the label of the image itself. Raises ValueError for other options than these.
    """

    def __init__(self, *args: Any, beta: float = 1.0, probability: float = 1.0, **options: Any) -> None:
        if not beta > 0:
            raise ValueError(f"method.beta is above 0; got {beta}")
        if not 0 <= probability <= 1:
            raise ValueError(f"method.probability lies in [0, 1]; got {probability}")
        super().__init__(*args, **options)
        self.beta = beta
        self.probability = probability

    def view(self, batch: Batch) -> Batch:
        image_B3HW, label_B = batch.image_B3HW, batch.truth.label_B
        B, _, H, W = image_B3HW.shape
        if float(torch.rand(())) >= self.probability:
            return batch
        share = float(Beta(self.beta, self.beta).sample())
        order_B = torch.randperm(B).to(label_B.device)
        x0, y0, x1, y1 = rectangle(H, W, share, int(torch.randint(H, ())), int(torch.randint(W, ())))
        mixed_B3HW = image_B3HW.clone()
        mixed_B3HW[:, :, y0:y1, x0:x1] = image_B3HW[order_B, :, y0:y1, x0:x1]
        kept = 1 - (x1 - x0) * (y1 - y0) / (H * W)
        own_BC = F.one_hot(label_B, self.network.num_classes).float()  # type: ignore[arg-type]
        return batch._replace(image_B3HW=mixed_B3HW, target_BC=kept * own_BC + (1 - kept) * own_BC[order_B])


def rectangle(H: int, W: int, share: float, y: int, x: int) -> tuple[int, int, int, int]:
    """What comes from the other image: half-open x0, y0, x1, y1, around the pixel (y, x), where `share` is to stay."""
    side = (1 - share) ** 0.5
    half_height, half_width = int(H * side) // 2, int(W * side) // 2
    return max(x - half_width, 0), max(y - half_height, 0), min(x + half_width, W), min(y + half_height, H)
