"""The authors' released box generator: rectangles of a heatmap at a few grey levels, thinned by a distance transform.

Per level: binarise above the level → distance to the nearest pixel below, scaled so that its maximum is 255 →
binarise above 10 → the rectangle of every contour. All levels' rectangles then lose those that overlap a bigger one.
Source: `bboxgenerator/dt_box.cpp` and `dt.c` of the authors' release.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from cam_lightning.functional.imresize import imresize

RELEASED_LEVELS = (20, 100, 110)
RECTIFICATIONS = ("absolute", "zero")
_MARGIN = 5
"""Pixels at the right and bottom edges that no rectangle reaches."""


def loose_and_tight_boxes(
    map_Mhw: np.ndarray,
    size_M2: np.ndarray,
    levels: Sequence[int] = RELEASED_LEVELS,
    rectify: str = "absolute",
) -> tuple[np.ndarray, np.ndarray]:
    """Two boxes per map, (M, 2, 4), and which maps name no region (M,), bool.

    Each map is upsampled to its image's height and width `size_M2`, becomes a heatmap (`heatmap`), and gives the
    first two of `rectangles`: loose and tight, float32 xyxy, half-open, in those pixels. Where there is only one
    rectangle, it is both. A map that is constant, not finite or nowhere positive, or whose heatmap has no
    rectangle, names no region: both its boxes are the whole image. Zhou et al. 2016, section 3.2.
    """
    boxes_M24 = np.empty((len(map_Mhw), 2, 4), np.float32)
    degenerate_M = np.empty(len(map_Mhw), np.bool_)
    for m, (map_hw, (height, width)) in enumerate(zip(map_Mhw, size_M2.tolist(), strict=True)):
        grey_HW = heatmap(map_hw, (height, width), rectify)
        found_N4 = np.zeros((0, 4)) if grey_HW is None else rectangles(grey_HW, levels)
        degenerate_M[m] = len(found_N4) == 0
        boxes_M24[m] = (0, 0, width, height) if degenerate_M[m] else found_N4[[0, min(1, len(found_N4) - 1)]]
    return boxes_M24, degenerate_M


def heatmap(map_hw: np.ndarray, size: tuple[int, int], rectify: str = "absolute") -> np.ndarray | None:
    """The map as the 8-bit image (H, W) that the box generator reads, or None if it names no region.

    Bicubic upsampling (`imresize`) to height and width `size`, then `rectify`: `absolute` values, as the released
    merging of crops takes them, or negative values set to `zero`; then divided by the maximum, times 255, rounded.
    Raises ValueError for any other `rectify`.
    """
    if rectify not in RECTIFICATIONS:
        raise ValueError(f"rectify must be one of {', '.join(RECTIFICATIONS)}; got {rectify!r}")
    if not np.isfinite(map_hw).all() or map_hw.min() == map_hw.max():
        return None
    value_HW = imresize(torch.from_numpy(np.ascontiguousarray(map_hw)), size).numpy()
    value_HW = np.abs(value_HW) if rectify == "absolute" else np.maximum(value_HW, 0)
    high = value_HW.max()
    return np.floor(value_HW / high * 255 + 0.5).astype(np.uint8) if high > 0 else None


def rectangles(grey_HW: np.ndarray, levels: Sequence[int] = RELEASED_LEVELS) -> np.ndarray:
    """All rectangles (N, 4) of a uint8 heatmap, the biggest first: int64 xyxy, half-open, in its pixels.

    A contour is the outer border of an 8-connected region or the border of a hole in one. Rectangles end 5 pixels
    before the right and bottom edges; one that lies wholly beyond is dropped (the released code keeps it, with a
    negative side). One that overlaps a bigger one by more than half of the bigger's area is dropped, except that the
    released loop does not look at the rectangle after one that it has dropped: kept here, since it is what leaves
    a tight box of the same object behind the loose one. Raises ValueError where the heatmap is not uint8 (H, W).
    """
    if grey_HW.ndim != 2 or grey_HW.dtype != np.uint8:
        raise ValueError(f"a heatmap is uint8 (H, W); got {grey_HW.dtype} of shape {grey_HW.shape}")
    end = np.array(grey_HW.shape[::-1]) - _MARGIN
    found = [box for level in levels for box in _contour_boxes(_core(grey_HW > level))]
    boxes_N4 = np.array(found, np.int64).reshape(-1, 4)
    boxes_N4[:, 2:] = np.minimum(boxes_N4[:, 2:], end)
    boxes_N4 = boxes_N4[(boxes_N4[:, :2] < boxes_N4[:, 2:]).all(axis=1)]
    return _without_overlaps(boxes_N4[np.argsort(-_area(boxes_N4), kind="stable")])


def _core(region_HW: np.ndarray) -> np.ndarray:
    """The pixels of a region that are not near its border: uint8, 0 or 1."""
    if region_HW.all() or not region_HW.any():
        # No border to be near to: the released code leaves the image as it is.
        return region_HW.astype(np.uint8)
    distance_HW = cv2.distanceTransform(region_HW.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance_HW = distance_HW.astype(np.float64)
    # It rounds to 8 bits before it compares with 10.
    return (np.floor(distance_HW * (255 / distance_HW.max()) + 0.5) > 10).astype(np.uint8)


def _contour_boxes(mask_HW: np.ndarray) -> list[tuple[int, int, int, int]]:
    contours, _ = cv2.findContours(mask_HW, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    boxes = (cv2.boundingRect(contour) for contour in contours)
    return [(x, y, x + width, y + height) for x, y, width, height in boxes]


def _without_overlaps(boxes_N4: np.ndarray) -> np.ndarray:
    """The released loop, which steps over the element that moves into an erased one's place."""
    kept = list(boxes_N4)
    i = 0
    while i < len(kept):
        j = i + 1
        while j < len(kept):
            if _overlaps_much(kept[i], kept[j]):
                del kept[j]
            j += 1
        i += 1
    return np.array(kept, np.int64).reshape(-1, 4)


def _overlaps_much(bigger_4: np.ndarray, smaller_4: np.ndarray) -> bool:
    common = np.concatenate([np.maximum(bigger_4[:2], smaller_4[:2]), np.minimum(bigger_4[2:], smaller_4[2:])])
    # The released code compares integers: half of the area is rounded down.
    return bool((common[:2] < common[2:]).all() and _area(common) > _area(bigger_4) // 2)


def _area(boxes_4: np.ndarray) -> np.ndarray:
    return (boxes_4[..., 2] - boxes_4[..., 0]) * (boxes_4[..., 3] - boxes_4[..., 1])
