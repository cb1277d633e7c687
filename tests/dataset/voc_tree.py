"""A small Pascal VOC in its official layout: dark photos, not square, with every object a rectangle of its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

COLOURS = {"bird": (230, 40, 40), "cat": (40, 230, 40), "dog": (40, 40, 230)}


class Thing(NamedTuple):
    """One object."""

    name: str
    box: tuple[int, int, int, int]
    """xyxy, half-open."""
    difficult: bool = False


class Scene(NamedTuple):
    """One photo."""

    height: int
    width: int
    things: Sequence[Thing]


def write_voc(root: Path, lists: Mapping[str, Mapping[str, Scene]]) -> Path:
    """Writes photos, annotations and lists below `root`; corners in the files are inclusive and count from 1."""
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, scenes in lists.items():
        (root / f"ImageSets/Main/{name}.txt").write_text("".join(f"{image}\n" for image in scenes))
        for image, scene in scenes.items():
            write_scene(root, image, scene)
    return root


def write_scene(root: Path, image: str, scene: Scene) -> None:
    """One photo and its annotation."""
    picture = np.full((scene.height, scene.width, 3), 30, np.uint8)
    objects = []
    for name, (x0, y0, x1, y1), difficult in scene.things:
        picture[y0:y1, x0:x1] = COLOURS[name]
        box = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
        objects.append(
            f"<object><name>{name}</name><difficult>{int(difficult)}</difficult><bndbox>{box}</bndbox>{part}</object>"
        )
    Image.fromarray(picture).save(root / f"JPEGImages/{image}.jpg", quality=95)
    size = f"<size><width>{scene.width}</width><height>{scene.height}</height><depth>3</depth></size>"
    (root / f"Annotations/{image}.xml").write_text(f"<annotation>{size}{''.join(objects)}</annotation>")


def random_scenes(count: int, seed: int, first: int = 0) -> dict[str, Scene]:
    """Photos of one to three classes, each an object or two in a column of its own; every class is shown."""
    random = np.random.default_rng(seed)
    names = sorted(COLOURS)
    scenes = {}
    for number in range(first, first + count):
        height, width = int(random.integers(40, 50)), int(random.integers(60, 80))
        shown = {names[number % 3], *(name for name in names if random.random() < 0.4)}
        things = []
        for column, name in enumerate(names):
            for row in range(int(random.integers(1, 3)) if name in shown else 0):
                x0, y0 = column * 20 + int(random.integers(0, 5)), row * 20 + int(random.integers(0, 4))
                things.append(Thing(name, (x0, y0, x0 + int(random.integers(8, 14)), y0 + int(random.integers(9, 15)))))
        scenes[f"{number:06d}"] = Scene(height, width, things)
    return scenes
