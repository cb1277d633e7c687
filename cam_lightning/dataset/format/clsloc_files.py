"""The files of the ILSVRC CLS-LOC challenge: read as its development kit reads them, only less forgiving."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from cam_lightning.functional.devkit import NUM_GUESSES, Guesses, TrueBoxes

BOX_COLUMNS = ["image", "label", "xmin", "ymin", "xmax", "ymax"]


def read_predictions(path: Path) -> Guesses:
    """The guesses of a submission: per line one image, `label xmin ymin xmax ymax` for each guess, the best first.

    Lines may hold fewer than five guesses; what comes after five is ignored, as the devkit does. Coordinates may
    have decimals, values may be separated by commas. Raises OSError where the file cannot be read and ValueError,
    with file and line, where a line is not such a row.
    """
    rows = list(_lines(path))
    label_NG = np.zeros((len(rows), NUM_GUESSES), np.int64)
    box_NG4 = np.zeros((len(rows), NUM_GUESSES, 4))
    for n, (place, line) in enumerate(rows):
        values = line.replace(",", " ").split()
        if len(values) == 0 or len(values) % 5:
            raise ValueError(f"{place}: a row is `label xmin ymin xmax ymax` per guess; got {len(values)} values")
        for g in range(min(len(values) // 5, NUM_GUESSES)):
            label_NG[n, g] = _whole(values[5 * g], place, least=0)
            box_NG4[n, g] = [_number(value, place) for value in values[5 * g + 1 : 5 * g + 5]]
    return Guesses(label_NG, box_NG4)


def read_labels(path: Path) -> np.ndarray:
    """The images' true classes, int64 (N,): one class id from 1 in each line. Raises as `read_predictions`."""
    return np.array([_whole(line.strip(), place, least=1) for place, line in _lines(path)], np.int64)


def read_blacklist(path: Path, num_images: int) -> np.ndarray:
    """Which images are left out, bool (N,): one image number, from 1, in each line. Raises as `read_predictions`."""
    blacklisted_N = np.zeros(num_images, np.bool_)
    for place, line in _lines(path):
        image = _image_number(line.strip(), place, num_images)
        if blacklisted_N[image - 1]:
            raise ValueError(f"{place}: image {image} is listed twice")
        blacklisted_N[image - 1] = True
    return blacklisted_N


def read_boxes(path: Path, truth_N: np.ndarray) -> TrueBoxes:
    """The ground-truth boxes: of a folder of XML files, else of a CSV `image,label,xmin,ymin,xmax,ymax`.

    Image numbers count from 1, in the order of the labels `truth_N`. Raises as `read_predictions`.
    """
    return _read_xml_folder(path, truth_N) if path.is_dir() else _read_csv(path, len(truth_N))


def read_class_ids(path: Path) -> dict[str, int]:
    """WordNet id → the devkit's class id: each line begins with these two, as in the devkit's `map_clsloc.txt`.

    Raises as `read_predictions`, also where a class or an id is there twice.
    """
    ids: dict[str, int] = {}
    for place, line in _lines(path):
        name, number = [*line.split(maxsplit=2), "", ""][:2]
        class_id = _whole(number, place, least=1)
        if name in ids or class_id in ids.values():
            raise ValueError(f"{place}: class {name} or id {class_id} is there twice")
        ids[name] = class_id
    return ids


def write_predictions(path: Path, labels: Sequence[Sequence[int]], boxes: Sequence[Sequence[Sequence[float]]]) -> None:
    """Writes a submission: the labels of each image's guesses, and their boxes, xyxy and half-open.

    The file holds corners that both lie inside the box, with at most two decimals. Of more than five guesses the
    first five are written. Raises ValueError where an image's numbers of labels and boxes differ or are zero.
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number, (own_labels, own_boxes) in enumerate(zip(labels, boxes, strict=True), start=1):
            if len(own_labels) != len(own_boxes) or not own_boxes:
                raise ValueError(f"image {number} has {len(own_labels)} labels and {len(own_boxes)} boxes")
            values: list[str] = []
            for label, (x0, y0, x1, y1) in list(zip(own_labels, own_boxes, strict=True))[:NUM_GUESSES]:
                values += [str(label), *(f"{round(value, 2):.12g}" for value in (x0, y0, x1 - 1, y1 - 1))]
            file.write(" ".join(values) + "\n")


def image_number(name: str) -> int | None:
    """The number that ends a file's name, as 17 in `ILSVRC2012_val_00000017.JPEG`: its line in a submission."""
    digits = re.search(r"(\d+)$", Path(name).stem)
    return int(digits[1]) if digits else None


def _read_csv(path: Path, num_images: int) -> TrueBoxes:
    rows = [(place, _cells(line, place)) for place, line in _lines(path)]
    if not rows or [value.strip() for value in rows[0][1]] != BOX_COLUMNS:
        raise ValueError(f"{path}, line 1: the columns must be {','.join(BOX_COLUMNS)}")
    images, labels, boxes = [], [], []
    for place, values in rows[1:]:
        if len(values) != len(BOX_COLUMNS):
            raise ValueError(f"{place}: a row is {','.join(BOX_COLUMNS)}; got {len(values)} values")
        images.append(_image_number(values[0].strip(), place, num_images) - 1)
        labels.append(_whole(values[1].strip(), place, least=1))
        boxes.append(_corners([value.strip() for value in values[2:]], place))
    return _true_boxes(images, labels, boxes)


def _read_xml_folder(folder: Path, truth_N: np.ndarray) -> TrueBoxes:
    paths = sorted(folder.glob("*.xml"))
    files = {image_number(path.name): path for path in paths}
    missing = [n for n in range(1, len(truth_N) + 1) if n not in files]
    if missing or len(paths) != len(truth_N):
        first = f"; there is none for image {missing[0]}" if missing else ""
        raise ValueError(f"{folder} needs one XML file for each of the {len(truth_N)} labels, has {len(paths)}{first}")
    images, names, boxes = [], [], []
    for n in range(len(truth_N)):
        for name, box in _read_xml(files[n + 1]):
            images.append(n)
            names.append(name)
            boxes.append(box)
    label_of_name = _labels_of_names(images, names, truth_N, folder)
    # An object of a class that no image is labelled with counts for none.
    return _true_boxes(images, [label_of_name.get(name, 0) for name in names], boxes)


def _read_xml(path: Path) -> Iterator[tuple[str, list[float]]]:
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is not XML: {error}") from error
    for thing in root.iter("object"):
        values = [(thing.findtext(f"bndbox/{side}") or "").strip() for side in BOX_COLUMNS[2:]]
        yield (thing.findtext("name") or "").strip(), _corners(values, str(path))


def _labels_of_names(images: list[int], names: list[str], truth_N: np.ndarray, folder: Path) -> dict[str, int]:
    """The label that each WordNet id stands for: the XML files name classes, the labels number them.

    Every image has an object of its own class, so a label's name is in all images of that label; it is known
    where it is the only such name. Raises ValueError where it is not: a guess would give a wrong number.
    """
    names_N: list[set[str]] = [set() for _ in truth_N]
    for n, name in zip(images, names, strict=True):
        names_N[n].add(name)
    common: dict[int, set[str]] = {}
    for label, present in zip(truth_N.tolist(), names_N, strict=True):
        common[label] = common[label] & present if label in common else set(present)
    label_of_name: dict[str, int] = {}
    for label, candidates in sorted(common.items()):
        if len(candidates) != 1 or candidates & label_of_name.keys():
            raise ValueError(
                f"{folder} does not say which name class {label} has: in all its images are {sorted(candidates)}. "
                "If the labels are of these images, give the boxes as a CSV instead"
            )
        label_of_name[candidates.pop()] = label
    return label_of_name


def _true_boxes(images: list[int], labels: list[int], boxes: list[list[float]]) -> TrueBoxes:
    box_M4 = np.array(boxes, np.float64).reshape(-1, 4)
    return TrueBoxes(np.array(images, np.int64), np.array(labels, np.int64), box_M4)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Every line, with its place in words; blank ones at the end of the file are none."""
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").rstrip().split("\n"), start=1):
        yield f"{path}, line {number}", line


def _cells(line: str, place: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error as error:
        raise ValueError(f"{place}: is not a CSV's: {error}") from error


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{place}: {text!r} is not a number")
    return value


def _whole(text: str, place: str, least: int) -> int:
    value = _number(text, place)
    if value != int(value) or value < least:
        raise ValueError(f"{place}: {text!r} is not a whole number of at least {least}")
    return int(value)


def _image_number(text: str, place: str, num_images: int) -> int:
    image = _whole(text, place, least=1)
    if image > num_images:
        raise ValueError(f"{place}: there is no image {image}; the labels are those of {num_images}")
    return image


def _corners(values: list[str], place: str) -> list[float]:
    xmin, ymin, xmax, ymax = (_number(value, place) for value in values)
    if xmax < xmin or ymax < ymin:
        raise ValueError(f"{place}: the box {' '.join(values)} has its corners the wrong way round")
    return [xmin, ymin, xmax, ymax]
