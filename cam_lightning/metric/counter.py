"""The one base of the metrics: named integer counters that add up over batches, workers and ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from cam_lightning.contracts import Spec


class CounterMetric(Metric):
    """Holds sum-reduced int64 counters and nothing else.

    Sums of integers do not depend on their order, so every split of the data over batches and ranks
    gives the same bits; and no state grows with the data, so ranks can hold different numbers of images.
    """

    # `forward` would otherwise call `update` twice per batch (torchmetrics #3079).
    full_state_update = False
    needs_maps = True
    """See `contracts.LocalizationMetric`: a metric that scores mere boxes says so, and is then asked of baselines."""

    def __init__(self, **counters: tuple[int, ...]) -> None:
        super().__init__()
        for name, shape in counters.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, name: str, count: Tensor | int) -> None:
        """Adds to a counter, on whatever device the counter lives."""
        counter = getattr(self, name)
        setattr(self, name, counter + torch.as_tensor(count, dtype=torch.int64).to(counter.device))

    def count(self, name: str) -> int:
        """A counter of no axes, as a plain number."""
        return int(getattr(self, name))

    def counters(self) -> dict[str, Tensor]:
        """Every counter by its name, as this rank has it."""
        return {name: getattr(self, name) for name in self.metric_state}

    def specs(self) -> dict[str, Spec]:
        """What each key of `compute` is."""
        raise NotImplementedError

    def set_dtype(self, dst_type: Any) -> CounterMetric:
        """Counters stay integers, whatever precision the network is cast to."""
        return self


def error_rate(hits: int, total: int) -> float:
    """The share of `total` that is not a hit; raises where nothing was counted, since 0 of 0 is no result."""
    if total == 0:
        raise ValueError("no image was counted, so there is no error rate")
    return (total - hits) / total
