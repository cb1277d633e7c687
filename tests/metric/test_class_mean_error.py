"""The mean over classes against a plain loop, over batches of any size."""

from __future__ import annotations

import pytest
import torch

from cam_lightning.metric.class_mean_error import ClassMeanError


def test_is_the_mean_over_classes_that_have_images() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(50, 5, generator=generator), torch.randint(0, 4, (50,), generator=generator)
    label[:20] = 0  # classes of unlike sizes; the fifth has no image
    wrong = []
    for c in range(4):
        rows = [i for i in range(50) if label[i] == c]
        wrong.append(sum(int(max(range(5), key=logits[i].tolist().__getitem__) != c) for i in rows) / len(rows))
    metric = ClassMeanError(5)
    for rows in torch.arange(50).split([7, 1, 42]):
        metric.update(logits[rows], label[rows])
    numbers = metric.compute()
    assert numbers == {"classification_error/class_mean": pytest.approx(sum(wrong) / 4)}
    assert numbers.keys() == metric.specs().keys()


def test_nothing_counted_is_no_number() -> None:
    with pytest.raises(ValueError, match="no image was counted"):
        ClassMeanError(3).compute()
