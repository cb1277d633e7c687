"""Boxes that nobody drew, in place of true ones: what a threshold is chosen by where no box is to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from cam_lightning.functional.box import centre_box
from cam_lightning.run.prediction_table import read_predictions, table_file


class PseudoBoxes(Protocol):
    """One box for each image of a split, made without any true box."""

    def begin(self, ids: Sequence[str]) -> None:
        """Takes the ids of the split that is to come, in its order; ValueError where there is no box for one."""
        ...

    def __call__(self, index_B: Tensor, size_B2: Tensor) -> Tensor:
        """Boxes (B, 4), frame `original`, of the images at some positions of the split, and of these sizes."""
        ...


def pseudo_boxes(what: float | str | None) -> PseudoBoxes | None:
    """A share of each side is the centre prior, a path the boxes of another run; None is none."""
    if what is None:
        return None
    if isinstance(what, str):
        return OfRun(what)
    return CentrePrior(what)


class CentrePrior:
    """The centred box of `share` of each side: that photographers point at their object is all that it knows."""

    def __init__(self, share: float) -> None:
        if isinstance(share, bool) or not 0 < share <= 1:
            raise ValueError(
                "metric.threshold_curve.label_free is a share of each side in (0, 1], a run, or null; got "
                f"{share!r}"
            )  # fmt: skip
        self.share = share

    def begin(self, ids: Sequence[str]) -> None:
        pass

    def __call__(self, index_B: Tensor, size_B2: Tensor) -> Tensor:
        return centre_box(size_B2, self.share)


class OfRun:
    """The boxes of another network's best guess, from the `predictions_val.csv` of a run, or any such file.

    The class of a guess is not asked, so the other network may know other classes. Raises FileNotFoundError or
    ValueError, before training, where there is no such file or it is damaged.
    """

    def __init__(self, path: str) -> None:
        given = Path(path).expanduser()
        self.path = table_file(given, "val") if given.is_dir() else given
        if not self.path.is_file():
            raise FileNotFoundError(
                f"metric.threshold_curve.label_free={path}: there is no {self.path.name}. The run that makes the boxes "
                "writes it with callback.localization.sinks.predictions.splits=[val,test]"
            )
        rows = read_predictions(self.path, ("id", "width", "height", "boxes"))
        self.rows = {row.id: ((row.height, row.width), list(row.boxes[0])) for row in rows if row.boxes}
        self.ids: Sequence[str] = ()

    def begin(self, ids: Sequence[str]) -> None:
        missing = [image_id for image_id in ids if image_id not in self.rows]
        if missing:
            raise ValueError(
                f"{self.path} has no box of {missing[0]} ({len(missing):,} of {len(ids):,} images are missing): it is "
                "of other images than those that are validated here. Give the same dataset, seed and val_fraction"
            )
        self.ids = ids

    def __call__(self, index_B: Tensor, size_B2: Tensor) -> Tensor:
        boxes = []
        for index, size in zip(index_B.tolist(), size_B2.tolist(), strict=True):
            known, box = self.rows[self.ids[index]]
            if known != tuple(size):
                raise ValueError(
                    f"{self.path} has the box of {self.ids[index]} in a file of {known[1]}×{known[0]} pixels, "
                    f"and the file here has {size[1]}×{size[0]}"
                )
            boxes.append(box)
        return torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
