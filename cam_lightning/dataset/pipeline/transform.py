"""From an image file's pixels to the network's input, uint8 both; the method normalises on the device.

A transform is a rectangle of the original image, its resizing to the input size, and a mirror or not. One
rectangle and one resizing replace "resize, then crop": the pixels that are cropped away are never made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from cam_lightning.dataset.pipeline.option import whole

LONGEST_SIDE = 16_384
"""Pixels of a network's input; what is more has been mistyped, and would fill the memory."""


class View(NamedTuple):
    """Which part of an image of the original frame is shown, and whether it is mirrored."""

    x0: float
    y0: float
    x1: float
    y1: float
    mirrored: bool


class Augmentation(Protocol):
    """Chooses the view of one image for one epoch."""

    def __call__(self, height: int, width: int, random: np.random.Generator) -> View: ...


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """An input size as configurations have it: one side of a square, or height and width; else ValueError."""
    sides = [size, size] if isinstance(size, int) else size
    is_pair = isinstance(sides, Sequence) and not isinstance(sides, str) and len(sides) == 2
    if not (is_pair and all(isinstance(side, int) and not isinstance(side, bool) for side in sides)):
        raise ValueError(f"the size of an image is its side, or [height, width], in whole pixels; got {size!r}")
    height, width = sides
    if height < 1 or width < 1:
        raise ValueError(f"an image has at least one pixel each way; got the size {size}")
    if max(height, width) > LONGEST_SIDE:
        raise ValueError(f"an image has at most {LONGEST_SIDE} pixels each way; got the size {size}")
    return height, width


def sizes_by_epoch(size: Any) -> dict[int, tuple[int, int]]:
    """From first epochs to heights and widths; one size is that of every epoch."""
    # Pairs and no mapping: an override on the command line replaces a list, but would be mixed into a mapping.
    by_epoch = isinstance(size, Sequence) and any(isinstance(part, Sequence) for part in size)
    try:
        pairs = [(whole("its epoch", epoch), side) for epoch, side in (size if by_epoch else [(0, size)])]
        sizes = {epoch: height_and_width(side) for epoch, side in pairs}
    except (TypeError, ValueError) as error:
        raise ValueError(f"dataset.train_size: SIZE, [HEIGHT, WIDTH] or [[0, SIZE], [5, SIZE]]; got {size}") from error
    if 0 not in sizes:
        raise ValueError(f"dataset.train_size by epoch begins with epoch 0; got {size}")
    return sizes


def resized_view(image_HW3: np.ndarray, view: View | None, size: tuple[int, int]) -> Tensor:
    """The view of an image at the input size: uint8 (3, H, W), bilinear with antialiasing.

    `view=None` is the whole image, squashed: evaluation's transform, as in the paper and the WSOL
    benchmark. Rectangles are rounded to whole pixels of the original.
    """
    image_3HW = torch.from_numpy(image_HW3).permute(2, 0, 1)
    if view is not None:
        x0, y0, x1, y1 = _pixels(view, *image_HW3.shape[:2])
        image_3HW = image_3HW[:, y0:y1, x0:x1]
    image_3HW = vision.resize(image_3HW, list(size), antialias=True)
    if view is not None and view.mirrored:
        image_3HW = image_3HW.flip(-1)
    return image_3HW.contiguous()


def _pixels(view: View, height: int, width: int) -> tuple[int, int, int, int]:
    """A view's corners as whole pixels, half-open, of an image of that size; at least one of them."""
    # Halves go up: Python's round goes to even numbers, which would be the corner of most crops.
    left, top, right, bottom = (math.floor(edge + 0.5) for edge in view[:4])
    x0, y0 = min(left, width - 1), min(top, height - 1)
    return x0, y0, max(right, x0 + 1), max(bottom, y0 + 1)


def shows_all(view: View, height: int, width: int) -> bool:
    """Whether a view is of the whole image of that size, mirrored or not."""
    return _pixels(view, height, width) == (0, 0, width, height)


def target_of_view(
    mask_HW: np.ndarray | None,
    boxes_N4: np.ndarray,
    original: tuple[int, int],
    view: View | None,
    size: tuple[int, int],
) -> Tensor:
    """What is object in a view of an image at the input size: uint8 (H, W), 1 object, 0 background, 255 unknown.

    Of the image's mask, of any size; without one, of its boxes, frame `original` (a height and width), inside of which
    all is object; without either, nothing is known.
    """
    height, width = original
    if mask_HW is None:
        mask_HW = np.zeros(original, np.uint8) if len(boxes_N4) else np.full(original, 255, np.uint8)
        for x0, y0, x1, y1 in np.floor(boxes_N4 + 0.5).astype(int).clip(min=0).tolist():
            mask_HW[y0:y1, x0:x1] = 1
    x0, y0, x1, y1 = _pixels(view or View(0, 0, width, height, False), height, width)
    rows, columns = mask_HW.shape[0] / height, mask_HW.shape[1] / width
    # A mask of another size than its image's: the same part of it.
    x0, y0, x1, y1 = _pixels(View(x0 * columns, y0 * rows, x1 * columns, y1 * rows, False), *mask_HW.shape)
    target_HW = resized_mask(np.ascontiguousarray(mask_HW[y0:y1, x0:x1]), size)
    return target_HW.flip(-1) if view is not None and view.mirrored else target_HW


def resized_mask(mask_HW: np.ndarray, size: tuple[int, int]) -> Tensor:
    """A mask of the whole image at the input size: uint8 (H, W), each pixel the nearest one as OpenCV takes it.

    The WSOL benchmark resizes its masks so before it counts pixels.
    """
    return torch.from_numpy(cv2.resize(mask_HW, size[::-1], interpolation=cv2.INTER_NEAREST))
