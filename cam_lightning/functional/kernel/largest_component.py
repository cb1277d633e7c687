"""The largest connected component of each map above a level of its own, straight from the map's own resolution.

Of the upsampled map only one row is ever held: a row is cheaper to compute twice than to write out and read back.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

from cam_lightning.functional.kernel.bilinear import blend_row, cells_and_weights, widen
from cam_lightning.functional.kernel.component_box import X0, X1, Y0, Y1, join_boxes
from cam_lightning.functional.kernel.union_find import index, root

_COUNT = 4
"""Column of `stats` beside the box: the number of pixels."""
_PLACES = np.uint64(0x0001020304050607)

# No `fastmath`: a fused multiply-add would make boxes depend on the processor.
_kernel = njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def find_boxes(
    map_Mhw: np.ndarray,
    size_M2: np.ndarray,
    floor: np.float32,
    level_M: np.ndarray,
    first_row_M: np.ndarray,
    row_range_R2: np.ndarray,
    without_M: np.ndarray,
    boxes_M4: np.ndarray,
) -> None:
    """Writes the box of each map's pixels above its level, or marks the map where there are none.

    Maps that are marked already are left out. Rows' ranges are those of `range_rows`.
    """
    for m in range(len(map_Mhw)):
        if not without_M[m]:
            row_range_H2 = row_range_R2[first_row_M[m] : first_row_M[m] + size_M2[m, 0]]
            without_M[m] = not _find_box(map_Mhw[m], size_M2[m, 1], floor, level_M[m], row_range_H2, boxes_M4[m])


@_kernel
def _find_box(
    map_hw: np.ndarray,
    W: int,
    floor: np.float32,
    level: np.float32,
    row_range_H2: np.ndarray,
    box_4: np.ndarray,
) -> bool:
    """Writes the box and returns True, or returns False if nothing is above the level."""
    H = len(row_range_H2)
    y_cell, y_weight = cells_and_weights(map_hw.shape[0], H)
    wide_hW = widen(map_hw, W)
    row = np.empty(W + 2, np.float32)
    # A label's first pixel has background left of it and in the three pixels above, so of any four pixels in a
    # block at most one begins a label. Memory that is never written costs nothing.
    max_labels = (H // 2 + 1) * (W // 2 + 1)
    parent = np.empty(max_labels + 1, np.uint32)
    stats = np.empty((max_labels + 1, 5), np.int32)
    runs = np.empty((2, W // 2 + 1, 3), np.int32)
    changes = np.zeros((W // 8 + 1) * 8, np.uint8)
    eights = changes.view(np.uint64)
    row[0] = row[W + 1] = -np.inf
    num_labels, num_above = index(0), 0
    for y in range(H):
        here, above = runs[y % 2], runs[1 - y % 2]
        num_here = 0
        if row_range_H2[y, 1] > level:
            blend_row(wide_hW, y, y_cell, y_weight, floor, row)
            num_here = _find_runs(row, level, changes, eights, here)
            num_labels = _label_runs(here, num_here, above, num_above, y, parent, stats, num_labels)
        num_above = num_here
    largest = 0
    for label in range(1, num_labels + 1):
        if parent[label] == label and stats[label, _COUNT] > largest:
            largest = stats[label, _COUNT]
            box_4[0], box_4[1] = stats[label, X0], stats[label, Y0]
            box_4[2], box_4[3] = stats[label, X1], stats[label, Y1]
    return largest > 0


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

    `stats` of a root hold the half-open box and the number of pixels of what it stands for. A root is the smallest
    label of its component, which is the one made at the component's first pixel in raster order.
    """
    k = 0
    for i in range(num_here):
        start, end = here[i, 0], here[i, 1]
        while k < num_above and above[k, 1] < start:
            k += 1
        label = index(0)
        j = k
        while j < num_above and above[j, 0] <= end:
            other = root(parent, index(above[j, 2]))
            if label == 0:
                label = other
            elif other != label:
                label, gone = min(label, other), max(label, other)
                parent[gone] = label
                stats[label, _COUNT] += stats[gone, _COUNT]
                join_boxes(stats, label, gone)
            j += 1
        if label == 0:
            num_labels += index(1)
            label = num_labels
            parent[label] = label
            stats[label, X0], stats[label, Y0], stats[label, X1], stats[label, _COUNT] = start, y, end, 0
        stats[label, X0] = min(stats[label, X0], start)
        stats[label, X1] = max(stats[label, X1], end)
        stats[label, Y1] = y + 1
        stats[label, _COUNT] += end - start
        here[i, 2] = label
    return num_labels
