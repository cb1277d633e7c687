"""The middle of photos, and splits drawn per class by the images' own ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_tree import draw, draw_all

from cam_lightning.dataset.caltech101 import Caltech101
from cam_lightning.dataset.format.crop import CentredSplit, CroppedSplit
from cam_lightning.dataset.pipeline.index import Index, IndexedSplit, Row
from cam_lightning.dataset.pipeline.split import ImageSplit, RawImage, draw_per_class
from cam_lightning.dataset.pipeline.storage import Storage
from cam_lightning.dataset.pipeline.transform import resized_view

COUNTS = {"Faces": 9, "accordion": 6, "yak": 4}


def split_of(root: Path, counts: dict[str, int] | None = None) -> IndexedSplit:
    paths = [f"{name}/image_{number:04d}.jpg" for name, count in (counts or COUNTS).items() for number in range(count)]
    names = sorted(counts or COUNTS)
    draw(root / "x.png", 30)
    return IndexedSplit(Storage(root), Index.pack(Row(path, names.index(path.split("/")[0])) for path in paths))


class OneImage(ImageSplit):
    """A split of one image."""

    def __init__(self, image_HW3: np.ndarray) -> None:
        self.ids, self.label_N, self.image_HW3 = ["x"], np.zeros(1, np.int64), image_HW3

    def read(self, index: int) -> RawImage:
        return RawImage(self.image_HW3, np.zeros((0, 4), np.float32))


@pytest.mark.parametrize(("height", "width"), [(200, 200), (96, 160), (7, 5), (1, 1)])
def test_the_middle_of_a_photo(tmp_path: Path, height: int, width: int) -> None:
    random = np.random.default_rng(0)
    split = split_of(tmp_path)
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    boxes = np.array([[0, 0, width, height], [0, 0, 0.3, 0.3]], np.float32)
    split.read = lambda index: RawImage(image, boxes, image[..., 0])  # type: ignore[method-assign]
    seen = CentredSplit(split, 0.875).read(0)
    left, top = int(width / 16), int(height / 16)
    assert (seen.image_HW3 == image[top : height - top, left : width - left]).all()
    assert seen.mask_HW is not None
    assert (seen.mask_HW == seen.image_HW3[..., 0]).all()
    assert seen.boxes_N4[0].tolist() == [0, 0, width - 2 * left, height - 2 * top]
    assert len(seen.boxes_N4) == (2 if left == top == 0 else 1)


def test_the_middle_is_what_caffe_sees_of_256_by_256() -> None:
    """Squashed to 256×256, then the middle 224×224: as one cut and one resizing, but for the last bits."""
    image = torch.linspace(0, 255, 512)[:, None] * torch.linspace(0.2, 1, 320)
    image_HW3 = image[..., None].expand(-1, -1, 3).round().to(torch.uint8).numpy()
    squashed = resized_view(image_HW3, None, (256, 256))[:, 16:240, 16:240]
    split = OneImage(image_HW3)
    seen = resized_view(CentredSplit(split, 0.875).read(0).image_HW3, None, (224, 224))
    assert (seen.int() - squashed.int()).abs().max() <= 1


def test_a_drawn_subset_is_a_matter_of_its_own_class(tmp_path: Path) -> None:
    split = split_of(tmp_path)
    train, test, rest = draw_per_class(split, [3, 2, None], 0)
    assert np.bincount(train.label_N).tolist() == [3, 3, 3]
    assert np.bincount(test.label_N).tolist() == [2, 2, 1]
    assert sorted([*train.ids, *test.ids, *rest.ids]) == sorted(split.ids)
    # Another class less, and other images of another class, in another order: nothing changes.
    fewer = split_of(tmp_path, {"yak": 4, "Faces": 9})
    others, _, _ = draw_per_class(fewer, [3, 2, None], 0)
    assert {path for path in others.ids if path.startswith("Faces")} == {
        path for path in train.ids if path.startswith("Faces")
    }
    again, _, _ = draw_per_class(split, [3, 2, None], 0)
    assert list(again.ids) == list(train.ids)
    draws = {tuple(draw_per_class(split, [3, 2, None], seed)[0].ids) for seed in range(5)}
    assert len(draws) == 5
    # In the split's own order.
    assert list(train.ids) == [path for path in split.ids if path in set(train.ids)]


def test_every_image_is_drawn_as_often(tmp_path: Path) -> None:
    split = split_of(tmp_path)
    counts = dict.fromkeys(split.ids, 0)
    for seed in range(300):
        for path in draw_per_class(split, [3], seed)[0].ids:
            counts[path] += 1
    for path, count in counts.items():
        expected = 300 * 3 / COUNTS[path.split("/")[0]]
        assert abs(count - expected) < 5 * np.sqrt(expected), path


def test_options_have_bounds(tmp_path: Path) -> None:
    for options, message in (
        ({"centre": 0}, "dataset.centre lies above 0"),
        ({"centre": 1.5}, "dataset.centre lies above 0"),
        ({"train_per_class": 0}, "dataset.train_per_class is a whole number of at least 1"),
        ({"test_per_class": 2.5}, "dataset.test_per_class is a whole number"),
        ({"split_seed": -1}, "dataset.split_seed is a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            Caltech101(root=str(tmp_path), **options)


def test_the_middle_is_the_default_s_choice_alone(tmp_path: Path) -> None:
    draw_all(tmp_path, [f"accordion/image_{number}.jpg" for number in range(4)])
    whole = Caltech101(root=str(tmp_path), train_per_class=2)
    middle = Caltech101(root=str(tmp_path), train_per_class=2, centre=0.5)
    before, after = whole.read_splits().test, middle.read_splits().test
    assert list(before.ids) == list(after.ids)
    assert not isinstance(before, CentredSplit | CroppedSplit)
    assert after.read(0).image_HW3.shape[1] == before.read(0).image_HW3.shape[1] // 2
