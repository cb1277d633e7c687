"""The pointing game against pixels of an upsampled map, and by hand where cells tie."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from toy_localization import localization_of

from cam_lightning.contracts import GroundTruth, Localization, Proposals
from cam_lightning.functional.pointing_game import pointing_shares
from cam_lightning.metric.pointing_game import PointingGame


def localized(map_Bhw: torch.Tensor) -> Localization:
    B = len(map_Bhw)
    nothing = torch.zeros(B, 1, dtype=torch.bool)
    return localization_of(
        torch.zeros(B, 1, dtype=torch.int64), torch.ones(B, 1), torch.zeros(B, 1, 2, 2),
        Proposals(torch.zeros(B, 1, 4), (0,), nothing), map_Bhw, torch.zeros(B, 4), nothing[:, 0],
    )  # fmt: skip


def truth_of(boxes: list[list[list[float]]], size: tuple[int, int]) -> GroundTruth:
    B, N = len(boxes), max(map(len, boxes))
    boxes_BN4 = torch.zeros(B, N, 4)
    for b, of_one in enumerate(boxes):
        for n, box in enumerate(of_one):
            boxes_BN4[b, n] = torch.tensor(box)
    return GroundTruth(
        torch.zeros(B, dtype=torch.int64), boxes_BN4, torch.tensor([len(each) for each in boxes]),
        torch.tensor([size] * B),
    )  # fmt: skip


@pytest.mark.parametrize("tolerance", [0.0, 3.0, 15.0])
def test_it_is_the_highest_pixel_of_the_upsampled_map(tolerance: float) -> None:
    """Upsampled an odd number of times, a cell's centre is a pixel's: 7 down, 9 across."""
    random = np.random.default_rng(0)
    size = (35, 63)
    map_Bhw = torch.from_numpy(random.normal(size=(60, 5, 7)).astype(np.float32))
    # Away from the border, where the upsampled map stays as high to its end.
    for border in (map_Bhw[:, 0], map_Bhw[:, -1], map_Bhw[:, :, 0], map_Bhw[:, :, -1]):
        border -= 10
    boxes = []
    for _ in range(60):
        corners = []
        for _ in range(int(random.integers(1, 4))):
            x0, y0 = int(random.integers(0, 50)), int(random.integers(0, 25))
            corners.append([x0, y0, x0 + int(random.integers(6, 30)), y0 + int(random.integers(5, 22))])
        boxes.append(corners)
    hits = 0
    for map_hw, corners in zip(map_Bhw, boxes, strict=True):
        up_HW = torch.nn.functional.interpolate(map_hw[None, None], size, mode="bilinear")[0, 0].numpy()
        y, x = (value + 0.5 for value in np.unravel_index(up_HW.argmax(), size))
        beside = [np.hypot(max(x0 - x, x - x1, 0), max(y0 - y, y - y1, 0)) for x0, y0, x1, y1 in corners]
        hits += min(beside) <= tolerance
    metric = PointingGame(tolerance)
    for part in (slice(0, 7), slice(7, 60)):
        metric.update(localized(map_Bhw[part]), truth_of(boxes[part], size))
    assert metric.compute()["pointing_game_error"] == pytest.approx((60 - hits) / 60, abs=1e-12)
    assert 5 < hits < 58


def test_tied_cells_share_the_hit() -> None:
    """Of three highest cells of 10×10 pixels one points at the box."""
    map_hw = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    size, boxes = torch.tensor([[20, 40]]), torch.tensor([[[20.0, 0.0, 30.0, 10.0]]])
    assert pointing_shares(map_hw[None], size, boxes, torch.tensor([1]), 0).tolist() == [pytest.approx(1 / 3)]
    metric = PointingGame(0)
    metric.update(localized(map_hw[None]), truth_of([[[20, 0, 30, 10]]], (20, 40)))
    assert metric.compute()["pointing_game_error"] == pytest.approx(2 / 3, abs=1e-9)


def test_a_constant_map_has_the_chance_of_a_random_point() -> None:
    """A quarter of the cells lies in the box; one that is not finite points nowhere."""
    metric = PointingGame(0)
    flat = torch.full((1, 4, 4), 0.1)
    metric.update(localized(flat), truth_of([[[0.0, 0.0, 20.0, 20.0]]], (40, 40)))
    assert metric.compute()["pointing_game_error"] == pytest.approx(0.75)
    nothing = torch.full((1, 4, 4), torch.nan)
    assert (
        pointing_shares(nothing, torch.tensor([[40, 40]]), torch.tensor([[[0.0, 0, 40, 40]]]), torch.tensor([1]), 99)
        == 0
    )


def test_width_and_height_are_not_swapped() -> None:
    map_hw = torch.zeros(1, 2, 4)
    map_hw[0, 0, 3] = 1  # top right: its centre is (5, 70) of 20 × 80
    for box, error in (([60.0, 0.0, 80.0, 10.0], 0.0), ([0.0, 10.0, 10.0, 20.0], 1.0)):
        metric = PointingGame(0)
        metric.update(localized(map_hw), truth_of([[box]], (20, 80)))
        assert metric.compute()["pointing_game_error"] == error


def test_tolerance_is_a_circle_in_pixels_of_the_original() -> None:
    map_hw = torch.ones(1, 1, 1)  # points at (20, 40)
    box = [[43.0, 24.0, 60.0, 30.0]]  # 3 to the right and 4 below: 5 away
    for tolerance, error in ((4.99, 1.0), (5.0, 0.0)):
        metric = PointingGame(tolerance)
        metric.update(localized(map_hw), truth_of([box], (40, 80)))
        assert metric.compute() == {"pointing_game_error": error, "pointing_game_error@centre": error}


def test_images_without_a_box_are_not_counted() -> None:
    metric = PointingGame()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``compute`` method")
        assert metric.compute() == {}
    metric.reset()
    truth = truth_of([[[0.0, 0.0, 9.0, 9.0]]] * 2, (10, 10))._replace(num_boxes_B=torch.tensor([0, 1]))
    metric.update(localized(torch.ones(2, 1, 1)), truth)
    assert metric.compute()["pointing_game_error"] == 0
    assert metric.count("num_images") == 1
    assert set(metric.specs()) == set(metric.compute())


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="not below 0; got -1"):
        PointingGame(-1)
