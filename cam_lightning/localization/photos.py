"""One's own photos, of any sizes and without labels: localized in batches, one by one in their order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from cam_lightning.contracts import Localization, Network, Recipe
from cam_lightning.dataset.pipeline.image_file import photo_pixels, read_photo
from cam_lightning.dataset.pipeline.transform import resized_view
from cam_lightning.localization.localizer import Localizer

Image = str | os.PathLike[str] | np.ndarray | PIL.Image.Image
"""A file, its pixels, uint8 RGB (H, W, 3), or a PIL image, which is turned upright as a file is."""


class LocalizedImage(NamedTuple):
    """What a network says of one image; tensors on the CPU, boxes in frame `original`."""

    image: int
    """The image's position among those that were given."""
    size: tuple[int, int]
    """Height and width of the image."""
    classes_T: Tensor
    """int64: predicted classes, best first; T is the smaller of 5 and the number of classes."""
    names: list[str]
    """The names of `classes_T`."""
    probability_T: Tensor
    """float32: as `Localization.probability_BT`, at `classes_T`."""
    map_Thw: Tensor
    """float32: raw maps of `classes_T`, never normalised."""
    boxes_P4: Tensor
    """float32 xyxy, half-open: one box per class, or what another box generator proposes, best first."""
    rank_P: tuple[int, ...]
    """Which of the T classes each box is of."""
    degenerate_P: Tensor
    """bool: the map named no region, so the box is the whole image."""
    further: Mapping[str, LocalizedImage] = {}
    """The same image and classes by further maps and box generators, as evaluation calls them: `grad_cam`,
    `distance_transform`, `grad_cam/distance_transform`."""


def localized(
    network: Network,
    images: Iterable[Image],
    recipe: Recipe,
    batch_size: int,
    name: Callable[[int], str] | None = None,
) -> Iterator[LocalizedImage]:
    """Localizes images as they come; `name` tells what an error calls one of them, by its position.

    Raises ValueError, at once, for a network that has no such map or is in training mode; OSError or ValueError for
    what is no image, and FloatingPointError where the network's output is not finite, when it is its turn.
    """
    if getattr(network, "training", False):
        raise ValueError("the network is in training mode, where dropout and batch statistics blur it: network.eval()")
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1; got {batch_size}")
    cams, boxes = {"": recipe.cam, **recipe.further_cams}, {"": recipe.box, **recipe.further_boxes}
    localizer = Localizer(network, cams, boxes)
    localizer.check(recipe.input_size)
    return _one_by_one(localizer, iter(images), recipe, batch_size, name)


def _one_by_one(
    localizer: Localizer,
    images: Iterator[Image],
    recipe: Recipe,
    batch_size: int,
    name: Callable[[int], str] | None,
) -> Iterator[LocalizedImage]:
    def seen(image: Image) -> tuple[Tensor, tuple[int, int], str | None]:
        """At the input size: of a whole batch, the originals would be too many to hold."""
        pixels_HW3 = _pixels(image)
        path = str(image) if isinstance(image, str | os.PathLike) else None
        return resized_view(pixels_HW3, None, recipe.input_size), (pixels_HW3.shape[0], pixels_HW3.shape[1]), path

    first = 0
    while batch := list(map(seen, islice(images, batch_size))):
        shown, sizes, paths = zip(*batch, strict=True)
        index_B = torch.arange(first, first + len(batch))
        names_B = [name(first + row) if name else path or f"image {first + row}" for row, path in enumerate(paths)]
        found = localizer.pixels(torch.stack(shown), index_B, torch.tensor(sizes), names_B)
        for row, size in enumerate(sizes):
            own, *others = (_of_one(each, row, size, recipe.class_names) for each in found.values())
            yield own._replace(further=dict(zip([arm for arm in found if arm], others, strict=True)))
        first += len(batch)


def _of_one(found: Localization, row: int, size: tuple[int, int], class_names: list[str]) -> LocalizedImage:
    classes_T = found.classes_BT[row]
    return LocalizedImage(
        int(found.index_B[row]),
        size,
        classes_T,
        [class_names[index] if class_names else str(index) for index in classes_T.tolist()],
        found.probability_BT[row],
        found.map_BThw[row],
        found.proposals.boxes_BP4[row],
        found.proposals.rank_P,
        found.proposals.degenerate_BP[row],
    )


def is_one_image(images: Any) -> bool:
    """Whether this is one image, and not several."""
    return (
        images.ndim != 4 if isinstance(images, np.ndarray) else isinstance(images, str | os.PathLike | PIL.Image.Image)
    )


def _pixels(image: Image) -> np.ndarray:
    if isinstance(image, str | os.PathLike):
        return read_photo(Path(image).expanduser())
    if isinstance(image, PIL.Image.Image):
        return photo_pixels(image)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        given = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"an image is a path, a PIL image or a uint8 RGB array (H, W, 3); got {given}")
    # torch takes neither mirrored arrays nor, without a warning, those that may not be written.
    return np.require(image, requirements=["C", "W"])
