"""One photo explained, against what a network and a map say one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_maps import small_network

from cam_lightning.box.largest_component import LargestComponent
from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import Recipe
from cam_lightning.dataset.pipeline.transform import resized_view
from cam_lightning.functional.map_similarity import rank_correlation
from cam_lightning.functional.random_weights import randomised
from cam_lightning.localization.explanation import Explainer, Explanation

NAMES = ["a", "b", "c", "d"]
SIZE = (40, 66)
INPUT = (24, 32)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small_network(), Recipe(NAMES, INPUT, ClassActivationMap(), LargestComponent()), seed=3)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.kron(small, np.ones((8, 11, 1), np.uint8)).astype(np.uint8)


def explained(explainer: Explainer, photo: np.ndarray, expected: int | None) -> Explanation:
    return explainer(photo, expected, torch.zeros(0, 4))


def test_what_the_network_received_is_what_was_resized(explainer: Explainer, photo: np.ndarray) -> None:
    """Through normalisation and back, to the level."""
    received = explained(explainer, photo, None).received_HW3
    assert np.array_equal(received, resized_view(photo, None, INPUT).permute(1, 2, 0).numpy())
    assert photo.shape[:2] == SIZE


@pytest.mark.parametrize("rank", [0, 1, 3, None])
def test_both_classes_are_the_network_s_own(explainer: Explainer, photo: np.ndarray, rank: int | None) -> None:
    network = explainer.network
    pixels = resized_view(photo, None, INPUT)[None].float() / 255
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in network.normalization)
    x = (pixels - mean) / std
    with torch.no_grad():
        output, twin = network(x), randomised(network, 3)
        random_output = twin(x)
    order = output.logits_BC[0].argsort(descending=True).tolist()
    expected = None if rank is None else order[rank]
    found = explained(explainer, photo, expected)
    wanted = [order[0], order[rank] if rank else order[1]]
    assert found.other is not None
    assert [found.predicted.output, found.other.output] == wanted
    assert found.expected == expected
    for view in (found.predicted, found.other):
        c = view.output
        assert (view.name, view.rank) == (NAMES[c], order.index(c) + 1)
        assert view.logit == pytest.approx(float(output.logits_BC[0, c]), abs=1e-4)
        assert view.probability == pytest.approx(float(output.logits_BC.softmax(1)[0, c]), abs=1e-5)
        row_K = network.classifier.weight.detach()[c]
        torch.testing.assert_close(view.map_hw, torch.einsum("k,khw->hw", row_K, output.features_BKhw[0]))
        assert float(view.map_hw.mean() + network.classifier.bias.detach()[c]) == pytest.approx(view.logit, abs=1e-4)
        box = LargestComponent()(view.map_hw[None, None], torch.tensor([SIZE]), INPUT).boxes_BP4[0, 0]
        assert view.box_4.equal(box)
        random_hw = torch.einsum("k,khw->hw", twin.classifier.weight.detach()[c], random_output.features_BKhw[0])
        torch.testing.assert_close(view.random_map_hw, random_hw)
        correlation = rank_correlation(view.map_hw[None], random_hw[None])
        assert view.random_correlation == pytest.approx(float(correlation), abs=1e-3)
    kinds = {0: {"class right"}, None: {"unknown"}}.get(rank, {"other name", "other object"})
    assert found.diagnosis.kind in kinds
    assert explainer.unit.startswith("logit per cell")


def test_a_true_box_judges(explainer: Explainer, photo: np.ndarray) -> None:
    right = explained(explainer, photo, None).predicted
    assert explainer(photo, right.output, right.box_4[None]).diagnosis.kind == "none"


def test_a_network_of_one_class_is_compared_with_nothing(photo: np.ndarray) -> None:
    network = small_network().select_classes([2])
    explainer = Explainer(network, Recipe(["c"], INPUT, ClassActivationMap(), LargestComponent()))
    assert explained(explainer, photo, 0).other is None


def test_a_network_without_a_finite_answer_explains_nothing(photo: np.ndarray) -> None:
    network = small_network()
    with torch.no_grad():
        network.classifier.weight[2] = 3e38
    explainer = Explainer(network, Recipe(NAMES, INPUT, ClassActivationMap(), LargestComponent()))
    with pytest.raises(FloatingPointError, match=r"no finite number for one\.jpg: the first layer whose output is not"):
        explainer(photo, 1, torch.zeros(0, 4), "one.jpg")
