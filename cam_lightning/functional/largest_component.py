"""The box of a map's largest connected component at one threshold, straight from the map's own resolution.

Upsample → rectify or not → normalise → keep pixels strictly above the threshold → label 8-connected
components → box of the largest. Of the upsampled map only one row is ever held: a row is cheaper to compute
twice than to write out and read back.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import float32, njit, uint64

from cam_lightning.functional.kernel.bilinear import blend_row, cells_and_weights, is_usable, range_of_row, widen

NORMALISATIONS = ("max", "minmax", "none")
UPSAMPLINGS = ("bilinear", "nearest", "bicubic")
_MAX, _MINMAX, _NONE = range(3)

_PLACES = np.uint64(0x0001020304050607)

# No `fastmath`: a fused multiply-add would make boxes depend on the processor.
_kernel = njit(nogil=True, cache=True, error_model="numpy")


def largest_component_boxes(
    map_Mhw: np.ndarray,
    size_M2: np.ndarray,
    threshold: float,
    normalise: str = "max",
    rectify: bool = False,
    upsample: str = "bilinear",
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (M, 4) of each map's largest 8-connected component, and which maps name no region (M,), bool.

    `map_Mhw` are raw maps, `size_M2` the height and width in pixels that each is upsampled to, as
    `torch.nn.functional.interpolate` does (`align_corners=False`), to float32 rounding; a map of that size is left
    as it is. Boxes are float32 xyxy, half-open, in those pixels.

    `rectify` sets negative values to 0. A pixel v belongs to the region if v > level, where the level is
    computed in float64 and rounded to float32:

        max      threshold · max                       v / max             > threshold
        minmax   min + threshold · (max - min)         (v - min)/(max-min) > threshold
        none     threshold                             v                   > threshold

    with max and min over the upsampled, rectified map. Largest is by pixel count; of equally large components the
    one that comes first in raster order wins. A map with a value that is not finite, a constant map, a map that is
    nowhere positive under `max`, or one with nothing above the level names no region: its box is the whole image,
    and it is marked. Releases the interpreter's lock, so it can run beside a network's forward.

    Zhou et al. 2016, section 3.2. Raises ValueError for shapes, sizes or options other than these.
    """
    map_Mhw = np.ascontiguousarray(map_Mhw, dtype=np.float32)
    size_M2 = np.ascontiguousarray(size_M2, dtype=np.int64)
    if map_Mhw.ndim != 3 or 0 in map_Mhw.shape[1:] or size_M2.shape != (len(map_Mhw), 2):
        raise ValueError(f"maps must be (M, h, w), not empty, with sizes (M, 2); got {map_Mhw.shape}, {size_M2.shape}")
    if (size_M2 < 1).any():
        raise ValueError(f"an image has at least one pixel; got height and width {size_M2.min(0).tolist()}")
    if normalise not in NORMALISATIONS:
        raise ValueError(f"normalise must be one of {', '.join(NORMALISATIONS)}; got {normalise!r}")
    if upsample not in UPSAMPLINGS:
        raise ValueError(f"upsample must be one of {', '.join(UPSAMPLINGS)}; got {upsample!r}")
    if normalise != "none" and not 0 <= threshold < 1:
        raise ValueError(f"a share of the normalised map's range lies in [0, 1); got threshold {threshold}")

    boxes_M4 = np.empty((len(map_Mhw), 4), np.float32)
    degenerate_M = np.empty(len(map_Mhw), np.bool_)
    rule = float(threshold), NORMALISATIONS.index(normalise), bool(rectify)
    if upsample == "bilinear":
        _largest_component_boxes(map_Mhw, size_M2, *rule, boxes_M4, degenerate_M)
        return boxes_M4, degenerate_M
    for m, (map_hw, size) in enumerate(zip(map_Mhw, size_M2.tolist(), strict=True)):
        map_HW = torch.nn.functional.interpolate(torch.from_numpy(map_hw)[None, None], size, mode=upsample)
        one = slice(m, m + 1)
        _largest_component_boxes(map_HW[0].numpy(), size_M2[one], *rule, boxes_M4[one], degenerate_M[one])
    return boxes_M4, degenerate_M


@_kernel
def _largest_component_boxes(
    map_Mhw: np.ndarray,
    size_M2: np.ndarray,
    threshold: float,
    normalise: int,
    rectify: bool,
    boxes_M4: np.ndarray,
    degenerate_M: np.ndarray,
) -> None:
    for m in range(len(map_Mhw)):
        H, W = size_M2[m]
        boxes_M4[m, 0], boxes_M4[m, 1], boxes_M4[m, 2], boxes_M4[m, 3] = 0, 0, W, H
        degenerate_M[m] = True
        if is_usable(map_Mhw[m]):
            floor = float32(0) if rectify else float32(-np.inf)
            degenerate_M[m] = not _find_box(map_Mhw[m], H, W, threshold, normalise, floor, boxes_M4[m])


@_kernel
def _find_box(
    map_hw: np.ndarray, H: int, W: int, threshold: float, normalise: int, floor: np.float32, box_4: np.ndarray
) -> bool:
    """Writes the box and returns True, or returns False if the map names no region."""
    y_cell, y_weight = cells_and_weights(map_hw.shape[0], H)
    wide_hW = widen(map_hw, W)
    row = np.empty(W + 2, np.float32)
    row_bits = row.view(np.int32)
    row_range = np.empty((H, 2), np.float32)
    row_range_bits = row_range.view(np.int32)
    low, high = float32(np.inf), float32(-np.inf)
    for y in range(H):
        blend_row(wide_hW, y, y_cell, y_weight, floor, row)
        range_of_row(row_bits, row_range_bits[y])
        low, high = min(low, row_range[y, 0]), max(high, row_range[y, 1])
    if low == high or (normalise == _MAX and high <= 0):
        return False
    level = cut_level(threshold, low, high, normalise)

    # A label's first pixel has background left of it and in the three pixels above, so of any four pixels in a
    # block at most one begins a label. Memory that is never written costs nothing.
    max_labels = (H // 2 + 1) * (W // 2 + 1)
    parent = np.empty(max_labels, np.int32)
    stats = np.empty((max_labels, 5), np.int32)
    runs = np.empty((2, W // 2 + 1, 3), np.int32)
    changes = np.zeros((W // 8 + 1) * 8, np.uint8)
    eights = changes.view(np.uint64)
    row[0] = row[W + 1] = -np.inf
    num_labels, num_above = 0, 0
    for y in range(H):
        here, above = runs[y % 2], runs[1 - y % 2]
        num_here = 0
        if row_range[y, 1] > level:
            blend_row(wide_hW, y, y_cell, y_weight, floor, row)
            num_here = _find_runs(row, level, changes, eights, here)
            num_labels = _label_runs(here, num_here, above, num_above, y, parent, stats, num_labels)
        num_above = num_here
    largest = 0
    for label in range(num_labels):
        if parent[label] == label and stats[label, 0] > largest:
            largest = stats[label, 0]
            box_4[0], box_4[1], box_4[2], box_4[3] = stats[label, 1:]
    return largest > 0


@_kernel
def cut_level(threshold: float, low: np.float32, high: np.float32, normalise: int) -> np.float32:
    """The value that a pixel must be above, of a map from low to high; `normalise` indexes `NORMALISATIONS`."""
    if normalise == _MAX:
        return float32(threshold * np.float64(high))
    if normalise == _MINMAX:
        return float32(np.float64(low) + threshold * (np.float64(high) - np.float64(low)))
    return float32(threshold)


@_kernel
def _find_runs(row: np.ndarray, level: np.float32, changes: np.ndarray, eights: np.ndarray, runs: np.ndarray) -> int:
    """Writes (start, end) of the row's runs above the level, half-open, and returns their number.

    Marks where the row enters or leaves the region, a loop without branches that the compiler vectorises, then looks
    for the few marks eight at a time: `eights` are the bytes `changes` as 64-bit words (little-endian). The row's
    first and last entry are minus infinity.
    """
    for x in range(len(row) - 1):
        changes[x] = (row[x] > level) != (row[x + 1] > level)
    num_changes = 0
    for word in range(len(eights)):
        marks = eights[word]
        while marks != 0:
            lowest = marks & (~marks + uint64(1))
            # lowest is 256 to the power of the byte's place; the product's top byte is that place.
            runs[num_changes >> 1, num_changes & 1] = 8 * word + ((lowest * _PLACES) >> uint64(56))
            num_changes += 1
            marks ^= lowest
    return num_changes >> 1


@_kernel
def _label_runs(
    here: np.ndarray,
    num_here: int,
    above: np.ndarray,
    num_above: int,
    y: int,
    parent: np.ndarray,
    stats: np.ndarray,
    num_labels: int,
) -> int:
    """Labels row y's runs by the runs above that they touch, joins those, and returns the number of labels.

    `stats` of a root hold pixel count, x0, y0, x1, y1 of what it stands for. A root is the smallest label of
    its component, which is the one made at the component's first pixel in raster order.
    """
    k = 0
    for i in range(num_here):
        start, end = here[i, 0], here[i, 1]
        while k < num_above and above[k, 1] < start:
            k += 1
        label = -1
        j = k
        while j < num_above and above[j, 0] <= end:
            other = _root(parent, above[j, 2])
            label = other if label < 0 else _join(parent, stats, label, other)
            j += 1
        if label < 0:
            label = num_labels
            num_labels += 1
            parent[label] = label
            stats[label, 0], stats[label, 1], stats[label, 2], stats[label, 3] = 0, start, y, end
        stats[label, 0] += end - start
        stats[label, 1] = min(stats[label, 1], start)
        stats[label, 3] = max(stats[label, 3], end)
        stats[label, 4] = y + 1
        here[i, 2] = label
    return num_labels


@_kernel
def _root(parent: np.ndarray, label: int) -> int:
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@_kernel
def _join(parent: np.ndarray, stats: np.ndarray, a: int, b: int) -> int:
    """Joins two components, given by their roots, and returns the root of both."""
    if a == b:
        return a
    kept, gone = min(a, b), max(a, b)
    parent[gone] = kept
    stats[kept, 0] += stats[gone, 0]
    for side in (1, 2):
        stats[kept, side] = min(stats[kept, side], stats[gone, side])
    for side in (3, 4):
        stats[kept, side] = max(stats[kept, side], stats[gone, side])
    return kept
