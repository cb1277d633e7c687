"""How a map becomes one number: the poolings of `GapNetwork`. Plain reductions in float32, deterministic on a GPU too.

A pooling is of the units, whose numbers the linear layer then weighs, or of the class maps M_c = Σ_k w_k^c f_k that
the linear layer gives cell by cell; its bias is added last. What sums to the logit of class c:

    average           mean of M_c + b_c                                        (units or maps: the same)
    max               Σ_k w_k^c · max f_k + b_c                                of the units
    generalized_mean  Σ_k w_k^c · (mean f_k^p)^(1/p) + b_c                     of the units
    lse               log(mean exp(r · M_c)) / r + b_c                         of the class maps
    top_k             mean of M_c's highest cells + α · mean of its lowest + b_c    of the class maps

The class activation map is M_c for all of them: of the units' it is made as for GAP, of the class maps' it is the very
map that is pooled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

Pool = str | Mapping[str, Any]
"""A pooling's name, or its name and its options: `{name: lse, sharpness: 5}`."""


@dataclass(frozen=True)
class Average:
    """The mean of all cells (GAP). Zhou et al. 2016, section 2."""

    of_class_maps: ClassVar[bool] = False

    def __call__(self, map_BKhw: Tensor) -> Tensor:
        return map_BKhw.mean((2, 3))


@dataclass(frozen=True)
class Max:
    """The highest cell of each unit (GMP). Zhou et al. 2016, section 2."""

    of_class_maps: ClassVar[bool] = False

    def __call__(self, map_BKhw: Tensor) -> Tensor:
        return map_BKhw.amax((2, 3))


@dataclass(frozen=True)
class GeneralizedMean:
    """The mean of the `power`-th powers, and its root: from the average, 1, towards the maximum.

    Values are raised to 1e-6 before, so only positive ones count. Radenović et al. 2018 (TPAMI), equation 3, where the
    power starts at 3 and is learned; here it stays. Raises ValueError for a power below 1.
    """

    power: float = 3.0
    of_class_maps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.power >= 1:
            raise ValueError(f"backbone.pool.power is at least 1; got {self.power}")

    def __call__(self, map_BKhw: Tensor) -> Tensor:
        return map_BKhw.clamp(min=1e-6).pow(self.power).mean((2, 3)).pow(1 / self.power)


@dataclass(frozen=True)
class LogSumExp:
    """A soft maximum of a class's map, from the average for a small `sharpness` to the maximum for a large one.

    Pinheiro and Collobert 2015 (CVPR), whose r is 5. Raises ValueError for a sharpness of 0 or below.
    """

    sharpness: float = 5.0
    of_class_maps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.sharpness > 0:
            raise ValueError(f"backbone.pool.sharpness is above 0; got {self.sharpness}")

    def __call__(self, map_BKhw: Tensor) -> Tensor:
        value_BKP = map_BKhw.flatten(2) * self.sharpness
        return (value_BKP.logsumexp(2) - math.log(value_BKP.shape[2])) / self.sharpness


@dataclass(frozen=True)
class TopK:
    """The mean of a class map's highest cells, and `alpha` times the mean of as many of its lowest.

    `cells` is a number of cells, or below 1 a share of them, at least one cell. WILDCAT's spatial pooling (Durand et
    al. 2017, CVPR), with k+ = k−; the released code's example takes 0.2 of the cells and `alpha` 0.7, and halves the
    sum, which the equation does not. With `alpha` 0 it is plain top-k. Several maps a class, WILDCAT's M, are left out.
    Raises ValueError for no cell and for a weight that is not finite.
    """

    cells: float = 0.2
    alpha: float = 0.7
    of_class_maps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.cells > 0:
            raise ValueError(f"backbone.pool.cells is a number of cells or a share of them, above 0; got {self.cells}")
        if not abs(self.alpha) < float("inf"):
            raise ValueError(f"backbone.pool.alpha is a finite weight; got {self.alpha}")

    def __call__(self, map_BKhw: Tensor) -> Tensor:
        value_BKP = map_BKhw.flatten(2)
        num_cells = value_BKP.shape[2]
        k = min(max(round(self.cells * num_cells) if self.cells < 1 else int(self.cells), 1), num_cells)
        pooled_BK = value_BKP.topk(k, dim=2).values.mean(2)
        if self.alpha != 0:
            pooled_BK = pooled_BK + self.alpha * value_BKP.topk(k, dim=2, largest=False).values.mean(2)
        return pooled_BK


Pooling = Average | Max | GeneralizedMean | LogSumExp | TopK

POOLINGS: dict[str, type[Pooling]] = {
    "average": Average,
    "max": Max,
    "lse": LogSumExp,
    "top_k": TopK,
    "generalized_mean": GeneralizedMean,
}


def pooling(pool: Pool) -> tuple[str, Pooling]:
    """A pooling's name, and the pooling with its options; raises ValueError for others than there are."""
    options = {"name": pool} if isinstance(pool, str) else dict(pool)
    name = options.pop("name", None)
    if name not in POOLINGS:
        raise ValueError(
            f"backbone.pool is one of {', '.join(POOLINGS)}, or {{name: …}} with its options; got {pool!r}"
        )
    known = [field.name for field in fields(POOLINGS[name])]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ValueError(f"backbone.pool={name} has the options {', '.join(known) or 'none'}; got {', '.join(unknown)}")
    return name, POOLINGS[name](**options)
