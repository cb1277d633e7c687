"""Ten crops of an image, and the maps of the crops merged back onto it: the authors' evaluation.

Their order: the corners top left, bottom left, top right, bottom right, then the centre; then the same five
mirrored left to right. The image is 256×256, the crop 224×224 (227×227 for AlexNet).
"""

from __future__ import annotations

import torch
from torch import Tensor

from cam_lightning.functional.imresize import imresize


def ten_crops(image_3HW: Tensor, crop_size: int = 224) -> Tensor:
    """The ten crops (10, 3, crop, crop) of a square image, in the authors' order (`prepare_image.m`).

    Raises ValueError where the image is not square or smaller than the crop.
    """
    if image_3HW.ndim != 3 or image_3HW.shape[1] != image_3HW.shape[2]:
        raise ValueError(f"ten crops are taken from a square image (3, S, S); got {tuple(image_3HW.shape)}")
    crops = [image_3HW[:, y : y + crop_size, x : x + crop_size] for y, x in _corners(image_3HW.shape[1], crop_size)]
    return torch.stack(crops + [crop.flip(-1) for crop in crops])


def sum_of_crops(map_T10hw: Tensor, image_size: int = 256, crop_size: int = 224) -> Tensor:
    """Merged maps (T, image, image) as released: absolute values of the crops' upsampled maps, summed.

    Each crop's map is resized to the crop (`imresize`), mirrored back where the crop was, and put in its place.
    The released sum also runs over three equal colour planes, hence the factor 3. Where more crops overlap the
    sum is larger, so the merged map has seams, and is brightest near the centre. Float64. `mergeTenCrop.m`.
    Raises ValueError for other shapes, or a crop larger than the image.
    """
    return 3 * _placed(_upright(map_T10hw, crop_size).abs(), image_size, crop_size)


def mean_of_crops(map_T10hw: Tensor, image_size: int = 256, crop_size: int = 224) -> Tensor:
    """Merged maps (T, image, image) without seams: at each pixel the mean over the crops that show it.

    Values keep their sign. Not the authors' protocol. A pixel that no crop shows, which takes a crop smaller
    than half the image, would have no value: that raises ValueError, as do other shapes than (T, 10, h, w).
    """
    crops = _upright(map_T10hw, crop_size)
    coverage = _placed(torch.ones_like(crops[:1]), image_size, crop_size)
    if (coverage == 0).any():
        raise ValueError(f"ten crops of {crop_size} leave pixels of a {image_size}×{image_size} image uncovered")
    return _placed(crops, image_size, crop_size) / coverage


def _corners(image_size: int, crop_size: int) -> list[tuple[int, int]]:
    """Top and left of the five places, in the authors' order."""
    if crop_size > image_size:
        raise ValueError(f"a crop of {crop_size} does not fit into an image of {image_size}")
    end = image_size - crop_size
    return [(0, 0), (end, 0), (0, end), (end, end), (end // 2, end // 2)]


def _upright(map_T10hw: Tensor, crop_size: int) -> Tensor:
    """The ten maps at the crop's size, those of mirrored crops mirrored back: float64."""
    if map_T10hw.ndim != 4 or map_T10hw.shape[1] != 10:
        raise ValueError(f"maps of ten crops must be (T, 10, h, w); got {tuple(map_T10hw.shape)}")
    crops = imresize(map_T10hw, (crop_size, crop_size))
    return torch.cat([crops[:, :5], crops[:, 5:].flip(-1)], dim=1)


def _placed(crop_T10SS: Tensor, image_size: int, crop_size: int) -> Tensor:
    """The sum of the crops, each in its place on the image."""
    merged = crop_T10SS.new_zeros(len(crop_T10SS), image_size, image_size)
    for i, (y, x) in enumerate(_corners(image_size, crop_size)):
        merged[:, y : y + crop_size, x : x + crop_size] += crop_T10SS[:, i] + crop_T10SS[:, i + 5]
    return merged
