"""Street View Text in its XML: words' boxes, outdoor scenes beside it, and a map that is on drawn words."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from labelled_tree import draw_all
from pattern_world import background, draw_object, probed_network
from PIL import Image

from cam_lightning import localize
from cam_lightning.dataset.street_view_text import StreetViewText

WORDS = {"train": 4, "test": 2}
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<tagset>'


def image_xml(
    name: str, width: int, height: int, boxes: list[tuple[float, ...]], resolution: str = "Resolution"
) -> str:
    """As published; boxes are x, y, width, height."""
    rectangles = "".join(
        f'<taggedRectangle height="{h}" width="{w}" x="{x}" y="{y}"><tag>WORD{n}</tag></taggedRectangle>'
        for n, (x, y, w, h) in enumerate(boxes)
    )
    return (
        f"<image><imageName>{name}</imageName><address>341 Southwest 10th Avenue Portland OR</address>"
        f'<lex>LIVING,ROOM,THEATERS</lex><{resolution} x="{width}" y="{height}"/>'
        f"<taggedRectangles>{rectangles}</taggedRectangles></image>"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "it's svt"
    number = 0
    for part, count in WORDS.items():
        entries = []
        for _ in range(count):
            height_of = draw_all(root / "svt1", [f"img/{number:02d}_00.jpg"])
            (name,) = height_of
            # The second box reaches out of the image, on the left and below.
            entries.append(image_xml(name, 40, height_of[name], [(5, 2, 10.5, 4), (-3, 15, 8, 9)]))
            number += 1
        (root / "svt1" / f"{part}.xml").write_text(f"{HEAD}{''.join(entries)}</tagset>")
    draw_all(tmp_path / "outdoor", [f"a/{kind}/sun_{n}.jpg" for kind in ("alley", "arch/outer") for n in range(12)])
    (tmp_path / "outdoor" / "readme.txt").touch()
    return root


def data(root: Path, **options: Any) -> StreetViewText:
    return StreetViewText(str(root), **{"negatives": str(root.parent / "outdoor"), "num_workers": 0, **options})


def test_words_are_boxes_and_masks(root: Path) -> None:
    names, train, test, _ = data(root).read_splits()
    assert names == ["no text", "text"]
    assert train is not None
    for split, count in ((train, 4), (test, 2)):
        assert np.bincount(split.label_N).tolist() == [count, count]
        assert split.num_boxes_N is not None
        assert split.num_boxes_N.tolist() == (2 * split.label_N).tolist()
        for index, label in enumerate(split.label_N.tolist()):
            image_HW3, boxes_N4, mask_HW = split.read(index)
            assert mask_HW is not None
            assert mask_HW.shape == image_HW3.shape[:2]
            if label:
                assert boxes_N4.tolist() == [[5, 2, 15.5, 6], [0, 15, 5, 20]]
                assert mask_HW.sum() == 11 * 4 + 5 * 5
                assert mask_HW[2:6, 5:16].all()
                assert mask_HW[15:20, :5].all()
            else:
                assert split.ids[index].startswith("a/")
                assert (mask_HW == 255).all()
    assert not {*train.ids} & {*test.ids}


def test_the_seed_draws_the_scenes(root: Path) -> None:
    drawn = [tuple(data(root, split_seed=seed, negatives_per_positive=2).read_splits().test.ids) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert {*map(len, drawn)} == {6}
    assert StreetViewText.DRAWN_BY == "split_seed"


def test_scenes_may_be_packed(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "outdoor.zip", "w") as archive:
        for path in sorted((tmp_path / "outdoor").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    packed = data(root, negatives=str(tmp_path / "outdoor.zip")).read_splits()
    lying = data(root).read_splits()
    assert [*packed.test.ids] == [*lying.test.ids]
    last = len(lying.test) - 1
    assert lying.test.label_N[last] == 0
    np.testing.assert_array_equal(packed.test.read(last).image_HW3, lying.test.read(last).image_HW3)


def broken(old: str, new: str, message: str) -> Any:
    return pytest.param(old, new, message, id=message[:40])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        broken("</tagset>", "", "is not XML: "),
        broken(HEAD, f"{HEAD}</tagset><!--", "is not XML: "),
        broken("<image>", "<picture>", "is not XML: "),
        broken("<imageName>img/04_00.jpg", "<imageName>", "image 1 has no imageName"),
        broken("Resolution", "Size", "image 1 (img/04_00.jpg) has no Resolution"),
        broken('Resolution x="40"', 'Resolution x="forty"', "Resolution: x is 'forty', not a number"),
        broken('Resolution x="40"', 'Resolution x="0"', "an image of 0×20 pixels"),
        broken('height="4"', "", "rectangle 1: height is missing"),
        broken('width="10.5"', 'width="nan"', "rectangle 1: width is 'nan', not a number"),
        broken('x="5" y="2"', 'x="50" y="2"', "is not on an image of 40×20"),
        broken('width="10.5"', 'width="-10"', "rectangle 1: the box x y width height [5.0, 2.0, -10.0, 4.0] is not on"),
        broken("taggedRectangle ", "rectangle ", "is not XML: "),
        broken('Resolution x="40"', 'Resolution x="41"', "have another size than their annotations give"),
    ],
)
def test_broken_xml_is_one_line(root: Path, old: str, new: str, message: str) -> None:
    path = root / "svt1" / "test.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError) as caught:
        data(root).read_splits()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_said(root: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"negatives": None}, "dataset.negatives is the folder of outdoor scenes"),
        ({"negatives": str(tmp_path / "nowhere")}, "nowhere does not exist"),
        ({"negatives": str(root / "svt1" / "train.xml")}, "is neither a folder nor a zip archive"),
        ({"negatives_per_positive": -1}, "dataset.negatives_per_positive is a number above 0; got -1"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            data(root, **options).read_splits()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds 0 images: expected many outdoor scenes"):
        data(root, negatives=str(tmp_path / "empty")).read_splits()
    (root / "svt1" / "test.xml").write_text(f"{HEAD}</tagset>")
    with pytest.raises(ValueError, match=r"test\.xml has no image"):
        data(root).read_splits()
    (root / "svt1" / "test.xml").write_text(f"{HEAD}{image_xml('img/00_00.jpg', 40, 20, [])}</tagset>")
    with pytest.raises(ValueError, match="has no taggedRectangle"):
        data(root).read_splits()
    (root / "svt1" / "test.xml").write_text(
        f"{HEAD}{image_xml('img/9.jpg', 40, 20, [(1, 1, 2, 2)], 'resolution')}</tagset>"
    )
    with pytest.raises(FileNotFoundError, match=r"9.jpg does not exist, though train.xml or test.xml lists it"):
        data(root).read_splits()
    (root / "svt1" / "test.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected train.xml, test.xml, img; found svt1"):
        data(root).read_splits()


def test_the_map_is_on_drawn_words(tmp_path: Path) -> None:
    """No box is used to train: the highest point of the map of `text` lies within a word, in every test image."""
    random = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 8)):
        entries = []
        for number in range(count):
            image_HW3 = background(random, 64, 100)
            draw_object(image_HW3, int(random.integers(0, 70)), 36, str(random.choice(["red", "green", "blue"])))
            x, y = int(random.integers(4, 50)), int(random.integers(16, 30))
            cv2.putText(image_HW3, "HILL", (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 2)
            name = f"img/{part}_{number}.png"
            (tmp_path / "svt1" / "img").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image_HW3).save(tmp_path / "svt1" / name)
            entries.append(image_xml(name, 100, 64, [(x - 2, y - 13, 22, 16), (x + 20, y - 13, 22, 16)]))
        (tmp_path / "svt1" / f"{part}.xml").write_text(f"{HEAD}{''.join(entries)}</tagset>")
    (tmp_path / "outdoor").mkdir()
    for number in range(40):
        image_HW3 = background(random, 64, 100)
        draw_object(image_HW3, int(random.integers(0, 70)), 36, str(random.choice(["red", "green", "blue"])))
        Image.fromarray(image_HW3).save(tmp_path / "outdoor" / f"{number}.png")
    drawn = data(tmp_path / "svt1", image_size=[64, 100])
    network = probed_network(drawn, tmp_path / "features", c=100.0)
    test = drawn.examples["test"].split
    photos = [test.read(index) for index in range(len(test))]
    found = [*localize(network, [photo.image_HW3 for photo in photos], image_size=(64, 100))]
    num_words = 0
    for photo, label, answer in zip(photos, test.label_N.tolist(), found, strict=True):
        assert answer.classes_T[0] == label
        if label:
            map_hw = np.asarray(answer.map_Thw[0])
            row, column = np.unravel_index(int(np.argmax(map_hw)), map_hw.shape)
            point = np.array([column + 0.5, row + 0.5]) * 4
            assert any((box[:2] <= point).all() and (point < box[2:]).all() for box in photo.boxes_N4)
            num_words += 1
    assert num_words == 8
