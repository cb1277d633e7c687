"""Probabilities of classes that exclude each other, and of classes that do not."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from cam_lightning.functional.probability import class_probabilities


def test_a_softmax_or_a_sigmoid_of_each_in_float32() -> None:
    logits = [[1.5, -0.5, 3.0], [0.0, 20.0, -3.0]]
    total = [sum(math.exp(value) for value in row) for row in logits]
    softmax = [[math.exp(value) / of_row for value in row] for row, of_row in zip(logits, total, strict=True)]
    sigmoid = [[1 / (1 + math.exp(-value)) for value in row] for row in logits]
    for network, expected in ((object(), softmax), (SimpleNamespace(independent_classes=True), sigmoid)):
        found_BC = class_probabilities(network, torch.tensor(logits, dtype=torch.float64))
        assert found_BC.dtype == torch.float32
        for row, wanted in zip(found_BC.tolist(), expected, strict=True):
            assert row == pytest.approx(wanted, rel=1e-5)
        assert torch.equal(found_BC.argsort(1), torch.tensor(logits).argsort(1))
