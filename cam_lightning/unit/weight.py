"""A class's units by their weight: section 5 of Zhou et al. 2016 ranks unit k for class c by w_k^c."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cam_lightning.contracts import Network
from cam_lightning.functional.network_input import blank_input

AT_ONCE = 64
TOLERANCE = 1e-3
"""How far a linear head may be from its own rows, as a share of its largest score: rounding alone."""


class ClassUnits(NamedTuple):
    """The units of each shown class, the largest weight first."""

    unit_CU: Tensor
    """int64: the unit's channel in the features."""
    weight_CU: Tensor
    """float32: its weight in the class's score."""


@torch.inference_mode()
def unit_weights(network: Network, input_size: tuple[int, int]) -> Tensor:
    """w_k^c, float32 (C, K) on the CPU: what one more of unit k everywhere adds to the score of class c.

    Asked of the head itself, so that any head that is linear in its pooled features answers, a linear layer or a
    probe's. Raises ValueError for a head that is not linear, whose units have no weight of their own.
    """
    features_1Khw = network.forward_features(blank_input(network, input_size))
    num_units, device = features_1Khw.shape[1], features_1Khw.device

    def scores(amount_BK: Tensor) -> Tensor:
        """Of maps on which each unit is the same everywhere."""
        return torch.cat([
            network.forward_head(some_BK[:, :, None, None].expand(-1, -1, *features_1Khw.shape[2:])).logits_BC
            for some_BK in amount_BK.split(AT_ONCE)
        ])  # fmt: skip

    bias_1C = scores(torch.zeros(1, num_units, device=device))
    weight_KC = scores(torch.eye(num_units, device=device)) - bias_1C
    # Several units at once: a head with layers in between gives something else than the sum.
    amount_BK = torch.rand(4, num_units, generator=torch.Generator().manual_seed(0)).to(device)
    expected_BC, given_BC = amount_BK @ weight_KC + bias_1C, scores(amount_BK)
    if (given_BC - expected_BC).abs().max() > TOLERANCE * expected_BC.abs().max():
        raise ValueError(
            f"the head of {type(network).__name__} is not linear in its pooled features, so its units have no weight "
            "for a class; choose a network with global pooling and one linear layer (a …_gap backbone)"
        )
    return weight_KC.T.cpu()


def strongest_units(weight_CK: Tensor, classes: list[int], num_units: int) -> ClassUnits:
    """The units with the largest weights of some classes; of equal weights the first unit."""
    ordered = weight_CK[classes].sort(dim=1, descending=True, stable=True)
    return ClassUnits(ordered.indices[:, :num_units], ordered.values[:, :num_units])


def shared_units(units: ClassUnits) -> dict[int, list[int]]:
    """Units that are among the strongest of several classes: unit → rows of those classes; the most shared first."""
    rows: dict[int, list[int]] = {}
    for row, units_U in enumerate(units.unit_CU.tolist()):
        for unit in units_U:
            rows.setdefault(unit, []).append(row)
    shared = {unit: classes for unit, classes in rows.items() if len(classes) > 1}
    return dict(sorted(shared.items(), key=lambda item: (-len(item[1]), item[0])))
