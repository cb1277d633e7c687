"""Every pooling against its equation in doubles, a class and a cell at a time; and what sums to the logit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cam_lightning.backbone.network import IMAGENET, GapNetwork, PublishedWeights
from cam_lightning.backbone.pooling import POOLINGS, pooling

CLASSES = 5
POOLS: list[Any] = [
    "average",
    "max",
    "lse",
    {"name": "lse", "sharpness": 40},
    "top_k",
    {"name": "top_k", "cells": 3, "alpha": 0},
    {"name": "top_k", "cells": 1e9, "alpha": -1.5},
    {"name": "top_k", "cells": 1e-9},
    "generalized_mean",
    {"name": "generalized_mean", "power": 1},
]
every_pool = pytest.mark.parametrize("pool", POOLS, ids=str)


def build(pool: Any, dropout: float = 0.0) -> GapNetwork:
    torch.manual_seed(0)
    return GapNetwork(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        nn.Linear(4, CLASSES),
        pool=pool,
        dropout=dropout,
        normalization=IMAGENET,
        min_size=3,
        published=PublishedWeights({}),
    )


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 9, 13, generator=torch.Generator().manual_seed(1))


def by_hand(pool: Any, units: list[list[float]], weights: list[float], bias: float) -> float:
    """The logit of one class, of an image's units as lists of cells."""
    name, options = (pool, {}) if isinstance(pool, str) else (pool["name"], pool)
    cells = len(units[0])
    map_ = [sum(w * unit[i] for w, unit in zip(weights, units, strict=True)) for i in range(cells)]
    if name == "average":
        return sum(map_) / cells + bias
    if name == "max":
        return sum(w * max(unit) for w, unit in zip(weights, units, strict=True)) + bias
    if name == "generalized_mean":
        p = options.get("power", 3)
        means = [(sum(max(value, 1e-6) ** p for value in unit) / cells) ** (1 / p) for unit in units]
        return sum(w * mean for w, mean in zip(weights, means, strict=True)) + bias
    if name == "lse":
        r = options.get("sharpness", 5)
        return math.log(sum(math.exp(r * value) for value in map_) / cells) / r + bias
    wanted, alpha = options.get("cells", 0.2), options.get("alpha", 0.7)
    k = min(max(round(wanted * cells) if wanted < 1 else int(wanted), 1), cells)
    map_.sort()
    return sum(map_[-k:]) / k + alpha * sum(map_[:k]) / k + bias


@every_pool
def test_the_logit_is_what_the_map_sums_to(pool: Any, images: Tensor) -> None:
    network = build(pool).eval()
    with torch.no_grad():
        output = network(images)
        maps = network.class_maps(output, torch.arange(CLASSES).expand(2, -1))
    assert output.logits_BC.dtype == torch.float32
    features = output.features_BKhw.double().flatten(2).tolist()
    weights, biases = network.classifier.weight.double().tolist(), network.classifier.bias.double().tolist()
    for image in range(2):
        for c in range(CLASSES):
            expected = by_hand(pool, features[image], weights[c], biases[c])
            assert float(output.logits_BC[image, c]) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    if network.pooling.of_class_maps or network.pool == "average":
        # The class activation map is the very map that is pooled.
        assert maps is not None
        torch.testing.assert_close(network.pooling(maps) + network.classifier.bias, output.logits_BC)


@every_pool
def test_it_trains_and_its_gradient_is_that_of_differences(pool: Any, images: Tensor) -> None:
    _, pool_of = pooling(pool)
    map_BKhw = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 0.1
    assert torch.autograd.gradcheck(pool_of, map_BKhw.requires_grad_())
    network = build(pool)
    torch.use_deterministic_algorithms(True)
    try:
        network(images).logits_BC.logsumexp(1).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@every_pool
def test_selected_classes_are_those_of_the_whole(pool: Any, images: Tensor) -> None:
    network = build(pool).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            network.select_classes([3, 0])(images).logits_BC, network(images).logits_BC[:, [3, 0]]
        )


def test_the_ends_of_the_scales(images: Tensor) -> None:
    """A generalized mean of power 1 is the average, a sharp soft maximum the maximum of the class's map."""
    with torch.no_grad():
        features = build("average")(images).features_BKhw
        torch.testing.assert_close(
            pooling({"name": "generalized_mean", "power": 1})[1](features), features.mean((2, 3))
        )
        torch.testing.assert_close(pooling({"name": "lse", "sharpness": 1e4})[1](features), features.amax((2, 3)),
                                   rtol=0, atol=1e-3)  # fmt: skip
        huge = pooling({"name": "lse", "sharpness": 100})[1](torch.full((1, 1, 2, 3), 1e4))
    assert float(huge) == pytest.approx(1e4), "exponentials of large values overflow unless they are shifted"


def test_dropout_leaves_out_units_of_class_maps_as_of_numbers(images: Tensor) -> None:
    """With the same seed the same units; a soft maximum of next to no sharpness is the average."""
    logits = []
    for pool in ("average", {"name": "lse", "sharpness": 1e-3}):
        network = build(pool, dropout=0.5)
        torch.manual_seed(3)
        logits.append(network(images).logits_BC)
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-3)
    assert not torch.allclose(logits[0], build("average").eval()(images).logits_BC, atol=1e-2)


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ("sum", "is one of average, max, lse, top_k, generalized_mean"),
        ({"sharpness": 3}, "is one of average, .* got {'sharpness': 3}"),
        ({"name": "lse", "sharpnes": 3}, "lse has the options sharpness; got sharpnes"),
        ({"name": "average", "power": 3}, "average has the options none; got power"),
        ({"name": "lse", "sharpness": 0}, "sharpness is above 0; got 0"),
        ({"name": "top_k", "cells": 0}, "above 0; got 0"),
        ({"name": "top_k", "alpha": math.nan}, "finite weight; got nan"),
        ({"name": "generalized_mean", "power": 0.5}, "at least 1; got 0.5"),
    ],
)
def test_what_is_no_pooling_is_named(pool: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"backbone\.pool.*{message}"):
        build(pool)


def test_all_of_them_are_tried() -> None:
    assert {pool if isinstance(pool, str) else pool["name"] for pool in POOLS} == set(POOLINGS)
