"""A folder of one's own images: every layout and format read back, and every kind of breakage said in one line."""

from __future__ import annotations

import io
import json
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photo_tree import HEIGHT, WIDTH, photo, photos, voc, write
from PIL import Image

from cam_lightning.dataset.folder import Folder
from cam_lightning.dataset.pipeline.sampler import Key
from cam_lightning.dataset.pipeline.split import ImageSplit
from cam_lightning.dataset.tool.check import check


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes, two training and two test images each, whose names hold what names may; a VOC file each.

    Image i of the eight has the inclusive box i, 2, 40, 20, so half-open i, 2, 41, 21.
    """
    root = tmp_path / "my, photos = it's"
    seed = 0
    for split in ("train", "test"):
        for name in ("a cat", "dog"):
            for file in ("it's=1, a.jpg", "two.JPG"):
                write(root / "images" / split / name / file, photo(seed))
                box = voc(name, (seed, 2, 40, 20))
                write((root / "annotations" / split / name / file).with_suffix(".xml"), box)
                seed += 1
    return root


def read(root: Path, **options: Any) -> Folder:
    data = Folder(str(root), **{"image_size": (24, 40), "num_workers": 0, **options})
    data.setup()
    return data


def boxes_of(split: ImageSplit) -> dict[str, list[list[float]]]:
    return {split.ids[i]: split.read(i).boxes_N4.tolist() for i in range(len(split))}


def as_csv(rows: list[str], header: str = "image,class,xmin,ymin,xmax,ymax") -> str:
    return "\n".join([header, *rows]) + "\n"


def test_class_folders_with_voc_boxes(tree: Path) -> None:
    data = read(tree, format="voc", val_fraction=0.5)
    assert data.class_names == ["a cat", "dog"]
    test = data.examples["test"]
    assert list(test.ids) == [
        "test/a cat/it's=1, a.jpg", "test/a cat/two.JPG", "test/dog/it's=1, a.jpg", "test/dog/two.JPG",
    ]  # fmt: skip
    assert test.split.label_N.tolist() == [0, 0, 1, 1]
    assert list(boxes_of(test.split).values()) == [[[float(i), 2, 41, 21]] for i in range(4, 8)]
    assert (len(data.examples["train"]), len(data.examples["val"])) == (2, 2)
    example = test[Key(0, 2)]
    assert example.image_3HW.shape == (3, 24, 40)
    assert example.size == (HEIGHT, WIDTH)


def test_pascal_s_own_files_count_from_one(tree: Path) -> None:
    data = read(tree, format="voc", first_pixel=1)
    assert boxes_of(data.examples["test"].split)["test/dog/two.JPG"] == [[6, 1, 40, 20]]


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("image,class,xmin,ymin,xmax,ymax", "4,2,40,20"),
        ("image,class,x0,y0,x1,y1", "4,2,41,21"),
        ("ymax,x,image,y,width,height,class", ""),
    ],
)
def test_the_columns_of_a_csv_say_what_its_boxes_mean(tree: Path, header: str, values: str) -> None:
    file = '"test/a cat/it\'s=1, a.jpg"'
    row = f"{file},a cat,{values}" if values else f",4,{file},2,37,19,a cat"
    write(tree / "boxes.csv", as_csv([row], header))
    data = read(tree, format="csv", annotations="boxes.csv")
    boxes = boxes_of(data.examples["test"].split)
    assert boxes["test/a cat/it's=1, a.jpg"] == [[4, 2, 41, 21]]
    assert boxes["test/dog/two.JPG"] == []


def coco(tree: Path, **changes: Any) -> dict[str, Any]:
    files = sorted(path.relative_to(tree / "images").as_posix() for path in (tree / "images").rglob("*.*"))
    content = {
        "images": [{"id": 10 + i, "file_name": f, "width": WIDTH, "height": HEIGHT} for i, f in enumerate(files)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "a cat"}],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 3, "bbox": [1.5, 2, 10, 20]},
            {"id": 2, "image_id": 10, "category_id": 3, "bbox": [0, 0, 5, 5]},
            {"id": 3, "image_id": 10, "category_id": 7, "bbox": [0, 0, 7, 7]},
            {"id": 4, "image_id": 10, "category_id": 3, "bbox": [0, 0, 50, 30], "iscrowd": 1},
        ],
    }
    return content | changes


def test_coco_boxes_of_the_image_s_own_class(tree: Path) -> None:
    write(tree / "annotations.json", json.dumps(coco(tree)))
    own = boxes_of(read(tree, format="coco").examples["test"].split)["test/a cat/it's=1, a.jpg"]
    assert own == [[1.5, 2, 11.5, 22], [0, 0, 5, 5]]
    every = boxes_of(read(tree, format="coco", boxes="any").examples["test"].split)["test/a cat/it's=1, a.jpg"]
    assert every == [*own, [0, 0, 7, 7]]


@pytest.mark.parametrize("folder", ["", "may/"])
def test_the_annotation_names_the_class(tmp_path: Path, folder: str) -> None:
    """Where images lie in no folder, or in folders that are no classes."""
    rows = []
    for i in range(10):
        write(tmp_path / f"{folder}{i}.png", photo(i))
        rows.append(f"{i}.png,{'dog' if i % 2 else 'cat'},1,2,10,20")
    write(tmp_path / "annotations.csv", as_csv(rows))
    data = read(tmp_path, format="csv", class_from="annotation" if folder else "auto")
    assert data.class_names == ["cat", "dog"]
    for examples in data.examples.values():
        names = [data.class_names[label] for label in examples.split.label_N]
        assert names == ["dog" if int(identity[-5]) % 2 else "cat" for identity in examples.ids]


def test_without_a_test_folder_a_share_is_held_out_that_no_run_s_seed_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i in range(60):
        write(tmp_path / ("cat", "dog")[i % 2] / f"{i}.jpg", photo(i))
    with caplog.at_level("INFO"):
        one = read(tmp_path, seed=0)
    assert "20 % of each class, drawn with dataset.split_seed=0, are the test split" in caplog.text
    other, redrawn = read(tmp_path, seed=1), read(tmp_path, split_seed=1)
    # Of 30 images each, 6 ± 2.2.
    assert all(2 <= count <= 12 for count in np.bincount(one.examples["test"].split.label_N))
    assert list(one.examples["test"].ids) == list(other.examples["test"].ids)
    assert list(one.examples["val"].ids) != list(other.examples["val"].ids)
    assert list(one.examples["test"].ids) != list(redrawn.examples["test"].ids)
    assert not set(one.examples["test"].ids) & {*one.examples["train"].ids, *one.examples["val"].ids}


@pytest.mark.parametrize("added", ["cat/0.jpg", "cat/75.jpg", "emu/1.jpg"])
def test_a_photo_that_is_added_moves_no_other_between_train_val_and_test(tmp_path: Path, added: str) -> None:
    for i in range(60):
        write(tmp_path / ("cat", "dog")[i % 2] / f"{10 + i}.jpg", photo(0))
    before = read(tmp_path)
    write(tmp_path / added, photo(1))
    write((tmp_path / added).with_name("2.jpg"), photo(2))
    after = read(tmp_path)
    new = {added, f"{added.rpartition('/')[0]}/2.jpg"}
    assert {name: set(examples.ids) for name, examples in before.examples.items()} == {
        name: set(examples.ids) - new for name, examples in after.examples.items()
    }


@pytest.mark.parametrize("layout", ["all of them", "a test folder alone"])
def test_images_that_are_only_to_be_evaluated(tmp_path: Path, layout: str) -> None:
    below = tmp_path / "val" if layout == "a test folder alone" else tmp_path
    for i in range(4):
        write(below / ("cat", "dog")[i % 2] / f"{i}.jpg", photo(i))
    data = read(tmp_path, test_fraction=1)
    assert len(data.examples["test"]) == 4
    with pytest.raises((ValueError, OSError), match="can only be evaluated"):
        data.train_dataloader()


def test_a_val_folder_beside_a_test_folder_is_what_fit_validates_on(tree: Path) -> None:
    for name in ("a cat", "dog"):
        write(tree / "images" / "val" / name / "v.jpg", photo(len(name)))
    data = read(tree)
    assert list(data.examples["val"].ids) == ["val/a cat/v.jpg", "val/dog/v.jpg"]
    assert len(data.examples["train"]) == 4


def test_links_to_folders_are_followed_once(tree: Path, tmp_path: Path) -> None:
    elsewhere = write(tmp_path / "elsewhere" / "deep" / "x.jpg", photo(90)).parent.parent
    (tree / "images" / "train" / "dog" / "linked").symlink_to(elsewhere)
    (tree / "images" / "train" / "dog" / "round").symlink_to(tree / "images" / "train")
    train = read(tree).read_splits().train
    assert train is not None
    assert [identity for identity in train.ids if "linked" in identity] == ["train/dog/linked/deep/x.jpg"]
    assert len(train) == 5


# What can be broken. Each takes the tree, breaks one thing, and gives the options to read it with.

CAT = Path("images", "test", "a cat", "two.JPG")
CAT_XML = Path("annotations", "test", "a cat", "two.xml")


def change(path: Path, content: bytes | str) -> Callable[[Path], dict[str, Any]]:
    def breaks(tree: Path) -> dict[str, Any]:
        write(tree / path, content)
        return {"format": "voc"}

    return breaks


def replaced(tree: Path, make: Callable[[Path], object]) -> dict[str, Any]:
    (tree / CAT).unlink()
    make(tree / CAT)
    return {"format": "voc"}


def csv_row(row: str) -> Callable[[Path], dict[str, Any]]:
    def breaks(tree: Path) -> dict[str, Any]:
        write(tree / "annotations.csv", as_csv([row]))
        return {"format": "csv"}

    return breaks


def coco_with(**changes: Any) -> Callable[[Path], dict[str, Any]]:
    def breaks(tree: Path) -> dict[str, Any]:
        write(tree / "annotations.json", json.dumps(coco(tree, **changes)))
        return {"format": "coco"}

    return breaks


def coco_annotation(**changes: Any) -> Callable[[Path], dict[str, Any]]:
    return coco_with(annotations=[{"id": 1, "image_id": 10, "category_id": 3, "bbox": [1, 2, 10, 20]} | changes])


def unsorted_image(tree: Path) -> dict[str, Any]:
    write(tree / "images" / "test" / "stray.jpg", photo(77))
    return {}


def empty_class(tree: Path) -> dict[str, Any]:
    (tree / "images" / "train" / "emu").mkdir()
    return {}


def same_stem(tree: Path) -> dict[str, Any]:
    write((tree / CAT).with_suffix(".png"), photo(78))
    return {"format": "voc"}


def copied(source: Path, target: str) -> Callable[[Path], dict[str, Any]]:
    def breaks(tree: Path) -> dict[str, Any]:
        write(tree / "images" / target, (tree / source).read_bytes())
        return {}

    return breaks


def huge(tree: Path) -> dict[str, Any]:
    """A PNG of a few bytes that says that it has 10,000 million pixels."""
    data = bytearray(png(Image.new("RGB", (1, 1))))
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    write(tree / CAT, bytes(data))
    return {}


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


ROW = '"test/a cat/two.JPG",a cat'
BROKEN: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "empty file": (change(CAT, b""), r"two\.JPG .*it is empty"),
    "text named .jpg": (change(CAT, "<html>not found</html>"), r"two\.JPG .*no image of a known kind"),
    "truncated": (change(CAT, photo(5)[:-60]), r"two\.JPG .*truncated"),
    "header only": (change(CAT, photo(5)[:200]), r"two\.JPG cannot be read|two\.JPG is truncated"),
    "truncated PNG": (change(CAT, png(Image.effect_noise((50, 30), 99))[:-500]), r"two\.JPG .*truncated"),
    "of too many pixels": (huge, r"two\.JPG .*(pixels|decompression bomb)"),
    "of 32 bits": (lambda tree: replaced(tree, lambda p: Image.new("F", (WIDTH, HEIGHT)).save(p, "TIFF")), r"32 bits"),
    "folder where a file should be": (lambda tree: replaced(tree, Path.mkdir), r"two\.JPG is a folder"),
    "dangling link": (lambda tree: replaced(tree, lambda p: p.symlink_to("gone")), r"two\.JPG is a link to gone"),
    "link to itself": (lambda tree: replaced(tree, lambda p: p.symlink_to(p.name)), r"two\.JPG is a link to two\.JPG"),
    "class without images": (empty_class, r"^emu has no image in train, test$"),
    "image beside the class folders": (unsorted_image, r"test/stray\.jpg has no one class: it lies beside"),
    "same file in two splits": (copied(CAT, "train/a cat/copy.jpg"), r"train/a cat/copy\.jpg of train is .*two\.JPG"),
    "same file in two classes": (copied(CAT, "test/dog/copy.jpg"), r"copy\.jpg are the same file in two classes"),
    "missing XML": (lambda tree: ((tree / CAT_XML).unlink(), {"format": "voc"})[1], r"two\.JPG has no annotation in "),
    "XML of no image": (change(CAT_XML.with_name("no.xml"), voc("a cat")), r"no\.xml: there is no image test/a cat/no"),
    "not XML": (change(CAT_XML, "<annotation><size>"), r"two\.xml: is not XML"),
    "zero-size box": (change(CAT_XML, voc("a cat", (5, 5, 4, 9))), r"two\.xml: .*(is empty|wrong way round)"),
    "swapped corners": (change(CAT_XML, voc("a cat", (30, 5, 10, 9))), r"two\.xml: .*wrong way round"),
    "box outside": (change(CAT_XML, voc("a cat", (5, 5, 70, 9))), r"two\.xml: .*leaves its image, which is 50 wide"),
    "box of no numbers": (
        change(CAT_XML, voc("a cat", (5, 5, 10, 9)).replace(">10<", ">ten<")), r"two\.xml.*'ten', not a number"),
    "box without a corner": (
        change(CAT_XML, voc("a cat", (5, 5, 10, 9)).replace("<xmax>10</xmax>", "")), r"two\.xml.*xmax is missing"),
    "annotation of another size": (
        change(CAT_XML, voc("a cat", (5, 5, 10, 9), width=500)), r"two\.JPG is 50×30, its annotation says 500×30"),
    "annotation of the turned image": (
        change(CAT_XML, voc("a cat", (5, 5, 9, 9), width=30, height=50)), r"says 30×50 \(turned as its EXIF"),
    "boxes of another class": (change(CAT_XML, voc("cow", (5, 5, 9, 9))), r"two\.JPG is of class a cat, .* name cow"),
    "two images of one XML": (same_stem, r"two\.xml: test/a cat/two may be test/a cat/two\.JPG and .*two\.png"),
    "CSV row too short": (csv_row(f"{ROW},1,2,3"), r"line 2 has 5 values for 6 columns"),
    "CSV row of no numbers": (csv_row(f"{ROW},1,2,x,9"), r"line 2: a box needs four numbers, xmin ymin xmax ymax"),
    "CSV row of infinity": (csv_row(f"{ROW},1,2,inf,9"), r"line 2: box .*is not of numbers"),
    "CSV row twice": (csv_row(f"{ROW},1,2,7,9\n{ROW},1,2,7,9"), r"line 3 says the same as a line before"),
    "CSV row of no image": (csv_row(f"{ROW},1,2,7,9\ntest/cow.jpg,a cat,1,2,3,4"), r"there is no image test/cow\.jpg"),
    "CSV of no image": (csv_row("test/cow.jpg,a cat,1,2,3,4"), r"no image has an annotation: the 1 .*cow\.jpg.*8 im"),
    "CSV row of several images": (csv_row("two.JPG,a cat,1,2,3,4"), r"two\.JPG may be train/a cat/two\.JPG and"),
    "CSV without columns": (lambda tree: (write(tree / "annotations.csv", "a,b\n1,2\n"), {"format": "csv"})[1],
        r"annotations\.csv, line 1: the columns are image, class"),
    "CSV that is not UTF-8": (lambda tree: (write(tree / "annotations.csv", b"image,\xff\n"), {"format": "csv"})[1],
        r"annotations\.csv is not UTF-8"),
    "no such CSV": (lambda tree: {"format": "csv"}, r"annotations\.csv is no file"),
    "COCO that is not JSON": (
        lambda tree: (write(tree / "annotations.json", "{"), {"format": "coco"})[1], r"annotations\.json is not JSON"),
    "COCO without its lists": (coco_with(images=None), r"needs lists of objects called images"),
    "COCO id twice": (
        lambda tree: coco_with(images=coco(tree)["images"][:1] * 2)(tree), r"image id 10 is there twice, also as test"),
    "COCO box of no image": (coco_annotation(image_id=99), r"there is no image id 99"),
    "COCO box of no category": (coco_annotation(category_id=99), r"annotation 1 has category 99, not one listed"),
    "COCO box of three numbers": (coco_annotation(bbox=[1, 2, 3]), r"a box needs four numbers, x y width height"),
    "COCO box of zero width": (coco_annotation(bbox=[1, 2, 0, 3]), r"box 1 2 1 5 .*is empty"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_broken_gets_one_clear_line_and_loses_nothing(tree: Path, kind: str) -> None:
    breaks, line = BROKEN[kind]
    options = breaks(tree)
    report = check(Folder(str(tree), on_bad_image="skip", **options), True, lambda things, what, total: things)
    wrong = [finding.what for finding in report.wrong]
    matching = [what for what in wrong if re.search(line, what)]
    assert len(matching) == len(wrong) == 1, wrong
    assert "\n" not in matching[0]
    if report.splits:
        known = {identity for split in Folder(str(tree), on_bad_image="skip", **options).read_splits().parts().values()
                 for identity in split.ids}  # fmt: skip
        whole = {
            f"{s}/{c}/{f}" for s in ("train", "test") for c in ("a cat", "dog") for f in ("it's=1, a.jpg", "two.JPG")
        }
        assert whole <= known


def test_the_unbroken_tree_is_right(tree: Path) -> None:
    report = check(Folder(str(tree), format="voc"), True, lambda things, what, total: things)
    assert report.findings == []
    assert {name: split.num_per_class for name, split in report.splits.items()} == {
        "train": {"a cat": 2, "dog": 2},
        "test": {"a cat": 2, "dog": 2},
    }
    assert report.splits["test"].num_boxes == 4


def test_a_name_that_is_not_utf8_is_read_and_written_as_text(tree: Path) -> None:
    name = os.fsencode(tree / "images" / "test" / "dog") + b"/caf\xe9.jpg"
    Path(os.fsdecode(name)).write_bytes(photo(50))
    test = read(tree).examples["test"]
    index = list(test.ids).index("test/dog/caf\\xe9.jpg")
    assert test.original(index).shape == (HEIGHT, WIDTH, 3)
    "".join(test.ids).encode("utf-8")


def test_what_is_wrong_is_said_at_once_before_training(tree: Path) -> None:
    write(tree / CAT_XML, voc("a cat", (30, 5, 10, 9)))
    (tree / "annotations" / "test" / "dog" / "two.xml").unlink()
    with pytest.raises(
        ValueError, match=r"(?s)found wrong in .*: 2\n.*two\.xml: .*wrong way.*dog/two\.JPG has no annota"
    ):
        read(tree, format="voc")


def test_a_broken_annotation_is_skipped_as_a_broken_image_is(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tree / CAT_XML, voc("a cat", (30, 5, 10, 9)))
    data = read(tree, format="voc", on_bad_image="skip")
    assert "two.xml" in caplog.text
    (batch,) = data.test_dataloader()
    assert batch.index_B.tolist() == [0, 2, 3]
    assert batch.skipped_S is not None
    assert batch.skipped_S.tolist() == [1]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"format": "xml"}, r"dataset\.format is one of voc, coco, csv, none; got 'xml'"),
        ({"boxes": "all"}, r"dataset\.boxes is one of own, any"),
        ({"first_pixel": 2}, r"dataset\.first_pixel is 0 or 1"),
        ({"test_fraction": 0}, r"dataset\.test_fraction lies above 0"),
        ({"images": "nowhere"}, r"nowhere is no folder\. Expected class folders"),
        ({"on_bad_image": "ignore"}, r"dataset\.on_bad_image is error or skip"),
        ({"format": "voc", "annotations": "nowhere"}, r"nowhere is no folder; dataset\.format=voc"),
    ],
)
def test_options_that_cannot_be(tree: Path, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=complaint):
        read(tree, **options)


@pytest.mark.parametrize(
    ("names", "classes"),
    [(("1", "2", "3"), [1, 3]), (("00001", "00002", "00003"), [1, "00003"]), (("1.5", "2", "yes"), [1.5, "yes"])],
)
def test_classes_that_are_called_by_numbers(tmp_path: Path, names: tuple[str, ...], classes: list[Any]) -> None:
    photos(tmp_path, *(f"{name}/{number}.jpg" for name in names for number in range(3)))
    assert read(tmp_path, classes=classes).class_names == [names[0], names[2]]
    assert read(tmp_path, classes=2).class_names == list(names[:2]), "a number alone is how many"
    with pytest.raises(ValueError, match=r"dataset\.classes names 7, not a class of the dataset"):
        read(tmp_path, classes=[7])


@pytest.mark.parametrize("test", ["test/cat/1.jpg", "Testing/cat/1.jpg"])
def test_a_validation_of_no_images_says_what_to_do(tmp_path: Path, test: str) -> None:
    photos(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", test, test.replace("cat", "dog"))
    data = read(tmp_path)
    with pytest.raises(ValueError, match=r"validation split has no image: .*trainer\.limit_val_batches=0"):
        data.val_dataloader()
    assert len(list(data.train_dataloader())) == 1
    assert len(list(data.test_dataloader())) == 1


CHECK_ALONE = {"same file in two splits", "same file in two classes"}
"""What only a look at every file tells, and published datasets have: the check names it, training goes on."""


@pytest.mark.parametrize("kind", ["whole", *BROKEN])
def test_what_the_check_calls_wrong_a_run_refuses(tree: Path, kind: str) -> None:
    """By `setup`, or where the image is met; and a run reads what the check finds nothing wrong with."""
    options = BROKEN[kind][0](tree) if kind != "whole" else {"format": "voc"}
    is_wrong = bool(check(Folder(str(tree), on_bad_image="skip", **options), True, lambda things, *_: things).wrong)
    assert is_wrong == (kind != "whole")
    try:
        data = read(tree, **options)
        for examples in data.examples.values():
            for index in range(len(examples)):
                examples.split.read(index)
        is_refused = False
    except (ValueError, OSError):
        is_refused = True
    assert is_refused == (is_wrong and kind not in CHECK_ALONE)
