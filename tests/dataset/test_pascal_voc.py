"""Pascal VOC: boxes by class, one entry for each class in evaluation and one for each image in training."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voc_tree import Scene, Thing, random_scenes, write_scene, write_voc

from cam_lightning.contracts import CLASS_NOT_KNOWN
from cam_lightning.dataset.pascal_voc import PascalVoc
from cam_lightning.dataset.pipeline.split import once_per_image
from cam_lightning.dataset.tool.check import check
from cam_lightning.dataset.tool.resize import resize

TEST = {
    "2007_000001": Scene(
        40,
        70,
        [Thing("dog", (30, 5, 50, 25)), Thing("bird", (1, 2, 11, 30)), Thing("dog", (55, 10, 69, 39))],
    ),
    "2007_000002": Scene(50, 64, [Thing("cat", (0, 0, 64, 50))]),
    "2007_000003": Scene(44, 61, [Thing("bird", (3, 4, 20, 40)), Thing("cat", (30, 8, 60, 44), True)]),
    "2007_000004": Scene(41, 62, [Thing("dog", (8, 8, 30, 30), True), Thing("cat", (40, 3, 60, 20), True)]),
    "2007_000005": Scene(42, 63, [Thing("cat", (2, 2, 20, 20)), Thing("cat", (30, 10, 50, 40), True)]),
}
BIRD, CAT, DOG = range(3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_voc(tmp_path / "VOCdevkit" / "VOC2007", {"trainval": random_scenes(12, 0), "test": TEST})


def dataset(root: Path, **options: Any) -> PascalVoc:
    common = {"image_size": (40, 60), "batch_size": 4, "num_workers": 0, "val_fraction": 0.34}
    data = PascalVoc(root=str(root), **{**common, **options})
    data.setup()
    return data


def entries(data: PascalVoc, split: str) -> dict[str, tuple[int, list[list[float]], list[int]]]:
    """Label, boxes and classes of every entry, as batches have them, by id."""
    found = {}
    loader = {"val": data.val_dataloader, "test": data.test_dataloader}[split]
    for batch in loader():
        truth = batch.truth
        for row, index in enumerate(batch.index_B.tolist()):
            boxes = truth.boxes_BN4[row, : truth.num_boxes_B[row]].tolist()
            found[data.examples[split].ids[index]] = (int(truth.label_B[row]), boxes, truth.classes_BC[row].tolist())
    return found


def expected_entries(scenes: dict[str, Scene], difficult: bool) -> dict[str, tuple[int, list[list[int]], list[int]]]:
    """By a plain loop."""
    names, found = ["bird", "cat", "dog"], {}
    for image, scene in scenes.items():
        shown = [0, 0, 0]
        for name in names:
            kinds = [thing.difficult for thing in scene.things if thing.name == name]
            if kinds:
                shown[names.index(name)] = 1 if difficult or not all(kinds) else CLASS_NOT_KNOWN
        of = [c for c in range(3) if shown[c] == 1] or [shown.index(CLASS_NOT_KNOWN)]
        for label in of:
            boxes = [
                list(thing.box)
                for thing in scene.things
                if thing.name == names[label] and (difficult or not thing.difficult)
            ]
            found[f"{image}/{names[label]}"] = (label, boxes, shown)
    return found


@pytest.mark.parametrize("difficult", [False, True])
def test_evaluation_sees_an_image_once_for_every_class_with_the_boxes_of_that_class(
    root: Path, difficult: bool
) -> None:
    data = dataset(root, difficult=difficult)
    found = entries(data, "test")
    assert data.class_names == ["bird", "cat", "dog"]
    assert found == expected_entries(TEST, difficult)
    assert list(found) == list(expected_entries(TEST, difficult))
    # Some by hand: two boxes of one class, a class that is not known, an image of none but such, one object of two.
    assert found["2007_000001/dog"] == (DOG, [[30, 5, 50, 25], [55, 10, 69, 39]], [1, 0, 1])
    if not difficult:
        assert found["2007_000003/bird"] == (BIRD, [[3, 4, 20, 40]], [1, 255, 0])
        assert found["2007_000004/cat"] == (CAT, [], [0, 255, 255])
        assert found["2007_000005/cat"][1] == [[2, 2, 20, 20]]
    assert len(found) == (8 if difficult else 6)


def test_training_sees_every_image_once_with_all_classes(root: Path) -> None:
    data = dataset(root)
    scenes = random_scenes(12, 0)
    kept, held = data.examples["train"], data.examples["val"]
    assert len(kept) > 5
    images = [identity.partition("/")[0] for identity in kept.ids]
    assert len(set(images)) == len(images)
    for index, image in enumerate(images):
        example = kept[0, index]
        shown = [int(any(thing.name == name for thing in scenes[image].things)) for name in ("bird", "cat", "dog")]
        assert example.classes_C.tolist() == shown
        assert example.label == shown.index(1)
        assert (*example.size,) == (scenes[image].height, scenes[image].width)
    held_images = {identity.partition("/")[0] for identity in held.ids}
    assert held_images | set(images) == set(scenes)
    assert not held_images & set(images)
    # Of the images held out every class is evaluated.
    of_val = {image: scenes[image] for image in scenes if image in held_images}
    assert entries(data, "val") == expected_entries(of_val, False)
    assert len(held) > len(held_images)


def test_boxes_survive_the_transform(
    tmp_path: Path, draw_photo: Callable[..., None], through_the_transform: Callable[..., None]
) -> None:
    root = write_voc(tmp_path / "VOC2012", {"val": {"a": Scene(52, 77, [Thing("cat", (7, 5, 40, 31))])}})
    draw_photo(root / "JPEGImages/a.jpg", 52, 77, [[7, 5, 39, 30]])
    data = dataset(root)
    assert "train" not in data.examples
    through_the_transform(data.test_dataloader())


def test_the_lists(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = {"train": random_scenes(6, 1), "val": random_scenes(3, 2, 100)}
    root = write_voc(tmp_path / "VOC2012", parts | {"trainval": parts["train"] | parts["val"]})

    def images(data: PascalVoc, split: str) -> set[str]:
        return {identity.partition("/")[0] for identity in data.examples[split].ids}

    def both(data: PascalVoc) -> tuple[set[str], set[str]]:
        return images(data, "train") | images(data, "val"), images(data, "test")

    assert both(dataset(root)) == (set(parts["train"]), set(parts["val"]))
    # A list of test images whose annotations are not public, as in 2012.
    (root / "ImageSets/Main/test.txt").write_text("hidden\n")
    assert both(dataset(root)) == (set(parts["train"]), set(parts["val"]))
    write_voc(root, {"test": random_scenes(3, 3, 200)})
    everything = set(parts["train"]) | set(parts["val"])
    assert both(dataset(root)) == (everything, set(random_scenes(3, 3, 200)))
    assert both(dataset(root, test_list="train", train_list="val")) == (set(parts["val"]), set(parts["train"]))
    with pytest.raises(
        ValueError, match=r"3 images are in both dataset\.train_list=trainval and .*=val, such as 000100"
    ):
        dataset(root, train_list="trainval", test_list="val")
    (root / "ImageSets/Main/trainval.txt").unlink()
    caplog.clear()
    assert "train" not in dataset(root).examples
    assert "it can be evaluated only" in caplog.text
    with pytest.raises(FileNotFoundError, match=r"ImageSets/Main/mine\.txt does not exist"):
        dataset(root, train_list="mine")


def test_folders_and_archives_are_read_alike(root: Path, zipped: Callable[..., Path]) -> None:
    inside, around = dataset(root), dataset(root.parent)
    packed = dataset(zipped(root.parent, "VOCdevkit/", "voc.zip"))
    for data in (around, packed):
        assert entries(data, "test") == entries(inside, "test")
        assert list(data.examples["train"].ids) == list(inside.examples["train"].ids)
        assert data.fingerprints() == inside.fingerprints()
    shutil.copytree(root, root.parent / "VOC2012")
    with pytest.raises(ValueError, match=r"holds VOC2007, VOC2012: name one of them, dataset\.root=.*VOC2007"):
        dataset(root.parent)


def test_smaller_splits_are_of_images(root: Path) -> None:
    data = dataset(root, test_every=2)
    assert list(data.examples["test"].ids) == [
        "2007_000001/bird",
        "2007_000001/dog",
        "2007_000003/bird",
        "2007_000005/cat",
    ]
    assert list(data.images_of("test").ids) == ["2007_000001/bird", "2007_000003/bird", "2007_000005/cat"]
    few = dataset(root, images_per_class=1)
    assert len(few.examples["train"]) == len({*few.examples["train"].split.label_N.tolist()})


def test_what_is_wrong_is_said(root: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset\.classes chooses among images of one label each"):
        dataset(root, classes=["cat"])
    with pytest.raises(FileNotFoundError, match=r"is not laid out as Pascal VOC: expected Annotations, ImageSets"):
        dataset(root / "Annotations")
    (root / "ImageSets/Main/test.txt").write_text("2007_000001\n\n2007_000001\n")
    with pytest.raises(ValueError, match=r"test\.txt: '2007_000001' is there twice"):
        dataset(root)
    (root / "ImageSets/Main/test.txt").write_text("2007_000001\n2007_000099\n")
    with pytest.raises(
        FileNotFoundError, match=r"Annotations/2007_000099\.xml does not exist, though .*test\.txt lists"
    ):
        dataset(root)


def test_an_annotation_of_another_photo_is_refused(root: Path) -> None:
    path = root / "Annotations/2007_000002.xml"
    whole = path.read_text()
    path.write_text(whole.replace("<width>64</width>", "<width>46</width>"))
    with pytest.raises(ValueError, match=r"2007_000002\.jpg is 64×50, its annotation says 46×50"):
        dataset(root)
    path.write_text(whole.replace("<xmax>64</xmax>", "<xmax>164</xmax>"))
    data = dataset(root)
    with pytest.raises(OSError, match=r"2007_000002\.jpg: box 0 0 164 50 .* leaves its image"):
        data.examples["test"].split.read(list(data.examples["test"].ids).index("2007_000002/cat"))


def test_images_without_an_object_are_left_out_with_a_word(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_scene(root, "2007_000002", Scene(50, 64, []))
    with caplog.at_level(logging.WARNING):
        data = dataset(root)
    assert not any(identity.startswith("2007_000002") for identity in data.examples["test"].ids)
    assert "1 images of" in caplog.text
    assert "have no object and are left out, such as 2007_000002" in caplog.text
    (finding,) = data.findings()
    assert not finding.is_wrong


def test_the_check_counts_images_and_all_boxes(root: Path) -> None:
    report = check(dataset(root), True, lambda things, *_: things)
    assert [finding for finding in report.findings if finding.is_wrong] == []
    test = report.splits["test"]
    assert (test.num_images, test.num_boxes, test.num_without_box) == (5, 6, 1)
    assert test.num_per_class == {"bird": 2, "cat": 2, "dog": 1}
    shutil.copy(root / "JPEGImages/2007_000001.jpg", root / "JPEGImages/2007_000009.jpg")
    shutil.copy(root / "Annotations/2007_000001.xml", root / "Annotations/2007_000009.xml")
    with (root / "ImageSets/Main/test.txt").open("a") as file:
        file.write("2007_000009\n")
    kinds = [(each.kind, each.is_wrong) for each in check(dataset(root), False, lambda things, *_: things).findings]
    assert kinds == [("copy", False)]


def test_a_copy_in_class_folders_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="several classes have no one folder"):
        resize(dataset(root), tmp_path / "small", 20, 90, lambda things, *_: things)


def test_every_image_once(root: Path) -> None:
    split = dataset(root).chosen_splits().test
    once = once_per_image(split)
    assert list(once.ids) == [
        f"2007_00000{n}/{name}" for n, name in enumerate(("bird", "cat", "bird", "cat", "cat"), 1)
    ]
    assert once.target_NC is not None
    assert [[None if math.isnan(x) else int(x) for x in row] for row in once.target_NC.tolist()] == [
        [1, 0, 1], [0, 1, 0], [1, None, 0], [0, None, None], [0, 1, 0]
    ]  # fmt: skip
    assert np.array_equal(once.image_N, np.arange(5))
