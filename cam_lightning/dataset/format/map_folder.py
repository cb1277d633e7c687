"""A folder of score maps in the WSOL benchmark's layout, with what is wrong with each map told by name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from cam_lightning.dataset.format.wsol_metadata import WsolMetadata
from cam_lightning.dataset.pipeline.transform import resized_mask
from cam_lightning.functional.post_processing import PostProcessing, score_map

PROBLEMS = {
    "missing": "no file: a miss at every threshold, score 0 in every pixel",
    "unreadable": "not a whole file of (H, W) numbers: counted as a missing one",
    "not_finite": "has NaN or infinity: score 0 everywhere, which the benchmark's own normalisation makes of it",
    "other_size": "upsampled (bicubic) to the size asked for and normalised from minimum to maximum",
    "other_range": "has scores outside [0, 1]: normalised from minimum to maximum",
    "constant": "has one value: names no region; counted as any map is",
}
"""What can be wrong with a map, and how it is counted. Normalising as in clovaai/wsolevaluation, inference.py."""
RAW_FILE = "raw.json"
"""Beside maps that are raw, not scores: it says what a value of them is."""
BENCHMARK_RULE = PostProcessing("bicubic", normalise="minmax")


def read_score_map(path: Path, size: tuple[int, int], raw: bool = False) -> tuple[np.ndarray | None, list[str]]:
    """Scores (H, W) in [0, 1], float64, of height and width `size`, and which of `PROBLEMS` the map has.

    None where there is no map to be had of the file. A map of that size and range is taken as it is, unless it is known
    to be `raw`: then it is upsampled and normalised whatever its size and range, which are no problem.
    """
    try:
        # Mapped: a header that promises more than the file holds is refused before memory is asked for.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        map_hw = np.array(mapped) if isinstance(mapped, np.ndarray) else mapped
    except FileNotFoundError:
        return None, ["missing"]
    except Exception:
        # A damaged header makes the reader raise whatever comes to it: MemoryError, TypeError, SyntaxError, …
        return None, ["unreadable"]
    if not isinstance(map_hw, np.ndarray) or map_hw.ndim != 2 or map_hw.size == 0 or map_hw.dtype.kind not in "fiub":
        return None, ["unreadable"]
    problems = [] if raw or map_hw.shape == size else ["other_size"]
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite here
        raw_hw = map_hw.astype(np.float32)
    if not np.isfinite(raw_hw).all():
        return np.zeros(size), [*problems, "not_finite"]
    low, high = map_hw.min(), map_hw.max()
    problems += ["constant"] * bool(low == high) + ["other_range"] * bool(not raw and (low < 0 or high > 1))
    if raw or {"other_size", "other_range"} & set(problems):
        return score_map(torch.from_numpy(raw_hw), size, BENCHMARK_RULE), problems
    return map_hw.astype(np.float64), problems


def read_mask(metadata: WsolMetadata, folder: Path, index: int, size: tuple[int, int]) -> np.ndarray:
    """The mask of one image, uint8 (H, W): 1 on any of its instances, else 255 where ignored, else 0.

    Each file is resized as the benchmark does (nearest, OpenCV). Raises FileNotFoundError for a file that is not
    there or no image.
    """
    first, end = metadata.first_row_N1[index : index + 2].tolist()
    object_HW = np.zeros(size, np.bool_)
    for mask in metadata.masks_M[first:end]:
        object_HW |= _grey(folder / mask, size) > 0
    ignored = metadata.ignored_N[index]
    ignored_HW = _grey(folder / ignored, size) > 0 if ignored else np.zeros(size, np.bool_)
    return np.where(object_HW, 1, np.where(ignored_HW, 255, 0)).astype(np.uint8)


def _grey(path: Path, size: tuple[int, int]) -> np.ndarray:
    image_HW = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image_HW is None:
        raise FileNotFoundError(
            f"{path} is not there, or no image; masks=FOLDER is the folder that localization.txt names files in"
        )
    return resized_mask(image_HW, size).numpy()
