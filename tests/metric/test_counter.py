"""The base of the metrics: integers that stay integers."""

from __future__ import annotations

import pytest
import torch

from cam_lightning.metric.counter import CounterMetric, error_rate


class Seen(CounterMetric):
    """Counts images per class."""

    def __init__(self) -> None:
        super().__init__(num_images=(), per_class_C=(3,))

    def update(self, label_B: torch.Tensor) -> None:
        self.add("num_images", len(label_B))
        self.add("per_class_C", label_B.bincount(minlength=3))

    def compute(self) -> dict[str, float]:
        return {"num_images": self.count("num_images")}


def test_counters_of_any_fixed_shape_add_up_and_reset() -> None:
    seen = Seen()
    for labels in ([0, 0, 2], [2], []):
        seen.update(torch.tensor(labels, dtype=torch.int64))
    assert seen.count("num_images") == 4
    assert seen.per_class_C.tolist() == [2, 0, 2]
    seen.reset()
    assert seen.count("num_images") == 0
    assert seen.per_class_C.tolist() == [0, 0, 0]


def test_forward_counts_each_batch_once() -> None:
    """As torchmetrics #3079 has it, `forward` may update twice."""
    seen = Seen()
    seen(torch.tensor([0, 1]))
    seen(torch.tensor([2]))
    assert seen.compute() == {"num_images": 3}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_no_cast_makes_them_floats(dtype: torch.dtype) -> None:
    """bf16 cannot count beyond 256, and float16 beyond 2048."""
    module = torch.nn.ModuleList([Seen()])
    module.to(dtype)
    module[0].set_dtype(dtype)
    module.half()
    module[0].update(torch.zeros(4097, dtype=torch.int64))
    assert module[0].num_images.dtype == torch.int64
    assert module[0].compute() == {"num_images": 4097}


def test_counters_beyond_float32() -> None:
    seen = Seen()
    seen.add("num_images", 2**24)
    seen.add("num_images", 1)
    assert seen.count("num_images") == 2**24 + 1


def test_error_rate() -> None:
    assert error_rate(hits=1, total=3) == 2 / 3
    assert error_rate(hits=7, total=10) == 0.3, "1 - 0.7 would be 0.30000000000000004"
    assert error_rate(hits=0, total=5) == 1
    assert error_rate(hits=5, total=5) == 0
    with pytest.raises(ValueError, match="no image was counted"):
        error_rate(hits=0, total=0)
