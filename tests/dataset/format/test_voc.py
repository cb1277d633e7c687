"""One XML annotation: inclusive corners become half-open, and what is wrong is said with the file's name."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cam_lightning.dataset.format.voc import read_voc

FILE = "folder/it's a = b, c.xml"


def xml(objects: str, size: str = "<width>500</width><height>375</height><depth>3</depth>") -> bytes:
    return f"<annotation><filename>x</filename><size>{size}</size>{objects}</annotation>".encode()


def thing(xmin: object, ymin: object, xmax: object, ymax: object, name: str = "n01751748") -> str:
    sides = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name><pose>Unspecified</pose><bndbox>{sides}</bndbox></object>"


def test_several_boxes_of_an_image_that_is_not_square() -> None:
    """One pixel is one wide; the whole image is as wide as the image."""
    found = read_voc(xml(thing(0, 0, 499, 374) + thing(7, 9, 7, 9, " n02119789\n")), FILE)
    assert (found.width, found.height) == (500, 375)
    assert found.names == ["n01751748", "n02119789"]
    assert found.boxes_N4.tolist() == [[0, 0, 500, 375], [7, 9, 8, 10]]
    assert found.boxes_N4.dtype == np.float32


def test_pascal_counts_pixels_from_1() -> None:
    """The whole image is 1..500, 1..375 there."""
    found = read_voc(xml(thing(1, 1, 500, 375)), FILE, first_pixel=1)
    assert found.boxes_N4.tolist() == [[0, 0, 500, 375]]


def test_no_object_is_no_box() -> None:
    assert read_voc(xml(""), FILE).boxes_N4.shape == (0, 4)


def test_decimals_and_boxes_out_of_the_image_are_read() -> None:
    assert read_voc(xml(thing(-1, "2.5", 600, " 9 ")), FILE).boxes_N4.tolist() == [[-1, 2.5, 601, 10]]


@pytest.mark.parametrize("size", ["", "<width>0</width><height>0</height>", "<width/><height/>", "<depth>3</depth>"])
def test_a_size_that_is_not_given_is_none(size: str) -> None:
    found = read_voc(xml(thing(1, 2, 3, 4), size), FILE)
    assert (found.width, found.height, found.boxes_N4.tolist()) == (0, 0, [[1, 2, 4, 5]])
    without = read_voc(xml(thing(1, 2, 3, 4)).replace(b"size>", b"sizes>"), FILE)
    assert (without.width, without.height, without.boxes_N4.tolist()) == (0, 0, [[1, 2, 4, 5]])


@pytest.mark.parametrize("declaration", ['<annotation xmlns="http://a.b/c">', '<v:annotation xmlns:v="urn:voc">'])
def test_names_may_be_in_a_namespace(declaration: str) -> None:
    text = xml(thing(1, 2, 3, 4)).decode().replace("<annotation>", declaration)
    if "v:" in declaration:
        text = text.replace("</", "</v:").replace("<", "<v:").replace("<v:/v:", "</v:").replace("<v:v:", "<v:")
    assert read_voc(text.encode(), FILE).boxes_N4.tolist() == [[1, 2, 4, 5]]


@pytest.mark.parametrize(
    ("encoding", "name"), [("gb2312", "猫"), ("GBK", "狗"), ("big5", "貓"), ("shift_jis", "ねこ"), ("utf-16", "chat é"),
                           ("iso-8859-1", "chat é"), ("windows-1251", "кот"), ("euc-kr", "고양이")]
)  # fmt: skip
@pytest.mark.parametrize("quote", ['"', "'"])
def test_text_in_the_encoding_that_it_declares(encoding: str, name: str, quote: str) -> None:
    text = (
        f"<?xml version={quote}1.0{quote} encoding={quote}{encoding}{quote}?>" + xml(thing(1, 2, 3, 4, name)).decode()
    )
    assert read_voc(text.encode(encoding), FILE).names == [name]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "is not XML"),
        (b"plain text", "is not XML"),
        (xml("")[:-20], "is not XML"),
        (b"<annotation>\xff\xfe</annotation>", "is not XML"),
        (b"<?xml version='1.0' encoding='no-such'?><a/>", "is not XML"),
        (b"<?xml version='1.0' encoding='gb2312'?><a>\xff</a>", "is not XML"),
        (xml("", "<width>3</width>"), ": size/height is missing"),
        (xml("", "<width>0</width><height>375</height>"), ": an image of 0×375 pixels"),
        (xml("", "<width>5.5</width><height>375</height>"), ": an image of 5.5×375 pixels"),
        (xml("", "<width>wide</width><height>375</height>"), ": size/width is 'wide', not a number"),
        (xml(thing(1, 1, 2, 2) + thing(1, 1, 2, 2, "")), ", object 2: it has no name"),
        (xml(thing(5, 1, 4, 9)), "object 1: the box .* has its corners the wrong way round"),
        (xml(thing(1, 9, 4, 8)), "object 1: the box .* has its corners the wrong way round"),
        (xml(thing("nan", 1, 4, 9)), "object 1: bndbox/xmin is 'nan', not a number"),
        (xml(thing(1, "x", 4, 9)), "object 1: bndbox/ymin is 'x', not a number"),
        (xml(thing(1, 1, "", 9)), "object 1: bndbox/xmax is missing"),
        (xml("<object><name>a</name></object>"), "object 1: bndbox/xmin is missing"),
        (xml(thing("10,5", 1, 14, 9)), "object 1: bndbox/xmin is '10,5', not a number"),
        (xml(thing(1, 1, "14;5", 9)), "object 1: bndbox/xmax is '14;5', not a number"),
        (xml(thing(1, 1, 2, 2) + "<object></object>"), ", object 2: it has no name"),
        (xml(thing(1, 1, 2, 2) + "<object/>" + thing(1, 1, 3, 3)), ", object 2: it has no name"),
        (xml("<object><name>a</name><polygon><x1>1</x1><y1>2</y1></polygon></object>"), "object 1: bndbox/xmin is mi"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(FILE) + ".*" + complaint):
        read_voc(data, FILE)
