"""CUB-200-2011 from its official files: x y width height, masks, CUBV2, and the three views."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cam_lightning.dataset.cub200 import Cub200

CLASSES = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.It's_a_Bird"]
MODES = ("RGB", "L", "CMYK")


def size_of(number: int) -> tuple[int, int]:
    return 50 + number, 90 - number


def box_of(number: int) -> tuple[int, int, int, int]:
    """x, y, width, height."""
    return 3 + number, 5, 30 - number, 20 + number


def half_open(number: int) -> list[float]:
    x, y, width, height = box_of(number)
    return [x, y, x + width, y + height]


def name_of(number: int) -> str:
    """Twelve images, four of each class; odd ones are for training."""
    return f"{CLASSES[(number - 1) // 4]}/Bird_{number:04d}.jpg"


def number_of(path: str) -> int:
    return int(path[-8:-4])


@pytest.fixture
def root(tmp_path: Path, draw_photo: Callable[..., None]) -> Path:
    root = tmp_path / "birds" / "CUB_200_2011"
    numbers = range(1, 13)
    for number in numbers:
        x0, y0, x1, y1 = map(int, half_open(number))
        inside = [[x0, y0, x1 - 1, y1 - 1]]
        draw_photo(root / "images" / name_of(number), *size_of(number), inside, MODES[number % 3])
        mask = np.zeros(size_of(number), np.uint8)
        mask[y0:y1, x0:x1] = 127
        mask[y0 + 2 : y1, x0:x1] = 204
        path = root.parent / "segmentations" / name_of(number).replace(".jpg", ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    tables = {
        "images": [name_of(n) for n in numbers],
        "train_test_split": [str(n % 2) for n in numbers],
        "image_class_labels": [str((n - 1) // 4 + 1) for n in numbers],
        "bounding_boxes": [" ".join(f"{value}.0" for value in box_of(n)) for n in numbers],
        "classes": CLASSES,
    }
    for name, values in tables.items():
        (root / f"{name}.txt").write_text("".join(f"{i} {value}\n" for i, value in enumerate(values, start=1)))
    return root


def dataset(root: Path, **options: Any) -> Cub200:
    common = {"image_size": (60, 70), "batch_size": 4, "num_workers": 0, "val_fraction": 0.5}
    data = Cub200(root=str(root), **{**common, **options})
    data.setup()
    return data


@pytest.mark.parametrize("parent", [False, True])
def test_labels_parts_and_boxes(
    root: Path, parent: bool, bright_boxes: Callable[..., Any], through_the_transform: Callable[..., None]
) -> None:
    data = dataset(root.parent if parent else root)
    assert data.class_names == CLASSES
    assert data.display_name(CLASSES[0]) == "Black footed Albatross"
    numbers = {name: [number_of(path) for path in examples.ids] for name, examples in data.examples.items()}
    assert numbers["test"] == [2, 4, 6, 8, 10, 12]
    assert sorted(numbers["train"] + numbers["val"]) == [1, 3, 5, 7, 9, 11]
    for examples in data.examples.values():
        for index, path in enumerate(examples.ids):
            number = number_of(path)
            assert examples.split.label_N[index] == (number - 1) // 4
            image_HW3, boxes_N4, mask_HW = examples.split.read(index)
            assert image_HW3.shape == (*size_of(number), 3)
            assert boxes_N4.tolist() == [half_open(number)]
            assert bright_boxes(image_HW3) == [half_open(number)]
            assert mask_HW is None
    through_the_transform(data.test_dataloader())


@pytest.mark.parametrize("given", [False, True])
def test_segmentations_are_what_half_of_the_annotators_marked(root: Path, given: bool) -> None:
    """Two rows of each were marked by less than half."""
    where = root.parent / "segmentations"
    split = dataset(root if given else root.parent, segmentations=str(where) if given else True).examples["test"].split
    for index in range(6):
        number = number_of(split.ids[index])
        x0, y0, x1, y1 = map(int, half_open(number))
        expected = np.zeros(size_of(number), np.uint8)
        expected[y0 + 2 : y1, x0:x1] = 1
        assert (split.read(index).mask_HW == expected).all()
    (where / name_of(2).replace(".jpg", ".png")).write_bytes(b"")
    with pytest.raises(OSError, match=r"Bird_0002\.png cannot be read as a mask"):
        split.read(0)


def test_the_ground_truth_box_alone(root: Path) -> None:
    """The box is then the whole image; training too sees boxes only."""
    data = dataset(root, view="bbox")
    for examples in data.examples.values():
        for index, path in enumerate(examples.ids):
            _, _, width, height = box_of(number_of(path))
            image_HW3, boxes_N4, _ = examples.split.read(index)
            assert image_HW3.shape == (height, width, 3)
            assert image_HW3.min() > 150
            assert boxes_N4.tolist() == [[0, 0, width, height]]


def test_the_box_that_earlier_runs_found(root: Path, tmp_path: Path) -> None:
    """One run over the test images, one over the training images; ground truth moves along."""
    files = []
    for part, test_split in (("a", "test"), ("b", "train")):
        found = dataset(root, test_split=test_split).examples["test"]
        files.append(str(tmp_path / f"{part}.csv"))
        with Path(files[-1]).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "boxes"])
            writer.writerows([path, json.dumps([[2, 4, 40, 45], [0, 0, 1, 1]])] for path in found.ids)
    data = dataset(root, view="crop", crops=files)
    for examples in data.examples.values():
        for index, path in enumerate(examples.ids):
            x0, y0, x1, y1 = half_open(number_of(path))
            image_HW3, boxes_N4, _ = examples.split.read(index)
            assert image_HW3.shape == (41, 38, 3)
            assert boxes_N4.tolist() == [[x0 - 2, y0 - 4, x1 - 2, min(y1 - 4, 41)]]
    with pytest.raises(ValueError, match=r"a\.csv has no box of .*Bird_0001\.jpg' \(6 of 6 images\)"):
        dataset(root, view="crop", crops=files[:1])


@pytest.mark.parametrize("beside", [False, True])
def test_cubv2_is_train_fullsup(
    root: Path,
    tmp_path: Path,
    beside: bool,
    draw_photo: Callable[..., None],
    through_the_transform: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = root / "images" if beside else tmp_path / "CUBV2"
    metadata = tmp_path / "metadata" / "val"
    metadata.mkdir(parents=True)
    names = [f"{name}/{number}.jpg" for name in CLASSES for number in range(2)]
    for name in names:
        draw_photo(folder / name, 44, 61, [[10, 5, 40, 30]])
    (metadata / "image_ids.txt").write_text("\n".join(names))
    (metadata / "class_labels.txt").write_text("\n".join(f"{name},{i // 2}" for i, name in enumerate(names)))
    (metadata / "image_sizes.txt").write_text("\n".join(f"{name},61,44" for name in names))
    (metadata / "localization.txt").write_text("\n".join(f"{name},10,5,41,31" for name in names))
    options = {"metadata": str(metadata.parent), **({} if beside else {"cubv2": str(folder)})}
    data = dataset(root, **options)
    assert {name: len(examples) for name, examples in data.examples.items()} == {"train": 6, "val": 6, "test": 6}
    assert data.examples["val"].split.label_N.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.examples["val"].split.read(5).boxes_N4.tolist() == [[10, 5, 41, 31]]
    through_the_transform(data.val_dataloader())
    assert len(dataset(root, view="bbox", **options).examples["val"]) == 3
    (folder / names[3]).unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.jpg does not exist \(1 of CUBV2's 6 images\)\. Fetch"):
        dataset(root, **options)
    if beside:
        for name in names:
            (folder / name).unlink(missing_ok=True)
        assert set(dataset(root, **options).examples["val"].ids) < set(data.examples["train"].ids)
        assert "CUBV2's images are not there" in caplog.text


def test_the_benchmark_s_short_list(root: Path, tmp_path: Path) -> None:
    train = tmp_path / "metadata" / "train"
    train.mkdir(parents=True)
    names = [name_of(number) for number in (1, 3, 5, 7, 9, 11)]
    (train / "image_ids.txt").write_text("\n".join(names))
    (train / "image_ids_proxy.txt").write_text("\n".join(names[:5]))
    (train / "class_labels.txt").write_text("\n".join(f"{name},{i // 2}" for i, name in enumerate(names)))
    data = dataset(root, proxy=True, metadata=str(train.parent))
    assert len(data.examples["train"]) + len(data.examples["val"]) == 5


def test_the_zip_needs_no_unpacking(root: Path, zipped: Callable[..., Path]) -> None:
    data = dataset(zipped(root.parent, top=""), segmentations=True)
    image_HW3, boxes_N4, mask_HW = data.examples["test"].split.read(0)
    assert boxes_N4.tolist() == [half_open(2)]
    assert mask_HW is not None
    assert mask_HW.shape == image_HW3.shape[:2]


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("images.txt", "1 a.jpg\n1 b.jpg\n", "images.txt, line 2: expected a new number and a value, got '1 b.jpg'"),
        ("images.txt", "one a.jpg\n", "images.txt, line 1: expected a new number"),
        ("train_test_split.txt", "1 0\n2 1\n", "train_test_split.txt and images.txt are not of the same images: see 3"),
        ("bounding_boxes.txt", "\n".join(f"{n} 1 2 3" for n in range(1, 13)), "image 1 has the part '1', class '1'"),
        ("bounding_boxes.txt", "\n".join(f"{n} 1 2 0 4" for n in range(1, 13)), "image 1 has class 1 and box 1 2 0 4"),
        ("image_class_labels.txt", "\n".join(f"{n} 4" for n in range(1, 13)), "image 1 has class 4 and box"),
        ("train_test_split.txt", "\n".join(f"{n} 2" for n in range(1, 13)), "image 1 has the part '2'"),
    ],
)
def test_what_is_wrong_in_a_table_is_said(root: Path, file: str, text: str, complaint: str) -> None:
    (root / file).write_text(text)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        dataset(root)


def test_another_layout_is_said_with_what_to_fetch(root: Path) -> None:
    (root / "bounding_boxes.txt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"not laid out as CUB-200-2011: expected images\.txt.*found .*Fetch CUB"
    ):
        dataset(root)
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError, match=r"found segmentations\. Fetch"):
        dataset(root.parent)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"view": "half"}, r"dataset\.view is one of full, bbox, crop; got 'half'"),
        ({"view": "crop"}, r"dataset\.view=crop takes the boxes of dataset\.crops"),
        ({"crops": "a.csv"}, r"dataset\.view=crop takes the boxes of dataset\.crops"),
        ({"test_split": "val"}, r"dataset\.test_split is train or test; got 'val'"),
        ({"proxy": True}, r"give dataset\.metadata"),
        ({"cubv2": "x"}, r"give dataset\.metadata"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Cub200(root="x", **options)


def test_segmentations_that_are_not_there(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"segmentations does not exist\. Fetch"):
        dataset(root, segmentations=True)


def test_resized_copies_are_refused_where_nobody_said_so(root: Path) -> None:
    """The official files give no sizes, but boxes that end outside."""
    for number in range(1, 13):
        path = root / "images" / name_of(number)
        Image.open(path).resize((32, 32)).save(path)
    with pytest.raises(ValueError, match=r"images looked at .* is 32×32, and its boxes end at .*resized=true"):
        dataset(root)


@pytest.mark.parametrize("view", ["full", "bbox"])
@pytest.mark.parametrize("squashed", [False, True])
def test_resized_copies_have_boxes_scaled_to_them(
    root: Path, tmp_path: Path, squashed: bool, view: str, bright_boxes: Callable[..., Any]
) -> None:
    """The original sizes are in the WSOL index alone; masks stay what they are of: the whole photo."""
    with pytest.raises(
        ValueError, match=r"dataset\.resized=true scales .* the official files lack .*dataset\.metadata"
    ):
        dataset(root, resized=True)
    for part, rest in (("train", 1), ("test", 0)):
        folder = tmp_path / "metadata" / part
        folder.mkdir(parents=True)
        own = [number for number in range(1, 13) if number % 2 == rest]
        (folder / "image_ids.txt").write_text("\n".join(map(name_of, own)))
        (folder / "class_labels.txt").write_text("\n".join(f"{name_of(n)},{(n - 1) // 4}" for n in own))
        (folder / "image_sizes.txt").write_text("\n".join(f"{name_of(n)},{size_of(n)[1]},{size_of(n)[0]}" for n in own))
    sizes = {}
    for number in range(1, 13):
        height, width = sizes[number] = (64, 64) if squashed else tuple(2 * side for side in size_of(number))
        path = root / "images" / name_of(number)
        Image.open(path).resize((width, height)).save(path, quality=98)
    data = dataset(root, resized=True, metadata=str(tmp_path / "metadata"), view=view)
    for examples in data.examples.values():
        for index, path in enumerate(examples.ids):
            number = number_of(path)
            (height, width), (rows, columns) = sizes[number], size_of(number)
            expected = half_open(number) * np.array([width / columns, height / rows] * 2)
            image_HW3, boxes_N4, _ = examples.split.read(index)
            if view == "full":
                assert image_HW3.shape == (height, width, 3)
                np.testing.assert_allclose(boxes_N4, expected[None], rtol=1e-6)
                np.testing.assert_allclose(bright_boxes(image_HW3), expected[None], atol=1.5)
            else:
                edges = [*np.floor(expected[:2]), *np.ceil(expected[2:])]
                assert image_HW3.shape[:2] == (edges[3] - edges[1], edges[2] - edges[0])
                assert image_HW3.mean() > 180
    if view == "full":
        Image.new("RGB", (90, 40)).save(root / "images" / name_of(4))
        with pytest.raises(ValueError, match=r"Bird_0004\.jpg is 90×40, which no resize makes of a photo of 86×54"):
            dataset(root, resized=True, metadata=str(tmp_path / "metadata"))
