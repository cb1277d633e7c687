"""The images that activate each unit most, found in one pass that keeps no more than it shows."""

from __future__ import annotations

import torch
from torch import Tensor


class StrongestImages:
    """For each of some units the `num_images` images with the highest activation anywhere, the highest first.

    Of equal ones the image that came first counts, so what is kept depends on the order of the images alone and not on
    how they were batched. An image that does not activate a unit (nowhere above 0) is not among its images.
    """

    def __init__(self, units: Tensor, num_images: int) -> None:
        self.units = units
        """int64 (K,): their channels in the features."""
        self.num_images = num_images
        self.peak_KN = torch.zeros(len(units), 0)
        """float32: the highest activation in each image."""
        self.index_KN = torch.zeros(len(units), 0, dtype=torch.int64)
        """int64: the images' positions in their split; -1: no further image activates the unit."""
        self.map_KNhw: Tensor | None = None
        """float32: the unit's activations in each."""

    def update(self, features_BKhw: Tensor, index_B: Tensor) -> None:
        """Looks at one batch: all units' features, and the images' positions in their split."""
        map_KBhw = features_BKhw[:, self.units.to(features_BKhw.device)].movedim(1, 0).float()
        peak_KB = map_KBhw.flatten(2).amax(2)
        # On the features' device few of a large batch are left, and those alone travel.
        best_KB = peak_KB.sort(dim=1, descending=True, stable=True).indices[:, : self.num_images]
        peak_KB = peak_KB.gather(1, best_KB).cpu()
        map_KBhw = map_KBhw.gather(1, _over_cells(best_KB, map_KBhw)).cpu()
        index_KB = index_B[best_KB.cpu()].masked_fill(peak_KB <= 0, -1)
        before_KNhw = map_KBhw[:, :0] if self.map_KNhw is None else self.map_KNhw
        peak, index = torch.cat([self.peak_KN, peak_KB.clamp(min=0)], 1), torch.cat([self.index_KN, index_KB], 1)
        maps = torch.cat([before_KNhw, map_KBhw], 1)
        kept_KN = peak.sort(dim=1, descending=True, stable=True).indices[:, : self.num_images]
        self.peak_KN, self.index_KN = peak.gather(1, kept_KN), index.gather(1, kept_KN)
        self.map_KNhw = maps.gather(1, _over_cells(kept_KN, maps))

    def cell(self, unit_row: int, place: int) -> tuple[int, int]:
        """Row and column of the cell that a unit's image is there for: the first of the highest."""
        assert self.map_KNhw is not None
        map_hw = self.map_KNhw[unit_row, place]
        return divmod(int(map_hw.argmax()), map_hw.shape[1])


def _over_cells(places: Tensor, maps: Tensor) -> Tensor:
    return places[:, :, None, None].expand(-1, -1, *maps.shape[2:])
