"""Grad-CAM's one sum, against a plain loop."""

from __future__ import annotations

import pytest
import torch

from cam_lightning.functional.grad_cam import grad_cam


def test_it_equals_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    B, T, K, h, w = 2, 3, 4, 2, 5
    features = torch.randn(B, K, h, w, generator=generator)
    gradient = torch.randn(B, T, K, h, w, generator=generator)
    expected = torch.zeros(B, T, h, w, dtype=torch.float64)
    for b in range(B):
        for t in range(T):
            for k in range(K):
                alpha = sum(gradient[b, t, k].flatten().tolist()) / (h * w)
                expected[b, t] += alpha * features[b, k].double()
    assert expected.min() < 0, "raw: nothing is rectified"
    torch.testing.assert_close(grad_cam(features, gradient).double(), expected, rtol=1e-5, atol=1e-6)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"got \(1, 4, 2, 5\) and \(1, 3, 4, 5, 2\)"):
        grad_cam(torch.zeros(1, 4, 2, 5), torch.zeros(1, 3, 4, 5, 2))
