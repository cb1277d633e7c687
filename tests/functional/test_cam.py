"""The map is a sum over units: checked by hand, by a plain loop, and by what its mean has to be."""

from __future__ import annotations

import pytest
import torch

from cam_lightning.functional.cam import class_activation_map


def test_by_hand() -> None:
    """Two units on 2×3 cells, one image; class a takes unit 0 twice, class b is unit 0 minus unit 1."""
    features = torch.tensor([[[[1.0, 0, 2], [0, 3, 0]], [[0, 5, 0], [1, 0, 1]]]])
    maps = class_activation_map(features, torch.tensor([[[2.0, 0], [1, -1]]]))
    assert maps.tolist() == [[[[2, 0, 4], [0, 6, 0]], [[1, -5, 2], [-1, 3, -1]]]]


def test_equals_a_plain_loop_over_images_classes_cells_and_units() -> None:
    """Small integers, so that float32 sums are exact in any order, and equality is equality."""
    B, T, K, h, w = 3, 4, 7, 2, 5
    generator = torch.Generator().manual_seed(0)
    features = torch.randint(-9, 10, (B, K, h, w), generator=generator).float()
    weight = torch.randint(-9, 10, (B, T, K), generator=generator).float()
    maps = class_activation_map(features, weight)
    assert maps.shape == (B, T, h, w)
    for b in range(B):
        for t in range(T):
            for y in range(h):
                for x in range(w):
                    expected = sum(float(weight[b, t, k]) * float(features[b, k, y, x]) for k in range(K))
                    assert maps[b, t, y, x] == expected


def test_its_mean_plus_bias_is_the_logit() -> None:
    """The identity that makes it the map of that class (equations 1 and 2)."""
    torch.manual_seed(0)
    features = torch.randn(2, 16, 3, 7).relu()
    linear = torch.nn.Linear(16, 10)
    logits = linear(features.mean((2, 3)))
    maps = class_activation_map(features, linear.weight.expand(2, -1, -1))
    torch.testing.assert_close(maps.mean((2, 3)) + linear.bias, logits, rtol=0, atol=1e-6)


def test_a_memory_format_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(1)
    features = torch.randint(-9, 10, (2, 8, 3, 5), generator=generator).float()
    weight = torch.randint(-9, 10, (2, 3, 8), generator=generator).float()
    in_order = class_activation_map(features, weight)
    channels_last = class_activation_map(features.to(memory_format=torch.channels_last), weight)
    assert torch.equal(in_order, channels_last)


@pytest.mark.parametrize(
    ("features_shape", "weight_shape"),
    [
        ((2, 8, 3, 5), (2, 4, 7)),
        ((2, 8, 3, 5), (3, 4, 8)),
        ((2, 8, 15), (2, 4, 8)),
        ((2, 8, 3, 5), (4, 8)),
    ],
    ids=["units differ", "images differ", "features flat", "weights without images"],
)
def test_other_shapes_are_named(features_shape: tuple[int, ...], weight_shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError) as error:
        class_activation_map(torch.zeros(features_shape), torch.zeros(weight_shape))
    assert str(features_shape) in str(error.value)
    assert str(weight_shape) in str(error.value)
