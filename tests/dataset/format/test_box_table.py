"""Tables as people, spreadsheets and tools write them; columns that would go unheard; units that are not pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
from photo_tree import HEIGHT, WIDTH, boxes_by_id, checked, coco, photos, turned_photo, voc, write

from cam_lightning.dataset.folder import Folder
from cam_lightning.dataset.format.box_table import read_csv

BOXES = {"cat/a.jpg": [[5, 6, 15, 18]], "dog/b.jpg": [[0, 0, 50, 30]]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return photos(tmp_path / "set", *("images/" + path for path in BOXES)).resolve()


@pytest.mark.parametrize(
    "text",
    [
        "image,class,x0,y0,x1,y1\na.jpg,cat,5,6,15,18\nb.jpg,dog,0,0,50,30\n",
        "class, image, xmin, ymin, xmax, ymax\n cat , a.jpg, 5, 6, 14, 17\ndog,  b.jpg ,0 ,0 ,49 ,29\n",
        'image;class;x0;y0;x1;y1\r\n"a.jpg";cat;5,0;6;15;18\r\nb.jpg;dog;0;0;50;30,0\r\n',
        "image\tclass\tx0\ty0\tx1\ty1\na.jpg\tcat\t5\t6\t15\t18\nb.jpg\tdog\t0\t0\t50\t30\n",
        "image|class|x|y|width|height\na.jpg|cat|5|6|10|12\nb.jpg|dog|0|0|50|30",
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,50,30,cat,5,6,14,17\nb.jpg,50,30,dog,0,0,49,29\n",
        "\nfile_name,label,x0,y0,x1,y1,note\na.jpg,cat,5,6,15,18,\nb.jpg,dog,0,0,50,30,blurred\n",
        "image,label_name,xmin,xmax,ymin,ymax\na.jpg,cat,5,14,6,17\nb.jpg,dog,0,49,0,29\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_they_are_written(root: Path, text: str, encoding: str) -> None:
    write(root / "annotations.csv", text.encode(encoding))
    assert boxes_by_id(root, format="csv") == BOXES
    assert checked(root, format="csv", test_fraction=1).wrong == []


@pytest.mark.parametrize("column", ["label", "Category", "class_name"])
def test_classes_by_other_columns_count_as_classes(root: Path, column: str) -> None:
    """The dog's box on the cat's photo is not one of the cat's."""
    text = f"image,{column},x0,y0,x1,y1\na.jpg,cat,5,6,15,18\na.jpg,dog,0,0,50,30\nb.jpg,dog,0,0,50,30\n"
    write(root / "annotations.csv", text)
    assert boxes_by_id(root, format="csv") == BOXES


@pytest.mark.parametrize(("column", "blank"), [("species", ""), ("what", "\na.jpg,,1,1,2,2")])
def test_a_column_that_looks_like_classes_is_not_ignored(root: Path, column: str, blank: str) -> None:
    write(root / "annotations.csv", f"image,{column},x0,y0,x1,y1\na.jpg,cat,5,6,15,18\na.jpg,dog,0,0,50,30{blank}\n")
    with pytest.raises(
        ValueError, match=rf"the column '{column}' is not read, and holds the names of classes \(cat, dog"
    ):
        Folder(str(root), format="csv", test_fraction=1).setup()
    write(root / "annotations.csv", f"image,class,{column},x0,y0,x1,y1\na.jpg,cat,dog,5,6,15,18\n")
    assert boxes_by_id(root, format="csv") == {"cat/a.jpg": BOXES["cat/a.jpg"]}


@pytest.mark.parametrize("names", [("width", "height"), ("image_width", "image_height"), ("img_width", "img_height")])
def test_sizes_that_contradict_the_file_are_wrong(root: Path, names: tuple[str, str]) -> None:
    header = f"image,{names[0]},class,{names[1]},x0,y0,x1,y1\n"
    write(root / "annotations.csv", header + "a.jpg,640,cat,480,5,6,15,18\nb.jpg,50,dog,30,0,0,50,30\n")
    (wrong,) = checked(root, format="csv", test_fraction=1).wrong
    assert "cat/a.jpg is 50×30, its annotation says 640×480" in wrong.what
    with pytest.raises(OSError, match="its annotation says 640×480"):
        boxes_by_id(root, format="csv")
    write(root / "annotations.csv", header + "a.jpg,50,cat,30,5,6,15,18\na.jpg,60,cat,30,5,7,15,18\n")
    with pytest.raises(ValueError, match="line 3 gives the image another size than a line before"):
        boxes_by_id(root, format="csv")


def test_width_and_height_of_boxes_are_not_those_of_the_image(root: Path) -> None:
    write(root / "annotations.csv", "image,x,y,width,height,image_width,image_height\na.jpg,5,6,10,12,50,30\n")
    assert boxes_by_id(root, format="csv") == {"cat/a.jpg": [[5, 6, 15, 18]]}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("image,x0,y0,x1,y1\n" + "a" * 200_000 + ",1,2,3,4\n", "line 2: is not a CSV's: field larger than"),
        ("", "line 1: the columns are image, class"),
        ("image;x0;y0;x1\n", "line 1: the columns are image, class .*found image,x0,y0,x1"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path / "it's = a.csv", text)
    with pytest.raises(ValueError, match=complaint) as caught:
        list(read_csv(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


# Units


def shares(kind: str, root: Path, scale: float = 1) -> None:
    """Boxes of both images as shares of their sides, times something: half-open 5 6 15 18 and all of 50×30."""
    a = [5 / WIDTH * scale, 6 / HEIGHT * scale, 15 / WIDTH * scale, 18 / HEIGHT * scale]
    b = [0.0, 0.0, scale, scale]
    if kind == "csv":
        rows = [
            f"{file},{name},{','.join(map(str, box))}" for file, name, box in (("a.jpg", "cat", a), ("b.jpg", "dog", b))
        ]
        write(root / "annotations.csv", "\n".join(["image,class,xmin,ymin,xmax,ymax", *rows]))
    elif kind == "voc":
        for file, name, box in (("a", "cat", a), ("b", "dog", b)):
            write(root / "annotations" / f"{file}.xml", voc(name, tuple(box)))  # type: ignore[arg-type]
    else:
        write(root / "annotations.json", coco({"a.jpg": "cat"}, [a[0], a[1], a[2] - a[0], a[3] - a[1]]))


@pytest.mark.parametrize("kind", ["csv", "voc", "coco"])
def test_shares_of_the_sides_are_asked_for_and_read_when_said_so(root: Path, kind: str) -> None:
    shares(kind, root)
    with pytest.raises(
        ValueError, match=r"boxes of .* lie within 0\.\.1, such as 0\.1 0\.2 .* dataset\.box_unit=fraction"
    ):
        Folder(str(root), format=kind, test_fraction=1).setup()
    found = boxes_by_id(root, format=kind, box_unit="fraction")
    for identity, boxes in found.items():
        assert boxes[0] == pytest.approx(BOXES[identity][0], abs=1e-4)
    assert len(found) == (1 if kind == "coco" else 2)
    report = checked(root, format=kind, box_unit="fraction", test_fraction=1)
    assert report.wrong == []
    assert report.splits["test"].num_boxes == len(found)


@pytest.mark.parametrize("kind", ["csv", "coco"])
def test_shares_out_of_0_to_1_are_wrong(root: Path, kind: str) -> None:
    shares(kind, root, scale=2)
    with pytest.raises(ValueError, match=r"is not within 0\.\.1 \(dataset\.box_unit=fraction\)"):
        boxes_by_id(root, format=kind, box_unit="fraction")


def test_pixels_that_look_like_shares_are_pixels_when_said_so(root: Path) -> None:
    write(root / "annotations.csv", "image,x0,y0,x1,y1\na.jpg,0,0,0.5,1\n")
    assert boxes_by_id(root, format="csv", box_unit="pixels") == {"cat/a.jpg": [[0, 0, 0.5, 1]]}


def test_a_few_tiny_boxes_among_others_are_named(root: Path) -> None:
    write(root / "annotations.csv", "image,x0,y0,x1,y1\na.jpg,0,0,0.5,1\na.jpg,5,6,15,18\nb.jpg,5,6,15,18\n")
    report = checked(root, format="csv", test_fraction=1)
    assert report.wrong == []
    assert [finding.what for finding in report.findings if finding.kind == "within one pixel"] == [
        f"{root}/annotations.csv: the box 0 0 0.5 1 of a.jpg lies within its image's first pixel"
    ]


@pytest.mark.parametrize("box", ["50,10,51,20", "10,30,20,31", "-1,-1,0,0", "-1,5,0,9", "5,-1,9,0"])
@pytest.mark.parametrize("size", ["", "50,30"])
def test_boxes_wholly_outside_are_wrong(root: Path, box: str, size: str) -> None:
    header = "image,x0,y0,x1,y1" + ",image_width,image_height" * bool(size)
    write(root / "annotations.csv", f"{header}\na.jpg,{box}{',' * bool(size)}{size}\n")
    (wrong,) = checked(root, format="csv", test_fraction=1).wrong
    assert "lies wholly outside its image" in wrong.what
    with pytest.raises((OSError, ValueError), match="wholly outside"):
        boxes_by_id(root, format="csv")


# Photos that EXIF turns


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_boxes_on_turned_photos_are_asked_for(
    tmp_path: Path, orientation: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a photo of 50×30 stored; upright it is 30×50 where it is turned by a quarter."""
    write(tmp_path / "cat" / "a.jpg", turned_photo(0, orientation))
    write(tmp_path / "annotations.csv", "image,x0,y0,x1,y1\na.jpg,5,6,15,28\n")
    Folder(str(tmp_path), format="csv", test_fraction=1).setup()
    assert "cat/a.jpg: their boxes are taken in the pixels as they are stored" in caplog.text
    report = checked(tmp_path, format="csv", test_fraction=1)
    assert report.wrong == []
    assert any("dataset.exif=upright" in finding.what for finding in report.findings)
    caplog.clear()
    for exif in ("stored", "upright"):
        data = Folder(str(tmp_path), format="csv", test_fraction=1, exif=exif)
        data.setup()
        assert "EXIF" not in caplog.text
        assert not any(
            "exif" in finding.what for finding in checked(tmp_path, format="csv", exif=exif, test_fraction=1).findings
        )
    image_HW3, boxes_N4, _ = data.examples["test"].split.read(0)
    assert image_HW3.shape[:2] == ((HEIGHT, WIDTH) if orientation == 3 else (WIDTH, HEIGHT))
    assert boxes_N4.tolist() == [[5, 6, 15, 28]]


def test_a_box_on_the_upright_picture_fits_only_there(tmp_path: Path) -> None:
    write(tmp_path / "cat" / "a.jpg", turned_photo(0, 6))
    write(tmp_path / "annotations.csv", "image,image_width,image_height,x0,y0,x1,y1\na.jpg,30,50,5,6,15,28\n")
    (wrong,) = checked(tmp_path, format="csv", test_fraction=1).wrong
    assert "says 30×50 (turned as its EXIF orientation says, which is not applied: dataset.exif=upright" in wrong.what
    assert checked(tmp_path, format="csv", test_fraction=1, exif="upright").wrong == []
    assert boxes_by_id(tmp_path, format="csv", exif="upright") == {"cat/a.jpg": [[5, 6, 15, 28]]}
