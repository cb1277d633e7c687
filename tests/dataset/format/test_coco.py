"""COCO's JSON as tools write it, and what is none of it, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from photo_tree import boxes_by_id, checked, coco, photos, write

from cam_lightning.dataset.format.coco import read_coco


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_byte_order_mark_is_no_fault(tmp_path: Path, encoding: str) -> None:
    photos(tmp_path / "images", "cat/a.jpg", "dog/ü.jpg")
    write(tmp_path / "annotations.json", coco({"a.jpg": "cat", "ü.jpg": "dog"}).encode(encoding))
    assert set(boxes_by_id(tmp_path, format="coco")) == {"cat/a.jpg", "dog/ü.jpg"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"images":[{"id":[1],"file_name":"a.jpg"}],"annotations":[],"categories":[]}', r"image id \[1\] is neither"),
        ('{"images":[{"id":{"a":1}}],"annotations":[],"categories":[]}', r'image id \{"a": 1\} is neither'),
        ('{"images":[],"annotations":[{"image_id":[1]}],"categories":[]}', r"image id \[1\] is neither"),
        ('{"images":[],"annotations":[],"categories":[{"id":[1]}]}', r"category id \[1\] is neither"),
        ("[" * 100_000, "lie too deep in each other|is not JSON"),
        ('{"images":' + "[" * 100_000, "lie too deep in each other|is not JSON"),
        ("{}", "needs lists of objects called images"),
    ],
    ids=range(7),
)
def test_what_is_not_coco_s_is_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path / "a.json", text)
    with pytest.raises(ValueError, match=complaint) as caught:
        list(read_coco(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", ['"width": Infinity, "height": 30', '"width": null', '"width": "50", "height": NaN'])
def test_a_size_that_is_no_number_is_none(tmp_path: Path, size: str) -> None:
    photos(tmp_path / "images", "cat/a.jpg")
    text = coco({"a.jpg": "cat"}).replace('"file_name"', f'{size}, "file_name"')
    write(tmp_path / "annotations.json", text)
    assert len(boxes_by_id(tmp_path, format="coco")) == 1


@pytest.mark.parametrize("box", ["[1e999, 2, 3, 4]", "[null, 1, 2, 3]", '{"x": 1}', '"1 2 3 4"', "[[1], 2, 3, 4]"])
def test_a_box_that_is_none_is_one_line(tmp_path: Path, box: str) -> None:
    photos(tmp_path / "images", "cat/a.jpg")
    write(tmp_path / "annotations.json", coco({"a.jpg": "cat"}).replace("[5, 6, 10, 12]", box))
    (wrong,) = checked(tmp_path, format="coco", test_fraction=1).wrong
    assert "is not of numbers" in wrong.what or "a box needs four numbers" in wrong.what
