"""OpenImages30k: masks of several instances, of another size than the photo, and regions that are not scored."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cam_lightning.dataset.openimages30k import OpenImages30k

CLASSES = ["01226z", "0ph39"]
MASK = (24, 36)
"""Height and width of the masks; the photos are 50×77."""


def write_mask(path: Path, x0: int, y0: int, x1: int, y1: int) -> None:
    mask = np.zeros(MASK, np.uint8)
    mask[y0:y1, x0:x1] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


@pytest.fixture
def roots(tmp_path: Path, draw_photo: Callable[..., None]) -> tuple[Path, Path]:
    """Root and metadata: two training images of each class, one of each in `val` and `test`."""
    root, metadata = tmp_path / "OpenImages", tmp_path / "metadata"
    for part, count in (("train", 4), ("val", 1), ("test", 1)):
        ids, labels, rows = [], [], []
        for label, name in enumerate(CLASSES):
            for i in range(count):
                stem = f"{part}/{name}/{i}"
                draw_photo(root / f"{stem}.jpg", 50, 77, [], ("RGB", "L")[i % 2])
                ids.append(f"{stem}.jpg")
                labels.append(f"{stem}.jpg,{label}")
                if part != "train":
                    write_mask(root / f"{stem}_a.png", 2, 3, 10, 12)
                    write_mask(root / f"{stem}_b.png", 20, 10, 36, 24)
                    write_mask(root / f"{stem}_ignore.png", 0, 0, 36, 6)
                    ignore = f"{stem}_ignore.png" if label == 0 else ""
                    rows += [f"{stem}.jpg,{stem}_a.png,{ignore}", f"{stem}.jpg,{stem}_b.png,"]
        (metadata / part).mkdir(parents=True)
        for file, lines in (("image_ids", ids), ("class_labels", labels), ("localization", rows), ("image_sizes", [])):
            (metadata / part / f"{file}.txt").write_text("\n".join(lines))
    (metadata / "train" / "image_ids_proxy.txt").write_text("train/01226z/0.jpg\ntrain/0ph39/3.jpg\n")
    return root, metadata


def dataset(roots: tuple[Path, Path], **options: Any) -> OpenImages30k:
    common = {"image_size": (30, 42), "batch_size": 2, "num_workers": 0}
    data = OpenImages30k(root=str(roots[0]), metadata=str(roots[1]), **{**common, **options})
    data.setup()
    return data


def expected(has_ignored: bool) -> np.ndarray:
    """An object wins over an ignored region, as in the benchmark."""
    mask = np.zeros(MASK, np.uint8)
    if has_ignored:
        mask[0:6] = 255
    mask[3:12, 2:10] = 1
    mask[10:24, 20:36] = 1
    return mask


def test_splits_labels_and_masks(roots: tuple[Path, Path]) -> None:
    data = dataset(roots)
    assert data.class_names == CLASSES
    assert {name: len(examples) for name, examples in data.examples.items()} == {"train": 8, "val": 2, "test": 2}
    assert data.examples["train"].split.label_N.tolist() == [0] * 4 + [1] * 4
    assert data.examples["train"].split.read(0).mask_HW is None
    for name in ("val", "test"):
        split = data.examples[name].split
        for label in (0, 1):
            image_HW3, boxes_N4, mask_HW = split.read(label)
            assert (image_HW3.shape, boxes_N4.shape) == ((50, 77, 3), (0, 4))
            assert split.encoded(label) == (
                str(roots[0] / split.ids[label]),
                (roots[0] / split.ids[label]).read_bytes(),
            )
            assert (split.annotation(label).boxes_N4.shape, split.annotation(label).size) == ((0, 4), None)
            assert mask_HW is not None
            assert (mask_HW == expected(label == 0)).all()


def test_the_masks_of_a_batch_are_the_benchmark_s(roots: tuple[Path, Path]) -> None:
    """It resizes each mask to the nearest pixel, then joins them, and takes objects out of what it ignores."""
    (batch,) = dataset(roots).test_dataloader()
    assert batch.truth.num_boxes_B.tolist() == [0, 0]
    assert batch.truth.mask_BHW is not None
    for label, name in enumerate(CLASSES):
        masks = [cv2.imread(str(roots[0] / "test" / name / f"0_{part}.png"), 0) for part in ("a", "b", "ignore")]
        one, other, ignored = (cv2.resize(mask, (42, 30), interpolation=cv2.INTER_NEAREST) > 0.5 for mask in masks)
        objects = one | other
        truth = objects.astype(np.uint8) + 255 * (ignored & ~objects if label == 0 else np.zeros_like(objects))
        assert (batch.truth.mask_BHW[label].numpy() == truth).all()
        assert set(np.unique(truth)) == ({0, 1, 255} if label == 0 else {0, 1})


def test_the_benchmark_s_short_list_and_chosen_classes(roots: tuple[Path, Path]) -> None:
    data = dataset(roots, proxy=True)
    assert list(data.examples["train"].ids) == ["train/01226z/0.jpg", "train/0ph39/3.jpg"]
    data = dataset(roots, classes=["0ph39"], images_per_class=3)
    assert {name: len(examples) for name, examples in data.examples.items()} == {"train": 3, "val": 1, "test": 1}


def test_masks_may_lie_elsewhere(roots: tuple[Path, Path], tmp_path: Path) -> None:
    for part in ("val", "test"):
        for path in (roots[0] / part).rglob("*.png"):
            target = tmp_path / "masks" / path.relative_to(roots[0])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
    with pytest.raises(FileNotFoundError, match=r"val/01226z/0_a\.png does not exist, though .*\(5 of 5 files.*Fetch"):
        dataset(roots)
    mask_HW = dataset(roots, masks=str(tmp_path / "masks")).examples["test"].split.read(1).mask_HW
    assert mask_HW is not None
    assert (mask_HW == expected(False)).all()


@pytest.mark.parametrize("part", ["val", "test"])
def test_an_image_without_a_mask_among_others_that_have_theirs_is_said_before_anything_is_trained(
    roots: tuple[Path, Path], part: str
) -> None:
    localization = roots[1] / part / "localization.txt"
    rows = localization.read_text().splitlines()
    localization.write_text("\n".join(row for row in rows if not row.startswith(f"{part}/0ph39/0.jpg")))
    said = rf"{part}/localization.txt has no mask of '{part}/0ph39/0\.jpg' \(1 of 2 images have none\)"
    with pytest.raises(ValueError, match=said):
        dataset(roots)


def test_what_is_wrong_is_said(roots: tuple[Path, Path]) -> None:
    root, metadata = roots
    (root / "train" / "0ph39" / "1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"train/0ph39/1\.jpg does not exist, though the WSOL index lists it"):
        dataset(roots)
    labels = metadata / "train" / "class_labels.txt"
    text = labels.read_text()
    shutil.copy(root / "train" / "0ph39" / "0.jpg", root / "train" / "0ph39" / "1.jpg")
    labels.write_text(text.replace("train/0ph39/1.jpg,1", "train/0ph39/1.jpg,0"))
    with pytest.raises(ValueError, match=r"gives the label 0 to '01226z' and to 'train/0ph39/1\.jpg'"):
        dataset(roots)
    labels.write_text(text.replace(",1", ",7"))
    with pytest.raises(ValueError, match=r"gives 2 classes the labels \[0, 7\]"):
        dataset(roots)
    shutil.rmtree(root / "val")
    with pytest.raises(FileNotFoundError, match=r"not laid out as OpenImages30k: .* found test, train\. Fetch"):
        dataset(roots)
