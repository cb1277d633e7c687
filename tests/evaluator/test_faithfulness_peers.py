"""The same maps and network in grad-cam and torchcam (the `bench` extra), where they are installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_maps import Case, H, W, small_network

from cam_lightning.evaluator.average_drop import AverageDrop
from cam_lightning.evaluator.deletion_insertion import DeletionInsertion
from cam_lightning.evaluator.road import Road
from cam_lightning.functional.average_drop import score_maps
from cam_lightning.functional.post_processing import PostProcessing
from cam_lightning.functional.road import imputed

SOME = [0, 1, 2, 4, 5, 6]
"""Without the image whose map is constant."""


class Probabilities(nn.Module):
    """The network as the others want it: a tensor of scores."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).logits_BC.softmax(1)


@pytest.fixture(scope="module")
def case() -> Case:
    case = Case(small_network())
    # Without ties, which the others order as it comes.
    noise = torch.rand(case.map_BThw.shape, generator=torch.Generator().manual_seed(3))
    case.map_BThw = case.map_BThw + 0.1 * noise
    return case


def scores(case: Case) -> np.ndarray:
    return score_maps(case.map_BThw[SOME, 0], (H, W), PostProcessing(normalise="minmax")).numpy()


def test_removed_pixels_are_filled_as_in_grad_cam() -> None:
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    random = np.random.default_rng(0)
    image_3HW = random.normal(size=(3, 21, 34)).astype(np.float32)
    for share in (0.2, 0.6, 0.95):
        mask_HW = random.random((21, 34)) < share
        theirs = road.NoisyLinearImputer(noise=0.0)(torch.from_numpy(image_3HW), torch.from_numpy(np.float32(~mask_HW)))
        assert np.abs(imputed(image_3HW, mask_HW) - theirs.numpy()).max() < 2e-4


def test_road_is_grad_cam_s(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its percentile it keeps what is strictly below: as many pixels as here, but where a count is rounded."""
    road = pytest.importorskip("pytorch_grad_cam.metrics.road")
    monkeypatch.setattr(road.torch, "randn_like", torch.zeros_like)
    case.network.eval()
    targets = [lambda output, label=int(case.classes_BT[b, 0]): output[label] for b in SOME]
    percentages = [50 / 63 * 100, 100 / 9]  # whole numbers of the 126 pixels: 100 and 14
    model = Probabilities(case.network)
    ours = Road(percentages, noise=0.0)
    case.update(ours, SOME)
    theirs = []
    for share in percentages:
        # Between two pixels of its order, so that rounding is nobody's.
        percentile = 100 - share + 50 / (H * W - 1) - 100 / (H * W - 1) * (share / 100)
        for metric in (road.ROADMostRelevantFirst, road.ROADLeastRelevantFirst):
            theirs.append(
                metric(percentile=percentile)(case.image_B3HW[SOME], scores(case), targets, model, return_diff=False)
            )
    most, least = (np.mean(theirs[start::2]) for start in (0, 1))
    found = ours.compute()
    assert found["road/most_relevant_first"] == pytest.approx(most, abs=1e-4)
    assert found["road/least_relevant_first"] == pytest.approx(least, abs=1e-4)
    assert found["road/combined"] == pytest.approx((least - most) / 2, abs=1e-4)
    assert abs(least - most) > 0.01


def test_drop_and_increase_are_grad_cam_s(case: Case) -> None:
    """Its drop is a difference, where the paper has a share of the score: divided here."""
    peer = pytest.importorskip("pytorch_grad_cam.metrics.cam_mult_image")
    targets = [lambda output, label=int(case.classes_BT[b, 0]): output[label] for b in SOME]
    model, before = Probabilities(case.network), case.output.logits_BC.softmax(1).amax(1)[SOME].numpy()
    drops = peer.DropInConfidence()(case.image_B3HW[SOME], scores(case), targets, model)
    increases = peer.IncreaseInConfidence()(case.image_B3HW[SOME], scores(case), targets, model)
    ours = AverageDrop(rectify=False, normalise="minmax")
    case.update(ours, SOME)
    assert ours.compute()["average_drop"] == pytest.approx((drops / before).mean(), abs=1e-5)
    assert ours.compute()["increase_in_confidence"] == increases.mean()
    assert drops.mean() > 0


def test_they_are_torchcam_s_too(case: Case) -> None:
    metrics = pytest.importorskip("torchcam.metrics")
    cam = _TheirExtractor(case)
    peer = metrics.ClassificationMetric(cam, lambda scores: scores)
    ours = AverageDrop(rectify=False, normalise="minmax")
    for b in SOME:
        cam.image = b
        peer.update(case.image_B3HW[b : b + 1], int(case.classes_BT[b, 0]))
        case.update(ours, [b])
    theirs = peer.summary()
    assert ours.compute()["average_drop"] == pytest.approx(theirs["avg_drop"], abs=1e-5)
    assert ours.compute()["increase_in_confidence"] == theirs["conf_increase"]


def test_deletion_is_torchcam_s(case: Case) -> None:
    """Into zeros as here; its insertion begins there too, which is why it is left out."""
    metrics = pytest.importorskip("torchcam.metrics")
    if not hasattr(metrics, "DeletionInsertionMetric"):
        pytest.skip("this torchcam has no deletion")
    cam = _TheirExtractor(case)
    peer = metrics.DeletionInsertionMetric(cam, lambda scores: scores, steps=14)
    ours = DeletionInsertion(14)
    for b in SOME:
        cam.image = b
        peer.update(case.image_B3HW[b : b + 1], int(case.classes_BT[b, 0]))
        case.update(ours, [b])
    assert ours.compute()["deletion"] == pytest.approx(peer.summary()["deletion_auc"], abs=1e-4)


class _TheirExtractor:
    """Hands our map to their metrics, at the size of the image."""

    def __init__(self, case: Case) -> None:
        self.case, self.image = case, 0
        self.model = Probabilities(case.network).eval()

    def __call__(self, class_idx: Any = None, scores: Any = None, normalized: bool = True, **_: Any) -> list[Tensor]:
        rule = PostProcessing(normalise="minmax")
        return [score_maps(self.case.map_BThw[self.image : self.image + 1, 0], (H, W), rule)]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        return cams[0]

    def _hooks_off(self) -> Any:
        return torch.no_grad()
