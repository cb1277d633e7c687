"""What a unit sees in an image: the part that lights it up, cut out, and where that lies in its receptive field."""

from __future__ import annotations

import numpy as np
import torch

from cam_lightning.functional.largest_component import largest_component_boxes
from cam_lightning.functional.post_processing import PostProcessing, score_map

RULE = PostProcessing(rectify=True, normalise="max")
_DIMMED = 0.3
"""Of the brightness where the unit's map is below the threshold."""


def seen_box(map_hw: np.ndarray, size: tuple[int, int], threshold: float) -> tuple[int, int, int, int]:
    """xyxy, half-open, of the largest component above `threshold` times the map's maximum, at height and width `size`.

    As the boxes of class activation maps are made (Zhou et al. 2016, section 3.2).
    """
    boxes_14, _ = largest_component_boxes(map_hw[None], np.array([size]), threshold, RULE)
    x0, y0, x1, y1 = boxes_14[0].round().astype(int).tolist()
    return x0, y0, x1, y1


def field_box(
    field: tuple[int, int, int, int], input_size: tuple[int, int], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A receptive field of the network's input in the pixels of an image of this height and width, rounded outwards."""
    (x0, y0, x1, y1), (height, width) = field, size
    rows, columns = input_size
    # In whole numbers: a quotient's last bit would round a field that ends with the image beyond it.
    return x0 * width // columns, y0 * height // rows, -(-x1 * width // columns), -(-y1 * height // rows)


def cut_out(image_HW3: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """What a box holds of an image; a view."""
    x0, y0, x1, y1 = box
    return image_HW3[y0:y1, x0:x1]


def lit(image_HW3: np.ndarray, map_hw: np.ndarray, threshold: float) -> np.ndarray:
    """The image, dark where the unit's map is not above `threshold` times its maximum: uint8 RGB (H, W, 3)."""
    height, width = image_HW3.shape[:2]
    is_lit_HW = score_map(torch.from_numpy(map_hw), (height, width), RULE) > threshold
    return np.where(is_lit_HW[..., None], image_HW3, (image_HW3 * _DIMMED).astype(np.uint8))
