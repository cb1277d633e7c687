"""Folders as people have them: read as splits or classes where that is unmistakable, else an error with the tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from photo_tree import checked, counts, photo, photos, voc, write

from cam_lightning.dataset.folder import Folder
from cam_lightning.dataset.format.folder_layout import role_of

FILES = ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg")
EACH = {"cat": 2, "dog": 2}


def below(*folders: str) -> list[str]:
    return [f"{folder}/{file}" for folder in folders for file in FILES]


@pytest.mark.parametrize(
    ("folder", "role"),
    [
        ("train", "train"), ("Train", "train"), ("TRAINING", "train"), ("train2017", "train"), ("train_set", "train"),
        ("valid", "val"), ("Validation", "val"), ("val2017", "val"), ("val-images", "val"), ("test", "test"),
        ("Testing", "test"), ("test_data", "test"), ("trainer", ""), ("trains", ""), ("testimony", ""), ("cat", ""),
        ("valley", ""), ("trainid", ""), ("", ""), ("train station", ""), ("steam train", ""),
    ],
)  # fmt: skip
def test_names_of_splits(folder: str, role: str) -> None:
    assert role_of(folder) == role


@pytest.mark.parametrize(
    "folders",
    [
        {"train": "Train", "test": "Test"}, {"train": "Training", "test": "Testing"},
        {"train": "train", "val": "valid", "test": "test"}, {"train": "TRAIN", "val": "Validation", "test": "TEST"},
        {"train": "train2017", "val": "val2017", "test": "test2017"}, {"train": "train_set", "test": "test_set"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("top", ["", "images/"])
def test_splits_by_other_names(tmp_path: Path, folders: dict[str, str], top: str) -> None:
    photos(tmp_path, *(top + path for path in below(*folders.values())))
    report = checked(tmp_path)
    assert counts(report) == dict.fromkeys(folders, EACH)
    assert report.wrong == []


def test_a_validation_folder_alone_is_tested(tmp_path: Path) -> None:
    photos(tmp_path, *below("Training", "valid"))
    assert counts(checked(tmp_path)) == {"train": EACH, "test": EACH}


@pytest.mark.parametrize("classes", [("bus", "car", "train"), ("plane", "test"), ("a", "Training", "Validation", "z")])
def test_a_class_that_is_called_as_a_split_is_asked_for_and_works_when_said_so(
    tmp_path: Path, classes: tuple[str, ...]
) -> None:
    photos(tmp_path, *(f"{name}/{number}.jpg" for name in classes for number in range(3)))
    with pytest.raises(ValueError, match=r"a split by its name, beside .*\{.*1\.jpg.*\}.*say dataset\.splits=none"):
        Folder(str(tmp_path)).setup()
    data = Folder(str(tmp_path), splits="none")
    data.setup()
    assert data.class_names == sorted(classes)
    assert counts(checked(tmp_path, splits="none", test_fraction=1)) == {"test": dict.fromkeys(sorted(classes), 3)}


def test_classes_called_as_splits_below_splits_are_classes(tmp_path: Path) -> None:
    photos(
        tmp_path, *(f"{split}/{name}/{n}.jpg" for split in ("train", "test") for name in ("train", "bus") for n in "12")
    )
    assert counts(checked(tmp_path))["train"] == {"bus": 2, "train": 2}


@pytest.mark.parametrize(
    "paths",
    [
        below("set/train", "set/test"), below("a set/Training", "a set/Testing"), below("photos"),
        below("one/train", "one/val", "two/train", "two/val"), below("set/train"),
        [f"{name}/{split}/{n}.jpg" for name in ("cat", "dog") for split in ("train", "test") for n in "12"],
        below("train/set", "test/set"),
    ],
    ids=lambda paths: paths[0],
)  # fmt: skip
def test_a_root_that_is_too_high_is_told_with_its_tree(tmp_path: Path, paths: list[str]) -> None:
    photos(tmp_path / "root", *paths)
    with pytest.raises(ValueError, match=r"root/\{.*Is it a folder too high\?") as caught:
        Folder(str(tmp_path / "root")).setup()
    assert "\n" not in str(caught.value)
    assert [finding.kind for finding in checked(tmp_path / "root").wrong] == ["cannot be used"]


def test_one_class_in_folders_works_when_said_so(tmp_path: Path) -> None:
    photos(tmp_path, "cat/may/1.jpg", "cat/may/2.jpg", "cat/june/1.jpg")
    report = checked(tmp_path, class_from="folder", test_fraction=1)
    assert counts(report) == {"test": {"cat": 3}}


def test_two_folders_of_one_split_are_asked_for(tmp_path: Path) -> None:
    photos(tmp_path, *below("train2014", "train2017", "val2017"))
    with pytest.raises(
        ValueError, match=r"train2014 and train2017, which may both be .*train: train2014, val: val2017"
    ):
        Folder(str(tmp_path)).setup()
    report = checked(tmp_path, splits={"train": "train2017", "test": "val2017"})
    assert counts(report) == {"train": EACH, "test": EACH}
    assert [finding.what for finding in report.findings if finding.kind == "left out"] == [
        "4 images in train2014: it is beside the splits train2017, val2017, and in none (dataset.splits)"
    ]


def test_splits_may_have_any_name_that_is_said(tmp_path: Path) -> None:
    photos(tmp_path, *below("learn", "exam", "drafts"))
    assert counts(checked(tmp_path, splits={"train": "learn", "test": "exam"})) == {"train": EACH, "test": EACH}
    with pytest.raises(FileNotFoundError, match=r"names folders that are not in .*: test: exams"):
        Folder(str(tmp_path), splits={"train": "learn", "test": "exams"}).setup()


@pytest.mark.parametrize("splits", ["some", {}, {"training": "a"}, 3])
def test_splits_that_cannot_be(tmp_path: Path, splits: Any) -> None:
    with pytest.raises(ValueError, match=r"dataset\.splits is auto, none, or \{train: FOLDER"):
        Folder(str(tmp_path), splits=splits)


@pytest.mark.parametrize("figures", [["images/figure1.png"], ["images/a.jpg", "images/b.jpg", "Images.jpg"]])
def test_figures_beside_splits_are_not_the_dataset(tmp_path: Path, figures: list[str]) -> None:
    photos(tmp_path, *below("train", "test"), *figures)
    report = checked(tmp_path)
    assert counts(report) == {"train": EACH, "test": EACH}
    assert any(
        finding.what.startswith(f"{sum('/' in f for f in figures)} images in images:") for finding in report.findings
    )


def test_two_folders_that_may_be_the_dataset_are_asked_for(tmp_path: Path) -> None:
    photos(tmp_path, *below("images", "train", "test"))
    with pytest.raises(ValueError, match=r"images both in images/ and in test, train: .*dataset\.images=images, or"):
        Folder(str(tmp_path)).setup()
    assert counts(checked(tmp_path, images="images", test_fraction=1)) == {"test": EACH}
    assert counts(checked(tmp_path, images=".")) == {"train": EACH, "test": EACH}


@pytest.mark.parametrize(
    "names",
    [
        ["@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg"],
        ["cat/._1.jpg", "._cat", ".DS_Store", "__MACOSX/cat/._1.jpg", "__MACOSX/cat/2.jpg"],
        [".ipynb_checkpoints/1-checkpoint.jpg", "cat/.ipynb_checkpoints/1-checkpoint.jpg"],
        ["Thumbs.db", "cat/Thumbs.db", "dog/desktop.ini", "$RECYCLE.BIN/x.jpg", "System Volume Information/x.jpg"],
        ["#recycle/cat/3.jpg", ".@__thumb/1.jpg", "cat/@__thumb/s1001.jpg", "lost+found/1.jpg"],
    ],
    ids=lambda names: names[0].split("/")[0],
)  # fmt: skip
@pytest.mark.parametrize("top", ["", "train/"])
def test_what_systems_keep_is_no_class_no_image_and_no_annotation(tmp_path: Path, names: list[str], top: str) -> None:
    files = [top + file for file in FILES] + (below("test") if top else [])
    photos(tmp_path / "images", *files)
    for file in files:
        write((tmp_path / "annotations" / file).with_suffix(".xml"), voc(file.split("/")[-2], (1, 2, 20, 20)))
    for number, name in enumerate(names):
        write(tmp_path / "images" / top / name, photo(100 + number))
        write(tmp_path / "annotations" / top / name, b"\0\5\26\7")
        if "/" in name and name.split("/")[0] not in EACH:
            write((tmp_path / "annotations" / top / name).with_suffix(".xml"), voc("cat", (1, 2, 20, 20)))
    write(tmp_path / "annotations" / top / "cat" / "._1.xml", b"\0\5\26\7")
    for options in ({}, {"format": "voc"}):
        report = checked(tmp_path, test_fraction=1, **options)
        assert report.wrong == []
        assert counts(report) == dict.fromkeys(("train", "test") if top else ("test",), EACH)
        left_out = [finding for finding in report.findings if finding.kind == "left out"]
        assert left_out
        assert all("hidden, or a system's own" in finding.what for finding in left_out)
    assert report.splits["test"].num_boxes == 4


@pytest.mark.parametrize("folder", ["Annotations", "annotations"])
@pytest.mark.parametrize("images", ["JPEGImages", "Images", "images"])
def test_pascal_s_own_folders_are_found(tmp_path: Path, folder: str, images: str) -> None:
    for number in range(4):
        photos(tmp_path, f"{images}/{number}.jpg")
        write(tmp_path / folder / f"{number}.XML", voc("cat" if number % 2 else "dog", (1, 2, 20, 20)))
    assert counts(checked(tmp_path, format="voc", test_fraction=1)) == {"test": EACH}


@pytest.mark.parametrize("annotations", ["images", None, "images/train"])
@pytest.mark.parametrize("folders", [("images",), ("images/cat", "images/dog")])
def test_xml_beside_the_pictures(tmp_path: Path, annotations: str | None, folders: tuple[str, ...]) -> None:
    if annotations == "images/train":
        folders = tuple(folder.replace("images", "images/train") for folder in folders)
    for number in range(4):
        folder = folders[number % len(folders)]
        write(tmp_path / folder / f"{number}.jpg", photo(number))
        write(tmp_path / folder / f"{number}.xml", voc("dog" if number % 2 else "cat", (1, 2, 20, 20)))
    report = checked(tmp_path, format="voc", annotations=annotations, test_fraction=1)
    assert list(counts(report).values()) == [EACH]
    assert {finding.kind for finding in report.findings} <= {"no training images"}
    assert sum(split.num_boxes for split in report.splits.values()) == 4


def test_linked_folders_of_annotations(tmp_path: Path) -> None:
    photos(tmp_path / "set", *FILES)
    for file in FILES:
        write((tmp_path / "far" / file).with_suffix(".xml"), voc(file[:3], (1, 2, 20, 20)))
    (tmp_path / "set" / "annotations").mkdir()
    for name in EACH:
        (tmp_path / "set" / "annotations" / name).symlink_to(tmp_path / "far" / name)
    (tmp_path / "far" / "cat" / "round").symlink_to(tmp_path / "far" / "cat")
    report = checked(tmp_path / "set", format="voc", test_fraction=1)
    assert report.wrong == []
    assert report.splits["test"].num_boxes == 4
