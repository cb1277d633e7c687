"""Annotated scenes in the official layouts of ADE20K's benchmark and of LabelMe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

OBJECTS = ("wall", "sky", "zebra crossing", "bench", "door, double door")


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_lists(root: Path, category_of: Mapping[str, str]) -> None:
    """`objectInfo150.txt` and `sceneCategories.txt`."""
    lines = [f"{n}\t0.1\t10\t5\t{name}\n" for n, name in enumerate(OBJECTS, start=1)]
    (root / "objectInfo150.txt").write_text("".join(["Idx\tRatio\tTrain\tVal\tName\n", *lines]))
    (root / "sceneCategories.txt").write_text("".join(f"{name} {category}\n" for name, category in category_of.items()))


def labelme(objects: list[tuple[str, list[tuple[float, float]]]], size: tuple[int, int] | None = None) -> str:
    """XML of polygons; size is height and width."""
    things = "".join(
        f"<object><name>{name}</name><deleted>0</deleted><polygon><username>admin</username>"
        + "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
        + "</polygon></object>"
        for name, points in objects
    )
    sides = "" if size is None else f"<imagesize><nrows>{size[0]}</nrows><ncols>{size[1]}</ncols></imagesize>"
    return f"<annotation><filename>x.jpg</filename>{things}{sides}</annotation>"
