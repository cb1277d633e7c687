"""The sanity check: maps of a network that learned nothing, against a plain loop with SciPy's correlation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from toy_maps import B, Case, small_network

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import ClassifierOutput, Network
from cam_lightning.evaluator.randomized_weights import RandomizedWeights
from cam_lightning.functional.random_weights import randomised


@pytest.fixture(scope="module")
def case() -> Case:
    return Case(small_network())


class EdgeMap:
    """A map that looks at the image alone: whatever the network has learned, it is the same."""

    def __call__(
        self, network: Network, image_B3HW: torch.Tensor, output: ClassifierOutput, classes_BT: torch.Tensor
    ) -> torch.Tensor:
        map_Bhw = image_B3HW.abs().mean(1)[:, ::2, ::2]
        return map_Bhw[:, None].expand(-1, classes_BT.shape[1], -1, -1)


def test_it_equals_a_plain_loop(case: Case) -> None:
    evaluator = RandomizedWeights(LargestComponent(), seed=4, batch_size=3)
    evaluator.cam = ClassActivationMap()
    for rows in ([6, 0, 3, 5], [], [1, 2, 4]):
        case.update(evaluator, rows)
    twin = randomised(case.network, 4)
    correlations, hits, boxed = [], 0, 0
    for b in range(B):
        with torch.no_grad():
            features = twin(case.image_B3HW[b : b + 1]).features_BKhw[0]
            maps = torch.einsum("ck,khw->chw", twin.classifier.weight, features)
        mine, random = case.map_BThw[b, 0], maps[case.classes_BT[b, 0]]
        is_flat = mine.std() == 0
        correlations.append(0.0 if is_flat else scipy.stats.spearmanr(mine.flatten(), random.flatten()).statistic)
        if case.num_boxes_B[b]:
            boxed += 1
            label_hw = maps[case.label_B[b]].detach()
            box = LargestComponent()(label_hw[None, None], torch.tensor([[20, 30]]), (9, 14)).boxes_BP4[0, 0].numpy()
            truth = case.boxes_BN4[b, 0].numpy()
            side = np.minimum(box[2:], truth[2:]) - np.maximum(box[:2], truth[:2])
            both = max(0.0, side[0]) * max(0.0, side[1])
            areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (box, truth)]
            hits += both / (sum(areas) - both) >= 0.5
    found = evaluator.compute()
    assert found["randomized_weights/rank_correlation"] == pytest.approx(np.mean(correlations), abs=1e-6)
    assert found["randomized_weights/gt_known_error"] == (boxed - hits) / boxed
    assert 0 < boxed < B
    assert set(found) == set(evaluator.specs())


def test_a_map_that_does_not_change_is_found_out(case: Case) -> None:
    other = Case(case.network)
    with torch.no_grad():
        other.map_BThw = EdgeMap()(other.network, other.image_B3HW, other.output, other.classes_BT)
    evaluator = RandomizedWeights()
    evaluator.cam = EdgeMap()
    other.update(evaluator, range(B))
    assert evaluator.compute() == pytest.approx(
        {"randomized_weights/rank_correlation": 1, "randomized_weights/structural_similarity": 1}
    )


def test_the_random_network_is_no_part_of_what_is_saved(case: Case) -> None:
    evaluator = RandomizedWeights()
    evaluator.cam = ClassActivationMap()
    case.update(evaluator, [0])
    assert not evaluator.state_dict()
    assert list(evaluator.parameters()) == []
    evaluator.reset()
    assert evaluator._twin == ()


def test_it_must_be_told_what_makes_the_maps(case: Case) -> None:
    with pytest.raises(ValueError, match=r"randomized_weights.*set its cam"):
        case.update(RandomizedWeights(), [0])
