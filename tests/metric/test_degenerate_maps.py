"""Maps that named no region are counted, those of the ranked classes and those of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cam_lightning.metric.degenerate_maps import DegenerateMaps


def test_equals_a_plain_loop(evaluation: Any) -> None:
    localization, truth = evaluation
    expected = 0
    for row, label in zip(
        localization.proposals.degenerate_BP.tolist(), localization.label_degenerate_B.tolist(), strict=True
    ):
        for is_degenerate in (*row, label):
            expected += is_degenerate
    metric = DegenerateMaps()
    metric.update(localization, truth)
    assert metric.compute() == {"num_degenerate_maps": expected}
    assert localization.label_degenerate_B.any()
    assert localization.proposals.degenerate_BP.any()


def test_any_split_over_batches_and_ranks_is_bit_identical(evaluation: Any, check_every_split: Any) -> None:
    def update(metric: DegenerateMaps, rows: Sequence[int]) -> None:
        metric.update(*evaluation.rows(rows))

    check_every_split(DegenerateMaps, update, 120)


def test_a_baseline_has_no_map() -> None:
    assert DegenerateMaps.needs_maps


def test_a_map_of_two_boxes_is_one_map(evaluation: Any) -> None:
    """Guesses of Table 3: both of the first class's map, both of the second's, one of the third's."""
    localization, truth = evaluation.rows([0])
    degenerate = torch.tensor([[True, True, False, False, True]])
    proposals = localization.proposals._replace(rank_P=(0, 0, 1, 1, 2), degenerate_BP=degenerate)
    localization = localization._replace(
        proposals=proposals, label=localization.label._replace(degenerate_B=torch.tensor([False]))
    )
    metric = DegenerateMaps()
    metric.update(localization, truth)
    assert metric.compute() == {"num_degenerate_maps": 2}
