"""A sample of a dataset on one sheet, boxes drawn in: wrong conventions show at once."""

from __future__ import annotations

import cv2
import numpy as np

from cam_lightning.dataset.pipeline.split import ImageSplit
from cam_lightning.functional.overlay import PREDICTION_COLOUR, Caption, captioned, contact_sheet, draw_boxes


def sample_sheet(
    splits: dict[str, ImageSplit], class_names: list[str], count: int, seed: int = 0, side: int = 240
) -> np.ndarray | None:
    """uint8 RGB: about `count` images drawn from the splits, those with boxes first; None where none can be read.

    Every image is brought to the same area, about `side`², in proportion.
    """
    pictures = []
    for number, (name, split) in enumerate(splits.items()):
        random = np.random.Generator(np.random.Philox(key=[seed, number]))
        wanted = -(-count // len(splits))
        for index in random.permutation(len(split))[: 4 * wanted].tolist():
            picture = _picture(name, split, index, class_names, side)
            if picture is not None and wanted > 0:
                pictures.append(picture)
                wanted -= 1
    return contact_sheet(pictures) if pictures else None


def _picture(split_name: str, split: ImageSplit, index: int, class_names: list[str], side: int) -> np.ndarray | None:
    try:
        image_HW3, boxes_N4, _ = split.read(index)
    except OSError:
        # The check names it; the sheet shows others.
        return None
    height, width = image_HW3.shape[:2]
    scale = side / np.sqrt(height * width)
    size = (max(1, min(2 * side, round(width * scale))), max(1, min(2 * side, round(height * scale))))
    small_HW3 = cv2.resize(image_HW3, size, interpolation=cv2.INTER_AREA)
    factor_4 = np.array([size[0] / width, size[1] / height] * 2)
    caption = Caption(class_names[int(split.label_N[index])], f"{split_name}, {width}×{height}, {split.ids[index]}")
    return captioned(draw_boxes(small_HW3, boxes_N4 * factor_4, PREDICTION_COLOUR), caption)
