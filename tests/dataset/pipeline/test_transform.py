"""Views of an image, against the plain way: resize the whole image, crop it, mirror it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from cam_lightning.dataset.augmentation.random_crop import RandomCrop
from cam_lightning.dataset.augmentation.random_resized_crop import RandomResizedCrop
from cam_lightning.dataset.pipeline.transform import View, resized_mask, resized_view, shows_all, target_of_view


def ramp(height: int, width: int) -> np.ndarray:
    """Red grows with x, green with y, by `step` per pixel: a colour is a place."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * (x + 0.5) / width, 255 * (y + 0.5) / height
    return np.round(np.stack([red, green, np.full_like(red, 77)], axis=2)).astype(np.uint8)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (37, 90), (200, 61), (1, 7)])
def test_without_a_view_the_whole_image_is_squashed(height: int, width: int) -> None:
    """Pillow's bilinear resizing filters in the same way; its fixed-point weights differ by one level."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    shown = resized_view(image, None, (48, 80))
    expected = np.asarray(Image.fromarray(image).resize((80, 48), Image.Resampling.BILINEAR))
    assert shown.shape == (3, 48, 80)
    assert np.abs(shown.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(64, 64), (100, 60), (75, 143), (300, 500)])
@pytest.mark.parametrize("seed", range(6))
def test_a_random_crop_is_that_of_the_resized_image(height: int, width: int, seed: int) -> None:
    """The rectangle is rounded to whole pixels of the original, and its edge pixels see nothing beyond it.

    So a place may be off by half a pixel of the original for each of the two, or half a pixel of the
    resized image where that is the larger, and its colour by the ramp's slope times that, and one level for
    each of the three roundings to bytes.
    """
    resize, crop = 64, 48
    view = RandomCrop(resize, crop)(height, width, generator(seed))
    shown = resized_view(ramp(height, width), view, (crop, crop)).permute(1, 2, 0).numpy().astype(float)

    left, top = round(view.x0 * resize / width), round(view.y0 * resize / height)
    resized = Image.fromarray(ramp(height, width)).resize((resize, resize), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((left, top, left + crop, top + crop)))
    if view.mirrored:
        expected = expected[:, ::-1]

    assert 0 <= left <= resize - crop
    assert 0 <= top <= resize - crop
    for channel, side in ((0, width), (1, height)):
        places = max(1.0, 0.5 + 0.5 * side / resize)
        difference = np.abs(shown[..., channel] - expected[..., channel]).max()
        assert difference <= 255 / side * places + 3
    assert (shown[..., 2] == 77).all()


def test_where_the_scale_is_whole_the_crop_is_exact() -> None:
    """An image that needs no resizing: the crop's pixels are the image's own."""
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    places = set()
    for seed in range(40):
        view = RandomCrop(32, 24)(32, 32, generator(seed))
        shown = resized_view(image, view, (24, 24)).permute(1, 2, 0).numpy()
        x, y = int(view.x0), int(view.y0)
        patch = image[y : y + 24, x : x + 24]
        assert (shown == (patch[:, ::-1] if view.mirrored else patch)).all()
        places.add((x, y))
    assert {x for x, _ in places} == {y for _, y in places} == set(range(9))


def test_crops_lie_anywhere_and_half_of_them_are_mirrored() -> None:
    views = [RandomCrop(256, 224)(50, 80, generator(seed)) for seed in range(2000)]
    lefts = np.array([view.x0 * 256 / 80 for view in views])
    tops = np.array([view.y0 * 256 / 50 for view in views])
    for offsets in (lefts, tops):
        assert offsets.min() == pytest.approx(0)
        assert offsets.max() == pytest.approx(32)
        assert offsets.mean() == pytest.approx(16, abs=1)
    assert abs(np.corrcoef(lefts, tops)[0, 1]) < 0.1
    assert np.mean([view.mirrored for view in views]) == pytest.approx(0.5, abs=0.05)


def test_rounding_favours_no_place() -> None:
    """Photos of 64 enlarged to 128: every second offset is half a pixel, and may not go to even ones."""
    image = ramp(64, 64)
    corners = [
        int(resized_view(image, View(left / 2, 0, left / 2 + 56, 56, False), (56, 56))[0, 0, 0]) for left in range(17)
    ]
    steps = np.bincount([int(red * 64 / 255) for red in corners], minlength=9)
    assert steps.max() <= 2


def test_a_mirrored_view_is_the_view_from_right_to_left() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    plain, mirrored = (resized_view(image, View(3, 2, 25, 17, flag), (12, 18)) for flag in (False, True))
    assert (mirrored.flip(2) == plain).all()
    assert (mirrored != plain).any()


def test_x_and_y_are_not_swapped() -> None:
    """The upper right quarter of an image that is twice as wide as high."""
    shown = resized_view(ramp(40, 80), View(40, 0, 80, 20, False), (10, 30))
    assert shown.shape == (3, 10, 30)
    assert shown[0].min() >= 126
    assert shown[1].max() <= 128


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 300), (300, 1), (17, 5)])
def test_every_view_of_every_image_shows_something(height: int, width: int) -> None:
    image = ramp(height, width)
    for seed in range(30):
        for augmentation in (RandomCrop(256, 224), RandomResizedCrop((0.01, 1.0))):
            shown = resized_view(image, augmentation(height, width, generator(seed)), (6, 9))
            assert shown.shape == (3, 6, 9)
            assert (shown[2] == 77).all()


def test_rectangles_of_random_area_lie_within_the_image_and_its_limits() -> None:
    augmentation = RandomResizedCrop(area=(0.2, 0.6), ratio=(0.5, 2.0))
    shares, ratios = [], []
    for seed in range(500):
        x0, y0, x1, y1, _ = augmentation(30, 90, generator(seed))
        assert 0 <= x0 < x1 <= 90 + 1e-9
        assert 0 <= y0 < y1 <= 30 + 1e-9
        shares.append((x1 - x0) * (y1 - y0) / 2700)
        ratios.append(((x1 - x0) / 90) / ((y1 - y0) / 30))
    assert 0.2 - 1e-9 <= min(shares) < 0.25
    assert 0.5 < max(shares) <= 0.6 + 1e-9
    assert 0.5 - 1e-9 <= min(ratios) < 0.6
    assert 1.7 < max(ratios) <= 2 + 1e-9


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="a crop of 224 does not fit into an image resized to 200"):
        RandomCrop(200, 224)


def test_a_mask_at_the_input_size_takes_the_nearest_pixel():
    mask_HW = np.array([[0, 1, 255, 0], [1, 1, 0, 255]], np.uint8)
    assert resized_mask(mask_HW, (4, 8)).tolist() == mask_HW.repeat(2, 0).repeat(2, 1).tolist()
    assert resized_mask(mask_HW, (1, 2)).tolist() == [[0, 255]]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rectangle", [(0, 0, 60, 40), (10.2, 5.4, 50.6, 33.5), (30, 20, 31, 21)])
def test_the_target_of_a_view_lies_where_the_object_is_seen(
    rectangle: tuple[float, float, float, float], mirrored: bool
) -> None:
    """The object painted into the image, and the view of that image, show the same pixels."""
    view, size = View(*rectangle, mirrored), (24, 32)
    boxes = np.array([[12.0, 8.0, 30.0, 25.0], [40.0, 20.0, 70.0, 90.0]], np.float32)
    painted = np.zeros((40, 60, 3), np.uint8)
    painted[8:25, 12:30] = painted[20:, 40:] = 255
    for mask in (None, (painted[..., 0] > 0).astype(np.uint8)):
        target = target_of_view(mask, boxes, (40, 60), view, size)
        assert target.dtype == torch.uint8
        seen = resized_view(painted, view, size)[0]
        sure = (seen == 0) | (seen == 255)
        assert sure.float().mean() > 0.7
        assert torch.equal(target[sure], (seen[sure] == 255).to(torch.uint8))


def test_masks_of_another_size_and_images_of_which_nothing_is_known() -> None:
    none, boxes = np.zeros((0, 4), np.float32), np.array([[0.0, 0.0, 5.0, 5.0]], np.float32)
    assert (target_of_view(None, none, (40, 60), None, (4, 6)) == 255).all()
    half = np.zeros((10, 12), np.uint8)
    half[:, :6] = 1
    half[:5, 6:] = 255
    whole = target_of_view(half, boxes, (40, 60), None, (4, 6))
    assert whole.tolist() == [[1] * 3 + [255] * 3] * 2 + [[1] * 3 + [0] * 3] * 2, "a mask goes before boxes"
    right = target_of_view(half, boxes, (40, 60), View(30, 20, 60, 40, False), (4, 6))
    assert (right == 0).all()


def test_a_view_of_all_of_it_is_known_by_whole_pixels() -> None:
    for crop in (64, 47, 3):
        view = RandomCrop(crop, crop)(37, 53, generator())
        assert shows_all(view, 37, 53)
    assert shows_all(View(0, 0, 53, 37, True), 37, 53)
    assert not shows_all(View(0, 0, 37, 53, False), 37, 53)
    assert not shows_all(View(0, 0, 52, 37, False), 37, 53)
    assert not shows_all(View(0, 1, 53, 37, False), 37, 53)
    assert not shows_all(RandomCrop(64, 60)(37, 53, generator()), 37, 53)
