"""What people call their images in annotations: found where unmistakable, else an error with both sides."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from photo_tree import boxes_by_id, checked, coco, counts, photos, voc, write

from cam_lightning.dataset.folder import Folder
from cam_lightning.dataset.format.annotated_image import AnnotatedImages
from cam_lightning.dataset.format.folder_annotations import new_annotation

TREE = ("cat/my photo.jpg", "cat/café.jpg", "dog/b.JPG")
NFD = unicodedata.normalize("NFD", "cat/café.jpg")
BOX = [5.0, 6.0, 15.0, 18.0]


@pytest.mark.parametrize(
    "names",
    [
        ("images/my photo.jpg", "images/café.jpg", "images/b.JPG"),
        ("C:\\Users\\me\\my photo.jpg", "C:\\Users\\me\\café.jpg", "C:\\Users\\me\\b.JPG"),
        ("cat\\my photo.jpg", "cat\\café.jpg", "dog\\b.JPG"),
        (" cat/my photo.jpg", "cat/café.jpg ", "cat/../dog/b.JPG"[7:]),
        ("./cat/my photo.jpg", NFD, "../data/dog/b.JPG"),
        ("cat/my%20photo.jpg", "caf%C3%A9.jpg", "b.jpg"),
        ("my photo", "café", "b"),
        ("/home/me/set/cat/my photo.jpg", "/home/me/set/" + NFD, "file:///home/me/set/dog/b.jpg"),
        ("batch 1/my photo.jpg", "batch 2/café.jpg", "batch 3/b.jpg"),
    ],
    ids=lambda names: names[0],
)
@pytest.mark.parametrize("kind", ["csv", "coco"])
def test_names_of_other_folders_systems_and_forms(tmp_path: Path, names: tuple[str, ...], kind: str) -> None:
    photos(tmp_path / "images", *TREE)
    of = dict(zip(names, ("cat", "cat", "dog"), strict=True))
    if kind == "coco":
        write(tmp_path / "annotations.json", coco(of))
    else:
        rows = [f"{file},{name},5,6,15,18" for file, name in of.items()]
        write(tmp_path / "annotations.csv", "\n".join(["image,class,x0,y0,x1,y1", *rows]))
    assert boxes_by_id(tmp_path, format=kind) == {path: [BOX] for path in TREE}
    assert checked(tmp_path, format=kind, test_fraction=1).wrong == []


def test_flat_images_get_their_classes_so_too(tmp_path: Path) -> None:
    photos(tmp_path / "images", "a.jpg", "b.jpg")
    write(tmp_path / "result.json", coco({"images\\a.jpg": "cat", "images\\b.jpg": "dog"}))
    report = checked(tmp_path, format="coco", annotations="result.json", test_fraction=1)
    assert counts(report) == {"test": {"cat": 1, "dog": 1}}


@pytest.mark.parametrize(
    ("tree", "name"),
    [
        # The photo that is meant is not there, and another of its name is.
        (("cat/2.jpg", "dog/1.jpg"), "cat/1.jpg"),
        (("train/cat/2.jpg", "test/cat/1.jpg"), "train/cat/1.jpg"),
        # Two would claim it.
        (("cat/1.jpg",), "a/1.jpg"),
        (("cat/1.jpg", "dog/1.jpg"), "old/1.jpg"),
    ],
)
def test_what_is_not_there_lends_its_boxes_to_no_other(tree: tuple[str, ...], name: str) -> None:
    images = AnnotatedImages(tree, with_suffix=True)
    ((_, alone), *_) = images.find([new_annotation(name, ""), new_annotation("b/1.jpg", ""), *map(named, tree[:1])])
    assert len(alone) != 1


def named(path: str) -> object:
    return new_annotation(path, "")


def test_a_guess_needs_one_annotation_and_one_image() -> None:
    images = AnnotatedImages(["cat/1.jpg", "cat/2.jpg", "dog/3.jpg"], with_suffix=True)

    def found(*names: str) -> list[list[int]]:
        return [indices for _, indices in images.find(new_annotation(name, "") for name in names)]

    assert found("x/1.jpg", "y/2.jpg") == [[0], [1]]
    assert found("x/1.jpg", "y/1.jpg") == [[], []]
    assert found("x/1.jpg", "cat/1.jpg") == [[], [0]]
    assert found("dog/1.jpg") == [[]]
    assert found("1.jpg", "3.JPG", "DOG/3.jpg") == [[0], [2], [2]]


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
@pytest.mark.parametrize("kind", ["csv", "coco", "voc"])
def test_annotations_that_fit_nothing_are_an_error_with_both_sides(
    tmp_path: Path, kind: str, on_bad_image: str
) -> None:
    photos(tmp_path / "images", "cat/a.jpg", "dog/b.jpg")
    write(tmp_path / "annotations.csv", "image,class,x0,y0,x1,y1\n17.png,cat,5,6,15,18\n18.png,dog,5,6,15,18\n")
    write(tmp_path / "annotations.json", coco({"17.png": "cat", "18.png": "dog"}))
    write(tmp_path / "annotations" / "17.xml", voc("cat", (5, 6, 15, 18)))
    write(tmp_path / "annotations" / "18.xml", voc("dog", (5, 6, 15, 18)))
    with pytest.raises(
        ValueError, match=r"the 2 in .* name '17.*' and the like, and below .* are 2 images.*'cat/a\.jpg'"
    ):
        Folder(str(tmp_path), format=kind, on_bad_image=on_bad_image).setup()


@pytest.mark.parametrize("kind", ["csv", "coco"])
def test_annotations_that_fit_some_are_an_error_with_counts(tmp_path: Path, kind: str) -> None:
    photos(tmp_path / "images", "cat/a.jpg", "dog/b.jpg")
    write(tmp_path / "annotations.csv", "image,class,x0,y0,x1,y1\na.jpg,cat,5,6,15,18\n18.png,dog,5,6,15,18\n")
    write(tmp_path / "annotations.json", coco({"a.jpg": "cat", "18.png": "dog"}))
    line = (
        r"no image 18\.png below .* \(1 of 2 annotations have none; 1 images have no annotation, such as dog/b\.jpg\)"
    )
    with pytest.raises(ValueError, match=line):
        Folder(str(tmp_path), format=kind, test_fraction=1).setup()
    (wrong,) = checked(tmp_path, format=kind, test_fraction=1).wrong
    assert wrong.kind == "missing image"
    data = Folder(str(tmp_path), format=kind, test_fraction=1, on_bad_image="skip")
    data.setup()
    assert data.examples["test"].num_with_boxes == 1


def test_class_names_are_composed_as_their_folders_are(tmp_path: Path) -> None:
    composed, decomposed = "ä", unicodedata.normalize("NFD", "ä")
    photos(tmp_path / "images", f"train/{composed}/1.jpg", f"test/{decomposed}/2.jpg")
    write(tmp_path / "annotations.csv", f"image,class,x0,y0,x1,y1\n2.jpg,{decomposed},5,6,15,18\n")
    report = checked(tmp_path, format="csv")
    assert report.wrong == []
    assert counts(report) == {"train": {composed: 1}, "test": {composed: 1}}
    assert json.dumps(report.splits["test"].num_boxes) == "1"
