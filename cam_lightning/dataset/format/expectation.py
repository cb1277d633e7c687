"""What a photo is expected to show: a class that somebody names, a folder's or a file's name, or a table of boxes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cam_lightning.dataset.format.box_table import read_csv
from cam_lightning.dataset.imagenet import imagenet_classes, imagenet_names
from cam_lightning.run.choice import nearest

_WORDNET_ID = re.compile(r"n\d{8}")


class Expectation(NamedTuple):
    """Of one photo."""

    output: int | None
    """Which of the network's outputs is the class; None where it is not known."""
    true_N4: Tensor
    """float32: true boxes, xyxy, half-open, in the photo's pixels; none where none is known."""


class Expectations:
    """Knows what photos are expected to show, as outputs of a network whose classes are `names`.

    `expected` is one class for all of them: a name, a WordNet id, or an output's number. Where it is None, a photo's
    class is that of the table `truth`, else that which the folder it lies in is called after, or the WordNet id with
    which its own name begins; else it is not known. `truth` is a CSV (`box_table.read_csv`) whose images are paths, or
    the ends of paths.

    Raises ValueError for a class that the network has not, or has twice, and for boxes that look like shares of a
    photo's sides; FileNotFoundError for no such table.
    """

    def __init__(self, names: Sequence[str], expected: str | int | None = None, truth: str | None = None) -> None:
        self.names = list(names)
        self.output = None if expected is None else self._required(str(expected), "expected")
        self.rows: dict[str, tuple[int | None, list[tuple[float, ...]]]] = {}
        if truth is not None:
            self._read(Path(truth).expanduser())

    def of(self, path: Path) -> Expectation:
        """What one photo is expected to show."""
        output, boxes = self.output, list[tuple[float, ...]]()
        parts = path.parts
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        row = next((self.rows[end] for end in ends if end in self.rows), None)
        if row is not None:
            output, boxes = (row[0] if output is None else output), row[1]
        if output is None:
            begins = _WORDNET_ID.match(path.name)
            known = (self._positions(name) for name in (path.parent.name, begins[0] if begins else "") if name)
            output = next((found[0] for found in known if len(found) == 1), None)
        return Expectation(output, torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))

    def _read(self, truth: Path) -> None:
        if not truth.is_file():
            raise FileNotFoundError(f"truth={truth} is no file: give a CSV of image, class and boxes")
        entries = list(read_csv(truth))
        small = [numbers for entry in entries for numbers in entry.small if any(side % 1 for side in numbers)]
        if small and 2 * len(small) >= sum(len(entry.objects) for entry in entries):
            raise ValueError(
                f"truth={truth}: {len(small)} boxes lie within 0..1, such as {' '.join(f'{x:g}' for x in small[0])}: "
                "give them in pixels, not as shares of the photo's sides"
            )
        for entry in entries:
            if entry.faults:
                raise ValueError(f"truth={truth}: {entry.image}: {entry.faults[0]}")
            classes = {name for name in (*entry.names, *(each.name for each in entry.objects)) if name}
            if len(classes) > 1:
                raise ValueError(f"truth={truth}: {entry.image} is of several classes: {', '.join(sorted(classes))}")
            output = self._required(classes.pop(), f"truth={truth}, {entry.image}:") if classes else None
            self.rows[entry.image.replace("\\", "/")] = (output, [each.box for each in entry.objects])

    def _required(self, name: str, where: str) -> int:
        found = self._positions(name)
        if len(found) > 1:
            raise ValueError(f"{where} {name!r} is the name of several outputs, {found}: give the number of the one")
        if not found:
            last = len(self.names) - 1
            raise ValueError(
                f"{where} {name!r} is none of the network's classes: give a name, or 0 to {last}; there are "
                f"{nearest(name, self.names)}"
            )
        return found[0]

    def _positions(self, name: str) -> list[int]:
        """The outputs that a name can mean."""
        if _WORDNET_ID.fullmatch(name) and name not in self.names:
            english = imagenet_names().get(name)
            if english is not None and len(self.names) == len(imagenet_classes()):
                position = imagenet_classes().index(name)
                if self.names[position] == english:
                    return [position]
            name = english or name
        for same in (str.__eq__, lambda a, b: a.casefold() == b.casefold()):
            found = [position for position, each in enumerate(self.names) if same(each, name)]
            if found:
                return found
        is_number = name.isdecimal() and int(name) < len(self.names)
        return [int(name)] if is_number else []
