"""Top-1 and top-5 classification error."""

from __future__ import annotations

from torch import Tensor

from cam_lightning.contracts import Spec
from cam_lightning.functional.ranking import rank_of_label, ranked_classes
from cam_lightning.metric.counter import CounterMetric, error_rate


class ClassificationError(CounterMetric):
    """The share of images whose label is not among the k best classes (k = 1 and 5; all, where C < 5)."""

    def __init__(self) -> None:
        super().__init__(hits_top1=(), hits_top5=(), num_images=())

    def update(self, logits_BC: Tensor, label_B: Tensor) -> None:
        """Counts one batch of logits (B, C) and labels (B,)."""
        rank_B = rank_of_label(ranked_classes(logits_BC.detach()), label_B)
        self.add("hits_top1", (rank_B < 1).sum())
        self.add("hits_top5", (rank_B < min(5, logits_BC.shape[1])).sum())
        self.add("num_images", len(label_B))

    def compute(self) -> dict[str, float]:
        """`classification_error/top1` and `…/top5`, as fractions of `num_images`, counted on all ranks.

        The count is returned, not left to be read: outside `compute` a counter is one rank's own.
        """
        return {
            "num_images": self.count("num_images"),
            "classification_error/top1": error_rate(self.count("hits_top1"), self.count("num_images")),
            "classification_error/top5": error_rate(self.count("hits_top5"), self.count("num_images")),
        }

    def specs(self) -> dict[str, Spec]:
        return {
            "num_images": Spec("images", "count", better=None, headline=0),
            **{
                f"classification_error/top{k}": Spec(
                    f"classification error, top-{k}", family="classification error", headline=place, label=f"top-{k}"
                )
                for place, k in enumerate((1, 5), start=40)
            },
        }
