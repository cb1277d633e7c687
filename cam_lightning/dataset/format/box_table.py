"""Boxes and classes of a folder of images, in a table: CSV as people, spreadsheets and labelling tools write it."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from cam_lightning.dataset.format.folder_annotations import (
    COLUMNS,
    ImageAnnotation,
    add_box,
    class_name,
    new_annotation,
    size_of,
)

IMAGE = ("image", "filename", "file_name", "file", "image_path", "path", "image_name", "imageid", "image_id")
CLASS = ("class", "label", "class_name", "classname", "category", "category_name", "label_name", "labelname", "labels")
"""What the columns of the images' names and of the classes may be called; the first that is there counts."""
SIZE = (("image_height", "image_width"), ("img_height", "img_width"), ("height", "width"))
SEPARATORS = ",;\t|"


class Table:
    """The rows of a file, by column; what has no meaning here is told, for `unread`.

    Raises ValueError, naming file and line, where it is no table or lacks a column.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = _text(path)
        first = text.partition("\n")[0]
        self.separator = max(SEPARATORS, key=first.count)
        self._reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.separator, skipinitialspace=True)
        self.header = [name.strip().lower() for name in next(self.lines(), (0, []))[1]]
        sides = next((columns for columns in COLUMNS if set(columns) <= set(self.header)), None)
        image = next((name for name in IMAGE if name in self.header), None)
        if image is None or sides is None or len(set(self.header)) < len(self.header):
            choices = ", or ".join(",".join(columns) for columns in COLUMNS)
            raise ValueError(
                f"{path}, line 1: the columns are image, class (if named) and {choices}; found {','.join(self.header)}"
            )
        self.image, self.sides = image, sides
        self.name = next((name for name in CLASS if name in self.header), None)
        self.size = next((pair for pair in SIZE if set(pair) <= set(self.header) and not set(pair) & set(sides)), None)
        if self.size == SIZE[-1] and {"x", "y"} & set(self.header):
            # Then they may as well be those of boxes.
            self.size = None
        read = {self.image, self.name, *self.sides, *(self.size or ())}
        self.unread = [name for name in self.header if name not in read]
        """Columns that are not read."""

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """The rows that are not empty, each with the number of its line."""
        while True:
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise ValueError(f"{self.path}, line {self._reader.line_num}: is not a CSV's: {error}") from error
            if any(value.strip() for value in row):
                yield self._reader.line_num, row

    def number(self, text: str) -> str:
        """A number as Python writes it: where commas do not separate columns, they may be decimal points."""
        return text if self.separator == "," else text.replace(",", ".")


def read_csv(path: Path, unit: str = "auto", class_folders: Iterable[str] = ()) -> Iterator[ImageAnnotation]:
    """A CSV with a header: `image`, `class` if classes are named, and four columns of `COLUMNS`; one row per box.

    A row whose four are empty gives an image its class and no box. Columns of the images' `width` and `height` are
    compared with the files. Values may be separated by commas, semicolons, tabs or bars. Raises ValueError where a
    column that is not read holds nothing but names of `class_folders`: the classes of boxes would go unheard.
    """
    table = Table(path)
    entries: dict[str, ImageAnnotation] = {}
    seen: set[tuple[str, ...]] = set()
    unread: dict[str, set[str]] = {} if table.name else {name: set() for name in table.unread}
    for line, row in table.lines():
        place = f"line {line}"
        values = dict.fromkeys(table.header, "") | dict(zip(table.header, map(str.strip, row), strict=False))
        image = values[table.image]
        entry = entries.get(image)
        size = size_of(*(values[side] for side in table.size)) if table.size else None
        if entry is None:
            entry = entries[image] = new_annotation(image, str(path), size)
        name = class_name(values[table.name]) if table.name else ""
        if len(row) != len(table.header):
            entry.faults.append(f"{place} has {len(row)} values for {len(table.header)} columns")
        elif tuple(row) in seen:
            entry.faults.append(f"{place} says the same as a line before")
        elif size != entry.size:
            entry.faults.append(f"{place} gives the image another size than a line before")
        elif any(values[side] for side in table.sides):
            box = [table.number(values[side]) for side in table.sides]
            add_box(entry, name, box, table.sides, unit, f"{place}: ")
        elif name:
            entry.names.append(name)
        seen.add(tuple(row))
        for column, found in unread.items():
            found.add(class_name(values[column]))
    classes = set(class_folders)
    for column, found in unread.items():
        if found - {""} and found - {""} <= classes:
            raise ValueError(
                f"{path}, line 1: the column {column!r} is not read, and holds the names of classes "
                f"({', '.join(sorted(found - {''})[:5])}): call it class, or take it away"
            )
    yield from entries.values()


def _text(path: Path) -> str:
    data = path.read_bytes()
    # Spreadsheets write UTF-16 as "Unicode text", with a mark.
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not {encoding[:6].rstrip('-').upper()} text: {error}") from error
