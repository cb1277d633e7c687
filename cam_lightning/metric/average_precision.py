"""Mean average precision of images that show several classes: how well each class's score finds its images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cam_lightning.contracts import Spec
from cam_lightning.functional.average_precision import average_precision
from cam_lightning.metric.counter import CounterMetric

AVERAGE_PRECISION = Spec(
    "average precision, mean over labels", better="higher", family="average precision", headline=40, label="mean"
)


class AveragePrecision(CounterMetric):
    """The mean over classes of the average precision of each (`functional.average_precision`), of every image once.

    `target_NC` and `image_N` are those of the split (`ImageSplit`): of the entries of one image the first that was
    counted says its scores. A class that no counted image shows has none; an image of which a class is not known does
    not count for it. An image's score is the network's logit.

    Rankings are of all images at once, so the scores are kept, a row for each entry, as the bits of float32: ranks
    fill rows of their own, and their sum is all of them, exactly.
    """

    def __init__(self, target_NC: np.ndarray, image_N: np.ndarray | None = None) -> None:
        super().__init__(score_bits_NC=target_NC.shape, is_counted_N=target_NC.shape[:1])
        self.target_NC = target_NC
        self.image_N = np.arange(len(target_NC)) if image_N is None else image_N

    def update(self, logits_BC: Tensor, index_B: Tensor) -> None:
        """Counts one batch of logits (B, C), of the entries at positions `index_B` of the split."""
        bits_BC = logits_BC.detach().float().contiguous().view(torch.int32).long()
        for name, rows in (("score_bits_NC", bits_BC), ("is_counted_N", torch.ones_like(index_B))):
            state = self.counters()[name].clone()
            state[index_B.to(state.device)] = rows.to(state.device)
            setattr(self, name, state)

    def compute(self) -> dict[str, float]:
        """`average_precision/mean`, and `…/num_images` of how many images; nothing where none shows a known class."""
        counted = np.flatnonzero(self.counters()["is_counted_N"].cpu().numpy())
        _, first = np.unique(self.image_N[counted], return_index=True)
        rows = counted[first]
        score_NC = self.counters()["score_bits_NC"].cpu()[rows].int().view(torch.float32).numpy()
        columns = zip(score_NC.T, self.target_NC[rows].T, strict=True)
        each = [average_precision(score_N, target_N) for score_N, target_N in columns]
        known = [value for value in each if not np.isnan(value)]
        if not known:
            return {}
        return {"average_precision/mean": float(np.mean(known)), "average_precision/num_images": len(rows)}

    def specs(self) -> dict[str, Spec]:
        return {
            "average_precision/mean": AVERAGE_PRECISION,
            "average_precision/num_images": Spec(
                "images of the average precision",
                "count",
                better=None,
                of="average_precision/mean",
                role="num_images",
            ),
        }
