"""All components of a map against a flood fill, and the first of them against the largest component's own box."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage

from cam_lightning.functional.component_boxes import component_boxes, mean_in_boxes, normalised_map
from cam_lightning.functional.largest_component import largest_component_boxes
from cam_lightning.functional.post_processing import PostProcessing

RULES = [
    PostProcessing(),
    PostProcessing("nearest", normalise="minmax"),
    PostProcessing("bicubic", rectify=True),
    PostProcessing(normalise="none"),
]
SIZES = [(1, 1), (5, 7), (23, 40), (31, 12)]


def awkward_maps() -> list[np.ndarray]:
    """Noise, whole levels with many ties, stripes, constants, and what is not finite."""
    random = np.random.default_rng(3)
    maps = [random.normal(size=size) for size in ((1, 1), (5, 7), (6, 4), (9, 9))]
    maps += [random.integers(-1, 3, size=(8, 11)).astype(float) for _ in range(6)]
    maps += [np.indices((6, 10)).sum(0) % 2.0, np.full((3, 4), 0.1), -np.ones((2, 2)), np.array([[1.0, np.nan]])]
    return [each.astype(np.float32) for each in maps]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.75])
def test_the_first_box_is_the_largest_component_s(rule: PostProcessing, threshold: float) -> None:
    num_named = 0
    for map_hw in awkward_maps():
        for size in SIZES:
            boxes_14, without_1 = largest_component_boxes(map_hw[None], np.array([size]), threshold, rule)
            boxes_P4 = component_boxes(map_hw, size, threshold, rule)
            assert (len(boxes_P4) == 0) == without_1[0]
            if len(boxes_P4):
                assert boxes_P4[0].tolist() == boxes_14[0].tolist()
                num_named += 1
    assert num_named > 20


@pytest.mark.parametrize("seed", range(8))
def test_all_components_are_those_of_a_plain_labelling(seed: int) -> None:
    """On the map's own cells, with equally large ones among them."""
    map_hw = np.random.default_rng(seed).integers(0, 6, size=(13, 17)).astype(np.float32)
    labels, count = scipy.ndimage.label(map_hw > 0.7 * map_hw.max(), structure=np.ones((3, 3)))
    components = []
    for label in range(1, count + 1):
        ys, xs = np.nonzero(labels == label)
        first = ys[0] * 17 + xs[0]
        components.append((-len(ys), first, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]))
    expected = [box for _, _, box in sorted(components)]
    assert component_boxes(map_hw, (13, 17), 0.7, PostProcessing()).tolist() == expected
    assert len(expected) > 2


def test_a_normalised_map_by_hand() -> None:
    map_hw = np.array([[-2.0, 4.0], [1.0, 2.0]], np.float32)
    assert normalised_map(map_hw, (2, 2), PostProcessing()).tolist() == [[0, 1], [0.25, 0.5]]  # type: ignore[union-attr]
    minmax = normalised_map(map_hw, (2, 2), PostProcessing(normalise="minmax"))
    assert minmax is not None
    assert minmax.tolist() == [[0, 1], [0.5, pytest.approx(4 / 6)]]
    assert normalised_map(np.zeros((2, 3), np.float32), (4, 4), PostProcessing()) is None


def test_means_are_of_the_pixels_inside() -> None:
    value_HW = np.arange(12, dtype=np.float32).reshape(3, 4)
    boxes_P4 = np.array([[1, 0, 3, 2], [0, 0, 4, 3], [3, 2, 3, 2], [9, 9, 12, 12]], np.float32)
    assert mean_in_boxes(value_HW, boxes_P4).tolist() == [(1 + 2 + 5 + 6) / 4, 5.5, 11, 11]
