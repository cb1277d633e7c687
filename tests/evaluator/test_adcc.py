"""ADCC against its definition, image by image and pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_maps import B, Case, H, W, small_network

from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.evaluator.adcc import Adcc
from cam_lightning.functional.adcc import coherency, complexity, harmonic_mean


@pytest.fixture(scope="module")
def case() -> Case:
    return Case(small_network())


def scores_by_hand(map_hw: torch.Tensor) -> np.ndarray:
    value_HW = torch.nn.functional.interpolate(map_hw[None, None], (H, W), mode="bilinear")[0, 0].double().numpy()
    if len(map_hw.unique()) == 1:
        return np.zeros((H, W))
    return (value_HW - value_HW.min()) / (value_HW.max() - value_HW.min())


def plain_loop(case: Case, b: int) -> list[float]:
    """Coherency by NumPy's own correlation, the map again by the linear layer's row."""
    label = int(case.classes_BT[b, 0])
    score_HW = scores_by_hand(case.map_BThw[b, 0])
    with torch.no_grad():
        before = float(case.network(case.image_B3HW[b : b + 1]).logits_BC.softmax(1)[0, label])
        output = case.network(case.image_B3HW[b : b + 1] * torch.from_numpy(score_HW).float())
        row_K = case.network.classifier.weight[label]
        again_hw = sum(row_K[k] * output.features_BKhw[0, k] for k in range(len(row_K)))
        after = float(output.logits_BC.softmax(1)[0, label])
    again_HW = scores_by_hand(again_hw)  # type: ignore[arg-type]
    flat = [each.std() == 0 for each in (score_HW, again_HW)]
    correlation = float(all(flat)) if any(flat) else np.corrcoef(score_HW.ravel(), again_HW.ravel())[0, 1]
    alike, kept, drop = (correlation + 1) / 2, score_HW.mean(), max(0.0, before - after) / before
    parts = [alike, 1 - kept, 1 - drop]
    return [3 / sum(1 / part for part in parts) if min(parts) > 0 else 0.0, alike, kept, drop]


@pytest.mark.parametrize("batch_size", [2, 32])
def test_it_equals_a_plain_loop(case: Case, batch_size: int) -> None:
    evaluator = Adcc(batch_size=batch_size)
    evaluator.cam = ClassActivationMap()
    for rows in ([6, 0, 3], [], [1, 2, 4, 5]):
        case.update(evaluator, rows)
    loops = [plain_loop(case, b) for b in range(B)]
    names = ("adcc", "adcc/coherency", "adcc/complexity", "adcc/drop")
    expected = {name: sum(values) / B for name, values in zip(names, zip(*loops, strict=True), strict=True)}
    assert evaluator.compute() == pytest.approx(expected, abs=1e-5)
    assert len({round(loop[0], 3) for loop in loops}) > 3, "the images differ"


def test_the_parts_by_hand() -> None:
    one = torch.tensor([[[0.0, 1.0], [0.5, 0.5]]])
    assert coherency(one, 2 * one + 1).tolist() == pytest.approx([1])
    assert coherency(one, 1 - one).tolist() == pytest.approx([0])
    assert coherency(one, torch.tensor([[[0.5, 0.5], [0.0, 1.0]]])).tolist() == pytest.approx([0.5])
    flat = torch.full((1, 2, 2), 0.1)
    assert coherency(flat, flat + 0.5).tolist() == [1]
    assert coherency(one, flat).tolist() == [0.5]
    assert complexity(one).tolist() == [0.5]
    half = torch.tensor([0.5], dtype=torch.float64)
    assert harmonic_mean(half + 0.25, half, half / 2).tolist() == pytest.approx([3 / (4 / 3 + 2 + 4 / 3)])
    assert harmonic_mean(half, half, half * 2).tolist() == [0]
    assert harmonic_mean(half * 2, half * 0, half * 0).tolist() == [1]


def test_it_must_be_told_what_makes_the_maps(case: Case) -> None:
    with pytest.raises(ValueError, match=r"adcc.*set its cam"):
        case.update(Adcc(), [0])


def test_the_numbers_say_what_they_are(case: Case) -> None:
    evaluator = Adcc()
    evaluator.cam = ClassActivationMap()
    case.update(evaluator, [0])
    assert set(evaluator.specs()) == set(evaluator.compute())
    assert evaluator.specs()["adcc"].better == evaluator.specs()["adcc/coherency"].better == "higher"
    assert evaluator.specs()["adcc/complexity"].better == evaluator.specs()["adcc/drop"].better == "lower"
