"""The authors' evaluation: the maps of ten crops of an image, merged onto it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cam_lightning.cam.cam import ClassActivationMap
from cam_lightning.contracts import ClassifierOutput, Network
from cam_lightning.functional.network_input import evaluation_mode
from cam_lightning.functional.ten_crop import mean_of_crops, sum_of_crops, ten_crops

MERGES = {"sum": sum_of_crops, "mean": mean_of_crops}


class TenCropMap:
    """Maps (B, T, S, S) of S×S inputs, raw float32, from one more forward of ten crops for each image.

    `merge`: `sum` of absolute values, as released, or `mean` by coverage, without seams; see
    `functional/ten_crop.py`. The classes are those that the whole image's forward ranks: the authors average the
    crops' scores too. Raises ValueError for another merge, and for inputs that are not square or smaller than a crop.
    Zhou et al. 2016, section 3.1; `prepare_image.m`, `mergeTenCrop.m`.
    """

    def __init__(self, crop_size: int = 224, merge: str = "sum") -> None:
        if merge not in MERGES:
            raise ValueError(f"cam.merge is one of {', '.join(MERGES)}; got {merge!r}")
        self.crop_size = crop_size
        self.merge = merge
        self.cam = ClassActivationMap()

    def protocol(self) -> dict[str, str | int]:
        """The rule in words that a results file can hold."""
        return {"crop_size": self.crop_size, "merge": self.merge}

    def check(self, network: Network, input_size: tuple[int, int]) -> None:
        """Raises ValueError, before any image is read, for a network or an input size that it cannot work on."""
        height, width = input_size
        if height != width or height < self.crop_size:
            raise ValueError(
                f"cam=ten_crop takes square inputs of at least cam.crop_size={self.crop_size}; they are "
                f"{height}×{width}: give dataset.image_size={self.crop_size * 8 // 7}, or a smaller cam.crop_size"
            )
        self.cam.check(network, (self.crop_size, self.crop_size))

    def __call__(self, network: Network, image_B3HW: Tensor, output: ClassifierOutput, classes_BT: Tensor) -> Tensor:
        return torch.stack(
            [
                self._merged(network, image_3HW, classes_T)
                for image_3HW, classes_T in zip(image_B3HW, classes_BT, strict=True)
            ]
        )

    def _merged(self, network: Any, image_3HW: Tensor, classes_T: Tensor) -> Tensor:
        crops = ten_crops(image_3HW, self.crop_size)
        with torch.no_grad(), evaluation_mode(network):
            map_10Thw = self.cam(network, crops, network(crops), classes_T.expand(10, -1))
        merged = MERGES[self.merge](map_10Thw.transpose(0, 1), image_3HW.shape[-1], self.crop_size)
        return merged.float()
