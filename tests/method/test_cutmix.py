"""CutMix against its equations, a pixel at a time, and against the rectangles of the released code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_batch import batch_of

from cam_lightning.contracts import ClassifierOutput
from cam_lightning.method import cutmix
from cam_lightning.method.cutmix import CutMix, rectangle
from cam_lightning.method.schedule import constant


@pytest.fixture
def method(network: Any) -> Any:
    def make(**options: Any) -> CutMix:
        return CutMix(network, torch.optim.SGD, constant, learning_rate=0.1, **options)

    return make


@pytest.mark.parametrize(
    ("size", "share", "centre", "expected"),
    [
        # Computed once from `rand_bbox` of clovaai/wsolevaluation, method/cutmix.py (that of clovaai/CutMix-PyTorch).
        ((24, 40), 0.5, (3, 37), (23, 0, 40, 11)),
        ((24, 40), 0.9, (12, 20), (14, 9, 26, 15)),
        ((7, 5), 0.31, (0, 0), (0, 0, 2, 2)),
        ((224, 224), 0.0, (100, 50), (0, 0, 162, 212)),
        ((224, 224), 1.0, (100, 50), (50, 100, 50, 100)),
    ],
)
def test_the_rectangle_is_the_released_one(
    size: tuple[int, int], share: float, centre: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert rectangle(*size, share, *centre) == expected


def whose(mixed: Tensor, batch_size: int) -> Tensor:
    """Which image each pixel (B, H, W) is of, of images that are constant at their own number."""
    assert torch.equal(mixed[:, 0], mixed[:, 2])
    return mixed[:, 0].round().long().remainder(batch_size)


@pytest.mark.parametrize("seed", range(8))
def test_pixels_and_labels_are_mixed_alike(method: Any, seed: int) -> None:
    """Equation 1: a pixel is of one image or of its partner, and the target has the shares of the pixels."""
    B, H, W = 4, 14, 23
    labels = [5, 0, 3, 3]
    images = torch.arange(B).float().view(B, 1, 1, 1).expand(B, 3, H, W).clone()
    batch = batch_of(images.clone(), labels)
    torch.manual_seed(seed)
    view = method().view(batch)
    assert torch.equal(batch.image_B3HW, images), "the batch itself stays"
    source = whose(view.image_B3HW, B)
    assert view.target_BC is not None
    assert view.target_BC.dtype == torch.float32
    partners = set()
    for b in range(B):
        others = {int(v) for v in source[b].unique()} - {b}
        assert len(others) <= 1
        partners |= others
        expected = [0.0] * 6
        for y in range(H):
            for x in range(W):
                expected[labels[int(source[b, y, x])]] += 1 / (H * W)
        assert view.target_BC[b].tolist() == pytest.approx(expected, abs=1e-6)
        ys, xs = torch.nonzero(source[b] != b, as_tuple=True)
        if len(ys):
            assert len(ys) == (ys.max() - ys.min() + 1) * (xs.max() - xs.min() + 1), "one rectangle"
    assert torch.equal(view.truth.label_B, batch.truth.label_B)


def test_the_loss_is_the_mixture_of_both_cross_entropies(method: Any) -> None:
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    labels = [5, 0, 3, 3]
    batch = batch_of(torch.rand(4, 3, 14, 23), labels)
    torch.manual_seed(1)
    view = method().view(batch)
    torch.manual_seed(1)
    torch.rand(())
    share = float(torch.distributions.Beta(1.0, 1.0).sample())
    order = torch.randperm(4)
    x0, y0, x1, y1 = rectangle(14, 23, share, int(torch.randint(14, ())), int(torch.randint(23, ())))
    kept = 1 - (x1 - x0) * (y1 - y0) / (14 * 23)
    assert 0 < kept < 1
    own, other = torch.tensor(labels), torch.tensor(labels)[order]
    expected = kept * F.cross_entropy(logits, own) + (1 - kept) * F.cross_entropy(logits, other)
    torch.testing.assert_close(method().loss(ClassifierOutput(logits, logits), view).total, expected)


def test_a_batch_is_mixed_as_often_as_told(method: Any) -> None:
    batch = batch_of(torch.rand(3, 3, 12, 20), [0, 1, 2])
    torch.manual_seed(0)
    sometimes = method(probability=0.3)
    mixed = sum(sometimes.view(batch).target_BC is not None for _ in range(400))
    assert 80 < mixed < 160
    assert method(probability=0).view(batch) is batch


@pytest.mark.parametrize("beta", [0.3, 1.0, 5.0])
def test_shares_are_drawn_from_beta(method: Any, monkeypatch: pytest.MonkeyPatch, beta: float) -> None:
    """Its mean is a half, its variance 1 / (4 · (2β + 1))."""
    shares = []

    def nothing(H: int, W: int, share: float, y: int, x: int) -> tuple[int, int, int, int]:
        assert (H, W) == (12, 20)
        assert 0 <= y < 12
        assert 0 <= x < 20
        shares.append(share)
        return 0, 0, 0, 0

    monkeypatch.setattr(cutmix, "rectangle", nothing)
    batch = batch_of(torch.rand(3, 3, 12, 20), [0, 1, 2])
    mixer = method(beta=beta)
    torch.manual_seed(0)
    for _ in range(1000):
        view = mixer.view(batch)
    assert torch.equal(view.image_B3HW, batch.image_B3HW)
    drawn = torch.tensor(shares)
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.04)
    assert float(drawn.var()) == pytest.approx(1 / (4 * (2 * beta + 1)), rel=0.15)


@pytest.mark.parametrize(("wrong", "message"), [({"beta": 0}, "above 0; got 0"), ({"probability": 2}, "got 2")])
def test_other_options_are_errors(method: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method(**wrong)
