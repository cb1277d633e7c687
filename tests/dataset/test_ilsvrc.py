"""ILSVRC in every layout that people have: the same labels and boxes of each, in the order of sorted WordNet ids."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from cam_lightning.dataset.format.ilsvrc_validation import Validation, imagenetv2_rows, wsol_boxes
from cam_lightning.dataset.format.wsol_metadata import read_metadata
from cam_lightning.dataset.ilsvrc import Ilsvrc
from cam_lightning.dataset.imagenet import imagenet_classes
from cam_lightning.dataset.pipeline.index import Index
from cam_lightning.dataset.pipeline.index_cache import NotedStorage, Stamps

DEVKIT = ["n02119789", "n02100735", "n01440764"]
"""Kit fox, English setter, tench: the devkit's classes 1, 2, 3 here, so that its order is the reverse of the sorted."""
SORTED = ["n01440764", "n02100735", "n02119789"]
CLASS_OF = {1: "n02100735", 2: "n02119789", 3: "n01440764", 4: "n02119789", 5: "n01440764", 6: "n02100735"}
"""Validation image → class."""
MODES = ("RGB", "L", "CMYK")


def size_of(number: int) -> tuple[int, int]:
    return 40 + number, 90 - 3 * number


def boxes_of(number: int) -> list[list[int]]:
    """Inclusive corners, as the XML has them; even images have two boxes, the second touching the image's corner."""
    height, width = size_of(number)
    second = [[width - 20, height - 12, width - 1, height - 1]] if number % 2 == 0 else []
    return [[4 + number, 3, 20 + number, 16], *second]


def half_open(number: int) -> list[list[float]]:
    return [[x0, y0, x1 + 1, y1 + 1] for x0, y0, x1, y1 in boxes_of(number)]


def write_xml(folder: Path, number: int, name: str | None = None) -> None:
    height, width = size_of(number)
    objects = "".join(
        f"<object><name>{name or CLASS_OF[number]}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for x0, y0, x1, y1 in boxes_of(number)
    )
    # Something of another class in the picture is not this image's ground truth.
    objects += "<object><name>n09999999</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>1</xmax><ymax>1</ymax>"
    objects += "</bndbox></object>"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"ILSVRC2012_val_{number:08d}.xml").write_text(
        f"<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>"
    )


def write_devkit(folder: Path, matlab: bool = False, labels: list[int] | None = None) -> None:
    data = folder / "data"
    data.mkdir(parents=True)
    truth = labels or [DEVKIT.index(CLASS_OF[number]) + 1 for number in sorted(CLASS_OF)]
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{label}\n" for label in truth))
    if matlab:
        kinds = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)]
        rows = [(i + 1, wnid, "a name, another", 0) for i, wnid in enumerate(DEVKIT)]
        rows.append((4, "n00001740", "entity", 9))
        savemat(data / "meta.mat", {"synsets": np.array(rows, dtype=kinds)[:, None]})
    else:
        (data / "map_clsloc.txt").write_text("".join(f"{wnid} {i + 1} name\n" for i, wnid in enumerate(DEVKIT)))


def write_metadata(folder: Path) -> None:
    """The WSOL benchmark's index of the six validation images; labels count all 1,000 sorted WordNet ids."""
    folder.mkdir(parents=True)
    ids = {number: f"val/ILSVRC2012_val_{number:08d}.JPEG" for number in sorted(CLASS_OF)}
    rows: dict[str, list[str]] = {
        "image_ids": list(ids.values()),
        "class_labels": [f"{name},{imagenet_classes().index(CLASS_OF[i])}" for i, name in ids.items()],
        "image_sizes": [f"{name},{size_of(i)[1]},{size_of(i)[0]}" for i, name in ids.items()],
        "localization": [f"{name},{','.join(map(str, box))}" for i, name in ids.items() for box in boxes_of(i)],
    }
    for name, lines in rows.items():
        (folder / f"{name}.txt").write_text("\n".join(lines))


Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(tmp_path: Path, draw_photo: Callable[..., None]) -> Make:
    """Writes a tree of some layout; gives the options that read it."""
    root = tmp_path / "it's a = root, of ILSVRC"

    def images(train: str | None, validation: str, sort: bool = False) -> None:
        for number, wnid in CLASS_OF.items():
            folder = root / validation / (wnid if sort else "")
            mode = MODES[number % 3]
            draw_photo(folder / f"ILSVRC2012_val_{number:08d}.JPEG", *size_of(number), boxes_of(number), mode)
        for wnid in SORTED if train else ():
            for i in range(4):
                draw_photo(root / str(train) / wnid / f"{wnid}_{i}.JPEG", 30 + i, 50, [], MODES[i % 3])

    def write(layout: str) -> dict[str, Any]:
        if layout == "flat, devkit, XML":
            images("train", "val")
            write_devkit(root / "ILSVRC2012_devkit_t12")
            [write_xml(root / "ILSVRC2012_bbox_val_v3" / "val", number) for number in CLASS_OF]
            return {"root": root}
        if layout == "flat, meta.mat and XML elsewhere":
            images("ILSVRC2012_img_train", "ILSVRC2012_img_val")
            write_devkit(tmp_path / "kit", matlab=True)
            [write_xml(tmp_path / "boxes" / "val", number) for number in CLASS_OF]
            return {"root": root, "devkit": tmp_path / "kit", "annotations": tmp_path / "boxes"}
        if layout == "flat, WSOL index":
            images("train", "val")
            write_metadata(tmp_path / "metadata" / "test")
            return {"root": root, "metadata": tmp_path / "metadata"}
        if layout == "class folders, WSOL index, devkit":
            images("train", "val", sort=True)
            write_metadata(tmp_path / "metadata" / "test")
            write_devkit(root / "devkit")
            return {"root": root, "metadata": tmp_path / "metadata"}
        if layout == "class folders, XML among the images":
            images("train", "val", sort=True)
            [write_xml(root / "val", number) for number in CLASS_OF]
            return {"root": root}
        assert layout == "CLS-LOC, XML"
        top = root / "ILSVRC"
        images("ILSVRC/Data/CLS-LOC/train", "ILSVRC/Data/CLS-LOC/val")
        [write_xml(top / "Annotations" / "CLS-LOC" / "val", number, name) for number, name in CLASS_OF.items()]
        (top / "ImageSets" / "CLS-LOC").mkdir(parents=True)
        listed = "".join(f"{wnid}/{wnid}_{i} {i + 1}\n" for wnid in SORTED for i in range(4))
        (top / "ImageSets" / "CLS-LOC" / "train_cls.txt").write_text(listed)
        return {"root": root}

    return write


LAYOUTS = (
    "flat, devkit, XML",
    "flat, meta.mat and XML elsewhere",
    "flat, WSOL index",
    "class folders, WSOL index, devkit",
    "class folders, XML among the images",
)


def dataset(options: dict[str, Any]) -> Ilsvrc:
    paths = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    common = {"image_size": (56, 80), "batch_size": 4, "num_workers": 0, "val_fraction": 0.25}
    data = Ilsvrc(**{**common, **paths})
    data.setup()
    return data


def number_of(path: str) -> int:
    return int(path[-13:-5])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same(
    layout: str, make: Make, bright_boxes: Callable[..., Any], through_the_transform: Callable[..., None]
) -> None:
    data = dataset(make(layout))
    assert data.class_names == SORTED
    assert {name: len(examples) for name, examples in data.examples.items()} == {"train": 9, "val": 3, "test": 6}
    assert data.display_name("n02119789") == "kit fox"
    test = data.examples["test"].split
    assert sorted(map(number_of, test.ids)) == [1, 2, 3, 4, 5, 6]
    for index, path in enumerate(test.ids):
        number = number_of(path)
        assert SORTED[test.label_N[index]] == CLASS_OF[number]
        image_HW3, boxes_N4, _ = test.read(index)
        assert image_HW3.shape == (*size_of(number), 3)
        assert boxes_N4.tolist() == half_open(number)
        assert bright_boxes(image_HW3) == sorted(half_open(number))
    train = data.examples["train"].split
    for index, path in enumerate(train.ids):
        assert path.split("/")[-2] == SORTED[train.label_N[index]]
    through_the_transform(data.test_dataloader())


def test_the_layout_with_data_annotations_and_image_sets(
    make: Make, through_the_transform: Callable[..., None]
) -> None:
    """Its XML names objects of other classes too, which leaves the labels to a devkit or the WSOL index."""
    options = make("CLS-LOC, XML")
    with pytest.raises(
        ValueError, match=r"val/ILSVRC2012_val_00000001.JPEG \(6 of 6 images\) is not in any list of lab"
    ):
        dataset(options)
    write_devkit(options["root"] / "devkit")
    data = dataset(options)
    assert [SORTED[label] for label in data.examples["test"].split.label_N] == list(CLASS_OF.values())
    through_the_transform(data.test_dataloader())
    root = options["root"] / "ILSVRC"
    for xml in (root / "Annotations" / "CLS-LOC" / "val").iterdir():
        xml.write_text(xml.read_text().replace("n09999999", CLASS_OF[int(xml.stem[-8:])]))
    shutil.rmtree(options["root"] / "devkit")
    data = dataset(options)
    assert [SORTED[label] for label in data.examples["test"].split.label_N] == list(CLASS_OF.values())
    (root / "Data/CLS-LOC/train" / SORTED[1] / f"{SORTED[1]}_2.JPEG").unlink()
    with pytest.raises(ValueError, match=r"train/n02100735 has 3 images, but ImageSets/CLS-LOC/train_cls.txt lists 4"):
        dataset(options)


def test_devkit_ids_taken_for_positions_are_found_out(make: Make) -> None:
    """The classic mix-up: 1-based ids in sorted order where the devkit's own order belongs, or the other way round."""
    options = make("class folders, WSOL index, devkit")
    shutil.rmtree(options["root"] / "devkit")
    write_devkit(options["root"] / "devkit", labels=[SORTED.index(CLASS_OF[i]) + 1 for i in sorted(CLASS_OF)])
    with pytest.raises(ValueError, match=r"is n\d+ by its folder, but n\d+ by .*ground_truth.txt.*\(4 of 6 images\)"):
        dataset(options)


def test_xml_of_other_images_is_found_out(make: Make) -> None:
    options = make("flat, devkit, XML")
    shutil.rmtree(options["root"] / "ILSVRC2012_devkit_t12")
    write_devkit(options["root"] / "devkit", labels=[SORTED.index(CLASS_OF[i]) + 1 for i in sorted(CLASS_OF)])
    with pytest.raises(ValueError, match=r"is n01440764, but its XML has only objects of n02119789, n09999999"):
        dataset(options)


def test_some_classes_alone(make: Make) -> None:
    """Where only some training folders are there, or only some classes are wanted, labels count those."""
    options = make("flat, WSOL index")
    chosen = dataset({**options, "classes": ["n02119789"]})
    assert chosen.class_names == ["n02119789"]
    assert chosen.examples["test"].class_names == ["n02119789"]
    assert sorted(map(number_of, chosen.examples["test"].ids)) == [2, 4]
    shutil.rmtree(options["root"] / "train" / "n01440764")
    data = dataset(options)
    assert data.class_names == SORTED[1:]
    assert sorted(map(number_of, data.examples["test"].ids)) == [1, 2, 4, 6]


def test_classes_that_are_tested_and_never_trained_on_are_left_out_with_a_word(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    options = make("class folders, WSOL index, devkit")
    assert dataset(options).class_names == SORTED
    assert not caplog.messages
    shutil.rmtree(options["root"] / "train" / "n01440764")
    data = dataset(options)
    assert sorted(map(number_of, data.examples["test"].ids)) == [1, 2, 4, 6]
    (said,) = caplog.messages
    assert re.fullmatch(r"data: 1 classes of .*/val have no folder in train, .* are left out: n01440764", said)


def test_without_training_images_it_can_be_evaluated(make: Make) -> None:
    options = make("class folders, WSOL index, devkit")
    shutil.rmtree(options["root"] / "train")
    data = dataset(options)
    assert data.class_names == SORTED
    assert set(data.examples) == {"test"}
    assert [SORTED[label] for label in data.examples["test"].split.label_N] == [
        CLASS_OF[number_of(path)] for path in data.examples["test"].ids
    ]
    with pytest.raises(FileNotFoundError, match=r"no training images: these data can only be evaluated\. Fetch"):
        data.train_dataloader()


def test_a_flat_validation_folder_alone_stands_for_all_classes(make: Make) -> None:
    options = make("flat, WSOL index")
    shutil.rmtree(options["root"] / "train")
    with pytest.raises(ValueError, match="the test split has no image of 997 of 1000 classes"):
        dataset(options)
    assert dataset({**options, "classes": SORTED}).class_names == SORTED


@pytest.mark.parametrize("as_file", [True, False])
def test_the_blacklist_leaves_images_out(make: Make, as_file: bool, tmp_path: Path) -> None:
    options = make("flat, devkit, XML")
    path = options["root"] / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2014_clsloc_validation_blacklist.txt"
    path = tmp_path / "list" if as_file else path
    path.write_text("6\n3\n")
    data = dataset({**options, "blacklist": path if as_file else True})
    assert sorted(map(number_of, data.examples["test"].ids)) == [1, 2, 4, 5]


def test_a_subset_takes_the_whole_blacklist(make: Make, tmp_path: Path) -> None:
    options = make("flat, devkit, XML")
    (tmp_path / "list").write_text("6\n49998\n3\n")
    data = dataset({**options, "blacklist": tmp_path / "list"})
    assert sorted(map(number_of, data.examples["test"].ids)) == [1, 2, 4, 5]


def test_the_benchmark_s_short_list(make: Make, tmp_path: Path) -> None:
    options = make("flat, WSOL index")
    train = tmp_path / "metadata" / "train"
    train.mkdir()
    every = [f"train/{wnid}/{wnid}_{i}.JPEG" for wnid in SORTED for i in range(4)]
    (train / "image_ids.txt").write_text("\n".join(every))
    labels = "\n".join(f"{path},{imagenet_classes().index(path.split('/')[1])}" for path in every)
    (train / "class_labels.txt").write_text(labels)
    (train / "image_ids_proxy.txt").write_text("\n".join(every[::2]))
    data = dataset({**options, "proxy": True, "val_fraction": 0.5})
    assert sorted([*data.examples["train"].ids, *data.examples["val"].ids]) == every[::2]
    (options["root"] / every[2]).unlink()
    with pytest.raises(FileNotFoundError, match=r"has 5 of the 6 images that .*image_ids_proxy\.txt lists"):
        dataset({**options, "proxy": True})
    with pytest.raises(ValueError, match=r"dataset\.proxy=true takes its list"):
        Ilsvrc(root="x", proxy=True)


@pytest.mark.parametrize("below_the_root", [True, False])
@pytest.mark.parametrize("published_names", [True, False])
def test_imagenetv2_is_train_fullsup(
    make: Make,
    tmp_path: Path,
    draw_photo: Callable[..., None],
    through_the_transform: Callable[..., None],
    below_the_root: bool,
    published_names: bool,
) -> None:
    """Its folders count sorted WordNet ids; fit validates on it, and trains on every training image."""
    options = make("flat, WSOL index")
    images = options["root"] / "val2" if below_the_root else tmp_path / "v2"
    folder = tmp_path / "metadata" / "val"
    folder.mkdir()
    rows: dict[str, list[str]] = {key: [] for key in ("image_ids", "class_labels", "image_sizes", "localization")}
    mapping = []
    for wnid in [*SORTED, "n15075141"]:
        for i in range(2):
            label = imagenet_classes().index(wnid)
            file = f"{label}/{'abc' if published_names else ''}{i}.jpeg"
            mapping.append(f"{label}/{i}.jpeg, {file}")
            draw_photo(images / file, 50 + i, 40, [[5, 6 + i, 30, 40]])
            name = f"val2/{label}/{i}.jpeg"
            for key, values in (("image_ids", ""), ("class_labels", f",{label}"), ("image_sizes", f",40,{50 + i}")):
                rows[key].append(name + values)
            rows["localization"].append(f"{name},5,{6 + i},30,40")
    for key, lines in rows.items():
        (folder / f"{key}.txt").write_text("\n".join(lines) + "\n")
    (folder / "mapping.txt").write_text("\n".join(mapping))
    data = dataset(options if below_the_root else {**options, "imagenetv2": images})
    assert {name: len(examples) for name, examples in data.examples.items()} == {"train": 12, "val": 6, "test": 6}
    val = data.examples["val"].split
    assert val.label_N.tolist() == [0, 0, 1, 1, 2, 2]
    assert val.read(1).boxes_N4.tolist() == [[5, 7, 31, 41]]
    through_the_transform(data.val_dataloader())
    (images / f"{imagenet_classes().index(SORTED[1])}" / f"{'abc' if published_names else ''}1.jpeg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.jpeg does not exist \(1 of the 8 images in .*ImageNetV2"):
        dataset(options if below_the_root else {**options, "imagenetv2": images})


def test_photos_of_another_size_than_their_boxes_are_refused(make: Make, draw_photo: Callable[..., None]) -> None:
    options = make("flat, WSOL index")
    for number in CLASS_OF:
        draw_photo(options["root"] / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", 32, 32, [])
    with pytest.raises(ValueError, match=r"6 of 6 images looked at .* is 32×32, its annotation says 87×41"):
        dataset(options)


def break_it(root: Path, what: str) -> None:
    if what == "no validation":
        shutil.rmtree(root / "val")
    elif what == "packed":
        shutil.rmtree(root / "train")
        (root / "train").mkdir()
        (root / "train" / "n01440764.tar").touch()
    elif what == "foreign":
        (root / "train" / "n00000001").mkdir()
    elif what == "no class":
        shutil.rmtree(root / "train")
        (root / "train" / "tench").mkdir(parents=True)
    elif what == "missing XML":
        (root / "ILSVRC2012_bbox_val_v3" / "val" / "ILSVRC2012_val_00000004.xml").unlink()
    elif what == "no kit":
        shutil.rmtree(root / "ILSVRC2012_devkit_t12")
    elif what == "two truths":
        (root / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2014_clsloc_validation_ground_truth.txt").touch()
    elif what == "no map":
        (root / "ILSVRC2012_devkit_t12" / "data" / "map_clsloc.txt").unlink()
    elif what == "short truth":
        path = root / "ILSVRC2012_devkit_t12" / "data" / "ILSVRC2012_validation_ground_truth.txt"
        path.write_text(path.read_text()[:-4])
    elif what == "empty class":
        shutil.rmtree(root / "train" / SORTED[2])
        (root / "train" / SORTED[2]).mkdir()


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ("no validation", r"not laid out as ILSVRC: expected .* one of val, .*; found ILSVRC2012_bbox.*image-net\.org"),
        ("packed", r"train/n01440764\.tar and 0 more are still packed"),
        ("foreign", r"has 1 folders that are not classes of ILSVRC 2012: n00000001\. For classes of your own"),
        ("no class", r"train has no folder named by a WordNet id"),
        ("missing XML", r"ILSVRC2012_val_00000004\.JPEG \(1 of 6 images\) is not in the folder of XML files"),
        ("no kit", r"JPEG \(6 of 6 images\) is not in any list of labels: .*dataset\.devkit.*dataset\.metadata"),
        ("two truths", r"must hold one file \*validation_ground_truth\.txt; found .*2012.*2014"),
        ("no map", r"must hold map_clsloc\.txt or meta\.mat"),
        ("short truth", r"00000005\.JPEG \(2 of 6 images\) is not in any list of labels"),
        ("empty class", r"the training split has no image of 1 of 3 classes: n02119789"),
    ],
)
def test_what_is_wrong_is_said_before_training(make: Make, what: str, complaint: str) -> None:
    options = make("flat, devkit, XML")
    break_it(options["root"], what)
    with pytest.raises((ValueError, FileNotFoundError), match=complaint):
        dataset(options)


def test_a_kept_index_gives_the_same(make: Make, tmp_path: Path) -> None:
    """Made, kept, and read back; what changes in the tree is seen."""
    options = {**make("flat, devkit, XML"), "cache": tmp_path / "cache"}
    for path in [*options["root"].rglob("*"), options["root"]]:
        os.utime(path, (1e9, 1e9))
    first = dataset(options)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    again = dataset(options)
    for name in ("train", "val", "test"):
        ours, theirs = first.examples[name].split, again.examples[name].split
        assert ours.ids == theirs.ids
        assert ours.label_N.tolist() == theirs.label_N.tolist()
        assert [ours.read(i).boxes_N4.tolist() for i in range(3)] == [
            theirs.read(i).boxes_N4.tolist() for i in range(3)
        ]
    (options["root"] / "val" / "ILSVRC2012_val_00000001.JPEG").unlink()
    assert len(dataset(options).examples["test"]) == 5


def test_trees_of_one_relative_path_have_indices_of_their_own(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cd a; train dataset.root=ILSVRC`, then the same in b, where an image more is."""
    root = make("flat, devkit, XML")["root"]
    for number, folder in enumerate(("a", "b")):
        copied = tmp_path / folder / "ILSVRC"
        shutil.copytree(root, copied)
        if number:
            (copied / "val" / "ILSVRC2012_val_00000001.JPEG").unlink()
        for path in [*copied.rglob("*"), copied]:
            os.utime(path, (1e9, 1e9))
        monkeypatch.chdir(tmp_path / folder)
        data = dataset({"root": "ILSVRC", "cache": tmp_path / "cache"})
        assert len(data.examples["test"]) == 6 - number


@pytest.mark.reference
def test_the_wsol_index_and_the_devkit_have_the_same_boxes(reference_data: Path) -> None:
    """All 5,000 images of the organisers' list: inclusive corners in both, equal to the pixel, in the same order.

    The devkit's 1,000 class ids and the index's labels, positions in sorted WordNet order, map one to one, and
    none is the other less one.
    """
    index = read_metadata(reference_data / "wsol-metadata" / "ILSVRC" / "test")
    rows = np.loadtxt(reference_data / "ilsvrc-clsloc-reference" / "boxes.csv", np.int64, delimiter=",", skiprows=1)
    pairs = set()
    for image in range(5000):
        assert index.ids[image] == f"val/ILSVRC2012_val_{image + 1:08d}.JPEG"
        own = rows[rows[:, 0] == image + 1]
        boxes_N4, size = wsol_boxes(index, image)
        assert size is not None
        assert (boxes_N4 - np.float32([0, 0, 1, 1])).tolist() == own[:, 2:].tolist()
        assert (boxes_N4[:, [3, 2]] <= size).all()
        pairs |= {(int(index.label_N[image]), devkit) for devkit in own[:, 1].tolist()}
    assert len(pairs) == len({ours for ours, _ in pairs}) == len({theirs for _, theirs in pairs}) == 1000
    assert not any(theirs == ours + 1 for ours, theirs in pairs)
    assert torch.equal(torch.tensor(sorted(ours for ours, _ in pairs)), torch.arange(1000))


@pytest.mark.reference
@pytest.mark.slow
def test_the_published_index_through_the_reader(reference_data: Path, tmp_path: Path) -> None:
    """Every image of the benchmark's two ILSVRC splits, as empty files: counts, labels, boxes."""
    metadata = reference_data / "wsol-metadata" / "ILSVRC"
    for part, num_images, num_boxes in (("test", 50_000, 80_477), ("val", 10_000, 18_532)):
        published = read_metadata(metadata / part)
        for path in published.ids:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        storage = NotedStorage(tmp_path, Stamps())
        if part == "test":
            validation = Validation(storage, "val", storage.stamps, metadata, None)
            validation.read_labels(None)
            index = Index.pack(validation.rows(imagenet_classes()))
        else:
            rows = imagenetv2_rows(storage, "val2", metadata / "val", imagenet_classes(), storage.stamps)
            index = Index.pack(rows)
        assert index.ids == published.ids
        assert (len(index.ids), len(index.boxes_M4)) == (num_images, num_boxes)
        assert (index.label_N == published.label_N).all()
        assert (index.boxes_M4 - np.float32([0, 0, 1, 1]) == published.corners_M4).all()
        assert np.bincount(index.label_N).tolist() == [num_images // 1000] * 1000
