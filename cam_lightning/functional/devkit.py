"""The ILSVRC CLS-LOC development kit's evaluation: classification and localization error for 1 to G guesses.

Boxes here are the devkit's own, not the package's: corners that both lie inside the box, so that an area is
(xmax - xmin + 1) · (ymax - ymin + 1). Only numpy: the entry point answers before torch would be loaded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NUM_GUESSES = 5
"""Guesses per image that count; the devkit ignores further ones."""


class Guesses(NamedTuple):
    """What a submission says of N images: G guesses each, the best first."""

    label_NG: np.ndarray
    """int64: class ids from 1; 0 where an image has fewer guesses."""
    box_NG4: np.ndarray
    """float64: xmin, ymin, xmax, ymax, both corners inside."""


class TrueBoxes(NamedTuple):
    """The ground-truth boxes of all images, one row each, in any order."""

    image_M: np.ndarray
    """int64: the image's row among the labels, from 0."""
    label_M: np.ndarray
    """int64: the box's class id."""
    box_M4: np.ndarray
    """float64: xmin, ymin, xmax, ymax, both corners inside."""


def classification_errors(label_NG: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """The share of images whose true class is none of the first g guesses, for g = 1..G: float64 (G,).

    Every image counts, also those of the blacklist. `eval_clsloc.m`.
    """
    return _errors(label_NG == truth_N[:, None])


def localization_errors(
    guesses: Guesses,
    truth_N: np.ndarray,
    boxes: TrueBoxes,
    blacklisted_N: np.ndarray | None = None,
) -> np.ndarray:
    """The share of images for which none of the first g guesses is right, for g = 1..G: float64 (G,).

    A guess is right if its class is the image's and its box has an intersection over union of at least 0.5 with
    one of the image's boxes of that class; boxes of other classes do not count. Images marked in `blacklisted_N`
    are left out. `eval_clsloc.m` and `compute_overlap.m`.

    Raises ValueError if an image that counts has no box of its class (the devkit stops there), or if none counts.
    """
    counts_N = np.ones(len(truth_N), np.bool_) if blacklisted_N is None else ~blacklisted_N
    if not counts_N.any():
        raise ValueError("no image is left to score: all are blacklisted")
    is_own_M = boxes.label_M == truth_N[boxes.image_M]
    image_M, box_M4 = boxes.image_M[is_own_M], boxes.box_M4[is_own_M]
    has_box_N = np.bincount(image_M, minlength=len(truth_N)) > 0
    if not has_box_N[counts_N].all():
        first = int(np.flatnonzero(counts_N & ~has_box_N)[0])
        raise ValueError(f"image {first + 1} has no box of its class {truth_N[first]}")
    overlaps_MG = _intersection_over_union(guesses.box_NG4[image_M], box_M4[:, None]) >= 0.5
    overlaps_NG = np.zeros(guesses.label_NG.shape, np.bool_)
    np.logical_or.at(overlaps_NG, image_M, overlaps_MG)
    return _errors((overlaps_NG & (guesses.label_NG == truth_N[:, None]))[counts_N])


def _errors(hit_NG: np.ndarray) -> np.ndarray:
    """From which guess is right to the error for the first 1..G guesses: a count divided once, as the devkit does."""
    hit_within_NG = np.logical_or.accumulate(hit_NG, axis=1)
    return (~hit_within_NG).sum(axis=0) / len(hit_NG)


def _intersection_over_union(a_4: np.ndarray, b_4: np.ndarray) -> np.ndarray:
    """Broadcast over the leading axes; a box whose corners are the wrong way round meets nothing."""
    side_2 = np.minimum(a_4[..., 2:], b_4[..., 2:]) - np.maximum(a_4[..., :2], b_4[..., :2]) + 1
    intersection = np.where((side_2 > 0).all(axis=-1), side_2.prod(axis=-1), 0.0)
    union = _area(a_4) + _area(b_4) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=intersection > 0)


def _area(box_4: np.ndarray) -> np.ndarray:
    return (box_4[..., 2:] - box_4[..., :2] + 1).prod(axis=-1)
