"""Tiny ImageNet: inclusive corners become half-open, folder and zip agree, and errors say what and where."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cam_lightning.dataset.tiny_imagenet import TinyImageNet
from cam_lightning.functional.box import centre_box
from cam_lightning.functional.overlap import best_overlap

CLASSES = ["n01000001", "n02000003", "n03000002"]


def dataset(root: Path | str, **options: Any) -> TinyImageNet:
    options = {"image_size": 16, "batch_size": 4, "num_workers": 0, **options}
    data = TinyImageNet(root=str(root), **options)
    data.setup()
    return data


@pytest.fixture(params=["folder", "zip", "zip without a top folder"])
def root(request: pytest.FixtureRequest, tiny_folder: Path, zipped: Callable[..., Path]) -> Path:
    if request.param == "folder":
        return tiny_folder
    return zipped(tiny_folder, top="tiny-imagenet-3/" if request.param == "zip" else "")


def test_classes_are_sorted_and_images_counted(root: Path) -> None:
    data = dataset(root, val_fraction=0.2)
    assert data.class_names == CLASSES
    assert data.num_classes == 3
    assert {name: len(examples) for name, examples in data.examples.items()} == {
        "train": 12,
        "val": 3,
        "test": 6,
    }
    assert data.display_name("n02000003") == "goldfish"
    assert data.display_name("n01000001") == "n01000001"


def test_labels_sizes_and_half_open_boxes(root: Path) -> None:
    """Image i is 40 + i high, 70 - i wide, its box x i..69 - i, y 2..20 + i inclusive, its blue 8 · i."""
    data = dataset(root)
    seen = set()
    for split in data.examples.values():
        for index, path in enumerate(split.ids):
            image, boxes, _ = split.split.read(index)
            number = image.shape[0] - 40
            assert image.shape == (40 + number, 70 - number, 3)
            assert boxes.dtype == np.float32
            assert boxes.tolist() == [[number, 2, 70 - number, 21 + number]]
            assert abs(image[..., 2].mean() - 8 * number) < 2
            class_name = data.class_names[split.split.label_N[index]]
            if number < 15:
                assert path == f"train/{class_name}/images/{class_name}_{number % 5}.JPEG"
            else:
                # In the conftest, the test images go round the unsorted classes.
                assert path == f"val/images/val_{number - 15}.JPEG"
                assert class_name == ("n02000003", "n01000001", "n03000002")[number % 3]
            seen.add(number)
    assert seen == set(range(21))


def test_folder_and_zip_give_the_same_batches(tiny_folder: Path, zipped: Callable[..., Path]) -> None:
    loaders = [dataset(root).test_dataloader() for root in (tiny_folder, zipped(tiny_folder))]
    for one, other in zip(*loaders, strict=True):
        assert (one.image_B3HW == other.image_B3HW).all()
        assert all((a == b).all() for a, b in zip(one.truth[:4], other.truth[:4], strict=True))
        assert one.truth.mask_BHW is other.truth.mask_BHW is None


def test_test_images_of_classes_that_are_not_listed_are_left_out(tiny_folder: Path) -> None:
    """A zip of some classes may carry the annotations of all."""
    (tiny_folder / "wnids.txt").write_text("n01000001\n")
    data = dataset(tiny_folder)
    assert data.class_names == ["n01000001"]
    assert len(data.examples["test"]) == 2


# Bad input: one clear error, in `setup`, that names the thing


def test_a_missing_root(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^dataset\.root=.*/no where\.zip does not exist$"):
        dataset(tmp_path / "no where.zip")


def test_another_layout_says_what_was_expected_and_found(tmp_path: Path, zipped: Callable[..., Path]) -> None:
    other = tmp_path / "other"
    (other / "training" / "cat").mkdir(parents=True)
    (other / "readme.md").write_text("hello")
    for root in (other, zipped(other), zipped(other, top="", name="flat.zip")):
        with pytest.raises(FileNotFoundError) as caught:
            dataset(root)
        message = str(caught.value)
        assert f"dataset.root={root} is not laid out as Tiny ImageNet: expected wnids.txt, train/" in message
        assert "found readme.md, training." in message


def test_the_folder_above_is_told_by_what_it_holds(tiny_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="found it's a = tiny, folder"):
        dataset(tiny_folder.parent)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="found nothing"):
        dataset(tmp_path)


def test_not_a_zip(tmp_path: Path) -> None:
    (tmp_path / "page.zip").write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"page\.zip is neither a folder nor a zip archive"):
        dataset(tmp_path / "page.zip")


def test_a_truncated_zip(tiny_folder: Path, zipped: Callable[..., Path]) -> None:
    path = zipped(tiny_folder)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"tiny\.zip is neither a folder nor a zip archive"):
        dataset(path)


def test_a_class_without_its_folder(tiny_folder: Path) -> None:
    shutil.rmtree(tiny_folder / "train" / "n03000002")
    with pytest.raises(FileNotFoundError, match=r"train/n03000002/n03000002_boxes\.txt does not exist"):
        dataset(tiny_folder)


def test_a_class_without_training_images(tiny_folder: Path) -> None:
    (tiny_folder / "train" / "n03000002" / "n03000002_boxes.txt").write_text("")
    with pytest.raises(ValueError, match="the training split has no image of 1 of 3 classes: n03000002"):
        dataset(tiny_folder)


def test_a_class_without_test_images(tiny_folder: Path) -> None:
    path = tiny_folder / "val" / "val_annotations.txt"
    path.write_text("".join(row + "\n" for row in path.read_text().splitlines() if "n02000003" not in row))
    with pytest.raises(ValueError, match="the test split has no image of 1 of 3 classes: n02000003"):
        dataset(tiny_folder)


def test_no_test_images_at_all(tiny_folder: Path) -> None:
    (tiny_folder / "val" / "val_annotations.txt").write_text("")
    with pytest.raises(ValueError, match="the test split has no image of 3 of 3 classes: n01000001, n02000003"):
        dataset(tiny_folder)


def test_a_box_of_a_missing_image(tiny_folder: Path, zipped: Callable[..., Path]) -> None:
    (tiny_folder / "train" / "n02000003" / "images" / "n02000003_3.JPEG").unlink()
    for root in (tiny_folder, zipped(tiny_folder)):
        with pytest.raises(FileNotFoundError) as caught:
            dataset(root)
        assert str(caught.value).startswith(str(root))
        assert "train/n02000003/images/n02000003_3.JPEG does not exist" in str(caught.value)
        assert "1 of 21 images are missing" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("a.JPEG\t1\t2\t3", "expected file and four numbers"),
        ("a.JPEG\t1\t2\t3\t4\t5", "expected file and four numbers"),
        ("a.JPEG", "expected file and four numbers"),
        ("a.JPEG 1 2 3 4", "expected file and four numbers"),
        ("a.JPEG\t1\t2\tthree\t4", "expected file and four numbers"),
        ("a.JPEG\t9\t2\t3\t4", "a box ends before it starts"),
        ("a.JPEG\t1\t9\t3\t4", "a box ends before it starts"),
        ("a.JPEG\t-1\t2\t3\t4", "a box ends before it starts"),
    ],
)
def test_a_bad_row_of_boxes(tiny_folder: Path, row: str, complaint: str) -> None:
    path = tiny_folder / "train" / "n02000003" / "n02000003_boxes.txt"
    path.write_text(path.read_text() + row + "\n")
    with pytest.raises(ValueError) as caught:
        dataset(tiny_folder)
    assert str(caught.value).startswith(f"{path}: {complaint}")
    assert repr(row) in str(caught.value)


def test_a_bad_row_of_annotations(tiny_folder: Path) -> None:
    path = tiny_folder / "val" / "val_annotations.txt"
    path.write_text("val_0.JPEG\t0\t0\t5\t5\n")
    with pytest.raises(ValueError, match=r"val_annotations\.txt: expected file, class and four numbers, got 'val_0"):
        dataset(tiny_folder)


BROKEN = {"truncated": None, "text": b"not a photo at all", "empty": b""}


@pytest.mark.parametrize(
    ("kind", "packed", "num_workers"),
    [*((kind, packed, 0) for kind in BROKEN for packed in (False, True)), ("truncated", True, 1)],
)
def test_an_image_that_cannot_be_read_is_named(
    tiny_folder: Path, zipped: Callable[..., Path], kind: str, num_workers: int, packed: bool
) -> None:
    """Also where a worker process meets it."""
    photo = tiny_folder / "val" / "images" / "val_4.JPEG"
    data = photo.read_bytes()
    photo.write_bytes(data[: len(data) // 2] if kind == "truncated" else BROKEN[kind])
    root = zipped(tiny_folder) if packed else tiny_folder
    place = f"{root}!tiny-imagenet-3/val/images/val_4.JPEG" if packed else str(photo)
    loader = iter(dataset(root, num_workers=num_workers).test_dataloader())
    assert next(loader).index_B.tolist() == [0, 1, 2, 3]
    with pytest.raises(OSError) as caught:
        next(loader)
    assert f"{place} cannot be read as an image" in str(caught.value)


# The real thing


@pytest.fixture(scope="module")
def real(reference_data: Path) -> TinyImageNet:
    return dataset(reference_data / "tiny-imagenet-40.zip", val_fraction=0.1)


@pytest.mark.reference
def test_counts_of_the_real_subset(real: TinyImageNet) -> None:
    assert real.num_classes == 40
    assert len(real.examples["train"]) == 18_000
    assert len(real.examples["val"]) == 2_000
    assert len(real.examples["test"]) == 2_000
    assert np.bincount(real.examples["val"].split.label_N).tolist() == [50] * 40
    assert np.bincount(real.examples["test"].split.label_N).tolist() == [50] * 40
    paths = {*real.examples["train"].ids, *real.examples["val"].ids}
    assert len(paths) == 20_000
    photo, boxes, _ = real.examples["test"].split.read(0)
    assert photo.shape == (64, 64, 3)
    assert boxes.shape == (1, 4)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("share", "percent"),
    [
        (1.0, "52.95"),
        (0.6, "22.7"),
        (0.7, "50.9"),
        (0.75, "59.8"),
        (0.8, "59.4"),
        (0.85, "58.8"),
        (0.9, "56.7"),
    ],
)
def test_how_many_trivial_boxes_hit(real: TinyImageNet, share: float, percent: str) -> None:
    """Counted by others on the 2,000 validation boxes: IoU of at least 0.5, half-open; halves rounded up."""
    boxes_BN4 = torch.from_numpy(real.examples["test"].split.boxes_N4)[:, None]
    guess_BP4 = centre_box(torch.tensor([[64, 64]]), share).expand(len(boxes_BN4), 1, 4)
    iou_BP = best_overlap(guess_BP4, boxes_BN4, torch.ones(len(boxes_BN4), dtype=torch.int64))
    hits = int((iou_BP >= 0.5).sum())
    assert len(iou_BP) == 2_000
    assert (Decimal(hits) / 20).quantize(Decimal(percent), ROUND_HALF_UP) == Decimal(percent)
