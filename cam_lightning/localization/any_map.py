"""Anyone's heat map, of any framework: boxes by the one rule of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cam_lightning.contracts import BoxGenerator
from cam_lightning.functional.component_boxes import component_boxes, mean_in_boxes, normalised_map
from cam_lightning.functional.largest_component import largest_component_boxes
from cam_lightning.functional.post_processing import PostProcessing


class MapBoxes(NamedTuple):
    """The boxes of one or several maps, map by map, the best of each map first; arrays on the CPU."""

    boxes_P4: np.ndarray
    """float32 xyxy, half-open, in the pixels of the photo."""
    score_P: np.ndarray
    """float32: the mean of the normalised map over the box (of the raw one for `normalise="none"`); 0 where it names no
    region."""
    map_P: np.ndarray
    """int64: which map each box is of, by its position; 0 for a single one."""
    degenerate_P: np.ndarray
    """bool: the map named no region (constant, not finite, nowhere positive), so the box is the whole photo."""


def map_boxes(
    heat_map: Any,
    size: Sequence[int] | np.ndarray | None = None,
    *,
    threshold: float = 0.2,
    normalise: str = "max",
    rectify: bool = False,
    upsample: str = "bilinear",
    percentile: float | None = None,
    all_components: bool = False,
    box: BoxGenerator | None = None,
) -> MapBoxes:
    """Boxes, with scores, of a heat map (h, w), or of stacked ones (…, h, w), which count in their order.

    `heat_map` is an array or tensor of any framework (NumPy, PyTorch on any device, what speaks DLPack or has
    `__array__`), or nested lists. `size` is the photo's height and width, in that order, or a pair for each map (M, 2);
    None: the map has the photo's size. Upsample → rectify or not → normalise → strictly above `threshold` → largest
    8-connected component, as everywhere in this package; with `all_components` each of them, the largest first.
    `percentile` is of the normalisations that ask for one (`pas`, `ivr`, `percentile`); None: as they are published.
    `box` is another generator, such as `cam_lightning.box.distance_transform.DistanceTransform()`, in place of all
    these options.

    Raises ValueError for what is no map, for a picture in colour, for sizes that do not fit, and for options that
    there are not or that do not go together.
    """
    map_Mhw = _maps(heat_map)
    size_M2 = _sizes(size, map_Mhw)
    options = (threshold, normalise, rectify, upsample, percentile, all_components)
    if box is not None and options != (0.2, "max", False, "bilinear", None, False):
        raise ValueError("boxes takes a box generator, box=…, or the options of its own rule; not both")
    rule = PostProcessing(upsample, rectify, normalise, percentile=percentile)
    rule.check_threshold(threshold)
    boxes, scores, degenerate = [], [], []
    for map_hw, size_2 in zip(map_Mhw, size_M2, strict=True):
        boxes_P4 = _boxes(map_hw, size_2, threshold, rule, all_components, box)
        value_HW = normalised_map(map_hw, (int(size_2[0]), int(size_2[1])), rule)
        named_none = boxes_P4 is None
        if boxes_P4 is None:
            boxes_P4 = np.array([[0, 0, size_2[1], size_2[0]]], np.float32)
        boxes.append(boxes_P4)
        is_scored = value_HW is not None and not named_none
        scores.append(mean_in_boxes(value_HW, boxes_P4) if is_scored else np.zeros(len(boxes_P4), np.float32))  # type: ignore[arg-type]
        degenerate.append(np.full(len(boxes_P4), named_none))
    count_M = [len(each) for each in boxes]
    return MapBoxes(
        np.concatenate([np.zeros((0, 4), np.float32), *boxes]),
        np.concatenate([np.zeros(0, np.float32), *scores]),
        np.repeat(np.arange(len(map_Mhw), dtype=np.int64), count_M),
        np.concatenate([np.zeros(0, np.bool_), *degenerate]),
    )


def _boxes(
    map_hw: np.ndarray,
    size_2: np.ndarray,
    threshold: float,
    rule: PostProcessing,
    all_components: bool,
    box: BoxGenerator | None,
) -> np.ndarray | None:
    """Boxes (P, 4) of one map; None where it names no region."""
    if box is not None:
        map_11hw = torch.from_numpy(map_hw)[None, None]
        found = box(map_11hw, torch.from_numpy(size_2)[None], (map_hw.shape[0], map_hw.shape[1]))
        return None if bool(found.degenerate_BP.all()) else found.boxes_BP4[0].numpy()
    if all_components:
        boxes_P4 = component_boxes(map_hw, (int(size_2[0]), int(size_2[1])), threshold, rule)
        return boxes_P4 if len(boxes_P4) else None
    boxes_14, without_1 = largest_component_boxes(map_hw[None], size_2[None], threshold, rule)
    return None if without_1[0] else boxes_14


def _maps(heat_map: Any) -> np.ndarray:
    """float32 (M, h, w), on the CPU, of anyone's array."""
    given = _array(heat_map)
    what = f"{type(heat_map).__name__} {tuple(given.shape)}"
    if given.ndim < 2 or 0 in given.shape[-2:]:
        raise ValueError(f"a heat map is (h, w), or several (…, h, w), none of them empty; got {what}")
    if given.ndim == 3 and given.shape[2] in (1, 3, 4) and (given.dtype == np.uint8 or min(given.shape[:2]) > 4):
        # Read as (…, h, w) it would be as many maps as the picture has rows, each of them one to four cells wide.
        raise ValueError(
            "a map is (h, w) and says how strong, several are (…, h, w): a picture, with its channels at its end, is "
            f"none, so give the map itself, of a single channel without that axis; got {what}"
        )
    if given.dtype.kind not in "fiub":
        raise ValueError(f"a heat map holds real numbers; got {type(heat_map).__name__} of {given.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite here
        return np.ascontiguousarray(given.reshape(-1, *given.shape[-2:]), np.float32)


def _array(heat_map: Any) -> np.ndarray:
    if not isinstance(heat_map, np.ndarray | Tensor) and hasattr(heat_map, "__dlpack__"):
        # Of a GPU too, which `__array__` often refuses.
        heat_map = torch.from_dlpack(heat_map)
    if isinstance(heat_map, Tensor):
        heat_map = heat_map.detach().cpu()
        return (heat_map.float() if heat_map.is_floating_point() else heat_map).numpy()
    try:
        return np.asarray(heat_map)
    except ValueError as error:
        raise ValueError(f"a heat map is an array or tensor (h, w); this {type(heat_map).__name__}: {error}") from error


def _sizes(size: Sequence[int] | np.ndarray | None, map_Mhw: np.ndarray) -> np.ndarray:
    """int64 (M, 2): height and width of each map's photo."""
    size_X2 = np.asarray(map_Mhw.shape[1:] if size is None else size)
    M = len(map_Mhw)
    is_whole = size_X2.dtype.kind in "iu" and size_X2.size > 0 and size_X2.min() >= 1
    if not is_whole or size_X2.shape not in ((2,), (M, 2)):
        raise ValueError(
            f"size is a photo's height and width in pixels, or such a pair for each of the {M} maps; got {size!r}"
        )
    return np.broadcast_to(size_X2.astype(np.int64), (M, 2)).copy()
