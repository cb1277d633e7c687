"""Boxes of anyone's heat map: every kind of array gives the same, which is what the box generators give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cam_lightning import boxes
from cam_lightning.box.distance_transform import DistanceTransform
from cam_lightning.box.largest_component import LargestComponent

SIZE = (30, 52)


@pytest.fixture
def map_hw() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)


class ArrayOnly:
    """What a framework that has nothing but `__array__` gives."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.value


class DlpackOnly:
    """A framework's tensor that speaks DLPack alone."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = torch.from_numpy(value)

    def __dlpack__(self, **options: Any) -> Any:
        return self.value.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.value.__dlpack_device__()


def test_one_map_has_the_box_of_the_largest_component(map_hw: np.ndarray) -> None:
    found = boxes(map_hw, SIZE)
    generator = LargestComponent()
    expected = generator(torch.from_numpy(map_hw)[None, None], torch.tensor([SIZE]), (5, 8)).boxes_BP4[0].numpy()
    assert found.boxes_P4.tolist() == expected.tolist()
    assert found.map_P.tolist() == [0]
    assert not found.degenerate_P[0]
    up_HW = torch.nn.functional.interpolate(torch.from_numpy(map_hw)[None, None], SIZE, mode="bilinear")[0, 0].numpy()
    x0, y0, x1, y1 = expected[0].astype(int)
    inside = np.clip(up_HW / up_HW.max(), 0, None)[y0:y1, x0:x1]
    assert found.score_P[0] == pytest.approx(inside.mean(), rel=1e-5)


@pytest.mark.parametrize(
    "given",
    [
        lambda value: value,
        lambda value: value.astype(np.float64),
        lambda value: value.tolist(),
        lambda value: torch.from_numpy(value),
        lambda value: torch.from_numpy(value).requires_grad_(),
        lambda value: Image.fromarray(value),
        lambda value: value[::-1, ::-1][::-1, ::-1],
        ArrayOnly,
        DlpackOnly,
    ],
)  # fmt: skip
def test_every_kind_of_array_gives_the_same(map_hw: np.ndarray, given: Any) -> None:
    for one, other in zip(boxes(given(map_hw), SIZE), boxes(map_hw, SIZE), strict=True):
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int32, torch.uint8, torch.bool])
def test_coarse_numbers_are_numbers_too(dtype: torch.dtype) -> None:
    map_hw = torch.zeros(4, 6, dtype=dtype)
    map_hw[1:3, 2:5] = 1
    assert boxes(map_hw).boxes_P4.tolist() == [[2, 1, 5, 3]]
    assert boxes(map_hw).score_P.tolist() == [1]


def test_stacked_maps_keep_their_order(map_hw: np.ndarray) -> None:
    maps = np.stack([map_hw, -map_hw, np.zeros_like(map_hw), map_hw[::-1]])
    sizes = np.array([[30, 52], [20, 10], [9, 7], [5, 8]])
    found = boxes(maps, sizes)
    assert found.map_P.tolist() == [0, 1, 2, 3]
    assert found.degenerate_P.tolist() == [False, False, True, False]
    assert found.boxes_P4[2].tolist() == [0, 0, 7, 9]
    assert found.score_P[2] == 0
    for number, size in enumerate(sizes.tolist()):
        assert found.boxes_P4[number].tolist() == boxes(maps[number], size).boxes_P4[0].tolist()
    nested = boxes(maps.reshape(2, 2, 5, 8), (30, 52))
    assert nested.boxes_P4.tolist() == boxes(maps, (30, 52)).boxes_P4.tolist()
    assert boxes(maps[:0], (30, 52)).boxes_P4.shape == (0, 4)


def test_all_components_are_told_apart_by_their_map() -> None:
    one = np.zeros((6, 12))
    one[1:3, 1:4], one[4:6, 9:11] = 1.0, 0.5
    found = boxes(np.stack([one, one[::-1]]), all_components=True)
    assert found.map_P.tolist() == [0, 0, 1, 1]
    assert found.boxes_P4[:2].tolist() == [[1, 1, 4, 3], [9, 4, 11, 6]]
    assert found.score_P.tolist() == [1, 0.5, 1, 0.5]
    assert boxes(one, threshold=0.6, all_components=True).boxes_P4.tolist() == [[1, 1, 4, 3]]


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.6, "normalise": "minmax", "rectify": True, "upsample": "bicubic"},
        {"threshold": 0.3, "normalise": "ivr", "percentile": 0.8},
    ],
)
def test_options_are_those_of_the_one_rule(map_hw: np.ndarray, options: dict[str, Any]) -> None:
    generator = LargestComponent(**options)
    expected = generator(torch.from_numpy(map_hw)[None, None], torch.tensor([SIZE]), (5, 8)).boxes_BP4[0].numpy()
    assert boxes(map_hw, SIZE, **options).boxes_P4.tolist() == expected.tolist()


@pytest.mark.parametrize("rectify", [False, True])
def test_a_raw_map_has_raw_scores(rectify: bool) -> None:
    """Cut off at 1, as shares are, every box of logits above 1 would have the same."""
    one = np.zeros((6, 12))
    one[1:3, 1:4], one[4:6, 9:11], one[0] = 30.0, 50.0, -8.0
    one[1, 2] = 90.0
    options: dict[str, Any] = {"normalise": "none", "rectify": rectify}
    found = boxes(one, threshold=20, all_components=True, **options)
    assert found.boxes_P4.tolist() == [[1, 1, 4, 3], [9, 4, 11, 6]]
    assert found.score_P.tolist() == [40, 50]
    assert boxes(one, threshold=-10, **options).score_P == pytest.approx(np.maximum(one, 0 if rectify else -8).mean())


def test_any_box_generator_can_make_them(map_hw: np.ndarray) -> None:
    generator = DistanceTransform()
    expected = generator(torch.from_numpy(map_hw)[None, None], torch.tensor([SIZE]), (5, 8)).boxes_BP4[0]
    assert boxes(map_hw, SIZE, box=generator).boxes_P4.tolist() == expected.tolist()
    in_cells = boxes(map_hw, SIZE, box=LargestComponent(frame="input"))
    own = boxes(map_hw).boxes_P4 * np.array([52 / 8, 30 / 5, 52 / 8, 30 / 5], np.float32)
    assert in_cells.boxes_P4.tolist() == own.tolist()


@pytest.mark.parametrize(
    ("heat_map", "options", "says"),
    [
        (np.zeros(5), {}, r"a heat map is \(h, w\), or several"),
        (np.zeros((0, 5)), {}, "none of them empty"),
        (np.zeros((4, 5, 3), np.uint8), {}, "a picture, with its channels at its end, is none"),
        (np.zeros((14, 9, 3), np.float32), {}, "a picture, with its channels at its end, is none"),
        (torch.zeros(14, 9, 1), {}, r"of a single channel without that axis; got Tensor \(14, 9, 1\)"),
        (np.zeros((4, 5), complex), {}, "holds real numbers"),
        ([[1, 2], [3]], {}, "is an array or tensor"),
        ("map.npy", {}, r"a heat map is \(h, w\)"),
        (np.ones((4, 5)), {"size": (4.5, 5)}, "height and width in pixels"),
        (np.ones((4, 5)), {"size": (0, 5)}, "height and width in pixels"),
        (np.ones((2, 4, 5)), {"size": [(1, 2), (3, 4), (5, 6)]}, "for each of the 2 maps"),
        (np.ones((4, 5)), {"threshold": 20}, r"in \[0, 1\); got 20"),
        (np.ones((4, 5)), {"normalise": "softmax"}, "normalise is one of"),
        (np.ones((4, 5)), {"box": LargestComponent(), "threshold": 0.3}, "not both"),
    ],
)  # fmt: skip
def test_what_cannot_be_boxed_is_said(heat_map: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        boxes(heat_map, **options)
