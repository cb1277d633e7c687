"""GT-known error by size against a plain loop that sorts images into groups by counting pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from toy_localization import localization_of

from cam_lightning.contracts import GroundTruth
from cam_lightning.metric.gt_known_error import GtKnownError
from cam_lightning.metric.gt_known_error_by_size import GtKnownErrorBySize

EDGES = (0.05, 0.2, 0.45, 0.7)


def test_equals_a_plain_loop(evaluation: Any, overlap: Any) -> None:
    localization, truth = evaluation
    groups: list[list[bool]] = [[] for _ in range(5)]
    for b, (height, width) in enumerate(truth.size_B2.tolist()):
        boxes = truth.boxes_BN4[b, : truth.num_boxes_B[b]].tolist()
        if not boxes:
            continue
        areas = [sum(x0 <= x < x1 and y0 <= y < y1 for x in range(width) for y in range(height))
                 for x0, y0, x1, y1 in boxes]  # fmt: skip
        group = sum(max(areas) / (height * width) >= edge for edge in EDGES)
        groups[group].append(any(overlap(localization.label_box_B4[b].tolist(), box) >= 0.5 for box in boxes))
    metric = GtKnownErrorBySize(EDGES)
    metric.update(localization, truth)
    expected = {}
    for name, hits in zip(("0_to_0.05", "0.05_to_0.2", "0.2_to_0.45", "0.45_to_0.7", "0.7_to_1"), groups, strict=True):
        assert hits, "every group has an image to be wrong about"
        expected[f"gt_known_error_by_size/{name}"] = (len(hits) - sum(hits)) / len(hits)
        expected[f"gt_known_error_by_size/{name}/num_images"] = len(hits)
    assert metric.compute() == expected
    assert len({value for key, value in expected.items() if not key.endswith("num_images")}) == 5

    whole = GtKnownError()
    whole.update(localization, truth)
    assert int(metric.hits.sum()) == whole.count("hits")
    assert int(metric.num_images.sum()) == whole.count("num_images")


def test_a_share_on_an_edge_belongs_to_the_group_above_and_the_largest_box_counts() -> None:
    """Images of 10 × 20 pixels; boxes of 30 pixels, which are 0.15 of it, of 29, and of 200 beside a small one."""
    boxes = [[[0, 0, 6, 5], [0, 0, 0, 0]], [[0, 0, 29, 1], [0, 0, 0, 0]], [[0, 0, 2, 1], [0, 0, 20, 10]]]
    blank: Any = None
    localization = localization_of(blank, blank, blank, blank, blank, torch.zeros(3, 4), blank)
    truth = GroundTruth(
        torch.zeros(3), torch.tensor(boxes).float(), torch.tensor([1, 1, 2]), torch.tensor([[10, 20]] * 3)
    )
    metric = GtKnownErrorBySize()
    metric.update(localization, truth)
    assert metric.num_images.tolist() == [1, 1, 0, 0, 1]
    assert not any("0.3_to_0.5" in key for key in metric.compute()), "nothing is said of a group without images"


def test_any_split_over_batches_and_ranks_is_bit_identical(evaluation: Any, check_every_split: Any) -> None:
    def update(metric: GtKnownErrorBySize, rows: Sequence[int]) -> None:
        metric.update(*evaluation.rows(rows))

    check_every_split(GtKnownErrorBySize, update, 120)


def test_without_any_known_box_there_is_nothing_to_report(evaluation: Any) -> None:
    metric = GtKnownErrorBySize()
    metric.update(*evaluation.rows((evaluation.truth.num_boxes_B == 0).nonzero()[:, 0].tolist()))
    assert metric.compute() == {}


@pytest.mark.parametrize("edges", [[], [0.5, 0.2], [0.2, 0.2], [0.0, 0.5], [0.5, 1.0], [1.2]])
def test_edges_must_rise_within_the_image(edges: list[float]) -> None:
    with pytest.raises(ValueError, match="rising within"):
        GtKnownErrorBySize(edges)
