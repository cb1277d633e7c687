"""SUN's annotated scenes in LabelMe's layout: folders, polygons against a slow rule, and what broken files get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_tree import draw_all
from object_tree import labelme

from cam_lightning.dataset.format.labelme import read_labelme
from cam_lightning.dataset.format.objects import objects_of
from cam_lightning.dataset.sun_objects import SunObjects

TOP = "users/antonio/static_sun_database"
SQUARE = [(5.0, 2.0), (14.0, 2.0), (14.0, 9.0), (5.0, 9.0)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "it's SUN2012"
    for folder, count in ((f"{TOP}/a/abbey", 4), (f"{TOP}/b/bar/indoor", 4), (f"{TOP}/c/cave", 1), (f"{TOP}/d/den", 2)):
        names = [f"{folder}/sun_{n:016d}" for n in range(count)]
        draw_all(root / "Images", [f"{name}.jpg" for name in names])
        for name in names[: 1 if folder.endswith("den") else None]:
            path = root / "Annotations" / f"{name}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(labelme([("Wall", SQUARE), ("table  top", [(0, 0), (3, 0), (0, 3)])]))
    return root


def data(root: Path, **options: Any) -> SunObjects:
    return SunObjects(root=str(root), num_workers=0, **options)


def test_folders_are_categories(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    names, train, test, _ = data(root).read_splits()
    # Of the cave there is one photo, of the den one that is annotated.
    assert names == ["abbey", "bar/indoor"]
    assert "1 photos have no annotation and are left out, such as Images/users" in caplog.text
    assert train is not None
    assert len(train) + len(test) == 8
    assert {*train.label_N.tolist()} == {*test.label_N.tolist()} == {0, 1}
    assert not {*train.ids} & {*test.ids}
    size = test.read(0).image_HW3.shape[:2]
    objects = objects_of(test, 0, size)
    expected = np.zeros(size, bool)
    expected[2:10, 5:15] = True
    np.testing.assert_array_equal(objects["wall"], expected)
    assert objects["table top"].sum() == 10
    assert SunObjects.DRAWN_BY == "split_seed"


def test_polygons_of_one_name_are_one_mask() -> None:
    """Against a slow rule: a pixel whose middle is well within a polygon is on, one that is well outside is off."""
    points = [(3.0, 1.0), (30.0, 6.0), (20.0, 22.0), (1.0, 15.0)]
    away = [(40.0, 2.0), (70.0, 2.0), (40.0, 30.0)]
    masks = read_labelme(labelme([("a", points), ("A ", away)]).encode(), "x").masks((25, 50))
    assert [*masks] == ["a"]
    checked = 0
    for y in range(25):
        for x in range(50):
            signs = [
                [((b - px) * (y - py) - (d - py) * (x - px)) / np.hypot(b - px, d - py)
                 for (px, py), (b, d) in zip(shape, shape[1:] + shape[:1], strict=True)]
                for shape in (points, away)
            ]  # fmt: skip
            inside = max(min(each) for each in signs)
            if abs(inside) > 1.0:
                assert masks["a"][y, x] == (inside > 0)
                checked += 1
    assert checked > 900


def test_deleted_objects_are_left_out() -> None:
    text = labelme([("a", SQUARE), ("b", SQUARE)]).replace("<deleted>0", "<deleted>1", 1)
    assert read_labelme(text.encode(), "x").names == ["b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "is not XML"),
        ("", "is not XML"),
        ("<tagset/>", "is not LabelMe's: it begins with tagset, not annotation"),
        (labelme([("", SQUARE)]), "object 1: it has no name"),
        ("<annotation><object><name>a</name></object></annotation>", "object 1: it has no polygon"),
        (labelme([("a", SQUARE[:2])]), "object 1 (a): a polygon of 2 points"),
        (labelme([("a", SQUARE)]).replace("<x>5.0", "<x>five"), "object 1: x is 'five', not a number of pixels"),
        (labelme([("a", SQUARE)]).replace("<x>5.0", "<x>1e9"), "object 1: x is '1e9', not a number of pixels"),
        (labelme([("a", SQUARE)]).replace("<x>5.0</x>", ""), "object 1: x is missing"),
        (labelme([("a", SQUARE)], (30, 41)), "is of a photo of 41×30, and its photo is 40×20"),
        (labelme([("a", SQUARE)], (30, 41)).replace("<nrows>30", "<nrows>x"), "nrows is 'x', not a number"),
    ],
)
def test_broken_files_are_one_line(root: Path, text: str, message: str) -> None:
    for path in (root / "Annotations").rglob("*.xml"):
        path.write_text(text)
    with pytest.raises(ValueError, match=r"sun_\d+\.xml") as caught:
        objects_of(data(root).read_splits().test, 0, (20, 40))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_said(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected Images, Annotations; found users"):
        data(root / "Images").read_splits()
    with pytest.raises(ValueError, match=r"dataset.categories is a whole number of at least 2"):
        data(root, categories=1)
    for path in (root / "Annotations").rglob("*.xml"):
        path.unlink()
    with pytest.raises(ValueError, match=r"Images: 0 categories have two annotated photos or more"):
        data(root).read_splits()
